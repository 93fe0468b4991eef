"""Data sets over the budget of memory stay on the disk, and are read to the last bit as others are."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle.data import large
from mnist_paddle.data.corrections import correct, to_text
from mnist_paddle.data.dataset import Dataset, load_dataset
from mnist_paddle.data.formats.idx import idx_bytes
from mnist_paddle.data.loader import Loader
from mnist_paddle.errors import UsageError

PARTS = ("train", "validation", "test")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(folder))
    return folder


def write(folder, kind: str, prefix: str = ""):
    """1,000 digits for training and 200 for the test, as files of a format."""
    folder.mkdir(exist_ok=True)
    images, labels = make_digits(1200)
    parts = {"train": (images[:1000], labels[:1000]), "t10k": (images[1000:], labels[1000:])}
    if kind in ("npz", "npz compressed", "npz of floats"):
        arrays = {f"{name}_{part}": array for part, pair in parts.items() for name, array in zip("xy", pair)}
        arrays = {name.replace("t10k", "test"): array for name, array in arrays.items()}
        if kind == "npz of floats":
            arrays = {name: array / np.float32(255) if name[0] == "x" else array for name, array in arrays.items()}
        (np.savez if kind == "npz" else np.savez_compressed)(folder / "digits.npz", **arrays)
        return folder / "digits.npz"
    if kind == "npy":
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels)
        return folder / "images.npy"
    for part, pair in parts.items():
        for name, array in zip(("images-idx3", "labels-idx1"), pair):
            data = idx_bytes(array)
            path = folder / f"{prefix}{part}-{name}-ubyte"
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(data)) if kind == "IDX gzip" else path.write_bytes(data)
    return folder


def load(path, **settings) -> Dataset:
    return load_dataset("custom", str(path), log=lambda line: None, **settings)


def is_mapped(array: np.ndarray) -> bool:
    """Whether the memory of an array is a mapped file."""
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    for span, _, _, device, *_ in maps:
        start, stop = (int(word, 16) for word in span.split("-"))
        if start <= array.__array_interface__["data"][0] < stop:
            return device != "00:00"
    raise AssertionError("the array is nowhere")


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
KINDS = ["IDX", "IDX gzip", "npz", "npz compressed", "npz of floats", "npy"]


@linux
@pytest.mark.parametrize("split", ["stratified", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_to_the_same_bits_from_the_disk(kind, split, tmp_path, monkeypatch, cache):
    path = write(tmp_path / "data", kind)
    plain = load(path, validation_split=split, validation_size=100)
    monkeypatch.setattr(large, "BUDGET", 50_000)
    mapped = load(path, validation_split=split, validation_size=100)
    assert is_mapped(mapped.train.images)
    assert not is_mapped(plain.train.images)
    assert mapped.fingerprint() == plain.fingerprint()
    assert mapped.normalization == plain.normalization
    assert (mapped.notes, mapped.findings, mapped.classes) == (plain.notes, plain.findings, plain.classes)
    for part in PARTS:
        assert np.array_equal(getattr(mapped, part).images, getattr(plain, part).images), part
    for one, other in zip(*(Loader(data.train, 64, reader="sync").batches(0, 14) for data in (plain, mapped))):
        assert np.array_equal(one.images.numpy(), other.images.numpy())
    assert list(cache.iterdir()) == [] if cache.exists() else True  # the files have no names


@linux
def test_emnist_is_turned_and_corrections_are_made_on_the_disk(tmp_path, monkeypatch, cache):
    path = write(tmp_path / "data", "IDX", prefix="emnist-digits-")
    plain = load(path, validation_size=100)
    file = tmp_path / "corrections.json"
    file.write_text(to_text(plain.fingerprint(), {"train": {3: "7"}}, {"train": [5, 9]}))
    monkeypatch.setattr(large, "BUDGET", 50_000)
    mapped = load(path, validation_size=100)
    assert "EMNIST's images are transposed: turned upright" in mapped.notes or mapped.notes == plain.notes
    one, other = correct(plain, file), correct(mapped, file)
    assert one.fingerprint() == other.fingerprint()
    assert len(other.train) == 898
    assert is_mapped(other.train.images)


def test_the_helpers_do_what_numpy_does(monkeypatch, cache):
    array = np.random.default_rng(0).integers(0, 255, (300, 5, 7), np.uint8)
    order = np.random.default_rng(1).permutation(300)
    monkeypatch.setattr(large, "BUDGET", 1000)
    monkeypatch.setattr(large, "BLOCK", 999)
    notes = []
    assert np.array_equal(large.taken(array, order, notes), array[order])
    assert np.array_equal(large.joined([array, array[:3]], notes), np.concatenate([array, array[:3]]))
    assert np.array_equal(large.turned(array, notes), array.transpose(0, 2, 1))
    assert notes == []


def test_without_space_the_images_are_held_in_memory_and_one_note_says_so(tmp_path, monkeypatch, cache):
    path = write(tmp_path / "data", "IDX gzip")
    plain = load(path, validation_size=100)
    monkeypatch.setattr(large, "BUDGET", 700_000)

    def full(file, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large, "allocate", full)
    kept = load(path, validation_size=100)
    assert kept.fingerprint() == plain.fingerprint()
    told = [note for note in kept.notes if "held in memory" in note]
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert "MNIST_PADDLE_CACHE" in told[0]


def test_a_file_that_ends_early_is_refused(tmp_path, monkeypatch, cache):
    path = write(tmp_path / "data", "IDX") / "train-images-idx3-ubyte"
    monkeypatch.setattr(large, "BUDGET", 50_000)
    os.truncate(path, 300_000)
    with pytest.raises(UsageError, match="its header declares 784,000 bytes, but the file has 299,984"):
        load(tmp_path / "data")
    with pytest.raises(UsageError, match="ends early"):
        large.map_file(path, 16, np.uint8, (1000, 28, 28))


@linux
def test_deleting_or_replacing_the_file_changes_nothing(tmp_path, monkeypatch, cache):
    folder = write(tmp_path / "data", "IDX")
    monkeypatch.setattr(large, "BUDGET", 50_000)
    data = load(folder, validation_split="last")
    before = data.train.images.copy()
    (folder / "new").write_bytes(b"x")
    os.replace(folder / "new", folder / "train-images-idx3-ubyte")
    assert np.array_equal(data.train.images, before)


@linux
def test_memory_stays_flat_as_the_data_grows(tmp_path):
    """A process that reads, checks, normalizes and goes through 300 MB of images has no more memory of its own than with 4."""
    images, labels = make_digits(1000)
    peaks = []
    for times in (5, 400):
        folder = tmp_path / str(times)
        folder.mkdir()
        for part, count in (("train", times), ("t10k", 1)):
            with open(folder / f"{part}-images-idx3-ubyte", "wb") as file:
                file.write(idx_bytes(np.zeros((0, 28, 28), np.uint8))[:4] + np.array([1000 * count, 28, 28], ">u4").tobytes())
                for number in range(count):
                    images[:, 0, 0], images[:, 27, 27] = number % 256, number // 256
                    file.write(images.tobytes())
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.tile(labels, count).astype(np.uint8)))
        code = f"""
import threading, time
from mnist_paddle.data.checks import check
from mnist_paddle.data.dataset import load_dataset
from mnist_paddle.data.loader import Sampler, Source
def anonymous(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
before, most = anonymous(), [0]
def watch():
    while True: most[0] = max(most[0], anonymous()); time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
data = load_dataset("custom", {str(folder)!r}, log=lambda line: None)
data.fingerprint(), data.normalization, check(data)
sampler = Sampler(len(data.train), 500)
for step in range(sampler.batches): Source(data.train, sampler, data.normalization).batch(step)
print((most[0] - before) // 1024)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    # 310 MB more of images; labels, orders and hashes are 8 bytes an image each.
    assert peaks[1] - peaks[0] < 100, peaks
