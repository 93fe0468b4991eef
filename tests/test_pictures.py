"""Pictures of any kind become 28x28, white on black: polarity, depth, transparency, photographs, ink and digits."""

import io

import numpy as np
import pytest
from PIL import Image

from mnist_paddle import UsageError
from mnist_paddle.benchmarks.made_pictures import (
    FONTS,
    KINDS,
    draw_font,
    make_pictures,
    perspective,
    photographed,
    write_pictures,
)
from mnist_paddle.benchmarks.strokes import WAYS, draw_strokes
from mnist_paddle.data.formats.decode import SMALL_VALUES, decode, from_pillow
from mnist_paddle.data.ink import darkness, find_ink, on_paper
from mnist_paddle.data.pictures import FORMS, in_mnist_form, split_digits, to_digit
from mnist_paddle.data.regions import label_regions


def glyph(digit=3, height=60, seed=0) -> np.ndarray:
    """Ink of one digit, cut closely: float [h, w] from 0 to 1."""
    return np.asarray(draw_font(digit, height, np.random.default_rng(seed)), float) / 255


def on_ground(ink, margin=20, paper=255.0, pen=0.0) -> np.ndarray:
    """Ink with a margin: uint8 [h, w]."""
    return (paper + (pen - paper) * np.pad(ink, margin)).round().astype(np.uint8)


def gray_paper(ink):
    """Dark ink on paper of gray 110, lighter below, with grain; its border is darker than 127."""
    values = on_ground(ink, paper=110, pen=25) * np.linspace(0.85, 1.1, ink.shape[0] + 40)[:, None]
    return (values + np.random.default_rng(0).normal(0, 3, values.shape)).round().astype(np.uint8)


def shadow(ink):
    """Dark ink on white paper of which the left half is in shadow."""
    values = on_ground(ink, 40, 235, 40).astype(float)
    values[:, : values.shape[1] // 2] *= 0.6
    return values.round().astype(np.uint8)


DARK_INK = {
    "black on white": on_ground,
    "gray paper": gray_paper,
    "cut closely": lambda ink: on_ground(ink, 0),
    "half in shadow": shadow,
    "pencil": lambda ink: on_ground(ink, paper=240, pen=200),
    "near the edge of a large sheet": lambda ink: np.pad(on_ground(ink, 2), ((0, 300), (0, 500)), constant_values=255),
    "ink touches the border": lambda ink: on_ground(ink)[:-24, 24:],
}


@pytest.mark.parametrize("name", DARK_INK)
@pytest.mark.parametrize("digit", [0, 2, 3, 4, 8])
def test_polarity_is_decided_by_the_ink(name, digit):
    picture = DARK_INK[name](glyph(digit))
    assert darkness(picture) > 0
    assert darkness(255 - picture) < 0


@pytest.mark.mnist
def test_mnist_is_light_ink_and_stays_byte_for_byte(mnist):
    for image in mnist.test.images[:2000]:
        for form in ("auto", "mnist"):
            digit = to_digit(image, form)
            assert digit.form == "kept"
            assert digit.image is image


@pytest.mark.mnist
def test_inverted_mnist_becomes_mnist(mnist):
    for image in mnist.test.images[:500]:
        np.testing.assert_array_equal(to_digit(255 - image).image, image)


@pytest.mark.parametrize("name", DARK_INK)
def test_whatever_the_picture_its_digit_is_centered_as_mnist(name):
    for picture in (DARK_INK[name](glyph(5)), 255 - DARK_INK[name](glyph(5))):
        digit = to_digit(picture, "mnist")
        image = digit.image.astype(float)
        assert digit.count == 1
        assert image.max() == 255
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        for axis in (0, 1):
            middle = image.sum(axis=1 - axis) @ (np.arange(28) + 0.5) / image.sum()
            assert middle == pytest.approx(14, abs=0.6)
        assert in_mnist_form(digit.image)


def test_thin_strokes_are_widened_to_those_of_mnist():
    ring = np.zeros((400, 300), np.uint8)
    ring[100:300, [80, 220]] = ring[[100, 299], 80:220] = 255  # a pen of one pixel in 200
    image = to_digit(ring, "mnist").image
    middle = image[12:16]
    assert (middle.max(axis=1) > 200).all()
    assert 3 <= (middle > 100).sum(axis=1).mean() <= 8  # two strokes


def test_only_photographs_are_cut_out_by_themselves():
    assert to_digit(on_ground(glyph(7))).form == "whole"
    assert to_digit(gray_paper(glyph(7))).form == "mnist"
    assert to_digit(shadow(glyph(7))).form == "mnist"
    chalk = photographed(np.pad(glyph(7), 30), 60, 220, np.random.default_rng(1)).convert("L")
    assert to_digit(np.asarray(chalk)).form == "mnist"


def test_a_small_picture_on_a_grey_ground_gets_a_black_one():
    small = np.asarray(Image.fromarray(on_ground(glyph(8), 8, 120, 30)).resize((28, 28)))
    digit = to_digit(small)
    assert digit.evened
    assert digit.image[0].max() <= 5
    assert digit.image.max() > 240


def test_a_wrong_form_names_the_right_ones():
    with pytest.raises(UsageError, match=", ".join(FORMS)):
        to_digit(on_ground(glyph()), "square")


# Depth and transparency


def decoded(image: Image.Image, kind: str = "png", **settings):
    """A Pillow image written to a file and decoded."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return decode(file.getvalue(), f"a.{kind}")


DIGIT = to_digit(on_ground(glyph(4)), "mnist").image
DEEP = {
    "16 bits that hold 0 to 255": (DIGIT.astype(np.uint16), 255),
    "10 bits": (DIGIT.astype(np.uint16) * 4, 1023),
    "12 bits": (DIGIT.astype(np.uint16) * 16, 4095),
    "16 bits": (DIGIT.astype(np.uint16) * 257, 65535),
    "32 bits": (DIGIT.astype(np.int32) * 257, 65535),
    "fractions": ((DIGIT / np.float32(255)), 1),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pictures_show_the_same_digit(name):
    values, white = DEEP[name]
    picture = decoded(Image.fromarray(values), "tiff")
    assert picture.white == white
    assert np.abs(picture.gray.astype(int) - DIGIT).max() <= 1
    assert (picture.change == SMALL_VALUES) == (white == 255)


def test_values_without_a_white_are_not_readable():
    for value in (np.nan, -1.0, np.inf):
        with pytest.raises(UsageError, match="not a readable image"):
            decoded(Image.fromarray(np.full((28, 28), value, np.float32)), "tiff")


@pytest.mark.parametrize("ink", [0, 90, 200, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_ink_on_nothing_is_seen_in_any_color(ink, mode):
    drawn = np.full((28, 28, 4), ink, np.uint8)
    drawn[..., 3] = DIGIT
    gray = decoded(Image.fromarray(drawn).convert(mode)).gray
    image = to_digit(gray).image.astype(float)
    assert np.corrcoef(image.ravel(), DIGIT.ravel())[0, 1] > 0.99
    assert image[0].max() == 0


def test_a_palette_with_a_transparent_color_is_read():
    drawn = Image.new("P", (28, 28))
    drawn.putpalette([255, 255, 255, 255, 255, 255])  # both white; the first is transparent
    drawn.putdata((DIGIT > 127).astype(int).ravel().tolist())
    gray = decoded(drawn, transparency=0).gray
    np.testing.assert_array_equal(to_digit(gray).image, np.where(DIGIT > 127, 255, 0))


def test_a_turned_photograph_has_the_ground_of_its_paper():
    photo = Image.fromarray(on_ground(glyph(4, 90), 40, 230, 30)).convert("RGBA").rotate(8, expand=True)
    digit = to_digit(decoded(photo).gray, "mnist")
    assert digit.dark
    assert digit.count == 1


def test_cmyk_is_read():
    picture = decoded(Image.fromarray(on_ground(glyph(9))).convert("RGB").convert("CMYK"), "jpeg", quality=95)
    assert to_digit(picture.gray).dark
    assert picture.change == "converted to grayscale"


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_heic_is_named_with_the_remedy(brand, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UsageError, match=r"IMG_1\.HEIC: a HEIC .*save it as PNG or JPEG"):
        decode(b"\0\0\0\x18ftyp" + brand + bytes(200), "IMG_1.HEIC")


# Ink and digits

BLANK = {
    "white": np.full((100, 80), 255, np.uint8),
    "black": np.zeros((28, 28), np.uint8),
    "grain": np.random.default_rng(0).normal(128, 6, (200, 200)).round().astype(np.uint8),
    "uneven light": np.tile(np.linspace(90, 220, 160), (120, 1)).astype(np.uint8),
    "grain in uneven light": (np.linspace(90, 220, 160) + np.random.default_rng(1).normal(0, 5, (120, 160))).astype(np.uint8),
    "one pixel": np.full((1, 1), 7, np.uint8),
}


@pytest.mark.parametrize("name", BLANK)
def test_a_picture_without_ink_has_none(name):
    for picture in (BLANK[name], 255 - BLANK[name]):
        assert to_digit(picture, "mnist").count in (0, None)
        assert to_digit(picture, "mnist").image.max() - to_digit(picture, "mnist").image.min() < 8
        assert split_digits(picture) == []


def row_of(digits, gap=12, height=60):
    """A row of digits, ink float [h, w]."""
    parts = [glyph(digit, height, seed) for seed, digit in enumerate(digits)]
    tall = max(len(part) for part in parts)
    return np.hstack([np.pad(part, ((tall - len(part), 0), (gap, gap))) for part in parts])


@pytest.mark.parametrize("draw", [on_ground, gray_paper])
def test_the_digits_of_a_row_are_split_in_reading_order(draw):
    row = row_of([4, 0, 7, 1, 5])
    picture = draw(row)
    assert to_digit(picture, "mnist").count == 5
    ink = find_ink(picture, True)
    assert [box[1] for box in ink.boxes] == sorted(box[1] for box in ink.boxes)
    for image, seed, digit in zip(split_digits(picture), range(5), [4, 0, 7, 1, 5]):
        alone = to_digit(draw(glyph(digit, 60, seed)), "mnist").image
        assert np.corrcoef(image.ravel(), alone.ravel())[0, 1] > 0.9


def test_lines_are_read_before_columns():
    upper, lower = row_of([1, 2, 3]), row_of([4, 5, 6])
    width = max(upper.shape[1], lower.shape[1])
    page = np.vstack([np.pad(line, ((20, 20), (0, width - line.shape[1]))) for line in (upper, lower)])
    images = split_digits(on_ground(page))
    singles = [image for line in (upper, lower) for image in split_digits(on_ground(line))]
    assert len(images) == len(singles) == 6
    for image, single in zip(images, singles):
        assert np.corrcoef(image.ravel(), single.ravel())[0, 1] > 0.9


def test_strokes_that_do_not_touch_are_one_digit():
    five = np.zeros((60, 40))
    five[20:60, 8:16] = five[52:60, 8:34] = five[28:60, 28:34] = 1
    five[8:14, 8:38] = 1  # the bar, drawn apart
    assert to_digit(on_ground(five), "mnist").count == 1


def test_dust_and_the_edge_of_the_table_are_no_digits():
    picture = gray_paper(glyph(6, 120))
    picture[:, :12] = 20  # the table
    picture[8, -9] = picture[-6, -20] = 20
    digit = to_digit(picture, "mnist")
    assert digit.count == 1
    plain = to_digit(gray_paper(glyph(6, 120)), "mnist").image
    assert np.corrcoef(digit.image.ravel(), plain.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("edge", [0, 90])
def test_the_black_edge_of_a_scan_is_cut_off(edge):
    paper = on_ground(glyph(4), 60)
    scan = np.pad(paper, ((6, 9), (4, 7)), constant_values=edge)
    np.testing.assert_array_equal(to_digit(scan, "mnist").image, to_digit(paper, "mnist").image)
    assert to_digit(scan, "mnist").dark


def test_a_box_drawn_around_a_digit_is_not_the_digit():
    picture = on_ground(glyph(4), 60)
    framed = picture.copy()
    framed[[10, 11, 12, -13, -12, -11], 10:-10] = framed[10:-10, [10, 11, 12, -13, -12, -11]] = 0
    assert to_digit(framed, "mnist").count == 1
    np.testing.assert_allclose(to_digit(framed, "mnist").image.astype(int), to_digit(picture, "mnist").image, atol=8)


def test_colors_of_the_same_lightness_are_told_apart():
    ink = np.pad(glyph(2), 20)[..., None]
    color = (200, 0, 0) * (1 - ink) + np.array([0, 102, 0]) * ink
    gray = decoded(Image.fromarray(color.round().astype(np.uint8))).gray
    assert to_digit(gray, "mnist").count == 1
    assert np.corrcoef(to_digit(gray, "mnist").image.ravel(), to_digit(on_ground(glyph(2)), "mnist").image.ravel())[0, 1] > 0.9


def test_touching_digits_are_cut_apart_and_a_wide_stroke_is_not():
    row = np.hstack([glyph(8)[:, 1:-1]] * 3)
    assert len(split_digits(on_ground(row))) == 3
    assert len(split_digits(on_ground(np.ones((8, 80))))) == 1


def test_regions_are_those_of_a_flood_fill():
    mask = np.random.default_rng(0).random((40, 50)) < 0.45
    labels = label_regions(mask)
    assert ((labels > 0) == mask).all()
    for row, column in np.argwhere(mask):
        around = labels[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        assert set(around[around > 0].tolist()) == {labels[row, column]}
    assert set(np.unique(labels)) == set(range(labels.max() + 1))


# The made pictures


def test_the_made_pictures_are_the_same_for_a_seed_and_cover_all_kinds():
    first, again, other = make_pictures(80, 3), make_pictures(40, 3), make_pictures(40, 4)
    assert [np.asarray(a[0]).tobytes() for a in first[:40]] == [np.asarray(b[0]).tobytes() for b in again]
    assert [np.asarray(a[0]).tobytes() for a in first[:40]] != [np.asarray(b[0]).tobytes() for b in other]
    assert {each[2] for each in first} == set(KINDS)
    assert [each[1] for each in first] == [number % 10 for number in range(80)]
    assert {each[3] for each in first} == {"font", "strokes"}


def test_every_font_and_way_of_writing_draws_a_digit():
    generator = np.random.default_rng(0)
    assert len(FONTS) == 17
    for digit in range(10):
        assert np.asarray(draw_font(digit, 30, generator)).max() == 255
        assert len(WAYS[digit]) >= 2
        assert min(draw_strokes(digit, 40, generator).size) > 3


def test_the_perspective_maps_corners_to_corners():
    source, target = np.array([(0, 0), (9, 0), (9, 9), (0, 9)], float), np.array([(1, 0), (8, 1), (9, 8), (0, 9)], float)
    a, b, c, d, e, f, g, h = perspective(source, target)
    for (x, y), (u, v) in zip(target, source):
        scale = g * x + h * y + 1
        assert ((a * x + b * y + c) / scale, (d * x + e * y + f) / scale) == pytest.approx((u, v), abs=1e-9)


def test_an_existing_folder_is_not_written_into(tmp_path):
    with pytest.raises(UsageError, match="exists; give a new folder"):
        write_pictures(tmp_path, 10)


def test_pillow_images_need_no_file():
    assert from_pillow(Image.fromarray(DIGIT).convert("RGB")).gray.shape == (28, 28)


def sheet_on_a_table(digit: int, angle: int) -> np.ndarray:
    """A photograph of a sheet of paper with a dark digit, turned, on a dark table."""
    generator = np.random.default_rng((digit, angle))
    ink = np.asarray(draw_font(digit, 110, generator), float) / 255
    sheet = np.full((200, 180), 225.0)
    top, left = ((size - own) // 2 for size, own in zip(sheet.shape, ink.shape))
    sheet[top : top + ink.shape[0], left : left + ink.shape[1]] -= 180 * ink
    turned = [Image.fromarray(a.astype(np.uint8)).rotate(angle, Image.BILINEAR, expand=True) for a in (sheet, sheet * 0 + 255)]
    table = Image.new("L", (400, 420), 45)
    table.paste(turned[0], (60, 70), turned[1])
    uneven = np.asarray(table) * np.linspace(0.8, 1.1, 400) + generator.normal(0, 4, (420, 400))
    return uneven.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 5, 30, 45])
def test_paper_on_a_dark_table_is_not_taken_for_ink(angle):
    for digit in (0, 1, 4, 8):
        seen = to_digit(sheet_on_a_table(digit, angle))
        assert (seen.form, seen.dark, seen.count) == ("mnist", True, 1)
        assert 10 < seen.image.mean() < 80  # the sheet itself has more than 110


@pytest.mark.parametrize("digit", range(10))
def test_light_digits_are_not_taken_for_paper(digit):
    for seed in range(6):
        shape = np.asarray(draw_font(digit, 120, np.random.default_rng((seed, digit))), np.uint8)
        gray = np.pad(shape, 30)
        assert on_paper(gray) is gray
