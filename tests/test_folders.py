"""Which data set is in a folder or an archive: found, chosen by name, or the error says how to choose and what is missing."""

import gzip
import io
import os
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits, write_csv, write_npz, write_pickle, write_pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import FUZZING, by_class, rejected, same

from mnist_paddle import UsageError, load_dataset
from mnist_paddle.data.formats import archives, read, streams
from mnist_paddle.data.formats.idx import idx_bytes
from mnist_paddle.data.formats.names import parse_name

TRAIN, TEST, OTHER = make_digits(60, 0), make_digits(20, 1), make_digits(30, 2)
TWO = {"train": TRAIN, "test": TEST}


def put(path, data) -> Path:
    """Write bytes or text; .gz names are compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def write_set(folder, prefix="", train=TRAIN, test=TEST, suffix="") -> Path:
    """IDX files whose names begin with a prefix."""
    for name, part in (("train", train), ("t10k" if not prefix else "test", test)):
        put(folder / f"{prefix}{name}-images-idx3-ubyte{suffix}", idx_bytes(part[0]))
        put(folder / f"{prefix}{name}-labels-idx1-ubyte{suffix}", idx_bytes(part[1]))
    return folder


# Folders


def kaggle(folder):
    """Four files, and four folders of nearly the same names with the same files in them."""
    for file in write_set(folder / "plain").iterdir():
        put(folder / "archive" / file.name.replace("-idx", ".idx"), file.read_bytes())
        put(folder / "archive" / file.name / file.name, file.read_bytes())
    return folder / "archive"


def kaggle_folders(folder):
    """The same without the files."""
    archive = kaggle(folder)
    for file in [path for path in archive.iterdir() if path.is_file()]:
        file.unlink()
    return archive


def torchvision(folder):
    """torchvision's root."""
    write_set(folder / "root" / "MNIST" / "raw", suffix=".gz")
    write_set(folder / "root" / "MNIST" / "raw")
    return folder / "root"


def junk(folder):
    """Class folders with what systems leave in them."""
    mine = write_pictures(folder / "mine", TRAIN)
    put(mine / "__MACOSX" / "mine" / "3" / "._00003.png", b"\0\5\x16\7Mac")
    for name in ("3/desktop.ini", "4/thumbs.db", "5/Thumbs.db", "6/.DS_Store", "Desktop.ini", "README.md", "LICENSE"):
        put(mine / name, b"\xd0\xcf\x11\xe0")
    return mine


def papers(folder):
    """IDX files with documents and programs."""
    mine = write_set(folder / "mine")
    for name in ("readme.txt", "README", "LICENSE", "notes.txt", "train.py", "train.log", "test.ipynb", "classes.md"):
        put(mine / name, "0 and more\n")
    return mine


def pair(folder):
    """mnist_train.csv and mnist_test.csv."""
    (folder / "pair").mkdir()
    write_csv(folder / "pair" / "mnist_train.csv", TRAIN, header=False)
    return write_csv(folder / "pair" / "mnist_test.csv", TEST, header=False).parent


def three(folder):
    """train.csv, val.csv and test.csv."""
    (folder / "three").mkdir()
    for name, part in (("train", TRAIN), ("val", OTHER), ("test", TEST)):
        write_csv(folder / "three" / f"{name}.csv", part)
    return folder / "three"


def digit_recognizer(folder):
    """Kaggle's digit recognizer: the test file has no labels."""
    path = write_csv(put(folder / "digit" / "sample_submission.csv", "ImageId,Label\n1,0\n").parent / "train.csv", TRAIN)
    lines = path.read_text().splitlines()
    put(path.with_name("test.csv"), "\n".join(line.partition(",")[2] for line in lines) + "\n")
    return path.parent


def kmnist(folder):
    """One array in each file."""
    for name, part in (("train", TRAIN), ("test", TEST)):
        (folder / "kmnist").mkdir(exist_ok=True)
        np.savez(folder / "kmnist" / f"kmnist-{name}-imgs.npz", part[0])
        np.savez(folder / "kmnist" / f"kmnist-{name}-labels.npz", part[1])
    return folder / "kmnist"


def npy_files(folder):
    """x_train.npy, ..."""
    (folder / "npy").mkdir()
    for name, array in zip(("x_train", "y_train", "x_test", "y_test"), (*TRAIN, *TEST)):
        np.save(folder / "npy" / f"{name}.npy", array)
    return folder / "npy"


def three_idx(folder):
    """A validation part."""
    mine = write_set(folder / "mine")
    put(mine / "val-images-idx3-ubyte", idx_bytes(OTHER[0]))
    put(mine / "val-labels-idx1-ubyte", idx_bytes(OTHER[1]))
    return mine


def nested_parts(folder):
    """The part is the name of the folder."""
    for name, part in (("train", TRAIN), ("test", TEST)):
        put(folder / "mine" / name / "images-idx3-ubyte", idx_bytes(part[0]))
        put(folder / "mine" / name / "labels-idx1-ubyte", idx_bytes(part[1]))
    return folder / "mine"


def second_download(folder):
    """The same file twice."""
    mine = write_set(folder / "mine", suffix=".gz")
    put(mine / "train-images-idx3-ubyte (1).gz", idx_bytes(TRAIN[0]))
    return mine


def unpacked_table(folder):
    """A CSV file and its gzip."""
    packed = put(folder / "mine" / "digits.csv.gz", write_csv(folder / "digits.csv", TRAIN).read_bytes())
    put(packed.with_suffix(""), gzip.decompress(packed.read_bytes()))
    return folder / "mine"


def unpacked_beside_archive(folder):
    """An archive beside what was in it."""
    mine = write_set(folder / "mine")
    with zipfile.ZipFile(mine / "archive.zip", "w") as archive:
        archive.writestr("train-images-idx3-ubyte", idx_bytes(OTHER[0]))
    return mine


ALL = {"all": TRAIN}
FOLDERS = {
    "IDX files beside folders": (kaggle, TWO),
    "IDX files in a folder each": (kaggle_folders, TWO),
    "torchvision's root": (torchvision, TWO),
    "torchvision's MNIST folder": (lambda folder: torchvision(folder) / "MNIST", TWO),
    "a wrapper": (lambda folder: write_pictures(folder / "top" / "my_digits", TRAIN).parent, {"all": by_class(TRAIN)}),
    "two wrappers": (lambda folder: write_set(folder / "a" / "b" / "c").parents[1], TWO),
    "junk": (junk, {"all": by_class(TRAIN)}),
    "documents and programs": (papers, TWO),
    "a pair of CSV files": (pair, TWO),
    "three CSV files": (three, {"train": TRAIN, "validation": OTHER, "test": TEST}),
    "Kaggle's digit recognizer": (digit_recognizer, ALL),
    "KMNIST": (kmnist, TWO),
    "npy files": (npy_files, TWO),
    "an npy file with its siblings": (lambda folder: npy_files(folder) / "x_train.npy", TWO),
    "IDX files with a validation part": (three_idx, {"train": TRAIN, "validation": OTHER, "test": TEST}),
    "a folder for each part": (nested_parts, TWO),
    "a file downloaded twice": (second_download, TWO),
    "an archive beside the data": (unpacked_beside_archive, TWO),
    "a CSV file beside its gzip": (unpacked_table, ALL),
    "a training folder alone": (lambda folder: write_pictures(folder / "a" / "training", TRAIN).parent, {"all": by_class(TRAIN)}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_data_in_a_folder_is_found(name, tmp_path):
    write, parts = FOLDERS[name]
    same(read(write(tmp_path)), parts)


def test_a_class_folder_called_license_is_a_class(tmp_path):
    assert [path.name for path in streams.entries(write_pictures(tmp_path / "mine" / "license", TRAIN).parent)] == ["license"]


def test_notes_say_where_data_was_found_and_what_was_not_read(tmp_path):
    assert f"read from {tmp_path}/root/MNIST/raw" in read(torchvision(tmp_path)).notes
    assert read(digit_recognizer(tmp_path)).notes == ["test.csv not read: it has no labels"]
    assert read(unpacked_beside_archive(tmp_path)).notes == ["archive.zip not read: an archive beside the data"]


# Several sets in one folder

SETS = {"emnist-letters": TRAIN, "emnist-digits": OTHER, "kannada": TEST}


@pytest.fixture
def several(tmp_path):
    """A folder of three data sets whose names begin their files' names."""
    for name, part in SETS.items():
        write_set(tmp_path / "gzip", f"{name}-", part, part, ".gz")
    return tmp_path / "gzip"


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_chosen_by_the_beginning_of_its_files_names(name, several):
    raw = read(several / name)
    assert raw.splits["train"][1].tolist() == SETS[name][1].tolist()


def test_a_beginning_that_only_one_set_has_chooses_it(several):
    for path in several.glob("emnist-digits*"):
        path.unlink()
    assert len(read(several / "emnist").splits["train"][1]) == 60


def test_sets_of_one_folder_are_not_mixed_but_named(several):
    rejected(several, "emnist-digits, emnist-letters, kannada", f"--data_dir {several}/emnist-")
    rejected(several / "emnist", "emnist-digits, emnist-letters", f"--data_dir {several}/emnist-")


def test_a_missing_path_names_the_sets_in_the_folder(several, tmp_path):
    rejected(several / "emnist-letter", "no such file or folder; check --data_dir", "has emnist-digits, emnist-letters, kannada")
    write_pictures(tmp_path / "my_digits", TRAIN)
    for name in ("my", "my_digit", "gzi", "gzip/emn"):  # the beginning of a folder is no choice
        rejected(tmp_path / name, "no such file or folder; check --data_dir")


def test_an_idx_file_reads_its_own_set(several):
    raw = read(several / "emnist-digits-test-labels-idx1-ubyte.gz")
    assert raw.splits["train"][1].tolist() == OTHER[1].tolist()


def test_a_csv_set_is_chosen_by_name(tmp_path):
    for name, part in (("mnist_train", TRAIN), ("mnist_test", TEST), ("letters_train", OTHER), ("letters_test", TEST)):
        write_csv(tmp_path / f"{name}.csv", part)
    rejected(tmp_path, "letters, mnist", f"--data_dir {tmp_path}/letters")
    same(read(tmp_path / "mnist"), TWO)
    same(read(tmp_path / "mnist_train.csv"), {"all": TRAIN})


AMBIGUOUS = {
    "two formats": lambda folder: write_npz(write_set(folder) / "mine.npz", TRAIN, TEST),
    "files and pictures": lambda folder: write_pictures(write_set(folder), TRAIN),
    "two folders": lambda folder: (write_set(folder / "MNIST" / "raw"), write_set(folder / "FashionMNIST" / "raw")),
    "two unnamed tables": lambda folder: (write_csv(folder / "a.csv", TRAIN), write_csv(folder / "b.csv", TEST)),
    "two pickles": lambda folder: (write_pickle(folder / "a.pkl", [TRAIN, TEST]), write_pickle(folder / "b.pkl", [TRAIN, TEST])),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_two_data_sets_in_one_folder_are_rejected(name, tmp_path):
    AMBIGUOUS[name](tmp_path)
    rejected(tmp_path, "more than one dataset", "--data_dir")


def test_unpacked_files_of_one_set_are_not_mixed_with_compressed_ones_of_another(tmp_path):
    mine = write_set(tmp_path / "mine", suffix=".gz")
    put(mine / "train-images-idx3-ubyte", idx_bytes(TRAIN[0][::-1].copy()))
    rejected(mine, "train-images-idx3-ubyte.gz", "with other content", "keep one")
    put(mine / "train-images-idx3-ubyte", idx_bytes(TRAIN[0]))
    same(read(mine), TWO)


def test_two_different_files_for_one_part_are_not_mixed(tmp_path):
    mine = write_set(tmp_path / "mine")
    put(mine / "train-images.idx3-ubyte", idx_bytes(TRAIN[0][::-1].copy()))
    rejected(mine, "train-images", "with other content", "keep one")


# Halves: removed files -> words

HALVES = {
    "train-labels": ("no matching labels file", "train-labels-idx1-ubyte"),
    "train-images": ("no matching images file", "train-images-idx3-ubyte"),
    "t10k-labels": ("no matching labels file", "t10k-labels-idx1-ubyte"),
    "train": ("no training images", "train-images-idx3-ubyte and train-labels-idx1-ubyte"),
}


@pytest.mark.parametrize("name", HALVES)
def test_half_of_a_data_set_names_what_is_missing(name, tmp_path):
    for path in write_set(tmp_path / "mine").glob(f"{name}*"):
        path.unlink()
    rejected(tmp_path / "mine", *HALVES[name])


def test_the_training_half_alone_is_noted(tmp_path):
    for path in write_set(tmp_path / "mine").glob("t10k*"):
        path.unlink()
    assert "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte" in read(tmp_path / "mine").notes[0]


def test_csv_parts_without_a_test_part_are_rejected(tmp_path):
    (three(tmp_path) / "test.csv").unlink()
    rejected(tmp_path / "three", "no test part")


def test_an_unreadable_part_is_not_mistaken_for_a_missing_one(tmp_path):
    put(pair(tmp_path) / "mnist_test.csv", b"")
    rejected(tmp_path / "pair", "mnist_test.csv: the file is empty")


def test_pictures_without_class_folders_are_named(tmp_path):
    write_pictures(tmp_path / "mine", TRAIN)
    rejected(tmp_path / "mine" / "3", "pictures without class folders", "subfolder")


def test_a_folder_of_very_many_folders_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_paddle.data.formats.folders.MAX_FOLDERS", 20)
    for number in range(30):
        (tmp_path / f"folder {number}" / "more").mkdir(parents=True)
    rejected(tmp_path, "over 20 folders")


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "emnist-letters-train-images-idx3-ubyte.gz": ("emnist-letters", "train", "images"),
        "t10k-labels.idx1-ubyte": ("", "test", "labels"),
        "emnist-digits-test-labels-idx1-ubyte": ("emnist-digits", "test", "labels"),
        "mnist_train.csv": ("mnist", "train", None),
        "train-00000-of-00002.parquet": ("", "train", None),
        "X_kannada_MNIST_train.npz": ("kannada-mnist", "train", "images"),
        "trainX": ("", "train", "images"),
        "ytest": ("", "test", "labels"),
        "valid_labels": ("", "validation", "labels"),
        "set-2-train-images": ("set-2", "train", "images"),
        "contest.csv": ("contest", None, None),
    }.items(),
)
def test_names_are_taken_apart(name, expected):
    assert tuple(parse_name(name)) == expected


# Public datasets under another name


@pytest.mark.mnist
def test_mnist_under_the_name_of_fashion_mnist_is_recognized(mnist, tmp_path):
    train = [np.concatenate([getattr(split, kind) for split in (mnist.train, mnist.validation)]) for kind in ("images", "labels")]
    path = write_set(tmp_path / "FashionMNIST", "", train, (mnist.test.images, mnist.test.labels))
    with pytest.raises(UsageError, match="contains mnist, not fashion_mnist; use --dataset mnist"):
        load_dataset("fashion_mnist", str(path))


def test_fashion_mnist_under_the_name_of_mnist_is_recognized(tmp_path):
    first = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]  # as printed in many tutorials; the images do not matter here
    rest = np.repeat(np.arange(10), 6000 - np.bincount(first, minlength=10))
    labels = np.concatenate([first, rest]).astype(np.uint8)
    images = np.zeros((60_000, 28, 28), np.uint8)
    images[:, 5, 5] = 200
    path = write_npz(tmp_path / "mnist.npz", (images, labels), (images[:10_000], np.repeat(np.arange(10), 1000)))
    with pytest.raises(UsageError, match="contains fashion_mnist, not mnist; use --dataset fashion_mnist"):
        load_dataset("mnist", str(path))


# Archives


def zipped(path, folder) -> Path:
    """A zip of a folder, with a Mac's additions."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
        archive.writestr("__MACOSX/._mine", b"\0\5\x16\7")
    return path


def tarred(path, folder, mode="w:gz") -> Path:
    """A tar archive of a folder."""
    with tarfile.open(path, mode) as archive:
        archive.add(folder, folder.name)
    return path


PACKERS = {
    "zip": lambda path, folder: zipped(path.with_suffix(".zip"), folder),
    "tar.gz": lambda path, folder: tarred(path.with_suffix(".tgz"), folder),
    "tar": lambda path, folder: tarred(path.with_suffix(".tar"), folder, "w"),
    "zip without a suffix": zipped,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["a pair of CSV files", "torchvision's root", "a wrapper", "KMNIST"])
def test_an_archive_is_read_as_its_folder_and_nothing_is_left(packer, name, tmp_path, monkeypatch):
    write, parts = FOLDERS[name]
    (tmp_path / "temporary").mkdir()
    path = PACKERS[packer](tmp_path / "packed", write(tmp_path / "work") if (tmp_path / "work").mkdir() is None else None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    raw = read(path)
    same(raw, parts)
    assert raw.format.endswith(" in an archive")
    assert not any(str(tmp_path / "temporary") in text for text in raw.notes)
    assert os.listdir(tmp_path / "temporary") == []


def test_a_set_within_an_archive_is_chosen_by_name(several, tmp_path):
    path = zipped(tmp_path / "gzip.zip", several)
    rejected(path, f"--data_dir {path}/gzip/emnist-digits")
    assert len(read(path / "gzip" / "kannada").splits["train"][1]) == 20


def test_a_folder_with_one_archive_is_that_archive(tmp_path):
    (tmp_path / "mine").mkdir()
    zipped(tmp_path / "mine" / "archive.zip", write_set(tmp_path / "work"))
    same(read(tmp_path / "mine"), TWO)


def zip_of(path, **members) -> Path:
    """A zip of these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def zip_with_link(folder):
    """A zip with a symbolic link to a file outside."""
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("train.csv")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return folder / "bad.zip"


def tar_of(folder, kind=tarfile.REGTYPE, name="train.csv", size=0, link="") -> Path:
    """A tar archive with one member."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    with tarfile.open(folder / "bad.tar", "w") as archive:
        archive.addfile(info, io.BytesIO(bytes(size)))
    return folder / "bad.tar"


def cut(path, size) -> Path:
    """The first bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])
    return path


ARCHIVES = {
    "a name that leads out": (lambda folder: zip_of(folder / "bad.zip", **{"../train.csv": "1"}), "leads out of the folder"),
    "an absolute name": (lambda folder: zip_of(folder / "bad.zip", **{"/tmp/train.csv": "1"}), "leads out of the folder"),
    "a drive": (lambda folder: zip_of(folder / "bad.zip", **{"C:\\train.csv": "1"}), "leads out of the folder"),
    "a name that leads out of a tar": (lambda folder: tar_of(folder, name="a/../../train.csv"), "leads out of the folder"),
    "a link": (zip_with_link, "is a link"),
    "a link in a tar": (lambda folder: tar_of(folder, tarfile.SYMTYPE, link="/etc/passwd"), "is a link"),
    "a hard link in a tar": (lambda folder: tar_of(folder, tarfile.LNKTYPE, link="/etc/passwd"), "is a link"),
    "a device in a tar": (lambda folder: tar_of(folder, tarfile.CHRTYPE), "link or device"),
    "an archive in it": (
        lambda folder: zip_of(folder / "bad.zip", **{"a.zip": zip_of(folder / "a.zip", x="y").read_bytes()}),
        "an archive within",
    ),
    "no data": (lambda folder: zip_of(folder / "bad.zip", **{"notes.txt": "hello"}), "no supported dataset (notes.txt)"),
    "nothing": (lambda folder: zip_of(folder / "bad.zip"), "bad.zip"),
    "a PyTorch file": (lambda folder: zip_of(folder / "bad.zip", **{"archive/data.pkl": "x"}), "a PyTorch file"),
    "a zip cut off": (lambda folder: cut(zipped(folder / "bad.zip", write_set(folder / "a")), 3000), "not a readable"),
    "a tar cut off": (lambda folder: cut(tarred(folder / "bad.tgz", write_set(folder / "a")), 3000), "download it again"),
    "7z": (lambda folder: put(folder / "bad.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60)), "a 7z archive; unpack it"),
    "RAR": (lambda folder: put(folder / "bad.rar", b"Rar!\x1a\x07\x01\x00" + bytes(60)), "a RAR archive; unpack it"),
    "xz": (lambda folder: put(folder / "bad.xz", b"\xfd7zXZ\x00" + bytes(60)), "xz; unpack it"),
    "a single picture": (lambda folder: next(write_pictures(folder / "a", TRAIN).rglob("*.png")), "a single picture"),
    "an Excel workbook": (
        lambda folder: zip_of(folder / "bad.xlsx", **{"xl/workbook.xml": "x"}),
        "an Excel workbook; save it as CSV",
    ),
    "ARFF": (lambda folder: put(folder / "bad.arff", "@RELATION mnist\n@DATA\n0,1\n"), "an ARFF file"),
    "HDF5": (lambda folder: put(folder / "bad.h5", b"\x89HDF\r\n\x1a\n" + bytes(60)), "an HDF5 file; save its arrays"),
    "MATLAB": (lambda folder: put(folder / "bad.mat", b"MATLAB 5.0 MAT-file" + bytes(60)), "a MATLAB file"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_bad_archive_is_rejected_and_nothing_is_left(name, tmp_path, monkeypatch):
    make, words = ARCHIVES[name]
    path = make(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert str(tmp_path / "temporary") not in rejected(path, path.name, words)
    assert os.listdir(tmp_path / "temporary") == []


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "lying zip"])
def test_an_archive_bomb_ends_at_the_limit(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_BYTES", 4 << 20)
    put(tmp_path / "work" / "train.csv", bytes(12 << 20))
    path = tarred(tmp_path / "bomb.tgz", tmp_path / "work") if kind == "tar.gz" else zipped(tmp_path / "b.zip", tmp_path / "work")
    if kind == "lying zip":  # the sizes in the directory say 1 byte
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", 12 << 20), struct.pack("<I", 1)))
        rejected(path, path.name)
    else:
        rejected(path, path.name, "over 4 MiB uncompressed")


def test_an_archive_of_too_many_files_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    for name in ("zip", "tar.gz"):
        rejected(PACKERS[name](tmp_path / "packed", write_pictures(tmp_path / name, TRAIN)), "over 5 files")


SMALL = make_digits(6, 3)
PLACES = st.one_of(st.integers(0, 600), st.integers(0, 1 << 14), st.integers(-200, -1))
MUTATIONS = st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=2)), min_size=1, max_size=4)


@pytest.mark.parametrize("packer", ["zip", "tar.gz", "tar"])
@settings(max_examples=25, **FUZZING)
@given(mutations=MUTATIONS)
def test_a_mutated_archive_is_rejected_or_valid(packer, tmp_path, mutations):
    if not (tmp_path / "work").exists():
        PACKERS[packer](tmp_path / "packed", write_set(tmp_path / "work", "", SMALL, SMALL)).rename(tmp_path / "whole")
    data = bytearray((tmp_path / "whole").read_bytes())
    for place, piece in mutations:
        place %= len(data)
        data[place : place + len(piece)] = piece
    try:
        raw = read(put(tmp_path / "mutated", bytes(data)))
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017  both outcomes are right
        return
    assert all(images.shape == (len(labels), 28, 28) for images, labels in raw.splits.values())
