"""Components from outside the package: chosen, listed, checked, saved, resumed, evaluated; and only by who names their file."""

import json
import os
import subprocess
import sys

import pytest
from digits import make_digits, write_npz

from mnist_paddle import Config, UsageError, load_config, load_plugins
from mnist_paddle.cli.help import listing
from mnist_paddle.registry import Registry
from mnist_paddle.settings import plugins
from mnist_paddle.settings.tables import choices

PLUGIN = '''
from typing import Annotated

import paddle.nn.functional as F
import paddle.optimizer
from paddle import nn

from mnist_paddle import ACTIVATIONS, AUGMENTATIONS, DATASETS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from mnist_paddle.arguments import Range
from mnist_paddle.data.dataset import custom


@MODELS.register
def mine(width: Annotated[int, Range(1, 100)] = 8, activation: str = "relu"):
    """A network of my own."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), ACTIVATIONS.pick(activation)(), nn.Linear(width, 10))


@MODELS.register
class Wide(nn.Layer):
    """A class of my own."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))

    def forward(self, images):
        return self.layers(images)


@LOSSES.register
def twice(outputs, labels, scale: float = 2.0):
    """A loss of my own."""
    return scale * F.cross_entropy(outputs, labels, reduction="none")


@ACTIVATIONS.register
def clipped():
    """An activation of my own."""
    return nn.Hardtanh()


@AUGMENTATIONS.register
def nothing(generator, count):
    """An augmentation of my own."""


@SCHEDULES.register
def straight(progress, final: float = 0.0):
    """A schedule of my own."""
    return 1 - (1 - final) * progress


@OPTIMIZERS.register
def plain(common, weight_decay):
    """An optimizer of my own."""
    return paddle.optimizer.SGD(**common)


@DATASETS.register
def again(data_dir, say):
    """A dataset of my own."""
    return custom(data_dir, say)
'''
OWN = {
    "dataset": "again",
    "augment": "nothing",
    "model": "mine",
    "activation": "clipped",
    "loss": "twice",
    "optimizer": "plain",
    "schedule": "straight",
}
ALL = [word for name, value in OWN.items() for word in (f"--{name}", value)]
QUICK = ["--epochs", "2", "--batch_size", "32", "--device", "cpu", "--data_dir", "digits.npz"]


pytestmark = pytest.mark.usefixtures("clean_tables")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_parts.py").write_text(PLUGIN)
    return tmp_path / "my_parts.py"


def test_a_component_registered_in_a_session_is_chosen_by_name():
    from mnist_paddle import MODELS

    @MODELS.register
    def mine(width: int = 3):
        """Mine."""

    assert Config(model="mine", model_args={"width": 5}).model_args == {"width": 5}
    assert load_config(["--model", "mine", "--model_args", "width=5"]).model == "mine"
    assert "mine" in listing(["model"])
    assert "width=3" in listing(["model", "mine"])
    with pytest.raises(UsageError, match="model mine: width must be an integer; it is 'x'"):
        Config(model="mine", model_args={"width": "x"})
    with pytest.raises(UsageError, match="no argument 'widht'; did you mean 'width'"):
        Config(model="mine", model_args={"widht": 3})


@pytest.mark.parametrize("name", ["my_parts.py", "./my_parts.py", "my_parts", "PATH"])
def test_a_plugin_is_a_module_or_a_file(plugin, name):
    config = load_config(["--plugins", str(plugin) if name == "PATH" else name, *ALL])
    assert config.plugins == [str(plugin)]
    assert {setting: getattr(config, setting) for setting in OWN} == OWN


def test_every_kind_of_component_is_listed_with_its_arguments(plugin, capsys):
    with pytest.raises(SystemExit):
        load_config(["--plugins", "my_parts", "--list"])
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in (*OWN.values(), "Wide"))
    assert set(choices("loss")["twice"].arguments) == {"scale"}
    assert set(choices("schedule")["straight"].arguments) == {"final"}
    assert not choices("dataset")["again"].arguments
    assert "clipped" in listing(["model", "mine"])
    assert "an integer from 1 to 100" in listing(["model", "mine"])


def test_plugins_add_up_and_are_named_in_python_too(plugin, tmp_path):
    (tmp_path / "other.py").write_text("value = 1\n")
    (tmp_path / "third.py").write_text("value = 1\n")
    names = [str(tmp_path / f"{name}.py") for name in ("other", "third", "my_parts")]
    assert load_config(["--plugins", "other.py,third.py", "--plugins", "my_parts.py"]).plugins == names
    assert Config(plugins="other.py, third.py,my_parts.py").plugins == names
    assert Config(plugins=[tmp_path / "other.py", "third.py", plugin], model="mine").plugins == names
    assert load_plugins(plugin) == [str(plugin)]
    assert set(names) <= set(plugins.loaded())


def test_arguments_of_a_plugins_component_are_checked(plugin):
    load_plugins(plugin)
    for args, message in [
        (["--model", "mine", "--model_args", "width=200"], "width must be an integer from 1 to 100; it is 200"),
        (["--model", "mine", "--model_args", "activation=cliped"], "did you mean 'clipped'"),
        (["--model", "Wide"], "model Wide needs width: add --model_args width=VALUE"),
        (
            ["--model", "Wide", "--model_args", "width=3", "--activation", "relu"],
            "model Wide has no activation; those that do: fc,",
        ),
        (["--loss", "twice", "--loss_args", "outputs=3"], "no argument 'outputs'"),
        (["--model", "mien"], "did you mean 'mine'"),
    ]:
        with pytest.raises(UsageError) as caught:
            load_config(args)
        assert message in str(caught.value)


def test_arguments_must_be_values_that_can_be_saved():
    from mnist_paddle import MODELS

    @MODELS.register
    def anything(value=None):
        """Takes anything."""

    with pytest.raises(UsageError, match="to be saved with the run"):
        Config(model="anything", model_args={"value": print})


# name of a file -> (its content, what the message says)
BROKEN = {
    "syntax.py": ("import os\nx = (\n", "--plugins {}, line 2: SyntaxError"),
    "imports.py": ("\nimport nonsense_xyz\n", "--plugins {}, line 2: ModuleNotFoundError: No module named 'nonsense_xyz'"),
    "raises.py": ("def f():\n    return 1 / 0\n\nf()\n", "--plugins {}, line 2: ZeroDivisionError: division by zero"),
    "exits.py": ("import sys\nsys.exit('over')\n", "--plugins {}, line 2: SystemExit: over"),
    "twice.py": (
        "from mnist_paddle import MODELS\n\n@MODELS.register\ndef new():\n    pass\n\n@MODELS.register\ndef cnn():\n    pass\n",
        "there is already a model called 'cnn' (",
    ),
    "short.py": (
        "from mnist_paddle import LOSSES\n@LOSSES.register\ndef new(outputs):\n    pass\n",
        "a loss is called with outputs and labels: def new(outputs, labels, /)",
    ),
    "missing.py": (None, "--plugins {}: there is no such file"),
    "no_module_xyz": (None, "--plugins no_module_xyz: Python finds no module no_module_xyz; give the path of its .py file"),
    "a b": (None, "--plugins a b: no module's name"),
    "recipe.yaml/": (None, "there is no such file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_one_line_with_file_and_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, message = BROKEN[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        load_config(["--plugins", name])
    assert message.format(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "new" not in {*choices("model"), *choices("loss")}  # corrected, it can be loaded again


def test_settings_of_a_stranger_import_nothing(plugin, tmp_path):
    from mnist_paddle.config import make_config

    plugin.write_text(f"open({str(tmp_path / 'trapped')!r}, 'w').close()\n{PLUGIN}")
    message = r"model mine comes from a plugin: add --plugins .*my_parts\.py \(in Python: load_plugins\("
    with pytest.raises(UsageError, match=message):
        make_config({"model": "mine", "plugins": [str(plugin)]})
    (tmp_path / "recipe.yaml").write_text("plugins: my_parts.py\nmodel: mine\n")
    with pytest.raises(UsageError, match=message):
        load_config(["--config", "recipe.yaml"])
    assert make_config({"model": "fc", "plugins": [str(plugin), "my_parts"]}).plugins == []  # nothing of it is needed
    assert not (tmp_path / "trapped").exists()
    config = load_config(["--config", "recipe.yaml", "--plugins", "my_parts"])
    assert (config.model, config.plugins) == ("mine", [str(plugin)])
    assert (tmp_path / "trapped").exists()


@pytest.mark.commands
def test_a_run_with_a_plugin_from_training_to_evaluation(plugin, run_script, tmp_path):
    write_npz(tmp_path / "digits.npz", make_digits(300), make_digits(60, seed=1))
    straight = run_script("train", "--plugins", "my_parts", *ALL, *QUICK, "--output_dir", "run")
    assert straight.returncode == 0, straight.stderr
    assert "no network graph" not in straight.stdout
    assert list((tmp_path / "run").glob("vdlgraph.*"))
    assert f"evaluate.py run --plugins {plugin}" in straight.stdout
    for command in (["evaluate", "run"], ["train", "--resume", "--output_dir", "run"], ["train", "--init_from", "run"]):
        done = run_script(*command)
        assert done.returncode == 2
        assert f"comes from a plugin: add --plugins {plugin}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = run_script("evaluate", "run", "--plugins", plugin, "--json")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert json.loads(done.stdout)["accuracy"] == report["test_accuracy"]
    done = run_script("train", "--resume", "--output_dir", "run", "--plugins", "my_parts")
    assert done.returncode == 0, done.stderr
    assert f"plugins:\n- {plugin}" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_model_of_a_session_trains_and_its_missing_graph_costs_one_line(tmp_path):
    write_npz(tmp_path / "digits.npz", make_digits(200), make_digits(40, seed=1))
    code = (
        "from mnist_paddle import MODELS, Config, fit\nfrom paddle import nn\n"
        "for _ in range(2):  # a cell that is run again\n"
        "    @MODELS.register\n    def mine(width: int = 5):\n        'Mine.'\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))\n"
        "fit(Config(model='mine', model_args={'width': 4}, epochs=1, "
        "dataset='custom', data_dir='digits.npz', output_dir='run'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "no network graph" in line]
    assert len(lines) == 1
    assert "model mine was registered in this session only" in lines[0]


@pytest.mark.ranks
def test_ranks_are_launched_with_the_plugin(plugin, run_script, tmp_path):
    write_npz(tmp_path / "digits.npz", make_digits(300), make_digits(60, seed=1))
    done = run_script("launch", "--nproc", "2", "--plugins", "my_parts", *ALL, *QUICK, "--output_dir", "run", timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run" / "report.json").read_text())["world_size"] == 2


def test_a_table_for_which_the_program_passes_nothing_takes_any_function():
    table = Registry("thing")
    table.register(os.getcwd)
    assert table.entries()["getcwd"].arguments == {}
