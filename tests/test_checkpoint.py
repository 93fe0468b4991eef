import json
import os

import numpy as np
import paddle
import pytest
import safetensors.numpy

from mnist_paddle import MODELS, OPTIMIZERS, Config, UsageError, load_model, make_optimizer
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.state import build, make_accumulators, restore, snapshot
from mnist_paddle.experiment.window import Window
from mnist_paddle.system.files import write_atomically

ARRAYS = {"model/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/weight/moment1": np.ones(3)}


def test_what_is_saved_is_loaded(tmp_path):
    checkpoint.save(tmp_path / "last.safetensors", ARRAYS, {"step": 7})
    arrays, progress = checkpoint.load(tmp_path)
    assert progress == {"step": 7, "format": checkpoint.FORMAT}
    assert arrays.keys() == ARRAYS.keys()
    assert all((arrays[name] == ARRAYS[name]).all() for name in ARRAYS)
    assert checkpoint.section(arrays, "optimizer").keys() == {"weight/moment1"}


def test_accumulators_are_named_by_structure_whatever_paddle_called_them():
    names = []
    for _ in range(2):
        network = MODELS["fc"](widths=[4])
        optimizer = make_optimizer("adam", network.parameters(), 0.1)
        network(paddle.zeros([1, 1, 28, 28])).sum().backward()
        optimizer.step()
        names.append(sorted(checkpoint.optimizer_arrays(network, optimizer)))
    assert names[0] == names[1]
    assert "1.weight/moment1" in names[0]
    assert len(names[0]) == 4 * 4


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"old")

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def truncated(path):
    checkpoint.save(path, ARRAYS, {})
    path.write_bytes(path.read_bytes()[:-5])


def newer(path):
    metadata = {checkpoint.KEY: json.dumps({"format": checkpoint.FORMAT + 1})}
    path.write_bytes(safetensors.numpy.save(ARRAYS, metadata))


# what a file can be instead of a checkpoint
NOT_CHECKPOINTS = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint at all"),
    "pickle": lambda path: path.write_bytes(b"\x80\x04K\x01."),
    "truncated": truncated,
    "somebody else's": lambda path: path.write_bytes(safetensors.numpy.save(ARRAYS)),
    "newer": newer,
    "header without end": lambda path: path.write_bytes(b"\xff" * 64),
}


@pytest.mark.parametrize("kind", NOT_CHECKPOINTS)
def test_what_is_no_checkpoint_gets_one_line_that_names_it(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    NOT_CHECKPOINTS[kind](path)
    with pytest.raises(UsageError, match=r"x\.safetensors"):
        checkpoint.load(path)


def test_a_checkpoint_of_another_network_is_refused_by_name():
    arrays = checkpoint.model_arrays(MODELS["fc"](widths=[4]))
    with pytest.raises(UsageError, match=r"1\.weight is \[784, 4\], not \[784, 5\]"):
        checkpoint.restore_model(MODELS["fc"](widths=[5]), arrays, "here")
    with pytest.raises(UsageError, match=r"missing .*unexpected"):
        checkpoint.restore_model(MODELS["cnn"](), arrays, "here")


def flip_a_bit(data, at, generator):
    data[at] ^= 1 << generator.integers(8)


def set_a_byte(data, at, generator):
    data[at] = generator.choice(list(b'\x00\xff{}[]":,0919eE-\n '))


def cut_off(data, at, generator):
    del data[at:]


def cut_out(data, at, generator):
    del data[at : at + generator.integers(1, 300)]


def put_in(data, at, generator):
    data[at:at] = generator.bytes(generator.integers(1, 300))


def blank(data, at, generator):
    stop = min(len(data), at + int(generator.integers(1, 4096)))
    data[at:stop] = bytes(stop - at)


def say_twice(data, at, generator):
    data[at:at] = data[at : at + generator.integers(1, 2000)]


def swap(data, at, generator):
    other = int(generator.integers(len(data)))
    data[at], data[other] = data[other], data[at]


def change_the_length(data, at, generator):
    data[:8] = int(generator.integers(0, 2 ** generator.integers(1, 63))).to_bytes(8, "little")


MUTATIONS = [flip_a_bit, set_a_byte, cut_off, cut_out, put_in, blank, say_twice, swap, change_the_length]


def written_by_a_run(path):
    """A checkpoint as training writes it, the optimizer's state included."""
    network = MODELS["fc"](widths=[4])
    optimizer = make_optimizer("adam", network.parameters(), 0.1)
    network(paddle.ones([1, 1, 28, 28])).sum().backward()
    optimizer.step()
    arrays = {f"model/{name}": array for name, array in checkpoint.model_arrays(network).items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.optimizer_arrays(network, optimizer).items()}
    checkpoint.save(path, arrays, {"step": 1, "config": {"model": "fc", "model_args": {"widths": [4]}}})


def test_2000_mutated_checkpoints_load_right_or_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    written_by_a_run(path)
    sound = path.read_bytes()
    arrays, progress = checkpoint.load(path)
    header = 8 + int.from_bytes(sound[:8], "little")
    generator = np.random.default_rng(0)
    refusals = []
    for number in range(2000):
        data = bytearray(sound)
        # Half of them in the header, which is a small part of the file and where most can go wrong.
        for _ in range(generator.integers(1, 4)):
            at = int(generator.integers(header if number % 2 else len(sound)))
            MUTATIONS[generator.integers(len(MUTATIONS))](data, min(at, max(len(data) - 1, 0)), generator) if data else None
        path.write_bytes(data)
        try:
            found, said = checkpoint.load(path)
        except UsageError as error:
            refusals.append(str(error))
            continue
        assert said == progress
        assert found.keys() == arrays.keys()
        assert all(found[name].tobytes() == arrays[name].tobytes() for name in arrays)
    assert len(refusals) > 1900
    assert not [line for line in refusals if "\n" in line]


META = b'{"__metadata__":{"mnist_paddle":"{}"},"a":'


def test_a_hostile_header_is_refused_without_crash_or_hang(tmp_path):
    path = tmp_path / "x.safetensors"
    headers = {
        "deep": b"[" * 200_000,
        "a number of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
        "huge shape": META + b'{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
        "offsets that are no numbers": META + b'{"dtype":"F32","shape":[1],"data_offsets":["x"]}}',
        "no offsets": META + b'{"dtype":"F32"}}',
        "tensor that is a list": META + b"[1,2]}",
        "metadata that is a list": b'{"__metadata__":["mnist_paddle"]}',
        "metadata that is a number": b'{"__metadata__":7}',
        "progress that is no JSON": b'{"__metadata__":{"mnist_paddle":"{"}}',
        "progress that is a list": b'{"__metadata__":{"mnist_paddle":"[2]"}}',
        "format that is text": b'{"__metadata__":{"mnist_paddle":"{\\"format\\":\\"2\\"}"}}',
        "not UTF-8": b'{"\xff\xfe":1}',
    }
    for name, header in headers.items():
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(UsageError, match=r"x\.safetensors"):
            pytest.fail(f"{name}: {checkpoint.load(path)}")


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices as files")
def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (tmp_path / "pipe.safetensors", "/dev/zero", "/dev/null"):
        with pytest.raises(UsageError, match="not a file"):
            checkpoint.load(path)


def test_a_huge_file_of_something_else_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        file.write((10_000_000_000).to_bytes(8, "little"))
        os.truncate(file.fileno(), 100_000_000_000)  # sparse: it takes no room
    with pytest.raises(UsageError, match="not a safetensors file"):
        checkpoint.load(path)


def test_a_damaged_checkpoint_is_named_with_those_beside_it(tmp_path):
    for name in ("last", "best", "step_00000010"):
        checkpoint.save(tmp_path / f"{name}.safetensors", ARRAYS, {"step": 7})
    path = tmp_path / "last.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"last.*damaged.*beside it: best\.safetensors, step_00000010\.safetensors"):
        checkpoint.load(path)


# progress of a stranger: rightly summed, and nothing that a run would write
STRANGE = [
    {"step": "7"},
    {"step": -1},
    {"step": True},
    {"stale": 1.5},
    {"best_accuracy": None},
    {"window": None},
    {"window": {"first": 0, "losses": 3}},
    {"window": {"first": 0, "lasses": []}},
    {"window": {"first": 0, "losses": ["x"], "right": 0, "count": 0}},
    {"window": {"first": 3, "losses": [], "right": 0, "count": 0}},
    {"step": 10**400},
    {"best_accuracy": 10**400},
    {"figures": None},
    {"figures": {"loss": "x"}},
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_a_strangers_progress_is_refused(strange):
    state = build(Config(model="linear"))
    arrays, progress = snapshot(state)
    restore(state, arrays, progress, "sound")
    with pytest.raises(UsageError, match="here"):
        restore(state, arrays, {**progress, **strange}, "here")


# settings of a stranger, in a checkpoint that is whole
STRANGE_SETTINGS = [
    {"model": "nosuch"},
    {"model": ["cnn"]},
    {"model_args": {"widths": [10**13]}},
    {"model_args": {"widths": [-1]}},
    {"model_args": {"outputs": 10**13}},
    {"model_args": [1]},
    {"loss_args": {"epsilan": 1}},
    {"data_dir": 3},
    {"data_dir": "a\0b"},
    {"data_dir": ""},
    {"epochs": 10**400},
    {"validation_size": "x"},
    {"newer": 1},
]


@pytest.mark.parametrize("strange", STRANGE_SETTINGS, ids=lambda value: str(value)[:40])
def test_a_strangers_settings_are_refused(strange, tmp_path):
    state = build(Config(model="fc"))
    arrays, progress = snapshot(state)
    checkpoint.save(tmp_path / "x.safetensors", arrays, {**progress, "config": {"model": "fc", **strange}})
    with pytest.raises(UsageError):
        load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize("path", ["a" * 300, "a\0b", "x.safetensors/y"])
def test_a_path_that_no_system_has_is_the_users_to_mend(path, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    for find in (checkpoint.load, checkpoint.settings):
        with pytest.raises(UsageError):
            find(tmp_path / path)


def test_accumulators_of_another_optimizer_are_refused_by_name(tmp_path):
    trained, other = build(Config(model="linear")), build(Config(model="linear", optimizer="momentum"))
    make_accumulators(trained)
    trained.step = 1
    with pytest.raises(
        UsageError, match=r"optimizer: missing 1\.bias/velocity, 1\.weight/velocity; unexpected 1\.bias/beta1_pow_acc"
    ):
        restore(other, *snapshot(trained), "here")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_accumulators_survive_another_build_order_and_other_models(name):
    trained = build(Config(model="fc", optimizer=name))
    make_accumulators(trained)
    trained.step, trained.window = 1, Window(first=1)
    arrays, progress = snapshot(trained)
    generator = np.random.default_rng(0)
    arrays = {key: generator.random(array.shape).astype(array.dtype) for key, array in arrays.items()}
    build(Config(model="rnn"))  # Paddle's automatic names go on counting
    fresh = build(Config(model="fc", optimizer=name))
    restore(fresh, arrays, progress, "here")
    again, told = snapshot(fresh)
    assert told == progress
    assert again.keys() == arrays.keys()
    assert all(again[key].tobytes() == arrays[key].tobytes() for key in arrays)
