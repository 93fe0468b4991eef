"""Threads as replicas: the update of one thread, the shards of ranks, the same bits every time, and no thread left over."""

import contextlib
import signal
import threading

import numpy as np
import paddle
import pytest
from digits import make_digits
from test_resume import Killed, differences, no_pictures, run, stop_at  # noqa: F401  fixtures

from mnist_paddle import LOSSES, MODELS, Config, RunError, UsageError, evaluate, fit, load_loss, resume
from mnist_paddle.data.dataset import Split
from mnist_paddle.data.loader import Batch, normalize
from mnist_paddle.distributed.replicas import Replicas, automatic_count
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.state import build
from mnist_paddle.system.device import set_device
from mnist_paddle.trainer import train_step

# Networks without batch statistics and dropout, whose update does not depend on how a batch is split.
SAME = {
    "linear": {},
    "fc": {"widths": [20]},
    "cnn": {"channels": [4, 6]},
    "quick": {"channels": [4, 6], "norm": "none"},
    "lenet": {},
    "rnn": {"hidden": 8},
    "resnet": {"channels": [4, 4], "norm": "group"},
}
SIZES = {"even": [12, 12], "uneven": [12, 7], "fewer than replicas": [12, 2], "one": [1, 12]}
TOLERANCE = 2e-5  # relative to the largest number; sums are rounded in another order


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Whatever happened, the threads of replicas are gone."""
    set_device("cpu", 1)
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("replica")] == []


def batches(sizes):
    images, labels = make_digits(sum(sizes))
    cuts = np.cumsum(sizes)[:-1]
    for step, (some, right) in enumerate(zip(np.split(images, cuts), np.split(labels, cuts))):
        tensors = paddle.to_tensor(normalize(some)[:, None]), paddle.to_tensor(right.astype(np.int64))
        yield Batch(step, *tensors, len(some))


def trained(count, sizes, model="cnn", loss="cross_entropy", parts=1, **settings):
    """The state after a step on each batch, and the outputs and losses of the steps, with so many replicas."""
    state = build(Config(model=model, loss=loss, **{"optimizer": "momentum", "learning_rate": 0.05, **settings}))
    results = []
    with contextlib.ExitStack() as stack:
        if count > 1:
            state.replicas, state.strategy.replicas = Replicas(state.model, count), count
            stack.enter_context(contextlib.closing(state.replicas))
        state.model.train()
        for batch in batches(sizes):
            step = {"rate": 0.05, "parts": parts, "seed": 1000 * batch.step}
            pair = train_step(state, state.model, load_loss(loss, {}), batch, **step)
            results.append([tensor.numpy() for tensor in pair])
    return state, results


def arrays(state):
    return {**checkpoint.model_arrays(state.model), **checkpoint.optimizer_arrays(state.model, state.optimizer)}


def assert_close(one, other, tolerance=TOLERANCE):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert np.abs(array - other[name]).max() <= tolerance * max(np.abs(array).max(), 1e-3), name


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("model", SAME)
def test_the_update_is_that_of_one_thread(model, sizes, parts):
    one, expected = trained(1, SIZES[sizes], model, model_args=SAME[model], parts=parts)
    for count in (2, 3):
        several, results = trained(count, SIZES[sizes], model, model_args=SAME[model], parts=parts)
        assert_close(arrays(one), arrays(several))
        for (outputs, losses), (outputs_of_one, losses_of_one) in zip(results, expected):
            np.testing.assert_allclose(outputs, outputs_of_one, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(losses, losses_of_one, rtol=1e-3, atol=1e-4)


def test_every_model_is_compared():
    assert set(SAME) == set(MODELS)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_gives_the_update_of_one_thread(loss):
    settings = {"model_args": {"widths": [8], "outputs": 1}} if loss == "mse_scalar" else {"model_args": {"widths": [8]}}
    one, _ = trained(1, [12, 7], "fc", loss, learning_rate=1e-3, **settings)
    two, _ = trained(2, [12, 7], "fc", loss, learning_rate=1e-3, **settings)
    assert_close(arrays(one), arrays(two))


def masks_of_ranks(sizes, count, rate=0.5):
    """Which inputs of the network's dropout survive, shard by shard, as so many ranks would draw them."""
    layer, masks = paddle.nn.Dropout(rate), []
    for step, size in enumerate(sizes):
        for number in range(count):
            paddle.seed(1000 * step + number)
            images = size * (number + 1) // count - size * number // count
            if images:
                masks.append(layer(paddle.ones([images, 784])).numpy())
    return np.concatenate(masks)


class Masked(paddle.nn.Layer):
    """Dropout on the pixels, which it remembers, and a linear layer."""

    seen: list = []  # noqa: RUF012  shared by the copies

    def __init__(self, every_time=True):
        super().__init__()
        self.linear, self.every_time, self.calls = paddle.nn.Linear(784, 10), every_time, 0

    def forward(self, images):
        self.calls += 1
        mask = paddle.ones([len(images), 784])
        if self.training and (self.every_time or self.calls > 2):
            mask = paddle.nn.functional.dropout(mask, 0.5)
            Masked.seen.append(mask.numpy())
        return self.linear(images.flatten(1) * mask)


def train_own(model, count, sizes):
    state = build(Config(optimizer="sgd"), model=model)
    state.replicas, state.strategy.replicas = Replicas(model, count), count
    with contextlib.closing(state.replicas):
        for batch in batches(sizes):
            train_step(state, model, load_loss("cross_entropy", {}), batch, rate=0.05, seed=1000 * batch.step)
    return state


@pytest.mark.parametrize("count", [2, 3])
def test_dropout_draws_what_as_many_ranks_draw(count):
    paddle.seed(0)
    Masked.seen = []
    sizes = [12, 7, 2, 12]
    train_own(Masked(), count, sizes)
    np.testing.assert_array_equal(np.concatenate(Masked.seen), masks_of_ranks(sizes, count))


def test_a_network_that_begins_to_draw_later_draws_in_turn_from_then_on():
    found = []
    for _ in range(3):
        paddle.seed(0)
        Masked.seen = []
        model = Masked(every_time=False)
        state = train_own(model, 2, [12, 12, 12, 12])
        assert state.replicas.draws
        found.append((model.linear.weight.numpy(), np.concatenate(Masked.seen[-2:])))
    for weights, masks in found:
        np.testing.assert_array_equal(weights, found[0][0])
        np.testing.assert_array_equal(masks, masks_of_ranks([12, 12, 12, 12], 2)[-12:])


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("model", ["cnn", "rnn", "fc"])
def test_two_replicas_are_two_ranks_dropout_included(model, parts):
    """The update is the mean of what each shard gives alone, from its own seed."""
    args = {"cnn": {"channels": [4, 4]}, "rnn": {"hidden": 8, "layers": 2}, "fc": {"widths": [20]}}[model]
    settings = {"model_args": {**args, "dropout": 0.5}, "optimizer": "sgd"}
    both, _ = trained(2, [12], model, parts=parts, **settings)
    batch = next(batches([12]))
    moved = []
    for number in range(2):
        state = build(Config(model=model, learning_rate=0.05, **settings))
        start, half = checkpoint.model_arrays(state.model), slice(6 * number, 6 * number + 6)
        shard = Batch(0, batch.images[half], batch.labels[half], 6)
        train_step(state, state.model, load_loss("cross_entropy", {}), shard, rate=0.05, parts=parts, seed=number)
        moved.append({name: array - start[name] for name, array in checkpoint.model_arrays(state.model).items()})
    expected = {name: start[name] + (moved[0][name] + moved[1][name]) / 2 for name in start}
    assert_close(expected, checkpoint.model_arrays(both.model))


@pytest.mark.parametrize("model", ["resnet", "fc"])
def test_running_statistics_are_the_mean_over_the_shards_by_their_images(model):
    settings = {"model_args": {"channels": [4]} if model == "resnet" else {"widths": [8], "norm": "batch"}, "optimizer": "sgd"}
    both, _ = trained(2, [7], model, **settings)
    batch, found = next(batches([7])), []
    for shard in (slice(0, 3), slice(3, 7)):
        state = build(Config(model=model, **settings))
        train_step(
            state,
            state.model,
            load_loss("cross_entropy", {}),
            Batch(0, batch.images[shard], batch.labels[shard], 7),
            rate=0.05,
        )
        found.append(checkpoint.model_arrays(state.model))
    names = [name for name in found[0] if name.endswith(("_mean", "_variance"))]
    assert names
    expected = {name: (3 * found[0][name] + 4 * found[1][name]) / 7 for name in names}
    result = checkpoint.model_arrays(both.model)
    assert_close(expected, {name: result[name] for name in names}, 1e-6)


def test_parameters_stay_shared_and_buffers_follow():
    paddle.seed(0)
    model = MODELS["resnet"](channels=[4, 4])
    with contextlib.closing(Replicas(model, 3)) as replicas:
        model.set_state_dict({name: tensor.numpy() + 1 for name, tensor in model.state_dict().items()})
        model.eval()
        replicas.follow()
        for other in replicas.models[1:]:
            assert not other.training
            for name, tensor in other.state_dict().items():
                np.testing.assert_array_equal(tensor.numpy(), model.state_dict()[name].numpy())
        assert all(p.data_ptr() == q.data_ptr() for p, q in zip(replicas.parameters[0], replicas.parameters[2]))


SETTINGS = {"epochs": 2, "batch_size": 64, "device": "cpu", "log_every": 3, "checkpoint_every": 4}
RUNS = {
    "cnn": {"model": "cnn", "model_args": {"channels": [4, 4]}, "ema": 0.9, "augment": "shift"},
    "dropout": {"model": "cnn", "model_args": {"channels": [4, 4], "dropout": 0.3}},
    "batch norm": {"model": "resnet", "model_args": {"channels": [4, 8]}},
    "rnn": {"model": "rnn", "model_args": {"hidden": 12}, "accumulate_steps": 3},
}


@pytest.mark.commands
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_bit_identical_twice_and_when_resumed(name, small, tmp_path, no_pictures, stop_at):  # noqa: F811
    settings = {"base": SETTINGS, **RUNS[name], "replicas": 3}
    run(tmp_path / "one", small, **settings)
    run(tmp_path / "again", small, **settings)
    stop_at({1: None, 6: None, 10: signal.SIGTERM, 13: signal.SIGINT})
    assert run(tmp_path / "stopped", small, **settings) == 4
    assert differences(tmp_path / "one", tmp_path / "again") == []
    assert differences(tmp_path / "one", tmp_path / "stopped") == []


@pytest.mark.parametrize("before", [None, 1, 2])
def test_a_resumed_run_keeps_its_replicas(before, small, tmp_path, no_pictures, stop_at):  # noqa: F811
    """Also one that does not say how many it had (None): it was written before there were replicas, by one thread."""
    folder, settings = tmp_path / "run", {**RUNS["cnn"], "threads": 2 if before == 2 else 1, "kernels": "python"}
    stop_at({9: None})
    with pytest.raises(Killed):
        fit(Config(**{**SETTINGS, **settings, "output_dir": str(folder)}), small, log=lambda text: None)
    saved, progress = checkpoint.load(folder / "last.safetensors")
    assert progress["replicas"] == (before or 1)
    if before is None:
        del progress["replicas"], progress["config"]["replicas"], progress["format"]
        checkpoint.save(folder / "last.safetensors", saved, progress)
    resume(folder, small, log=lambda text: None, threads=1 if before == 2 else 2)
    assert checkpoint.load(folder / "last.safetensors")[1]["replicas"] == (before or 1)


def test_the_number_of_replicas_may_be_changed_and_is_noted(small, tmp_path, no_pictures, stop_at):  # noqa: F811
    folder, lines = tmp_path / "run", []
    stop_at({9: None})
    with pytest.raises(Killed):
        fit(Config(**{**SETTINGS, **RUNS["cnn"], "replicas": 1, "output_dir": str(folder)}), small, log=lambda text: None)
    resume(folder, small, lines.append, replicas=2)
    assert any("had 1 replica" in line and "now has 2" in line for line in lines)
    assert checkpoint.load(folder / "last.safetensors")[1]["replicas"] == 2


@pytest.mark.parametrize("count", ["many", 0, -1, True, 10**6])
def test_a_number_of_replicas_from_no_run_is_refused(count, small, tmp_path, no_pictures, stop_at):  # noqa: F811
    folder = tmp_path / "run"
    stop_at({9: None})
    with pytest.raises(Killed):
        fit(Config(**{**SETTINGS, **RUNS["cnn"], "output_dir": str(folder)}), small, log=lambda text: None)
    saved, progress = checkpoint.load(folder / "last.safetensors")
    checkpoint.save(folder / "last.safetensors", saved, {**progress, "replicas": count})
    with pytest.raises(UsageError, match="replicas"):
        resume(folder, small, log=lambda text: None)


class Breaks(paddle.nn.Layer):
    """A network that raises for images of one class, in whichever thread they are."""

    def __init__(self, error):
        super().__init__()
        self.linear, self.error = paddle.nn.Linear(784, 10), error

    def forward(self, images):
        if self.training and threading.current_thread().name == "replica 1":
            raise self.error
        return self.linear(images.flatten(1))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_an_exception_in_a_thread_reaches_the_main_thread(error, small, tmp_path):
    with pytest.raises(error, match="in a thread"):
        fit(Config(**SETTINGS, replicas=2, output_dir=str(tmp_path / "run")), small, model=Breaks(error("in a thread")))


def test_a_non_finite_loss_in_a_thread_names_layer_and_step(small, tmp_path):
    class Infinite(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.last = paddle.nn.Linear(784, 10)

        def forward(self, images):
            broken = self.training and threading.current_thread().name == "replica 1"
            return self.last(images.flatten(1) * (np.inf if broken else 1.0))

    # The first step goes forward on the main thread.
    with pytest.raises(RunError, match=r"loss is not finite at step 2 .*layer last"):
        fit(Config(**SETTINGS, replicas=2, output_dir=str(tmp_path / "run")), small, lambda text: None, model=Infinite())


def test_a_network_of_ones_own_trains_in_replicas(small, tmp_path):
    model, lines = paddle.nn.Sequential(paddle.nn.Conv2D(1, 4, 5), paddle.nn.Flatten(), paddle.nn.Linear(4 * 24 * 24, 10)), []
    report = fit(Config(**SETTINGS, threads=2, output_dir=str(tmp_path / "run")), small, lines.append, model=model)
    assert report["steps"] == 20
    assert any("2 replicas" in line for line in lines)


def test_a_network_that_cannot_be_copied_trains_in_one_thread(small, tmp_path):
    model = paddle.nn.Sequential(paddle.nn.Conv2D(1, 2, 5), paddle.nn.Flatten(), paddle.nn.Linear(2 * 24 * 24, 10))
    model.lock, lines = threading.Lock(), []
    settings = {**SETTINGS, "epochs": 1, "threads": 2}
    fit(Config(**settings, output_dir=str(tmp_path / "run")), small, lines.append, model=model)
    assert any("can't be copied" in line for line in lines)
    with pytest.raises(UsageError, match="can't be copied"):
        fit(Config(**settings, replicas=2, output_dir=str(tmp_path / "two")), small, lines.append, model=model)


def test_the_automatic_number_goes_by_network_threads_and_images():
    cnn, rnn, fc = MODELS["cnn"](), MODELS["rnn"](), MODELS["fc"]()
    assert [automatic_count(cnn, threads, 64) for threads in (1, 2, 4)] == [1, 2, 4]
    assert [automatic_count(cnn, 4, images) for images in (1, 31, 32, 63)] == [1, 1, 2, 3]
    assert automatic_count(rnn, 2, 64) == 2
    assert automatic_count(fc, 4, 64) == 1


def test_evaluation_in_threads_is_that_of_one():
    images, labels = make_digits(2700, seed=3)
    paddle.seed(0)
    model, loss, split = MODELS["resnet"](channels=[4, 4]), load_loss("cross_entropy", {}), Split(images, labels)
    expected = evaluate(model, split, loss)
    for count in (2, 3):
        with contextlib.closing(Replicas(model, count)) as replicas:
            for _ in range(2):
                found = evaluate(replicas, split, loss)
                np.testing.assert_array_equal(found.losses, expected.losses)
                np.testing.assert_array_equal(found.outputs, expected.outputs)
