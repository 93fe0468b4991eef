"""`mnist-paddle predict` and `predict(run, picture)`: pictures of any kind, tables, folders, no ink, several digits."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from digits import write_csv
from PIL import Image
from test_pictures import BLANK, gray_paper, on_ground, row_of

from mnist_paddle import Config, Dataset, Recognizer, Split, UsageError, fit, predict
from mnist_paddle.benchmarks.made_pictures import draw_font
from mnist_paddle.cli import predict as command
from mnist_paddle.data.pictures import to_digit

SCRIPT = Path(__file__).parents[1] / "scripts" / "predict.py"


def glyph(digit: int, seed: int = 0) -> np.ndarray:
    return np.asarray(draw_font(digit, 60, np.random.default_rng((seed, digit))), float) / 255


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network that knows the digits of four fonts: the path of its run."""
    shapes = [(digit, seed) for seed in range(4) for digit in range(10)]
    images = np.stack([to_digit(on_ground(glyph(*shape)), "mnist").image for shape in shapes])
    known = Split(np.concatenate([images] * 8), np.array([digit for digit, _ in shapes] * 8, np.uint8))
    folder = tmp_path_factory.mktemp("runs") / "fonts"
    settings = {"model": "linear", "augment": "shift", "epochs": 8, "batch_size": 10, "device": "cpu", "threads": 1}
    report = fit(Config(**settings, output_dir=str(folder)), Dataset("arrays", known, known.slice(0, 40), known.slice(0, 40)))
    assert report["test_accuracy"] == 100
    return folder


@pytest.fixture(scope="module")
def recognizer(run):
    return Recognizer(run)


def saved(path: Path, pixels, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return path


def predicted(run, *words, status=0, **settings):
    """Run the command in this process; what it printed."""
    arguments = [str(run), *map(str, words)]
    assert command.main(arguments) == status


def as_json(capsys, run, *words, status=0) -> list:
    capsys.readouterr()
    predicted(run, *words, "--json", status=status)
    return json.loads(capsys.readouterr().out)["predictions"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tif"])
def test_pictures_of_any_type_and_polarity_are_predicted(suffix, run, tmp_path, capsys):
    files = []
    for digit in (0, 2, 6):
        files.append(saved(tmp_path / f"dark_{digit}.{suffix}", on_ground(glyph(digit))))
        files.append(saved(tmp_path / f"light_{digit}.{suffix}", 255 - on_ground(glyph(digit), 40)))
        files.append(saved(tmp_path / f"grey_{digit}.{suffix}", gray_paper(glyph(digit))))
    for file, row in zip(files, as_json(capsys, run, *files)):
        assert row["name"] == str(file)
        assert row["label"] == file.stem[-1]
        assert 0.2 < row["probability"] <= 1
        assert row["runner_up"] != row["label"]
        assert 0 <= row["runner_up_probability"] <= row["probability"]
        assert row["digits"] == 1


def test_a_line_names_class_probability_and_runner_up(run, tmp_path, capsys):
    predicted(run, saved(tmp_path / "a.png", on_ground(glyph(4))))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith(f"{tmp_path / 'a.png'}: 4  ")
    assert " %  (then " in out


def test_the_script_reads_standard_input(run):
    picture = io.BytesIO()
    Image.fromarray(on_ground(glyph(3))).save(picture, "PNG")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(run), "-"], input=picture.getvalue(), capture_output=True, timeout=100
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"-: 3  ")


def test_a_folder_is_read_to_its_ends_without_junk(run, tmp_path, capsys):
    for digit in (1, 5):
        saved(tmp_path / "mine" / str(digit) / "a.png", on_ground(glyph(digit)))
    for junk in ("5/Thumbs.db", "desktop.ini", "__MACOSX/5/._a.png", ".DS_Store"):
        (tmp_path / "mine" / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / junk).write_bytes(b"\0\5\x16\7")
    (tmp_path / "mine" / "notes.txt").write_text("five")
    rows = as_json(capsys, run, tmp_path / "mine")
    assert [(Path(row["name"]).parent.name, row["label"]) for row in rows] == [("1", "1"), ("5", "5")]


@pytest.mark.parametrize("name", BLANK)
def test_a_picture_without_ink_is_said_to_have_none(name, run, tmp_path, capsys):
    path = saved(tmp_path / "blank.png", BLANK[name])
    assert as_json(capsys, run, path)[0]["label"] is None
    predicted(run, path)
    assert capsys.readouterr().out == f"{path}: no ink\n"


def test_several_digits_are_said_and_split(run, tmp_path, capsys):
    path = saved(tmp_path / "row.png", on_ground(row_of([3, 0, 5])))
    predicted(run, path)
    assert "3 digits seen, the tallest read; --split reads each" in capsys.readouterr().out
    rows = as_json(capsys, run, path, "--split")
    assert [row["name"] for row in rows] == [f"{path}[{number}]" for number in (1, 2, 3)]
    assert [row["label"] for row in rows] == ["3", "0", "5"]
    predicted(run, path, "--split")
    assert capsys.readouterr().out.endswith(f"{path} reads 305\n")


def test_what_cannot_be_read_is_named_and_the_rest_predicted(run, tmp_path, capsys):
    good = saved(tmp_path / "good.png", on_ground(glyph(7)))
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(good.read_bytes()[:60])
    predicted(run, broken, good, missing, status=2)
    out, err = capsys.readouterr()
    assert out.startswith(f"{good}: 7  ")
    assert out.count("\n") == 1
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines
    assert str(broken) in lines[0]
    assert "repair or remove it" in lines[0]
    assert f"{missing}: no such file" in lines[1]


def test_a_folder_without_pictures_is_named(run, tmp_path, capsys):
    (tmp_path / "mine" / "more").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"mine: has no pictures"):
        command.main([str(run), str(tmp_path / "mine")])


def test_every_unreadable_word_is_named_where_none_can_be_read(run, tmp_path, capsys):
    with pytest.raises(UsageError, match="second: no such file"):
        command.main([str(run), str(tmp_path / "first"), str(tmp_path / "second")])
    assert capsys.readouterr().err == f"error: {tmp_path / 'first'}: no such file or folder\n"


NOTHING = {
    "an empty file": (b"", "empty"),
    "a text": (b"hello, this is no picture\n", ""),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(100), "save it as PNG or JPEG"),
    "a picture cut off": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "repair or remove it"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_readable_is_one_line_and_no_paddle(name, run, tmp_path):
    content, words = NOTHING[name]
    path = tmp_path / "input"
    path.write_bytes(content)
    done = subprocess.run([sys.executable, str(SCRIPT), str(run), str(path)], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def written_rows(run, path, *words, status=0) -> list:
    predicted(run, *words, "--csv", path, status=status)
    return list(csv.reader(path.read_text().splitlines()))


def test_kaggles_submission_has_a_row_for_each_image(run, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.stack([to_digit(on_ground(glyph(digit)), "mnist").image for digit in (8, 1, 4)]))
    rows = written_rows(run, tmp_path / "submission.csv", tmp_path / "a.npy")
    assert rows == [["ImageId", "Label"], ["1", "8"], ["2", "1"], ["3", "4"]]


def test_the_csv_of_pictures_has_their_names(run, tmp_path, capsys):
    """Numbers would be wrong: 10.png comes before 2.png, and a broken file would shift those after it."""
    folder = tmp_path / "mine"
    for name, digit in ((1, 8), (2, 1), (10, 4)):
        saved(folder / f"{name}.png", on_ground(glyph(digit)))
    (folder / "11.png").write_bytes(b"broken")
    rows = written_rows(run, tmp_path / "out.csv", folder, status=2)
    assert rows[1:] == [[str(folder / "1.png"), "8"], [str(folder / "10.png"), "4"], [str(folder / "2.png"), "1"]]


def test_predict_prepares_pictures_as_the_training_did_wherever_its_data_are_now(tmp_path):
    """Of an archive, and of a folder that has moved since."""
    for digit in (0, 1):
        for number in range(12):
            saved(tmp_path / "mine" / str(digit) / f"{number}.png", on_ground(glyph(digit, number)))
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "mine")
    settings = {"dataset": "custom", "model": "linear", "epochs": 1, "batch_size": 8, "device": "cpu", "threads": 1}
    for name in ("mine", "packed.zip"):
        fit(Config(**settings, data_dir=str(tmp_path / name), output_dir=str(tmp_path / f"run of {name}")))
    (tmp_path / "mine").rename(tmp_path / "moved")
    assert [Recognizer(tmp_path / f"run of {name}").form for name in ("mine", "packed.zip")] == ["auto", "auto"]


DOUBTFUL = {
    "dark on light": (lambda images: 255 - images, "dark on light"),
    "a wrong scale": (lambda images: images // 16, "check the scale"),
    "bits": (lambda images: images // 128, "taken for black and white"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_arrays_to_predict_are_said(name, run, tmp_path, capsys):
    change, words = DOUBTFUL[name]
    np.save(tmp_path / "a.npy", change(np.stack([to_digit(on_ground(glyph(digit)), "mnist").image for digit in range(10)])))
    predicted(run, tmp_path / "a.npy")
    assert f"warning: {tmp_path / 'a.npy'}: " in (text := capsys.readouterr().err)
    assert words in text


def test_show_draws_what_the_network_saw(run, tmp_path, capsys):
    files = [saved(tmp_path / f"{digit}.png", on_ground(glyph(digit))) for digit in range(3)]
    predicted(run, *files, saved(tmp_path / "blank.png", BLANK["white"]), "--show", tmp_path / "seen.png")
    with Image.open(tmp_path / "seen.png") as figure:
        assert len(figure.convert("L").getcolors()) > 20


@pytest.mark.parametrize("flag", ["--csv", "--show"])
def test_a_result_that_cannot_be_written_is_one_line(flag, run, tmp_path):
    path = saved(tmp_path / "a.png", on_ground(glyph(4)))
    with pytest.raises(UsageError, match=r"nowhere.* can't be written"):
        command.main([str(run), str(path), flag, str(tmp_path / "nowhere" / "file")])


# From Python


def test_a_picture_may_be_a_path_an_image_or_an_array(recognizer, tmp_path):
    gray = on_ground(glyph(9))
    color = np.dstack([gray] * 3)
    kinds = [
        saved(tmp_path / "a.png", gray),
        str(tmp_path / "a.png"),
        Image.fromarray(color),
        gray,
        color,
        np.dstack([color, np.full_like(gray, 255)]),
        gray / 255,
        (gray / 255).astype(np.float32),
        gray.astype(np.int64),
        gray > 127,
        gray[..., None],
        gray[None],
    ]
    for picture in kinds:
        prediction = predict(recognizer, picture)
        assert prediction.label == "9"
        assert prediction.image.shape == (28, 28)
    assert predict(recognizer, gray).probability == pytest.approx(predict(recognizer, 255 - gray).probability, abs=0.02)


def test_an_image_as_networks_take_it_is_predicted_as_it_is(recognizer):
    image = to_digit(on_ground(glyph(6)), "mnist").image
    np.testing.assert_array_equal(predict(recognizer, image).image, image)


WRONG = {
    "a list of pictures": ["a.png", "b.png"],
    "text in an array": np.array([["a"]]),
    "four dimensions": np.zeros((2, 28, 28, 3)),
    "nothing": np.zeros((0, 28)),
    "two channels": np.zeros((28, 28, 2)),
    "not a number": np.full((28, 28), np.nan),
    "negative": np.full((28, 28), -1.0),
    "None": None,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_is_refused_in_one_line(name, recognizer):
    with pytest.raises(UsageError) as caught:
        predict(recognizer, WRONG[name])
    assert "\n" not in str(caught.value)


def test_a_network_with_one_output_gives_its_number(tmp_path, small, capsys):
    config = Config(
        model="linear",
        model_args={"outputs": 1},
        loss="mse_scalar",
        learning_rate=1e-3,
        epochs=1,
        device="cpu",
        threads=1,
        output_dir=str(tmp_path / "run"),
    )
    fit(config, small)
    prediction = predict(tmp_path / "run", on_ground(glyph(4)))
    assert prediction.probability is prediction.runner_up is None
    assert prediction.label == str(int(np.clip(np.rint(prediction.output), 0, 9)))
    capsys.readouterr()
    predicted(tmp_path / "run", saved(tmp_path / "a.png", on_ground(glyph(4))))
    assert capsys.readouterr().out == f"{tmp_path / 'a.png'}: {prediction.label}  (output {prediction.output:.2f})\n"


def test_a_table_without_labels_is_predicted_row_by_row(run, tmp_path, capsys):
    images = np.stack([to_digit(on_ground(glyph(digit)), "mnist").image for digit in (2, 0, 7)])
    lines = write_csv(tmp_path / "labeled.csv", (images, np.zeros(3, np.uint8))).read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join(line.partition(",")[2] for line in lines))
    np.savez(tmp_path / "test.npz", images)
    for name in ("test.csv", "test.npz"):
        assert [row["label"] for row in as_json(capsys, run, tmp_path / name)] == ["2", "0", "7"]


def test_help_and_wrong_flags_do_without_paddle(run):
    code = "import sys; from mnist_paddle.cli import predict; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}).returncode == 0
