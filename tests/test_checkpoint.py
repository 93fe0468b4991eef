import json

import numpy as np
import paddle
import pytest
import safetensors.numpy

from mnist_paddle import MODELS, UsageError, checkpoint, make_optimizer
from mnist_paddle.files import write_atomically

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
