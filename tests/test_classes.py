"""Data sets of any number of classes with names: networks, training, checkpoints, figures, evaluation."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace

import numpy as np
import paddle
import pytest
from digits import make_digits, write_csv, write_npz, write_pictures
from letters import LETTERS, letters

from mnist_paddle import Config, UsageError, evaluate, fit, load_dataset, load_loss, load_model, resume
from mnist_paddle.cli.evaluate import chosen, measure, show, with_labels_of
from mnist_paddle.data.dataset import MNIST_PIXELS, Dataset, Split
from mnist_paddle.data.loader import normalize
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.load import load_trained
from mnist_paddle.experiment.network import build_model, model_arguments
from mnist_paddle.experiment.state import build
from mnist_paddle.losses import LOSSES
from mnist_paddle.metrics import Evaluation, confusion_matrix, predict, probabilities, report_text
from mnist_paddle.models import MODELS
from mnist_paddle.tracking import curves, names, plots

QUICK = {"model": "linear", "epochs": 1, "device": "cpu", "threads": 1}
LETTERS_RUN = {**QUICK, "learning_rate": 0.02, "schedule": "constant", "batch_size": 16}
COUNTS = (2, 10, 26, 100)


def quiet(text):
    """Instead of the log."""


@pytest.fixture(scope="module")
def alphabet() -> Dataset:
    """26 letters, 24 images of each."""
    return letters(images=24)


@pytest.fixture(scope="module")
def run(alphabet, tmp_path_factory):
    """A finished run on letters, and its log."""
    folder, lines = tmp_path_factory.mktemp("letters") / "run", []
    report = fit(Config(**LETTERS_RUN, output_dir=str(folder)), alphabet, lines.append)
    return folder, report, lines


def rejected(call, *arguments, **named) -> str:
    """The one line of an error."""
    with pytest.raises(UsageError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Networks


@pytest.mark.parametrize("classes", COUNTS)
@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_one_output_per_class_and_learns(name, classes):
    paddle.seed(0)
    model = build_model(name, {"channels": [4, 4]} if name in ("cnn", "resnet") else {}, classes)
    images = paddle.to_tensor(normalize(make_digits(6)[0])[:, None])
    labels = paddle.to_tensor(np.array([0, classes - 1] * 3))
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    losses = []
    for _ in range(3):
        outputs = model(images)
        assert outputs.shape == [6, classes]
        loss = LOSSES["cross_entropy"](outputs, labels).mean()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "mse_scalar"])
@pytest.mark.parametrize("classes", [2, 100])
def test_every_loss_takes_any_number_of_classes(loss, classes):
    losses = LOSSES[loss](paddle.randn([4, classes]), paddle.to_tensor([0, 1, classes - 1, 0]))
    assert np.isfinite(losses.numpy()).all()


@pytest.mark.parametrize(("outputs", "classes"), [(12, 26), (10, 26), (26, 10), (2, 3)])
def test_outputs_that_contradict_the_classes_are_rejected(outputs, classes):
    line = rejected(model_arguments, "fc", {"outputs": outputs}, classes)
    assert line == f"--model_args outputs={outputs}: the data has {classes} classes; leave outputs out"


@pytest.mark.parametrize("parallel", ["model", "columns"])
@pytest.mark.parametrize("classes", COUNTS)
def test_every_strategy_plans_any_number_of_classes(parallel, classes):
    from mnist_paddle.distributed import strategies
    from mnist_paddle.experiment.network import TrainedOn

    strategy = strategies.choose(parallel, "allreduce", 64, 2)
    state = build(Config(model="fc"), strategy, trained_on=TrainedOn(tuple(map(str, range(classes)))))
    assert state.parameters == 784 * 200 + 200 + 200 * 100 + 100 + 101 * classes


class Own(paddle.nn.Layer):
    """A network given in Python."""

    def __init__(self, outputs):
        super().__init__()
        self.layer = paddle.nn.Linear(784, outputs)

    def forward(self, images):
        return self.layer(images.flatten(1))


def test_a_network_given_in_python_has_one_output_per_class(alphabet, tmp_path):
    folder = tmp_path / "run"
    line = rejected(fit, Config(**QUICK, output_dir=str(folder)), alphabet, quiet, model=Own(10))
    assert "[1, 10]" in line
    assert "26 classes" in line
    assert not folder.exists()
    model = Own(26)
    report = fit(Config(**QUICK, learning_rate=0.003, output_dir=str(folder)), alphabet, quiet, model=model)
    # The layer knows how its images were normalized.
    assert evaluate(model, alphabet.test, load_loss("cross_entropy", {})).accuracy == report["test_accuracy"]


def test_regression_predicts_the_nearest_of_all_labels():
    outputs = np.array([[-3.0], [24.6], [99.0], [np.nan]])
    assert predict(outputs, 26).tolist() == [0, 25, 25, 0]
    assert probabilities(outputs, 26).shape == (4, 26)
    evaluation = Evaluation(np.array([0, 25, 24, 0]), outputs, np.zeros(4), LETTERS)
    assert evaluation.accuracy == 75
    assert evaluation.confusion[24, 25] == 1
    model = build_model("linear", {"outputs": 1}, 26)
    assert evaluate(model, Split(*make_digits(4)), LOSSES["mse_scalar"]).outputs.shape == (4, 1)


# A run


def test_a_run_on_letters_learns_and_records_names_and_normalization(run, alphabet):
    folder, report, _ = run
    assert report["test_accuracy"] > 20  # 26 classes: chance is 4
    assert report["classes"] == json.loads((folder / "report.json").read_text())["classes"] == list(LETTERS)
    for name in ("last", "best"):
        progress = checkpoint.load(folder / f"{name}.safetensors")[1]
        assert progress["classes"] == list(LETTERS)
        assert progress["normalization"] == list(alphabet.normalization)
    trained = load_trained(folder)
    assert (trained.classes, (trained.mean, trained.std)) == (LETTERS, alphabet.normalization)
    evaluation = evaluate(load_model(folder)[0], alphabet.test, load_loss("cross_entropy", {}))
    assert evaluation.accuracy == report["test_accuracy"]
    assert evaluation.summary()["classes"][25]["name"] == "z"


def test_at_most_ten_classes_have_a_precision_recall_curve(run):
    tags = {record.values[0].tag for record in curves.records(run[0] / "vdlrecords.train.log")}
    shown = {tag for tag in tags if tag.startswith("classes/")}
    assert len(shown) == 10
    assert shown <= {f"classes/{letter}" for letter in LETTERS}


def test_a_run_on_letters_resumes_to_the_same_weights(run, alphabet, tmp_path):
    resume(shutil.copytree(run[0], tmp_path / "one"), alphabet, quiet, epochs=2)
    fit(Config(**{**LETTERS_RUN, "epochs": 2}, output_dir=str(tmp_path / "two")), alphabet, quiet)
    first, second = (checkpoint.load(tmp_path / name / "last.safetensors")[0] for name in ("one", "two"))
    assert all((first[name] == second[name]).all() for name in second)


def test_a_run_is_not_resumed_with_other_class_names(run, alphabet, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    line = rejected(resume, folder, replace(alphabet, classes=LETTERS[::-1]), quiet)
    assert "was trained on classes a, b, c, d, e and 21 more; those of fonts are z, y" in line


def test_more_than_256_classes_have_labels_of_16_bits():
    images, labels = make_digits(600)[0], (np.arange(600) % 300).astype(np.uint16)
    part = Split(images, labels)
    dataset = Dataset("many", part, part, part, classes=[f"word {number}" for number in range(300)])
    assert len(fit(Config(**QUICK, dry_run=True), dataset, quiet)["classes"]) == 300


def test_what_a_checkpoint_says_of_its_classes_is_checked(run, tmp_path):
    arrays, progress = checkpoint.load(run[0])
    for name, value in [
        ("classes", "abc"),
        ("classes", [1, 2]),
        ("classes", ["a", "a"]),
        ("classes", []),
        ("normalization", None),
        ("normalization", [0, 0]),
        ("normalization", [float("nan"), 1]),
        ("normalization", ["1", 2]),
        ("normalization", [True]),
    ]:
        checkpoint.save(tmp_path / "a.safetensors", arrays, {**progress, name: value})
        rejected(load_trained, tmp_path / "a.safetensors")


# Runs of earlier versions


@pytest.fixture(scope="module")
def old_run(tmp_path_factory):
    """A run as earlier versions wrote it: the end of a file validates, MNIST's normalization, no names recorded."""
    tmp_path = tmp_path_factory.mktemp("old")
    images, labels = make_digits(400)
    order = np.argsort(labels, kind="stable")
    data = write_csv(tmp_path / "old.csv", (images[order], labels[order]))
    dataset = replace(load_dataset("custom", str(data), log=quiet, validation_split="last"), constants=MNIST_PIXELS)
    folder = tmp_path / "old run"
    config = Config(**QUICK, learning_rate=0.003, schedule="constant", dataset="custom", data_dir=str(data))
    fit(replace(config, output_dir=str(folder)), dataset, quiet)
    for path in folder.glob("*.safetensors"):
        arrays, progress = checkpoint.load(path)
        del progress["classes"], progress["normalization"], progress["config"]["validation_split"]
        checkpoint.save(path, arrays, progress)
    return folder, dataset


def test_a_run_of_an_earlier_version_evaluates_as_it_did(old_run):
    folder, dataset = old_run
    report = json.loads((folder / "report.json").read_text())
    arguments = Namespace(run=str(folder), dataset=None, data_dir=None, split=None, strict_data=False)
    result = measure(arguments)
    assert result["accuracy"] == report["test_accuracy"]
    assert result["count"] == len(dataset.test)
    assert load_trained(folder).classes == tuple("0123456789")


def test_a_run_of_an_earlier_version_resumes_and_stays_one(old_run, tmp_path):
    folder, dataset = old_run
    folder = shutil.copytree(folder, tmp_path / "run")
    resume(folder, log=quiet, epochs=2)
    settings = {**QUICK, "epochs": 2, "learning_rate": 0.003, "schedule": "constant"}
    fit(Config(**settings, output_dir=str(tmp_path / "straight")), dataset, quiet)
    first, second = (checkpoint.load(path / "last.safetensors") for path in (folder, tmp_path / "straight"))
    assert all((first[0][name] == second[0][name]).all() for name in second[0])
    assert first[1]["config"]["validation_split"] == "last"
    assert first[1]["normalization"] == list(MNIST_PIXELS)


# evaluate


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run on digits with a file of its own, which validates on 50 images."""
    folder = tmp_path_factory.mktemp("digits")
    data = write_npz(folder / "digits.npz", make_digits(400, 1), make_digits(80, 2))
    config = Config(**QUICK, dataset="custom", data_dir=str(data), validation_size=50, output_dir=str(folder / "run"))
    fit(config, log=quiet)
    return folder / "run", data


def measured(digits_run, data, **given) -> dict:
    """What `evaluate RUN --data_dir DATA` measures."""
    arguments = {"run": str(digits_run[0]), "dataset": None, "data_dir": str(data), "split": None, "strict_data": False, **given}
    return measure(Namespace(**arguments))


def test_a_single_part_is_measured_whole(digits_run, tmp_path, capsys):
    own = make_digits(70, 191)
    for write, name in ((write_csv, "mine.csv"), (write_pictures, "mine")):
        result = measured(digits_run, write(tmp_path / name, own))
        assert (result["count"], result["split"]) == (70, "all")
        assert "other data" in capsys.readouterr().err


def test_two_labeled_pictures_are_measured(digits_run, tmp_path):
    assert measured(digits_run, write_pictures(tmp_path / "two", make_digits(2, 192)))["count"] == 2


def test_a_set_smaller_than_the_validation_set_of_the_run_is_measured(digits_run, tmp_path):
    assert measured(digits_run, write_csv(tmp_path / "small.csv", make_digits(30, 201)))["count"] == 30


def test_of_other_data_with_parts_the_test_part_is_measured(digits_run, tmp_path):
    other = write_npz(tmp_path / "other.npz", make_digits(60, 5), make_digits(20, 6))
    assert measured(digits_run, other)["count"] == 20
    assert measured(digits_run, other, split="validation")["count"] == 10
    assert measured(digits_run, other, split="train")["count"] == 50


def test_the_data_of_the_run_is_measured_as_it_was_split_from_any_place(digits_run, tmp_path, capsys):
    copy = shutil.copy(digits_run[1], tmp_path / "copy.npz")
    for split, count in (("validation", 50), ("train", 350), ("test", 80)):
        assert measured(digits_run, copy, split=split)["count"] == count
    assert "other data" not in capsys.readouterr().err


def test_no_training_images_are_needed_to_evaluate(digits_run, tmp_path):
    none = make_digits(0)
    assert measured(digits_run, write_npz(tmp_path / "test.npz", none, make_digits(20, 6)))["count"] == 20


def test_an_empty_test_part_is_rejected(digits_run, tmp_path):
    empty = write_npz(tmp_path / "digits.npz", make_digits(100, 211), make_digits(0))
    assert "has no images there" in rejected(measured, digits_run, empty)
    folder = tmp_path / "run"
    config = Config(**QUICK, dataset="custom", data_dir=str(empty), output_dir=str(folder))
    assert "has no test images" in rejected(fit, config, log=quiet)
    assert not folder.exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_part_that_a_single_set_does_not_have_is_rejected(digits_run, split, tmp_path):
    data = write_csv(tmp_path / "mine.csv", make_digits(70, 191))
    assert f"leave --split {split} out" in rejected(measured, digits_run, data, split=split)


def test_a_picture_is_sent_to_predict(digits_run, tmp_path):
    write_pictures(tmp_path, make_digits(1))
    picture = next(tmp_path.rglob("*.png"))
    assert "mnist-paddle predict" in rejected(measured, digits_run, picture)


def test_classes_in_another_order_are_matched_by_name(capsys):
    split = Split(make_digits(3)[0], np.array([0, 1, 1], np.uint8))
    assert with_labels_of(("a", "b", "c"), split, ("c", "a"), "x.csv").labels.tolist() == [2, 0, 0]
    assert "by their names" in capsys.readouterr().err
    assert with_labels_of(("a", "b", "c"), split, ("a", "b"), "x.csv") is split
    assert capsys.readouterr().err == ""


def test_a_class_that_no_image_has_need_not_be_known():
    split = Split(make_digits(2)[0], np.array([0, 0], np.uint8))
    assert with_labels_of(("a", "b"), split, ("b", "unknown"), "x.csv").labels.tolist() == [1, 1]


def test_classes_that_the_network_does_not_know_are_rejected(digits_run, run):
    split = Split(make_digits(2)[0], np.array([0, 1], np.uint8))
    line = rejected(with_labels_of, ("0", "1"), split, ("1", "seven"), "x.csv")
    assert "x.csv: the network does not know class seven; it was trained on 0, 1" in line


def test_a_network_of_letters_does_not_read_digits(run, tmp_path):
    arguments = Namespace(run=str(run[0]), dataset="custom", data_dir=None, split=None, strict_data=False)
    arguments.data_dir = str(write_csv(tmp_path / "digits.csv", make_digits(20)))
    assert "does not know class 0, 1, 2, 3, 4 and 5 more" in rejected(chosen, arguments, load_trained(run[0]))


# Text and figures

NAMED = {
    "two": ("cat", "dog"),
    "twenty": tuple(f"a rather long name of class {number}" for number in range(20)),
    "letters": LETTERS,
    "EMNIST": tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
    "a hundred": tuple(f"$class_{number}" for number in range(100)),
    "Chinese": tuple("零一二三四五六七八九"),
}


def confusion_of(count: int) -> np.ndarray:
    """20 images of each class, of which the first two are taken for the next class."""
    labels = np.repeat(np.arange(count), 20)
    return confusion_matrix(labels, (labels + (np.arange(20 * count) % 20 < 2)) % count, count)


@pytest.mark.parametrize("classes", NAMED.values(), ids=NAMED)
def test_confusion_is_a_readable_figure_and_text(classes, tmp_path):
    confusion = confusion_of(len(classes))
    with np.errstate(all="raise"):
        plots.draw_confusion(confusion, tmp_path / "confusion.png", "run", classes=classes)
    assert (tmp_path / "confusion.png").stat().st_size > 5000
    lines = report_text(confusion, classes).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 130


def test_of_many_classes_the_text_lists_the_worst_and_the_most_confused():
    confusion = confusion_of(26)
    confusion[3, 3], confusion[3, 7], confusion[3, 4] = 2, 18, 0
    lines = report_text(confusion, LETTERS).splitlines()
    assert lines[0] == "the 10 worst of 26 classes"
    assert lines[2].split() == ["d", "50.00%", "10.00%", "16.67%", "20"]  # 2 of 20 found, 2 of 4 right
    assert lines[lines.index("most often confused: label -> prediction, images") + 1].split() == ["d", "->", "h", "18"]


def test_a_name_that_no_font_has_is_its_label_and_said_once():
    classes = ("a", "\U000e0001b", "c")  # no font has tags
    assert names.drawable(classes) == ("a", "#1", "c")
    assert "figures show #LABEL" in names.note(classes)
    assert names.note(LETTERS) == ""


def test_captions_name_the_classes():
    outputs = np.eye(3, dtype=np.float32)[[1, 2]] * 9
    evaluation = Evaluation(np.array([0, 1]), outputs, np.zeros(2, np.float32), ("left", "right", "somewhere else"))
    assert evaluation.captions([0, 1]) == ["left → right  100 %", "right → somew…se  100 %"]


def test_the_result_of_evaluate_names_the_classes(run, alphabet):
    evaluation = evaluate(load_model(run[0])[0], alphabet.test, load_loss("cross_entropy", {}))
    text = show({"run": "run", "dataset": "letters", "split": "test", **evaluation.summary()})
    assert "the 10 worst of 26 classes" in text
