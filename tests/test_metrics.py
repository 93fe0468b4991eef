"""Metrics, with values computed by hand."""

import json

import numpy as np
import pytest

from mnist_paddle.metrics import (
    Evaluation,
    accuracy_interval,
    accuracy_text,
    confusion_matrix,
    per_class,
    predict,
    probabilities,
    report_text,
)

LABELS = np.array([0, 0, 1, 1, 2], np.uint8)
OUTPUTS = np.full((5, 10), -9.0, np.float32)
OUTPUTS[[0, 1, 2, 3, 4], [0, 1, 1, 1, 0]] = [5, 1, 5, 5, 3]


def test_scores_predict_the_largest_and_a_number_the_nearest_digit():
    assert predict(OUTPUTS).tolist() == [0, 1, 1, 1, 0]
    assert predict(np.array([[-3.0], [0.4], [4.6], [12.0]])).tolist() == [0, 0, 5, 9]


def test_the_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    confusion = confusion_matrix(LABELS, predict(OUTPUTS))
    assert confusion[:3, :3].tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert confusion.sum() == 5


def test_precision_recall_and_f1_equal_values_computed_by_hand():
    rows = per_class(confusion_matrix(LABELS, predict(OUTPUTS)))
    assert [rows[1][key] for key in ("precision", "recall", "f1", "support")] == pytest.approx([2 / 3, 1, 0.8, 2])
    assert [rows[2][key] for key in ("precision", "recall", "f1", "support")] == [0, 0, 0, 1]
    assert rows[9] == {"label": 9, "precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_the_text_report_shows_every_class():
    text = report_text(confusion_matrix(LABELS, predict(OUTPUTS)))
    assert "66.67%  100.00%  80.00%" in text.replace("  100", "  100")
    assert len(text.splitlines()) == 1 + 10 + 1 + 1 + 1 + 10


def test_the_interval_of_an_accuracy_worked_by_hand():
    # 8 of 10, z = 1.96: (0.8 + 0.192073) / 1.384146 = 0.716740; 1.96 * sqrt(0.016 + 0.0096036) / 1.384146 = 0.226577.
    assert accuracy_interval(80, 10) == pytest.approx((49.0163, 94.3317), abs=1e-3)
    assert accuracy_interval(100, 10) == pytest.approx((72.2467, 100), abs=1e-3)  # 1 / (1 + 3.841459 / 10)
    assert accuracy_interval(0, 10) == pytest.approx((0, 27.7533), abs=1e-3)
    assert accuracy_text(99.16, 10_000) == "99.16 % (98.96 to 99.32 %)"
    assert np.isnan(accuracy_interval(float("nan"), 0)).all()
    summary = Evaluation(LABELS, OUTPUTS, np.ones(5, np.float32)).summary()
    assert summary["accuracy_interval"] == pytest.approx([23.07, 88.24], abs=0.01)  # 3 of 5


def test_an_evaluation_ranks_the_most_confident_mistakes_first():
    evaluation = Evaluation(LABELS, OUTPUTS, np.array([1, 2, 3, 4, 5], np.float32))
    assert evaluation.accuracy == 60
    assert evaluation.loss == 3
    assert evaluation.worst(10).tolist() == [4, 1]
    assert evaluation.captions([4])[0].startswith("2 → 0  100")
    assert json.loads(json.dumps(evaluation.summary()))["count"] == 5


def test_probabilities_are_a_softmax_that_does_not_overflow():
    result = probabilities(np.array([[1000.0, 1000.0] + [-1000.0] * 8], np.float32))
    np.testing.assert_allclose(result[0], [0.5, 0.5] + [0] * 8)
