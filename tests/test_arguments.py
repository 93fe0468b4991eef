"""Every argument of every component has a type and a range, and what does not fit is one line that says what does."""

import doctest
import inspect
import math
import subprocess
import sys
import typing
from importlib import import_module

import numpy as np
import pytest

from mnist_paddle import Config, UsageError, load_config
from mnist_paddle.arguments import Items, Range, check, describe
from mnist_paddle.config import TABLES, choices
from mnist_paddle.settings.source import catalogue

SETTINGS = ("model", "loss", "optimizer", "schedule")  # those with a flag for arguments
# (setting, component, argument)
EVERY = [(key, entry.name, name) for key in TABLES for entry in choices(key).values() for name in entry.arguments]
GIVEN = [row for row in EVERY if row[0] in SETTINGS]
NEVER = [None, {}, [], [[1]], math.nan, math.inf, -math.inf, 10**400, b"1", object(), "x\ny"]


def kind_of(setting, component, argument):
    return choices(setting)[component].arguments[argument].kind


def bounds_of(kind):
    """The number type and the Range of an argument, of its items for a list; (None, None) for other arguments."""
    while typing.get_origin(kind) is typing.Annotated:
        if isinstance(kind.__metadata__[0], Range):
            return kind.__origin__, kind.__metadata__[0]
        (kind,) = typing.get_args(kind.__origin__)
    return None, None


def wrong_values(kind):
    """Values of wrong types and outside the range."""
    number, bounds = bounds_of(kind)
    if number is None:
        return [*NEVER, 3, "nonsense", ["nonsense"], [True]] + ([1, "true"] if kind is bool else [True])
    step = 1 if number is int else 1e-12
    outside = [bounds.low - step] if bounds.low is not None else [bounds.above]
    outside += [bounds.high + step] if bounds.high is not None else [bounds.below]
    outside += [-1e9, 1e12, "2", True, *([2.5] if number is int else [])]
    if isinstance(kind.__metadata__[0], Items):
        items = kind.__metadata__[0]
        outside += [[1, value] for value in outside] + [[1] * (items.high + 1), [bounds.high, 1]]
    return NEVER + outside


def allowed_values(kind):
    """The ends of the range, in every spelling."""
    number, bounds = bounds_of(kind)
    if number is None:
        return [True, False] if kind is bool else list(typing.get_args(kind))
    low = bounds.low if bounds.low is not None else bounds.above + 1e-9
    high = bounds.high if bounds.high is not None else bounds.below - 1e-9
    ends = [number(low), number(high), np.asarray(high, number)[()]]
    return [*ends, [low], (low, low)] if isinstance(kind.__metadata__[0], Items) else ends


@pytest.mark.parametrize(("setting", "component", "argument"), EVERY)
def test_every_argument_has_a_type_and_its_default_fits(setting, component, argument):
    found = catalogue(*TABLES[setting])[component].arguments[argument]
    assert found.kind is not None, "annotate it with a type of mnist_paddle.arguments"
    assert describe(found.kind)
    part = getattr(import_module(f"mnist_paddle.{TABLES[setting][0]}"), TABLES[setting][1])[component]
    live = inspect.signature(part).parameters[argument]
    assert found.default == live.default
    assert found.kind == live.annotation
    fitting = check(found.kind, found.default)
    assert (tuple(fitting) if isinstance(fitting, list) else fitting) == found.default


def arguments_of(setting, component, argument, value):
    settings = {setting: component, f"{setting}_args": {argument: value}}
    return {**settings, "loss": "mse_scalar"} if argument == "outputs" and value == 1 else settings


@pytest.mark.parametrize(("setting", "component", "argument"), GIVEN)
def test_a_value_that_does_not_fit_is_one_line_that_says_what_would(setting, component, argument):
    kind = kind_of(setting, component, argument)
    for value in wrong_values(kind):
        with pytest.raises(UsageError) as caught:
            Config(**arguments_of(setting, component, argument, value))
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 300
        assert f"--{setting}_args: {setting} {component}: " in message
        assert argument in message
        assert argument == "activation" or describe(kind) in message


@pytest.mark.parametrize(("setting", "component", "argument"), GIVEN)
def test_the_ends_of_a_range_are_allowed(setting, component, argument):
    for value in allowed_values(kind_of(setting, component, argument)):
        if argument != "outputs" or value == 1:  # of which the losses take 1 and 10
            Config(**arguments_of(setting, component, argument, value))


@pytest.mark.parametrize(("setting", "component", "argument"), EVERY)
def test_a_component_called_from_python_checks_its_arguments_too(setting, component, argument):
    part = getattr(import_module(f"mnist_paddle.{TABLES[setting][0]}"), TABLES[setting][1])[component]
    for value in wrong_values(kind_of(setting, component, argument)):
        if argument == "activation" and isinstance(value, str):
            continue  # is looked up when the network is built
        with pytest.raises(UsageError, match=rf"\w+ {component}: {argument} must be"):
            part(**{argument: value})


def with_ends(setting):
    """Every component of a table with every argument at both ends of its range, the others as they are by default."""
    rows = [row for row in GIVEN if row[0] == setting]
    return [
        (component, {name: value}) for key, component, name in rows for value in allowed_values(kind_of(key, component, name))
    ]


@pytest.mark.parametrize(("component", "arguments"), with_ends("optimizer"))
def test_optimizers_at_the_ends_of_their_ranges_keep_weights_finite(component, arguments):
    import paddle

    from mnist_paddle import make_optimizer

    layer = paddle.nn.Linear(2, 2)
    optimizer = make_optimizer(component, layer.parameters(), 0.01, **arguments)
    for scale in (1.0, 0.0, 1e-3, 1e3):  # the second column's gradient is 0, as at the border of images
        (layer.weight * paddle.to_tensor([[scale, 0.0]]) + layer.bias * scale).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    assert all(np.isfinite(parameter.numpy()).all() for parameter in layer.parameters())


@pytest.mark.parametrize(("component", "arguments"), with_ends("loss"))
def test_losses_at_the_ends_of_their_ranges_have_finite_gradients(component, arguments):
    import paddle

    from mnist_paddle import LOSSES

    scores = np.random.default_rng(0).normal(0, 40, (50, 10)).astype("float32")
    outputs = paddle.to_tensor(scores, stop_gradient=False)
    losses = LOSSES[component](outputs, paddle.to_tensor(np.arange(50) % 10), **arguments)
    losses.mean().backward()
    assert np.isfinite(losses.numpy()).all()
    assert np.isfinite(outputs.grad.numpy()).all()


@pytest.mark.parametrize(("component", "arguments"), with_ends("schedule"))
def test_schedules_at_the_ends_of_their_ranges_stay_between_zero_and_the_base_rate(component, arguments):
    from mnist_paddle.schedules import learning_rate

    for warmup in (0, 7):
        rates = [learning_rate(component, step, 50, 0.5, warmup, **arguments) for step in range(50)]
        assert all(0 <= rate <= 0.5 for rate in rates)


# Of the high ends only those that make a small network.
SMALL = [
    (name, values)
    for name, values in with_ends("model")
    if not any(np.max(v) > 32 for v in values.values() if not isinstance(v, str))
]


@pytest.mark.parametrize(("component", "arguments"), SMALL)
def test_networks_at_the_ends_of_their_ranges_give_finite_outputs(component, arguments):
    import paddle

    from mnist_paddle import MODELS

    outputs = MODELS[component](**arguments)(paddle.rand([2, 1, 28, 28]))
    assert list(outputs.shape) == [2, arguments.get("outputs", 10)]
    assert np.isfinite(outputs.numpy()).all()


@pytest.mark.parametrize(("setting", "component"), [(key, name) for key in TABLES for name in choices(key)])
def test_what_the_program_gives_is_no_argument_of_the_users(setting, component):
    arguments = choices(setting)[component].arguments
    assert not {"common", "weight_decay", "labels", "progress", "generator", "count", "data_dir", "say"} & set(arguments)
    assert "outputs" not in arguments or setting == "model"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"model": "cnn", "model_args": {"channels": 32}}, {"channels": [32]}),
        ({"model": "resnet", "model_args": {"channels": (8, 16)}}, {"channels": [8, 16]}),
        ({"model": "fc", "model_args": {"widths": np.int64(30), "dropout": np.float32(0.5)}}, {"widths": [30], "dropout": 0.5}),
        ({"model": "rnn", "model_args": {"cell": "gru", "dropout": 0}}, {"cell": "gru", "dropout": 0.0}),
    ],
)
def test_spellings_of_one_value_become_the_same_setting(given, kept):
    config = Config(**given)
    assert config.model_args == kept
    assert repr(config.model_args) == repr(kept)


def test_numbers_are_read_in_every_spelling_of_a_command_line():
    for text in ("gamma=1e-1", "gamma=.1", "gamma=0.1", "{gamma: 1.0e-1}"):
        assert load_config(["--loss", "focal", "--loss_args", text]).loss_args == {"gamma": 0.1}


def test_a_component_of_the_users_own_is_checked_by_its_annotations():
    from mnist_paddle.registry import Registry

    table = Registry("thing")

    @table.register
    def mine(given, /, count: int = 1, name: str = "a", anything=None, values: list = ()):
        """Mine."""
        return given, count, name, anything, values

    assert table["mine"](0, 2, anything=print, values=3) == (0, 2, "a", print, 3)
    with pytest.raises(UsageError, match="thing mine: count must be an integer; it is 'x'"):
        mine(0, count="x")
    with pytest.raises(UsageError, match="no argument 'cuont'; did you mean 'count'"):
        table.arguments("mine", {"cuont": 3})


WRONG = [
    ("model", "cnn", {"dropout": 2}),
    ("model", "fc", {"widths": []}),
    ("loss", "focal", {"gamma": "x"}),
    ("optimizer", "adam", {"beta1": 5}),
    ("schedule", "cosine", {"final": -1}),
]


def test_wrong_arguments_are_found_before_paddle_is_imported():
    code = (
        "import sys\nfrom mnist_paddle import Config, UsageError\n"
        f"for key, name, args in {WRONG!r}:\n"
        "    try:\n        Config(**{key: name, f'{key}_args': args})\n"
        "    except UsageError as error:\n        print(error)\n"
        "sys.exit('paddle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(WRONG)


@pytest.mark.parametrize(
    "flags",
    [
        ["--model_args", "dropout=2"],
        ["--model_args", "dropout=a"],
        ["--model_args", "kernel=0"],
        ["--model", "fc", "--model_args", "widths=[0]"],
        ["--model_args", "hidden=100000000000"],
        ["--model", "rnn", "--model_args", "cell=foo"],
        ["--loss", "focal", "--loss_args", "gamma=x"],
        ["--loss", "label_smoothing", "--loss_args", "epsilon=1.5"],
        ["--model_args", "activation=rely"],
    ],
)
def test_a_run_with_a_wrong_argument_ends_in_one_line_and_leaves_no_folder(run_script, tmp_path, flags):
    done = run_script("train", *flags, "--output_dir", "run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert flags[-1].partition("=")[0] in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["arguments", "registry", "schedules"])
def test_the_examples_in_docstrings_run(module):
    found = doctest.testmod(import_module(f"mnist_paddle.{module}"))
    assert found.attempted
    assert not found.failed
