"""CSV files as people have them: other delimiters, encodings, names and places of the label, row numbers, no label."""

import gzip

import numpy as np
import pytest
from digits import make_digits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers import FUZZING
from readers import rejected_by_name as rejected

from mnist_paddle import UsageError
from mnist_paddle.data.formats import read

IMAGES, LABELS = make_digits(40, 0)
FLAT = IMAGES.reshape(-1, 784)
PIXELS = [f"pixel{i}" for i in range(784)]
LETTERS = np.array(list("ABCDEFGHIJ"))


def rows(labels=LABELS, *, index=None, last=False, pixels=FLAT, quote="") -> list:
    """Rows of fields: row number, label, pixels."""
    found = []
    for number, (label, image) in enumerate(zip(labels, pixels)):
        before = [] if index is None else [index + number]
        fields = [*before, *image.tolist(), label] if last else [*before, label, *image.tolist()]
        found.append([f"{quote}{field}{quote}" for field in fields])
    return found


def text(lines, delimiter=",", end="\n") -> str:
    """Lines of fields as text."""
    return "".join(delimiter.join(map(str, line)) + end for line in lines)


HEADER = ["label", *PIXELS]
ONE_HOT = np.eye(10, dtype=int)[LABELS].tolist()
ROUND = [f"{i + 1}x{j + 1}" for i in range(28) for j in range(28)]
BY_NAME = sorted(range(784), key=lambda i: PIXELS[i])  # pixel0, pixel1, pixel10, pixel100, pixel101, ...

# What people have -> its bytes. All hold the same 40 images of ten classes.
SAME = {
    "a plain header": text([HEADER, *rows()]),
    "no header": text(rows()),
    "pandas's row numbers": text([["", *HEADER], *rows(index=0)]),
    "row numbers from a second saving": text([["Unnamed: 0", *HEADER], *rows(index=0)]),
    "R's row numbers": text(
        [['""', *(f'"{name}"' for name in HEADER)], *([f'"{i}"', *row[1:]] for i, row in enumerate(rows(index=1), 1))]
    ),
    "row numbers without a header": text(rows(index=0)),
    "an id column": text([["id", *HEADER], *rows(index=1000)]),
    "a byte order mark and a header": "\ufeff" + text([HEADER, *rows()]),
    "a byte order mark without a header": "\ufeff" + text(rows()),
    "quotes with a header": text([[f'"{name}"' for name in HEADER], *rows(quote='"')]),
    "quotes without a header": text(rows(quote='"')),
    "semicolons": text([HEADER, *rows()], ";"),
    "Excel's line for the delimiter": "sep=;\r\n" + text([HEADER, *rows()], ";", "\r\n"),
    "tabs": text([HEADER, *rows()], "\t"),
    "blanks": text(rows(), " "),
    "blanks after commas": text([HEADER, *rows()], ", "),
    "line ends of Windows": text([HEADER, *rows()], end="\r\n"),
    "line ends of old Macs": text([HEADER, *rows()], end="\r"),
    "line ends of old Macs without a header": text(rows(), end="\r"),
    "a delimiter that ends each line": text([[*HEADER, ""], *([*row, ""] for row in rows())]),
    "blank lines": text([HEADER, *rows()], end="\n\n"),
    "UTF-16 of PowerShell": b"\xff\xfe" + text([HEADER, *rows()], end="\r\n").encode("utf-16-le"),
    "UTF-16, big-endian": b"\xfe\xff" + text([HEADER, *rows()]).encode("utf-16-be"),
    "UTF-16 without a mark": text(rows()).encode("utf-16-le"),
    "gzip": gzip.compress(text([HEADER, *rows()]).encode()),
    **{f"the header {name}": text([[name, *PIXELS], *rows()]) for name in ("Label", "DIGIT", "class", "Target", "y", " label ")},
    **{f"the last header {name}": text([[*PIXELS, name], *rows(last=True)]) for name in ("Label", "class", "y")},
    "the label among the pixels": text([[*PIXELS[:9], "label", *PIXELS[9:]], *([*r[1:10], r[0], *r[10:]] for r in rows())]),
    "the label last without a header": text(rows(last=True)),
    "the label last behind row numbers": text(rows(index=1, last=True)),
    "names of rows and columns": text([["label", *ROUND], *rows()]),
    "numbers for names": text([["label", *range(784)], *rows()]),
    "numbers for all names": text([list(range(785)), *rows()]),
    "R's names": text([[f"V{i}" for i in range(1, 786)], *rows()]),
    "names without a label": text([["number", *PIXELS], *rows()]),
    "columns sorted as text": text([["label", *(PIXELS[i] for i in BY_NAME)], *rows(pixels=FLAT[:, BY_NAME])]),
    "one-hot columns": text([[*(f"label_{i}" for i in range(10)), *PIXELS], *([*o, *r[1:]] for o, r in zip(ONE_HOT, rows()))]),
    "one-hot columns last": text([[*PIXELS, *range(10)], *([*r[1:], *o] for o, r in zip(ONE_HOT, rows()))]),
    "one-hot columns without a header": text([[*o, *r[1:]] for o, r in zip(ONE_HOT, rows())]),
    "one-hot columns last without a header": text([[*r[1:], *o] for o, r in zip(ONE_HOT, rows())]),
    "numbers with a point": text([HEADER, *([f"{float(field)}" for field in row] for row in rows())]),
    "numbers with a decimal comma": text([HEADER, *([f"{field},0" for field in row] for row in rows())], ";"),
    "pixels from 0 to 1": text([HEADER, *([label, *(image / 255).tolist()] for label, image in zip(LABELS, FLAT))]),
    "pixels from -1 to 1": text([HEADER, *([label, *(image / 127.5 - 1).tolist()] for label, image in zip(LABELS, FLAT))]),
}


def written(path, content):
    """Write text or bytes."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", SAME)
def test_a_csv_is_read_with_the_right_images_labels_and_classes(name, tmp_path):
    raw = read(written(tmp_path / "mine.csv", SAME[name]))
    images, labels = raw.splits["all"]
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert raw.classes == tuple("0123456789")
    assert (raw.format, labels.dtype, raw.findings) == ("CSV", np.uint8, [])


@pytest.mark.parametrize("name", [name for name in SAME if "row numbers" in name or "last without" in name or "sorted" in name])
def test_what_is_not_obvious_is_noted(name, tmp_path):
    assert len(read(written(tmp_path / "mine.csv", SAME[name])).notes) == (2 if "one-hot" not in name and "behind" in name else 1)


WORDS = np.array("zero one two three four five six seven eight nine".split())


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "a header": text([HEADER, *rows(WORDS[LABELS])]),
        "no header": text(rows(WORDS[LABELS])),
        "last": text(rows(WORDS[LABELS], last=True)),
        "quotes": text([HEADER, *([f'"{word}"', *row[1:]] for word, row in zip(WORDS[LABELS], rows()))]),
        "row numbers": text([["", *HEADER], *rows(WORDS[LABELS], index=0)]),
        "semicolons": text([HEADER, *rows(WORDS[LABELS])], ";"),
    }.items(),
)
def test_text_labels_are_classes_in_alphabetical_order(name, content, tmp_path):
    raw = read(written(tmp_path / "mine.csv", content))
    assert raw.classes == tuple(sorted(WORDS))
    assert [raw.classes[label] for label in raw.splits["all"][1]] == WORDS[LABELS].tolist()
    np.testing.assert_array_equal(raw.splits["all"][0], IMAGES)


def test_a_label_with_a_comma_in_quotes_is_one_field(tmp_path):
    names = np.array(['"shirt, top"', '"say ""hi"""'])[LABELS % 2]
    raw = read(written(tmp_path / "mine.csv", text([HEADER, *rows(names)])))
    assert raw.classes == ('say "hi"', "shirt, top")
    np.testing.assert_array_equal(raw.splits["all"][1], 1 - LABELS % 2)


def test_text_that_begins_as_numbers_sorts_numbers_first_by_value(tmp_path):
    names = np.array(["10", "9", "B", "a", "100"])[np.arange(40) % 5]
    raw = read(written(tmp_path / "mine.csv", text(rows(names))))
    assert raw.classes == ("9", "10", "100", "B", "a")
    assert [raw.classes[label] for label in raw.splits["all"][1]] == names.tolist()


def test_one_hot_columns_give_their_names_to_the_classes(tmp_path):
    header = [*(f"is_{word}" for word in WORDS), *PIXELS]
    raw = read(written(tmp_path / "mine.csv", text([header, *([*o, *r[1:]] for o, r in zip(ONE_HOT, rows()))])))
    assert raw.classes == tuple(WORDS)
    np.testing.assert_array_equal(raw.splits["all"][1], LABELS)


NOISY = FLAT.copy()
NOISY[:, [0, -1]] = (np.arange(40) * 3 % 10)[:, None]
HEADED = FLAT.copy()
HEADED[:, -1] = np.arange(40) % 2

BAD = {
    "ten values in the first and in the last column": (
        text(rows(pixels=NOISY, last=True)),
        "first or the last column",
        "label, pixel0",
    ),
    "two columns that may be labels": (text([["a", "b", *PIXELS], *([0, *r] for r in rows())]), "which of the columns 'a', 'b'"),
    "an empty label": (text([HEADER, *rows(), ["", *FLAT[0]]]), "line 42", "label is empty"),
    "a number missing": (text([HEADER, *rows(), [3, *FLAT[0][:-1], ""]]), "line 42", "not a number"),
    "a row too short behind text labels": (text([*rows(WORDS[LABELS]), ["one", 1, 2]]), "line 41", "3 numbers"),
    "two columns too many": (text([[1, 2, *row] for row in rows()]), "787 numbers", "label, pixel0"),
    "no label but row numbers": (
        text([["id", *PIXELS], *([i, *row[1:]] for i, row in enumerate(rows()))]),
        "no column is a label",
    ),
    "no label, no header, row numbers": (text([i, *row[1:]] for i, row in enumerate(rows())), "no column is a label"),
    "texts of Latin-1": (text([HEADER, *rows(WORDS[LABELS])]).encode() + "né".encode("latin-1"), "not UTF-8"),
    "a text in a pixel column": (text([HEADER, *rows(), [3, "x", *FLAT[0][1:]]]), "line 42", "not a number"),
    "an endless text label": (text([HEADER, *rows(), ["x" * 5000, *FLAT[0]]]), "line 42", "5,000 characters"),
    "1,001 text labels": (text([HEADER, *([f"c{i}", *[i % 250] * 784] for i in range(1001))]), "1,001 different labels"),
    "an infinite pixel": (text([HEADER, *rows(), [3, "1e999", *FLAT[0][1:]]]), "line 42"),
    "a pixel of 1000": (text([HEADER, *rows(), [3, 1000, *FLAT[0][1:]]]), "line 42"),
    "a header alone": (text([HEADER]), "no images"),
    "a small table": (text([HEADER[:30], *([*row[:30]] for row in rows())]), "30 columns"),
    "UTF-16 that ends in a character": (b"\xff\xfe" + text([HEADER, *rows()]).encode("utf-16-le")[:-1], "UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unclear_csv_is_rejected_with_the_cause(name, tmp_path):
    content, *words = BAD[name]
    rejected(written(tmp_path / "mine.csv", content), *words)


NOISE = FLAT.copy()
NOISE[:, [0, -1]] = np.random.default_rng(0).integers(0, 256, (40, 2))
SPARSE = np.arange(40) % 12 * 4  # labels of which most do not occur
DOUBTFUL = {
    "a corner of 0 and 1": (rows(pixels=HEADED), LABELS),
    "sparse labels": (rows(SPARSE), SPARSE),
    "sparse labels, last": (rows(SPARSE, last=True), SPARSE),
    "one class, last": (rows(LABELS * 0 + 3, last=True), LABELS * 0 + 3),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_label_column_is_a_finding(name, tmp_path):
    lines, labels = DOUBTFUL[name]
    raw = read(written(tmp_path / "mine.csv", text(lines)))
    np.testing.assert_array_equal(raw.splits["all"][1], labels)
    assert "last column" in " ".join(raw.findings)


@pytest.mark.parametrize("last", [False, True])
def test_labels_are_told_from_a_noisy_corner(last, tmp_path):
    raw = read(written(tmp_path / "mine.csv", text(rows(pixels=NOISE, last=last))))
    np.testing.assert_array_equal(raw.splits["all"][1], LABELS)


def test_a_row_of_pixels_that_pandas_made_the_header_is_a_finding(tmp_path):
    names, seen = [], {}
    for field in rows()[0]:  # pandas.read_csv names equal columns 0, 0.1, 0.2, ...
        names.append(field if field not in seen else f"{field}.{seen[field]}")
        seen[field] = seen.get(field, 0) + 1
    raw = read(written(tmp_path / "mine.csv", text([names, *rows()[1:]])))
    np.testing.assert_array_equal(raw.splits["all"][0], IMAGES[1:])
    np.testing.assert_array_equal(raw.splits["all"][1], LABELS[1:])
    assert "header" in " ".join(raw.findings)


# Fuzz

FEW = [text([HEADER, *rows()[:12]]), text(rows(index=0)[:12], ";"), text(rows(WORDS[LABELS], quote='"')[:12])]
PIECES = st.sampled_from(
    [b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"nan", b"-", b"1e999", b"label", b" ", b"x"]
)
PLACES = st.one_of(st.integers(0, 100), st.integers(0, 1 << 15), st.integers(-40, -1))
MUTATIONS = st.lists(st.tuples(st.sampled_from(["set", "insert", "cut"]), PLACES, PIECES), min_size=1, max_size=4)


@pytest.mark.parametrize("number", range(len(FEW)))
@settings(max_examples=25, **FUZZING)
@given(mutations=MUTATIONS)
@example(mutations=[])
def test_a_mutated_csv_is_rejected_or_valid(number, tmp_path, mutations):
    data = FEW[number].encode()
    for kind, place, piece in mutations:
        place %= len(data) or 1
        data = data[: max(place, 40)] if kind == "cut" else data[:place] + piece + data[place + len(piece) * (kind == "set") :]
    path = written(tmp_path / "mine.csv", data)
    try:
        raw = read(path)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017  both outcomes are right
        return
    images, labels = raw.splits["all"]
    assert (images.dtype, images.shape[1:]) == (np.uint8, (28, 28))
    assert labels.max() < len(raw.classes)
