"""A replayed step is the one that the run made, to the bit; the run's folder stays as it is; what differs is told."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from digits import make_digits, write_npz
from paddle import nn
from paddle.utils import unique_name

from mnist_paddle import MODELS, Config, Interrupted, RunError, UsageError, fit, replay, resume, trainer
from mnist_paddle.cli import replay as command
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.debugging import past
from mnist_paddle.debugging.activations import forward
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.digests import KINDS, digest, read_digests
from mnist_paddle.experiment.folder import RunFolder, locked
from mnist_paddle.experiment.state import build

BASE = {"epochs": 2, "batch_size": 64, "log_every": 3, "device": "cpu", "learning_rate": 0.02}  # 600 images: 10 steps an epoch
RECIPES = {
    "dropout": {"model": "fc", "model_args": {"widths": [20], "dropout": 0.3}},
    "dropout in plain Paddle": {"model": "fc", "model_args": {"widths": [20], "dropout": 0.3}, "kernels": "python"},
    "batch norm": {"model": "quick"},
    "batch norm in plain Paddle": {"model": "cnn", "model_args": {"channels": [4], "norm": "batch"}, "kernels": "python"},
    "momentum, augmentation": {"model": "cnn", "model_args": {"channels": [4]}, "optimizer": "momentum", "augment": "affine"},
    "recurrent, clipped": {"model": "rnn", "model_args": {"hidden": 12, "dropout": 0.2}, "clip_norm": 0.1},
    "residual": {"model": "resnet", "model_args": {"channels": [4, 8], "dropout": 0.2}},
    "muon, micro-batches, average": {"model": "fc", "optimizer": "muon", "accumulate_steps": 3, "ema": 0.9, "weight_decay": 1e-3},
    "replicas": {"model": "cnn", "model_args": {"channels": [4], "norm": "batch", "dropout": 0.2}, "replicas": 2},
    "one output": {"model": "linear", "model_args": {"outputs": 1}, "loss": "mse_scalar", "learning_rate": 1e-4},
    "a few batches, resident": {"model": "linear", "overfit_batches": 2, "reader": "resident", "augment": "shift"},
    "static graph": {"model": "fc", "model_args": {"widths": [20]}, "to_static": True},
}
PLAIN = {"model": "fc", "model_args": {"widths": [16], "dropout": 0.2}}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Runs without figures, which take longer than their training here."""
    for name in ("draw_graph", "draw_curves", "draw_test"):
        monkeypatch.setattr(RunFolder, name, lambda *arguments: None)


@pytest.fixture
def at_step(monkeypatch):
    """Call a function with what a step of the run gave: step -> function(state, outputs, losses)."""
    train_step = trainer.train_step

    def arm(calls):
        def step(state, *arguments, **settings):
            result = train_step(state, *arguments, **settings)
            if state.step in calls:
                calls.pop(state.step)(state, *result)
            return result

        monkeypatch.setattr(trainer, "train_step", step)

    return arm


def quiet(text):
    """A log."""


def run(folder, data, **settings):
    fit(Config(**{**BASE, **settings, "output_dir": str(folder)}), data, quiet)
    return folder


def contents(folder) -> dict:
    """Every file with its bytes and the time of its last change."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()}


def change_line(folder, step, **changes):
    """Change what the run recorded of a step."""
    lines = [json.loads(line) for line in (folder / "digests.jsonl").read_text().splitlines()]
    lines = [{**line, **changes} if line["step"] == step else line for line in lines]
    (folder / "digests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


# The same step


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_a_replayed_step_has_every_bit_of_the_run(settings, small, tmp_path, at_step):
    kept = {}

    def keep(state, outputs, losses):
        kept["outputs"], kept["losses"] = outputs.numpy(), losses.numpy()
        kept["gradients"] = {name: p.grad.numpy() for name, p in state.model.named_parameters() if p.grad is not None}

    at_step({13: keep})
    folder = run(tmp_path / "run", small, **settings)
    before = contents(folder)
    step = replay(folder, 13, small, quiet)
    assert step.evaluation.outputs.tobytes() == kept["outputs"].tobytes()
    assert step.evaluation.losses.tobytes() == kept["losses"].tobytes()
    if not settings.get("clip_norm"):
        assert {name: array.tobytes() for name, array in step.gradients.items()} == {
            name: array.tobytes() for name, array in kept["gradients"].items()
        }
    # Digests on the way, and those of step 15, which show that the update was the same.
    assert [compared.step for compared in step.compared] == [each for each in (3, 6, 9, 12, 15) if each > 13 - step.repeated]
    assert all(compared.equal == dict.fromkeys(KINDS, True) for compared in step.compared)
    assert step.equal is True
    assert contents(folder) == before


def test_the_digests_of_different_numbers_differ():
    one = paddle.to_tensor([[1.0, 2.0], [3.0, 4.0]])
    assert digest([one]) == digest([one.clone()])
    assert len({digest(each) for each in ([one], [one.reshape([4])], [one.T], [one + 1e-7], [one, None], [None], [])}) == 7
    assert digest([one.T]) == digest([one.T.clone()])  # whose memory is in another order
    assert digest([paddle.zeros([0, 3])]) != digest([paddle.zeros([0, 2])])


def test_images_labels_rate_and_places_are_those_of_the_step(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    step = replay(folder, 10, small, quiet)
    assert len(step.indices) == 600 - 9 * 64
    assert (step.pixels == small.train.images[step.indices]).all()
    assert (step.evaluation.labels == small.train.labels[step.indices]).all()
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rates = {point["step"]: point["value"] for point in points if point["name"] == "learning_rate"}
    assert replay(folder, 9, small, quiet).rate == rates[9]
    assert step.epoch == 1.0
    assert step.total_steps == 20


def test_the_batch_of_an_augmented_run_is_the_augmented_one(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN, augment="shift")
    step = replay(folder, 3, small, quiet)
    assert step.compared[0].equal["images"]
    assert (step.pixels != small.train.images[step.indices]).any()


def test_a_run_that_starts_from_other_weights_is_replayed_from_them(small, tmp_path):
    first = run(tmp_path / "first", small, **PLAIN)
    folder = run(tmp_path / "run", small, **PLAIN, init_from=str(first))
    step = replay(folder, 2, small, quiet)
    assert step.equal is True
    assert step.evaluation.loss < 0.5 < replay(first, 2, small, quiet).evaluation.loss
    (first / "final.safetensors").unlink(missing_ok=True)
    (first / "best.safetensors").unlink()
    (first / "last.safetensors").unlink()
    with pytest.raises(UsageError, match="there is no such checkpoint"):
        replay(folder, 2, small, quiet)


def test_gradients_are_those_before_clipping(small, tmp_path):
    norms = []
    for name, clip_norm in (("free", 0.0), ("clipped", 1e-3)):
        step = replay(run(tmp_path / name, small, **PLAIN, clip_norm=clip_norm), 1, small, quiet)
        norms.append(step.gradient_norm)
    assert norms[0] == norms[1] > 0.1


# Where it starts


def test_few_steps_are_repeated_where_the_run_kept_checkpoints(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN, keep=9, checkpoint_every=4)
    for number, start, repeated in (
        (13, "step_00000012.safetensors", 1),
        (12, "step_00000010.safetensors", 2),
        (9, "step_00000008.safetensors", 1),
        (4, "", 4),
        (1, "", 1),
    ):
        step = replay(folder, number, small, quiet)
        assert (step.start, step.repeated) == (start, repeated)
        assert step.equal is True


def test_the_last_and_the_best_checkpoint_are_used(small, tmp_path, at_step):
    at_step({17: lambda *given: os.kill(os.getpid(), signal.SIGTERM)})
    with pytest.raises(Interrupted):
        run(tmp_path / "run", small, **PLAIN)
    done = checkpoint.load(tmp_path / "run" / "best.safetensors")[1]["step"]
    assert done == 10
    step = replay(tmp_path / "run", 12, small, quiet)
    assert (step.start, step.repeated, step.equal) == ("best.safetensors", 2, True)
    step = replay(tmp_path / "run", 19, small, quiet)  # which the run has not made yet
    assert (step.start, step.repeated, step.equal) == ("last.safetensors", 2, None)
    assert step.notes == ["the run is known to have made 17 steps; this one it would have made later"]


def test_a_damaged_checkpoint_is_passed_over_with_a_note(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN, keep=9, checkpoint_every=4)
    broken = folder / "step_00000012.safetensors"
    broken.write_bytes(broken.read_bytes()[:-9] + b"x" * 9)
    lines = []
    step = replay(folder, 13, small, lines.append)
    assert (step.start, step.repeated, step.equal) == ("step_00000010.safetensors", 3, True)
    assert any("step_00000012.safetensors: damaged" in line for line in lines)


def test_a_checkpoint_of_another_run_is_not_used(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    other = run(tmp_path / "other", small, **PLAIN, seed=1, keep=9)
    (other / "step_00000010.safetensors").rename(folder / "step_00000011.safetensors")
    step = replay(folder, 12, small, quiet)
    assert step.start != "step_00000011.safetensors"
    assert step.equal is True


# Runs that were stopped, killed, or are of earlier versions


def test_steps_before_and_after_a_resume_are_replayed(small, tmp_path, at_step):
    straight = run(tmp_path / "straight", small, **PLAIN)
    at_step({7: lambda *given: os.kill(os.getpid(), signal.SIGINT)})
    with pytest.raises(Interrupted):
        run(tmp_path / "run", small, **PLAIN)
    resume(tmp_path / "run", small, quiet)
    assert (tmp_path / "run" / "digests.jsonl").read_bytes() == (straight / "digests.jsonl").read_bytes()
    for number in (5, 7, 8, 20):
        step = replay(tmp_path / "run", number, small, quiet)
        assert step.equal is True
        assert step.compared


def test_digests_after_the_checkpoint_of_a_killed_run_are_recorded_once(small, tmp_path, at_step):
    def die(*given):
        raise KeyboardInterrupt

    at_step({11: die})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", small, **PLAIN, checkpoint_every=5)
    lines = (tmp_path / "run" / "digests.jsonl").read_bytes()
    (tmp_path / "run" / "digests.jsonl").write_bytes(lines + lines[-300:] + b'{"step": 12, "cou')
    resume(tmp_path / "run", small, quiet)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "digests.jsonl").read_text().splitlines()]
    assert steps == [3, 6, 9, 12, 15, 18, 20]


def test_a_run_without_digests_is_resumed_and_replayed(small, tmp_path, at_step):
    at_step({7: lambda *given: os.kill(os.getpid(), signal.SIGINT)})
    with pytest.raises(Interrupted):
        run(tmp_path / "run", small, **PLAIN)
    (tmp_path / "run" / "digests.jsonl").unlink()
    resume(tmp_path / "run", small, quiet)
    assert list(read_digests(tmp_path / "run")[0]) == [9, 12, 15, 18, 20]
    (tmp_path / "run" / "digests.jsonl").unlink()
    step = replay(tmp_path / "run", 5, small, quiet)
    assert step.equal is None
    assert "this run recorded none" in step.verdict()


def test_a_run_of_the_first_version_is_replayed(tmp_path):
    images, labels = make_digits(300)
    parts = np.split(np.arange(300), [200, 250])
    digits = Dataset("custom", *(Split(images[part], labels[part]) for part in parts), source="synthetic")
    step = replay(Path(__file__).with_name("runs") / "0.1.0", 5, digits, quiet)
    assert step.equal is None
    assert (step.start, step.repeated) == ("", 5)
    assert np.isfinite(step.evaluation.loss)


def test_a_run_is_replayed_while_another_process_trains_in_its_folder(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    with locked(folder):
        assert replay(folder, 5, small, quiet).equal is True


def test_a_step_that_is_not_finite_shows_its_images(small, tmp_path):
    settings = {"model": "fc", "optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant"}
    with pytest.raises(RunError, match="not finite at step") as failed:
        run(tmp_path / "run", small, **settings)
    number = int(str(failed.value).partition("at step ")[2].split()[0])
    step = replay(tmp_path / "run", number, small, quiet)
    assert step.gradients == {}
    assert len(step.pixels) == 64
    assert not np.isfinite(step.evaluation.losses).all()
    assert any(f"not finite at step {number}" in note for note in step.notes)
    assert "no gradients: the step was not finite" in command.show(step, 3)
    assert json.loads(json.dumps(step.summary()))["loss"] is None
    with pytest.raises(RunError, match=f"not finite at step {number}"):
        replay(tmp_path / "run", number + 1, small, quiet)


# What differs is told


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_that_was_changed_is_found(kind, small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    change_line(folder, 6, **{kind: "0" * 8})
    step = replay(folder, 7, small, quiet)
    assert step.equal is False
    assert f"digests differ from those recorded at step 6: {kind}" in step.verdict()
    assert step.reasons


def test_another_number_of_threads_is_named_as_a_reason(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    change_line(folder, 6, outputs="0" * 8)
    threads = read_digests(folder)[0][6]["threads"]
    step = replay(folder, 6, small, quiet, threads=threads + 1)
    assert f"threads: {threads} then, {threads + 1} here" in step.reasons


def test_the_threads_and_replicas_of_the_step_are_used(small, tmp_path):
    folder = run(tmp_path / "run", small, model="cnn", model_args={"channels": [4]}, replicas=2, threads=3)
    assert {(line["replicas"], line["threads"]) for line in read_digests(folder)[0].values()} == {(2, 3)}
    step = replay(folder, 6, small, quiet)
    assert step.equal is True
    assert replay(folder, 6, small, quiet, replicas=1).equal is False


def test_lines_that_do_not_come_from_a_run_count_for_nothing(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    with open(folder / "digests.jsonl", "a") as file:
        file.write('nonsense\n[]\n{"step": 7}\n{"step": 10, "cou')
    change_line_text = (folder / "digests.jsonl").read_text().replace('"step": 9,', '"step": "9",')
    (folder / "digests.jsonl").write_text(change_line_text)
    step = replay(folder, 10, small, quiet)
    assert step.equal is True
    assert 9 not in [compared.step for compared in step.compared]
    assert step.notes == ["digests.jsonl: 4 lines do not come from a run and count for nothing"]


def test_of_several_ranks_the_images_of_the_main_one_are_compared(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    whole = replay(folder, 6, small, quiet)
    images, labels = paddle.to_tensor(whole.images[:32]), paddle.to_tensor(whole.evaluation.labels[:32])
    change_line(folder, 6, ranks=2, count=32, images=digest([images]), labels=digest([labels]))
    step = replay(folder, 6, small, quiet)
    assert [compared.equal for compared in step.compared if compared.step == 6] == [{"images": True, "labels": True}]
    assert "the run had 2 ranks, here one" in step.notes[0]


def test_other_data_is_refused(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    images = small.train.images.copy()
    images[3, 10, 10] ^= 1
    with pytest.raises(UsageError, match="was trained on other data than custom from synthetic"):
        replay(folder, 3, replace(small, train=Split(images, small.train.labels)), quiet)


def test_what_can_not_be_replayed_is_refused(small, tmp_path):
    folder = run(tmp_path / "run", small, **PLAIN)
    for number, message in (
        (0, "from 1 on"),
        (-1, "from 1 on"),
        (True, "from 1 on"),
        (1.5, "from 1 on"),
        (21, "ended at step 20"),
    ):
        with pytest.raises(UsageError, match=message):
            replay(folder, number, small, quiet)
    (folder / "report.json").unlink()
    with pytest.raises(UsageError, match="has 20 steps"):
        replay(folder, 21, small, quiet)
    with pytest.raises(UsageError, match="epochs, seed can't change, but corrections, data_dir"):
        replay(folder, 3, small, quiet, seed=1, epochs=3)
    with pytest.raises(UsageError, match="leave model= out"):
        replay(folder, 3, small, quiet, model=MODELS["linear"]())
    with pytest.raises(UsageError, match="trained on arrays given in Python"):
        replay(run(tmp_path / "arrays", replace(small, name="arrays"), **PLAIN), 3)
    with pytest.raises(UsageError, match="it holds runs, such as"):
        replay(tmp_path, 3, small, quiet)
    (folder / "last.safetensors").write_bytes(b"no checkpoint at all")
    with pytest.raises(UsageError, match="not a safetensors file"):
        replay(folder, 3, small, quiet)


# Networks of one's own


@pytest.mark.usefixtures("clean_tables")
def test_a_network_from_a_plugin_is_replayed(small, tmp_path):
    @MODELS.register
    class Mine(nn.Layer):
        """Mine: no layers inside."""

        def __init__(self, width: int = 10):
            super().__init__()
            self.weight = self.create_parameter([784, 10])

        def forward(self, images):
            return paddle.matmul(nn.functional.dropout(images.flatten(1), 0.2, training=self.training), self.weight)

    step = replay(run(tmp_path / "run", small, model="Mine"), 7, small, quiet)
    assert step.equal is True
    assert [(layer.name, layer.kind, layer.shape) for layer in step.activations] == [("(the whole network)", "Mine", (64, 10))]


def test_a_network_given_in_python_is_replayed_from_a_checkpoint_and_unchanged(small, tmp_path):
    def network():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    config = Config(**BASE, keep=9, checkpoint_every=4, output_dir=str(tmp_path / "run"))
    fit(config, small, quiet, model=network())
    model = network()
    before = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    step = replay(tmp_path / "run", 6, small, quiet, model=model)
    assert (step.equal, step.repeated, step.network) == (True, 2, "Sequential")
    assert {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()} == before
    with pytest.raises(UsageError, match="weights that a network given in Python began with are not recorded"):
        replay(tmp_path / "run", 3, small, quiet, model=model)
    with pytest.raises(UsageError, match="was given in Python; replay it there"):
        replay(tmp_path / "run", 6, small, quiet)


# Layers


def test_the_layers_are_those_that_compute_in_their_order(small, tmp_path):
    step = replay(run(tmp_path / "run", small, **PLAIN), 2, small, quiet)
    kinds = [layer.kind for layer in step.activations]
    assert kinds == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    flat, _, relu, _, last = step.activations
    assert flat.shape == (64, 784)
    assert flat.mean == pytest.approx(step.images.mean(), abs=1e-6)
    assert flat.std == pytest.approx(step.images.std(), abs=1e-5)
    assert 0.2 < relu.zeros < 0.8
    assert last.mean == pytest.approx(step.evaluation.outputs.mean(), abs=1e-5)  # with the same dropout
    assert last.zeros == 0


@pytest.mark.parametrize("model", list(MODELS))
def test_every_network_shows_its_layers(model, small, tmp_path):
    state = build(Config(model=model))
    before = checkpoint.model_arrays(state.model)
    batch = next(iter_batches(small))
    outputs, layers = forward(state, batch, parts=1, seed=3)
    parts = forward(state, batch, parts=4, seed=3)[1]
    assert layers[-1].shape == tuple(outputs.shape) == (16, 10)
    assert [layer.shape for layer in parts] == [layer.shape for layer in layers]
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    weights = {name for name, parameter in state.model.named_parameters() if not parameter.stop_gradient}
    after = checkpoint.model_arrays(state.model)
    assert all(before[name].tobytes() == after[name].tobytes() for name in weights)


def iter_batches(small):
    from mnist_paddle import Loader

    return Loader(small.train, 16, reader="sync").batches()


def test_micro_batches_give_the_statistics_of_the_whole(small):
    state = build(Config(model="fc", model_args={"widths": [16]}))
    batch = next(iter_batches(small))
    whole, parts = (forward(state, batch, parts=count, seed=0)[1] for count in (1, 5))
    for one, other in zip(whole, parts):
        assert (one.mean, one.std, one.zeros) == pytest.approx((other.mean, other.std, other.zeros), rel=1e-5, abs=1e-6)


# What it leaves behind


def test_a_training_after_it_is_the_same_to_the_bit(small, tmp_path):
    before = run(tmp_path / "before", small, **PLAIN)
    paddle.seed(5)
    drawn = paddle.rand([4]).numpy()
    with unique_name.guard():
        name = nn.Linear(2, 2).weight.name
    paddle.seed(5)
    with unique_name.guard():
        replay(before, 7, small, quiet)
        assert (paddle.rand([4]).numpy() == drawn).all()
        assert nn.Linear(2, 2).weight.name == name
    after = run(tmp_path / "after", small, **PLAIN)
    one, other = (checkpoint.load(folder / "last.safetensors")[0] for folder in (before, after))
    assert all(one[key].tobytes() == other[key].tobytes() for key in one)


def test_a_disk_that_can_not_be_written_does_not_matter(small, tmp_path, monkeypatch):
    folder = run(tmp_path / "run", small, **PLAIN)
    real = open

    def reading(file, mode="r", *arguments, **named):
        assert not set(mode) & set("wax+"), f"{file} opened with {mode}"
        return real(file, mode, *arguments, **named)

    monkeypatch.setattr("builtins.open", reading)
    assert replay(folder, 5, small, quiet).equal is True


# The command


@pytest.fixture
def trained(tmp_path):
    """A run on the data of a file."""
    data = write_npz(tmp_path / "digits.npz", make_digits(400), make_digits(80, seed=1))
    return run(tmp_path / "run", None, dataset="custom", data_dir=str(data), **PLAIN)


def test_the_command_shows_draws_and_succeeds(trained, tmp_path, capsys):
    assert command.main([str(trained), "--step", "5", "--png", str(tmp_path / "a.png"), "--count", "3"]) == 0
    shown = capsys.readouterr()
    assert "digests equal those recorded at " in shown.out
    assert "images, labels, outputs, losses and gradients" in shown.out
    assert "run, step 5 of 12: fc on custom" in shown.out
    assert "the 3 images with the highest losses, of 64" in shown.out
    losses = [float(line.split()[-1]) for line in shown.out.splitlines()[-3:]]
    assert losses == sorted(losses, reverse=True)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "replaying step 5" in shown.err


def test_a_tampered_digest_is_exit_status_1_and_a_line(trained, capsys):
    change_line(trained, 6, losses="01234567")
    assert command.main([str(trained), "--step", "6", "--count", "0"]) == 1
    shown = capsys.readouterr().out
    assert "digests differ from those recorded at step 6: losses; images, labels, outputs and gradients are equal\n" in shown
    assert "perhaps: " in shown


def test_json_has_all_of_it(trained, capsys):
    assert command.main([str(trained), "--step", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] is True
    assert found["step"] == 7
    assert len(found["images"]) == 64
    assert found["images"][0]["loss"] == max(image["loss"] for image in found["images"])
    assert [row["name"] for row in found["gradients"]] == ["1.weight", "1.bias", "4.weight", "4.bias"]
    assert found["digests"][-1] == {"step": 9, **dict.fromkeys(KINDS, True)}


def test_data_that_has_moved_is_given(trained, tmp_path):
    (tmp_path / "digits.npz").rename(tmp_path / "moved.npz")
    with pytest.raises(UsageError, match="which does not exist; pass the data with --data_dir"):
        command.main([str(trained), "--step", "6"])
    assert command.main([str(trained), "--step", "6", "--data_dir", str(tmp_path / "moved.npz"), "--json"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run", "needs the step: --step N"),
        ("run --step x", "--step must be an integer; it is 'x'"),
        ("run --step 0", "from 1 on, as in the log; it is 0"),
        ("run --step 13", "--step 13: the run in run ended at step 12; give a step from 1 to 12"),
        ("run --step 3 --count -1", "--count must be 0 or more"),
        ("run --step 3 --png nowhere/a.png", "can't write a file there"),
        ("run --step 3 --seed 4", "--seed: there is no such flag here; it is a flag of train"),
        ("nothing --step 3", "nothing holds no run to replay .no last.safetensors.; give a run folder"),
        (". --step 3", "it holds runs, such as run: give one of them"),
        ("--step 3", "needs RUN"),
    ],
)
def test_wrong_words_are_explained_before_paddle_is_imported(words, message, trained, monkeypatch):
    monkeypatch.chdir(trained.parent)
    with pytest.raises(UsageError, match=message):
        command.parse(words.split())


def test_its_parser_does_without_paddle(trained):
    words = [str(trained), "--step", "3"]
    code = f"import sys; from mnist_paddle.cli.replay import parse; parse({words}); sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_any_names_of_classes_are_shown_and_drawn(small, tmp_path, capsys):
    names = ("左前轮", "a very long name of a class, the longest", *(f"class ${label}" for label in range(2, 10)))
    folder = run(tmp_path / "run", replace(small, classes=names), **PLAIN)
    step = replay(folder, 3, replace(small, classes=names), quiet)
    command.draw(step, str(tmp_path / "a.png"))
    assert "左前轮" in command.show(step, 64)
    shown = {caption for caption, _ in command.said(step, np.arange(64), names)}
    assert {word for caption in shown for word in caption.split(" → ")} <= {
        "左前轮",
        "a ver…st",
        *(f"class ${n}" for n in range(2, 10)),
    }
    alike = [f"long name {label} of a class" for label in range(10)]
    captions = [caption for caption, _ in command.said(step, np.arange(64), alike)]
    assert {word for caption in captions for word in caption.split(" → ")} <= {f"#{label}" for label in range(10)}
    assert max(map(len, command.show(step, 64).splitlines())) < 200


def test_one_output_is_shown_as_a_number(small, tmp_path):
    folder = run(tmp_path / "run", small, model="linear", model_args={"outputs": 1}, loss="mse_scalar", learning_rate=1e-4)
    step = replay(folder, 3, small, quiet)
    assert "output " in command.show(step, 3)
    command.draw(step, str(tmp_path / "a.png"))


def test_candidates_are_named_by_their_step(tmp_path):
    for name in ("last", "step_00000010", "step_00000300", "step_5", "final"):
        (tmp_path / f"{name}.safetensors").touch()
    names = [path.stem for path in past.candidates(tmp_path, 300)]
    assert names == ["last", "step_00000010"]
    assert [path.stem for path in past.candidates(tmp_path, 301)] == ["last", "step_00000300", "step_00000010"]
