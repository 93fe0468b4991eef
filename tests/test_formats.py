import gzip
import os
import pickle
import shutil
import struct
import zipfile

import numpy as np
import pytest
from digits import make_digits, write_csv, write_idx, write_json, write_npz, write_pickle, write_pictures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mnist_paddle import UsageError
from mnist_paddle.data import formats
from mnist_paddle.data.formats import containers, pictures, streams, text
from mnist_paddle.data.formats.arrays import to_bytes
from mnist_paddle.data.sources import idx_bytes

TRAIN, VALIDATION, TEST = make_digits(40), make_digits(12, seed=1), make_digits(10, seed=2)
PARTS = (TRAIN, VALIDATION, TEST)


def pack(path):
    """The file, compressed in place."""
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    return path


# format -> (writer of a file or folder below the path given, the parts it holds)
WRITERS = {
    "idx": (lambda p: write_idx(p / "idx", TRAIN, TEST), {"train": TRAIN, "test": TEST}),
    "idx packed": (lambda p: write_idx(p / "idx", TRAIN, TEST, packed=True), {"train": TRAIN, "test": TEST}),
    "one idx file": (
        lambda p: write_idx(p / "i", TRAIN, TEST) / "train-images-idx3-ubyte",
        {"train": TRAIN, "test": TEST},
    ),
    **{
        f"json {scale}": (
            lambda p, scale=scale: write_json(p / "mnist.json.gz", PARTS, scale),
            {"train": TRAIN, "validation": VALIDATION, "test": TEST},
        )
        for scale in ("255", "0..1", "/256", "-1..1")
    },
    **{
        f"pickle {protocol}": (
            lambda p, protocol=protocol: write_pickle(p / "mnist.pkl.gz", PARTS, protocol),
            {"train": TRAIN, "validation": VALIDATION, "test": TEST},
        )
        for protocol in (2, 3, 4)
    },
    "npz": (lambda p: write_npz(p / "mnist.npz", TRAIN, TEST), {"train": TRAIN, "test": TEST}),
    "csv": (lambda p: write_csv(p / "train.csv", TRAIN), {"all": TRAIN}),
    "csv without header": (lambda p: write_csv(p / "train.csv", TRAIN, header=False), {"all": TRAIN}),
    "csv packed": (lambda p: pack(write_csv(p / "train.csv.gz", TRAIN)), {"all": TRAIN}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_written_is_read(tmp_path, name):
    write, parts = WRITERS[name]
    raw = formats.read(write(tmp_path))
    assert raw.parts.keys() == parts.keys()
    for part, (images, labels) in parts.items():
        assert raw.parts[part][0].dtype == raw.parts[part][1].dtype == np.uint8
        assert (raw.parts[part][0] == images).all(), part
        assert (raw.parts[part][1] == labels).all(), part


@pytest.mark.parametrize("name", [name for name in WRITERS if "idx" not in name])
def test_the_content_counts_not_the_name(tmp_path, name):
    path = WRITERS[name][0](tmp_path)
    liar = shutil.copy(path, tmp_path / "train-images-idx3-ubyte")
    assert formats.read(liar).format == formats.read(path).format


@pytest.mark.parametrize(
    ("scale", "note"),
    [("255", "[0, 255]"), ("0..1", "[0, 1], pixel / 255"), ("/256", "[0, 1], pixel / 256"), ("-1..1", "[-1, 1]")],
)
def test_the_scale_found_is_said(tmp_path, scale, note):
    assert note in formats.read(write_json(tmp_path / "x", PARTS, scale)).notes[0]


def test_a_folder_with_one_dataset_in_it_is_that_dataset(tmp_path):
    write_npz(tmp_path / "mnist.npz", TRAIN, TEST)
    (tmp_path / ".DS_Store").write_bytes(b"noise")
    assert formats.read(tmp_path).format == "npz"


def test_plain_idx_files_win_over_packed_ones_and_it_is_said(tmp_path):
    folder = write_idx(tmp_path / "i", TRAIN, TEST)
    write_idx(folder, TRAIN, TEST, packed=True)
    raw = formats.read(folder)
    assert len(raw.notes) == 4
    assert (raw.parts["train"][0] == TRAIN[0]).all()


@pytest.mark.mnist
@pytest.mark.parametrize("name", ["idx", "idx packed", "pickle", "npz", "json"])
def test_the_real_mnist_survives_every_format(tmp_path, mnist, name):
    from mnist_paddle import load_dataset

    parts = [(split.images, split.labels) for split in (mnist.train, mnist.validation, mnist.test)]
    train = (mnist.train.images.base.reshape(-1, 28, 28)[:60_000], np.concatenate([parts[0][1], parts[1][1]]))
    if name == "json":  # 70,000 digits as JSON take half a minute; their first thousands take the same path
        small = [(images[:1500], labels[:1500]) for images, labels in parts]
        raw = formats.read(write_json(tmp_path / "mnist.json.gz", small, "/256"))
        assert all((raw.parts[part][0] == small[i][0]).all() for i, part in enumerate(raw.parts))
        return
    path = {
        "idx": lambda: write_idx(tmp_path / "i", train, parts[2]),
        "idx packed": lambda: write_idx(tmp_path / "i", train, parts[2], packed=True),
        "pickle": lambda: write_pickle(tmp_path / "mnist.pkl.gz", parts),
        "npz": lambda: (
            np.savez(tmp_path / "m.npz", x_train=train[0], y_train=train[1], x_test=parts[2][0], y_test=parts[2][1])
            or tmp_path / "m.npz"
        ),
    }[name]()
    # `mnist` from a file is accepted only when its digests are the true ones.
    found = load_dataset("mnist", str(path))
    assert (len(found.train), len(found.validation), len(found.test)) == (50_000, 10_000, 10_000)


# Bad input


def refuse(path, *words):
    """Reading must end in one line that names the file and holds the words."""
    with pytest.raises(UsageError) as caught:
        formats.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    for word in words:
        assert word in message


def idx_with(folder, **replaced):
    """A good IDX folder with some files' bytes replaced."""
    write_idx(folder, TRAIN, TEST)
    for name, data in replaced.items():
        next(folder.glob(f"{name.replace('_', '-')}*")).write_bytes(data)
    return folder


IMAGES = idx_bytes(TRAIN[0])
BAD_IDX = {
    "cut off": (IMAGES[:-100], "promises 31,360 bytes, the file holds 31,260"),
    "too long": (IMAGES + b"x", "the file holds more"),
    "cut in the header": (IMAGES[:9], "within its header"),
    "a huge promise": (IMAGES[:4] + struct.pack(">III", 2**32 - 1, 28, 28) + b"x", "4,294,967,295"),
    "27x28": (idx_bytes(np.zeros((5, 27, 28), np.uint8)), "27x28"),
    "gzip cut off": (gzip.compress(IMAGES)[:-200], "gzip data"),
    "gzip corrupt": (gzip.compress(IMAGES)[:200] + b"\0" * 50 + gzip.compress(IMAGES)[250:], "fetch the file again"),
    "gzip with a wrong checksum": (gzip.compress(IMAGES)[:-8] + b"\0" * 8, "gzip data"),
}


@pytest.mark.parametrize("kind", BAD_IDX)
def test_a_bad_idx_file_is_named_with_what_is_wrong(tmp_path, kind):
    data, words = BAD_IDX[kind]
    folder = idx_with(tmp_path / "i", train_images=data)
    with pytest.raises(UsageError, match="train-images-idx3-ubyte") as caught:
        formats.read(folder)
    assert words in str(caught.value)


def csv(line):
    return f"{line}\n"


PIXELS = ",".join(["7"] * 784)
DEEP = b"[" * 100_000
# kind -> (content, words of the message)
BAD_FILES = {
    "empty": (b"", "empty"),
    "not a dataset": (b"\x7fELF\x02\x01", "none of the formats"),
    "label 10": (f"label\n3,{PIXELS}\n10,{PIXELS}\n".encode(), "label 1 is 10"),
    "27 columns": (f"label\n3,{PIXELS}\n1,2,3\n".encode(), "line 3: has 3 numbers"),
    "a word": (f"label\n3,{PIXELS}\n3,{PIXELS[:-1]}x\n".encode(), "line 3"),
    "a pixel of 256": (f"3,{PIXELS[:-1]}256\n".encode(), "line 1"),
    "a fraction": (f"3,{PIXELS[:-1]}0.5\n".encode(), "line 1"),
    "not a number": (f"3,{PIXELS[:-1]}nan\n".encode(), "line 1"),
    "no label column": (f"pixel0,pixel1\n{PIXELS}\n".encode(), "first column must be the label"),
    "only a header": (b"label,pixel0\n", "no image"),
    "an endless line": (b"1," * (2 << 20), "longer than 1 MiB"),
    "json of another layout": (b'{"a": 1}', "none of the formats"),
    "json of numbers": (b"[1, 2, 3]", "layout must be"),
    "json too deep": (DEEP, "deep"),
    "json cut off": (b"[[[[" + PIXELS.encode() + b"], [", "ends early"),
    "json of 783": (b"[[[[" + PIXELS[2:].encode() + b"]], [1]]]", "783 numbers"),
    "json with a label 10": (b"[" + b",".join([b"[[[" + PIXELS.encode() + b"]], [10]]"] * 3) + b"]", "label 0 is 10"),
    "json with a label -1": (b"[" + b",".join([b"[[[" + PIXELS.encode() + b"]], [-1]]"] * 3) + b"]", "label 0 is -1"),
    "json with too few labels": (
        b"[[[[" + PIXELS.encode() + b"],[" + PIXELS.encode() + b"]], [1]]]",
        "counts must agree",
    ),
    "json with a word": (b"[[[[" + PIXELS.encode()[:-1] + b"x]], [1]]]", "not a number"),
    "json with NaN": (b"[[[[" + PIXELS.encode()[:-1] + b"NaN]], [1]]]", "finite"),
    "an endless list": (b"[[[[" + b"1," * (6 << 20), "8 MiB"),
    "a pickle of a number": (pickle.dumps(3, 2), "not of three"),
    "a pickle cut off": (pickle.dumps((1, 2, 3), 2)[:-1], "not a pickle of arrays"),
    "a big memo": (b"\x80\x02r\xff\xff\xff\x7f.", "not a pickle of arrays"),
    "npz cut off": (b"PK\x03\x04" + b"\0" * 30, "not a readable npz"),
}


# Zip files are not packed again, and an empty gzip is an empty file.
BAD_PACKED = [(kind, True) for kind in BAD_FILES if not kind.startswith(("empty", "npz"))]


@pytest.mark.parametrize(("kind", "packed"), [(kind, False) for kind in BAD_FILES] + BAD_PACKED)
def test_a_bad_file_gets_one_line_that_names_file_place_and_trouble(tmp_path, kind, packed):
    content, words = BAD_FILES[kind]
    path = tmp_path / "data.bin"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    refuse(path, words)


class Evil:
    """What unpickling must not run."""

    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, monkeypatch, protocol):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps((Evil(), Evil(), Evil()), protocol)))
    with pytest.raises(UsageError, match=r"mnist\.pkl\.gz"):
        formats.read(path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("module", [streams, containers])
def test_a_gzip_bomb_is_stopped_at_the_limit(tmp_path, monkeypatch, module):
    monkeypatch.setattr(streams, "MOST_BYTES", 4 << 20)
    head = {streams: b"3," + b"1," * 10, containers: b"\x80\x02U\x10"}[module]
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(head + b"\n" * (8 << 20), 1))
    with pytest.raises(UsageError, match=r"bomb\.gz"):
        formats.read(path)


def test_a_real_bomb_costs_little_memory_and_time(tmp_path):
    import resource

    with gzip.open(tmp_path / "bomb.json.gz", "wb", 1) as file:
        file.write(b"[[[")
        for _ in range(400):
            file.write(b" " * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(tmp_path / "bomb.json.gz", "8 MiB")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def npz(path, **arrays):
    np.savez(path, **{"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1], **arrays})
    return path


def test_an_npz_with_objects_is_refused(tmp_path):
    path = npz(tmp_path / "mnist.npz", y_test=np.array([None], dtype=object))
    refuse(path, "object")


def test_an_npz_without_an_array_says_which(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=TRAIN[0])
    refuse(tmp_path / "mnist.npz", "y_train")


def test_an_npz_whose_header_lies_is_refused_before_memory_is_taken(tmp_path):
    path = npz(tmp_path / "mnist.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x_train.npy"] = (
        members["x_train.npy"].replace(b"(40, 28, 28)", b"(4000000000, 28, 28)").replace(b" " * 8, b"", 1)
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refuse(path)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.full((2, 784), np.nan), "finite"),
        (np.full((2, 784), 300.0), "300"),
        (np.full((2, 784), -7.0), "-7"),
        (np.full((2, 784), "x"), "type"),
    ],
)
def test_pixels_of_no_known_scale_are_refused(values, word):
    with pytest.raises(UsageError, match=word):
        to_bytes(values, "here")


def test_what_the_system_refuses_is_one_line(tmp_path, monkeypatch):
    refuse(tmp_path / "missing", "no such file")
    with pytest.raises(UsageError, match="the folder is empty"):
        formats.read(tmp_path)
    path = write_csv(tmp_path / "train.csv", TEST)

    def refused(*arguments, **settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    refuse(path, "no permission")


def test_a_loop_of_links_is_one_line(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refuse(tmp_path / "a", "can't be read")


# Pictures


def test_grey_28x28_pictures_come_out_unchanged(tmp_path):
    raw = formats.read(write_pictures(tmp_path / "own", TRAIN))
    images, labels = raw.parts["all"]
    order = np.argsort(TRAIN[1], kind="stable")
    assert (images == TRAIN[0][order]).all()
    assert (labels == TRAIN[1][order]).all()
    assert raw.notes == []


def test_train_and_test_folders_are_parts(tmp_path):
    write_pictures(tmp_path / "own" / "train", TRAIN)
    write_pictures(tmp_path / "own" / "test", TEST)
    raw = formats.read(tmp_path / "own")
    assert {part: len(labels) for part, (_, labels) in raw.parts.items()} == {"train": 40, "test": 10}


DIGIT = Image.fromarray(TRAIN[0][0])


def transparent():
    """Black strokes on nothing, as a drawing program saves them."""
    picture = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    picture.putalpha(DIGIT)
    return picture


# kind -> (picture, what the notes say)
PICTURES = {
    "colour": (DIGIT.convert("RGB"), ["turned to grey"]),
    "palette": (DIGIT.convert("P"), ["turned to grey"]),
    "black on white": (Image.fromarray(255 - TRAIN[0][0]), ["inverted"]),
    "transparent": (transparent(), ["inverted", "turned to grey"]),
    "16 bits": (Image.fromarray(TRAIN[0][0].astype(np.uint16) * 257), ["turned to grey"]),
    "large": (DIGIT.resize((280, 280), Image.NEAREST), ["28x28"]),
    "wide": (DIGIT.resize((300, 100)), ["28x28"]),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_any_size_and_colour_becomes_white_on_black_and_is_said(tmp_path, kind):
    picture, notes = PICTURES[kind]
    (tmp_path / "own" / "3").mkdir(parents=True)
    picture.save(tmp_path / "own" / "3" / "one.png")
    raw = formats.read(tmp_path / "own")
    found = raw.parts["all"][0][0].astype(int)
    assert all(any(note in line for line in raw.notes) for note in notes)
    assert len(raw.notes) == len(notes)
    if kind != "wide":  # the others show the same digit
        assert np.abs(found - TRAIN[0][0]).mean() < (20 if kind == "large" else 1.5)


def test_hidden_files_are_counted_not_silently_skipped(tmp_path):
    folder = write_pictures(tmp_path / "own", TEST)
    (folder / "3" / ".DS_Store").write_bytes(b"x")
    (folder / "3" / "Thumbs.db").write_bytes(b"x")
    assert any("2 pictures passed over" in note for note in formats.read(folder).notes)


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("3/readme.txt", b"hello"),
        ("3/broken.png", b"\x89PNG\r\n\x1a\n"),
        ("notes.txt", b"x"),
        ("ten/x.png", b"x"),
        ("3/empty.png", b""),
    ],
)
def test_what_is_no_picture_or_does_not_belong_is_named(tmp_path, place, content):
    folder = write_pictures(tmp_path / "own", TEST)
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_bytes(content)
    with pytest.raises(UsageError, match=place.split("/")[0 if place.startswith("ten") else -1]):
        formats.read(folder)


def test_a_picture_cut_off_is_named(tmp_path):
    folder = write_pictures(tmp_path / "own", TEST)
    path = next((folder / "4").iterdir())
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UsageError, match=path.name):
        formats.read(folder)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 500)
    folder = write_pictures(tmp_path / "own", TEST)
    with pytest.raises(UsageError, match="28x28 pixels is over the limit"):
        formats.read(folder)


# Any bytes at all

SMALL = make_digits(3)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small valid files of every format, as bytes."""
    folder = tmp_path_factory.mktemp("seeds")
    files = {
        "json": write_json(folder / "j", (SMALL,) * 3),
        "pickle": write_pickle(folder / "p", (SMALL,) * 3),
        "npz": write_npz(folder / "n.npz", SMALL, SMALL),
        "csv": write_csv(folder / "c", SMALL),
    }
    idx = write_idx(folder / "i", SMALL, SMALL)
    contents = {name: path.read_bytes() for name, path in files.items()}
    contents = {name: gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for name, data in contents.items()}
    return contents, idx


@pytest.mark.parametrize("name", ["json", "pickle", "npz", "csv", "idx"])
@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_end_in_a_usage_error_or_in_digits(seeds, name, data):
    contents, idx = seeds
    path = idx / "train-images-idx3-ubyte" if name == "idx" else idx.parent / "mutated"
    original = idx_bytes(SMALL[0]) if name == "idx" else contents[name]
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers are short: half of the changes go there.
        place = data.draw(st.one_of(st.integers(0, min(300, len(mutated) - 1)), st.integers(0, len(mutated) - 1)))
        mutated[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(mutated))))
    path.write_bytes(bytes(mutated[:cut]))
    try:
        raw = formats.read(idx if name == "idx" else path)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    for images, labels in raw.parts.values():
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(labels), 28, 28)
        assert labels.max(initial=0) <= 9


def test_json_is_read_across_the_borders_of_the_chunks(tmp_path, monkeypatch):
    path = write_json(tmp_path / "x", PARTS)
    for size in (997, 4096):
        monkeypatch.setattr(text, "CHUNK", size)
        monkeypatch.setattr(streams, "CHUNK", size)
        assert (formats.read(path).parts["train"][0] == TRAIN[0]).all()
