"""Confident learning, the cross-validation, and the audit of labels."""

import json

import numpy as np
import pytest
from digits import make_digits
from PIL import Image

from mnist_paddle import UsageError
from mnist_paddle.audit import labels as audit
from mnist_paddle.audit.confident import confident_joint, margins, suspects, thresholds, wrong_labels
from mnist_paddle.audit.cross_validation import Recipe, cross_validate, fold_numbers
from mnist_paddle.data.corrections import correct
from mnist_paddle.data.dataset import Dataset, Split

QUICK = Recipe(model="fc", model_args=(("widths", (50,)),), augment="none", epochs=6, batch_size=32)


# By hand: three images labeled 0, three labeled 1; the last of each looks like the other class.
LABELS = np.array([0, 0, 0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8], [0.95, 0.05]])


def test_a_threshold_is_the_mean_probability_of_the_class():
    assert thresholds(LABELS, PROBABILITIES) == pytest.approx([0.7, 0.55])
    assert thresholds(LABELS, np.c_[PROBABILITIES, np.zeros(6)]) == pytest.approx([0.7, 0.55, 1.0])  # a class without images


def test_the_confident_joint_counts_by_label_and_class():
    assert confident_joint(LABELS, PROBABILITIES).tolist() == [[2, 1], [1, 2]]
    # An image that reaches no threshold is left out.
    unsure = np.vstack([PROBABILITIES, [[0.5, 0.5]]])
    assert confident_joint(np.append(LABELS, 1), unsure).sum() == 6


def test_margins_and_suspects_are_those_worked_by_hand():
    assert margins(LABELS, PROBABILITIES) == pytest.approx([0.8, 0.8, -0.4, 0.6, 0.6, -0.9])
    assert wrong_labels(LABELS, PROBABILITIES) == 2
    assert suspects(LABELS, PROBABILITIES).tolist() == [5, 2]


def test_good_labels_have_no_suspects():
    certain = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    assert suspects(np.array([0, 1, 2, 0, 1, 2]), certain).tolist() == []


def test_every_class_is_spread_over_all_folds():
    labels = np.random.default_rng(0).integers(0, 10, 1003)
    folds = fold_numbers(labels, 5, seed=1)
    table = np.array([np.bincount(folds[labels == label], minlength=5) for label in range(10)])
    assert (table.max(axis=1) - table.min(axis=1) <= 1).all()
    assert (folds == fold_numbers(labels, 5, seed=1)).all()
    assert (folds != fold_numbers(labels, 5, seed=2)).any()


def test_an_image_is_judged_by_a_network_without_it():
    """Labels that mean nothing can't be predicted; a network that has seen them would know many by heart."""
    images = np.random.default_rng(0).integers(0, 255, (200, 28, 28), np.uint8)
    labels = np.random.default_rng(1).integers(0, 10, 200)
    heart = Recipe(model="fc", model_args=(("widths", (50,)),), augment="none", epochs=12, batch_size=16)
    probabilities = cross_validate(images, labels, 10, 4, recipe=heart, log=lambda text: None)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(200))
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.25


def planted(count: int, share: float = 0.05) -> tuple:
    """Digits in three parts with wrong labels in the first; their indices there."""
    train, generator = make_digits(count, 1), np.random.default_rng(3)
    wrong = generator.choice(count, int(share * count), replace=False)
    labels = train[1].copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, len(wrong))) % 10
    parts = Split(train[0], labels), Split(*make_digits(50, 2)), Split(*make_digits(60, 3))
    return Dataset("custom", *parts, source="here"), set(wrong.tolist()), train[1]


@pytest.fixture(scope="module")
def audited():
    dataset, wrong, right = planted(600)
    return dataset, wrong, right, audit.audit(dataset, 3, recipe=QUICK, log=lambda text: None)


def test_the_audit_finds_planted_wrong_labels(audited):
    dataset, wrong, right, found = audited
    found = [suspect for suspect in found if suspect.probable]
    train = [suspect.index for suspect in found if suspect.part == "train"]
    assert len(wrong & set(train)) >= 0.9 * len(wrong)
    assert len(wrong & set(train)) >= 0.9 * len(found)
    assert all(suspect.label == dataset.train.labels[suspect.index] for suspect in found if suspect.part == "train")
    assert sum(suspect.better == right[suspect.index] for suspect in found if suspect.part == "train") >= 0.9 * len(train)


def test_the_suggested_corrections_are_ones_that_fit(audited, tmp_path):
    dataset, _, right, found = audited
    (tmp_path / "suggested.json").write_text(audit.suggestion(dataset, found))
    corrected = correct(dataset, tmp_path / "suggested.json")
    content = json.loads((tmp_path / "suggested.json").read_text())
    assert "test" not in {**content["relabel"], **content["leave_out"]}
    keep = np.setdiff1d(np.arange(600), content["leave_out"].get("train", []))
    assert (corrected.train.labels == right[keep]).mean() > (dataset.train.labels == right).mean() + 0.04


def test_the_suspects_are_drawn_and_listed(audited, tmp_path):
    dataset, _, _, found = audited
    audit.draw(dataset, found, tmp_path / "suspects.png")
    with Image.open(tmp_path / "suspects.png") as figure:
        assert figure.size[0] > 800
    text = audit.summary(dataset, found)
    first = found[0]
    assert f"audit: {sum(suspect.probable for suspect in found)} labels are probably wrong" in text
    assert f"{first.part:10} {first.index:>7,}: label {first.label}, looks like {first.better}" in text
    audit.draw(dataset, [], tmp_path / "none.png")


@pytest.mark.parametrize("folds", [1, 31])
def test_too_few_images_for_the_folds_are_refused(folds):
    images, labels = make_digits(60, 1)
    with pytest.raises(UsageError, match="use 2 to 30"):
        cross_validate(images, labels, 10, folds)
