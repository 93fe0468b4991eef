"""Classification metrics in pure NumPy: from a network's outputs and the labels."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .system.files import finite

CLASSES = 10


def predict(outputs: np.ndarray) -> np.ndarray:
    """Predicted digits: the class with the highest score, or for one output the nearest digit: [n, k] -> int64 [n].

    >>> predict(np.array([[-3.0], [4.6], [12.0]])).tolist()
    [0, 5, 9]
    """
    if outputs.shape[1] == 1:
        numbers = np.nan_to_num(outputs[:, 0], nan=0.0, posinf=CLASSES - 1, neginf=0.0)  # NaN has no nearest digit
        return np.clip(np.rint(numbers), 0, CLASSES - 1).astype(np.int64)
    return outputs.argmax(axis=1)


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax of the scores; for one output, probability 1 for the predicted digit: [n, k] -> float64 [n, 10]."""
    if outputs.shape[1] == 1:
        return np.eye(CLASSES)[predict(outputs)]
    outputs = outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):  # non-finite rows become NaN
        scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """How often label i was predicted as j: int64 [10, 10], rows are labels, columns predictions.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]))[:2, :2].tolist()
    [[1, 1], [0, 1]]
    """
    flat = labels.astype(np.int64) * CLASSES + predictions
    return np.bincount(flat, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


def per_class(confusion: np.ndarray) -> list[dict]:
    """Precision, recall, F1 and support (number of images) of every class, as fractions; 0 where undefined."""
    hits = np.diag(confusion)
    rows = []
    for digit, (hit, labeled, predicted) in enumerate(zip(hits, confusion.sum(axis=1), confusion.sum(axis=0))):
        precision = hit / predicted if predicted else 0.0
        recall = hit / labeled if labeled else 0.0
        f1 = 2 * hit / (labeled + predicted) if labeled + predicted else 0.0
        row = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
        rows.append({"label": digit, **row, "support": int(labeled)})
    return rows


def report_text(confusion: np.ndarray) -> str:
    """Per-class metrics and the confusion matrix as text for the terminal."""
    confusion = np.asarray(confusion)
    lines = ["class  precision  recall      F1  images"]
    for row in per_class(confusion):
        figures = f"{row['precision']:9.2%}  {row['recall']:6.2%}  {row['f1']:6.2%}"
        lines.append(f"{row['label']:5}  {figures}  {row['support']:6,}")
    width = max(5, len(str(confusion.max())) + 1)
    lines += ["", "confusion matrix: rows are labels, columns predictions"]
    lines.append("     " + "".join(f"{digit:{width}}" for digit in range(CLASSES)))
    for digit, row in enumerate(confusion):
        lines.append(f"{digit:5}" + "".join(f"{count or '.':>{width}}" for count in row))
    return "\n".join(lines)


@dataclass(frozen=True)
class Evaluation:
    """The results of evaluating a split: labels uint8 [n], outputs float32 [n, k], losses float32 [n]."""

    labels: np.ndarray
    outputs: np.ndarray
    losses: np.ndarray

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predicted digits, int64 [n]."""
        return predict(self.outputs)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, float64 [n, 10]."""
        return probabilities(self.outputs)

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix, int64 [10, 10]: rows are labels, columns predictions."""
        return confusion_matrix(self.labels, self.predictions)

    @property
    def accuracy(self) -> float:
        """Percent of correct predictions; NaN for an empty split."""
        return float(100 * (self.predictions == self.labels).mean()) if len(self.labels) else math.nan

    @property
    def loss(self) -> float:
        """Mean loss, accumulated in float64; NaN for an empty split."""
        return float(self.losses.astype(np.float64).mean()) if len(self.losses) else math.nan

    @property
    def is_regression(self) -> bool:
        """Whether the network has a single output, and therefore no probabilities."""
        return self.outputs.shape[1] == 1

    def worst(self, count: int) -> np.ndarray:
        """Indices of up to `count` misclassified examples: most confident first, or for one output farthest from the label."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        if self.is_regression:
            badness = np.abs(self.outputs[wrong, 0] - self.labels[wrong])
        else:
            badness = self.probabilities[wrong, self.predictions[wrong]]
        return wrong[np.argsort(-badness, kind="stable")][:count]

    def captions(self, examples: np.ndarray) -> list[str]:
        """A caption per example: label, prediction, and the probability of the prediction or the single output."""
        if self.is_regression:
            values = [float(value) for value in self.outputs[examples, 0]]
            shown = [f"{value:.1f}" if abs(value) < 1000 else f"{value:.1e}" for value in values]
            return [f"{self.labels[i]} → {self.predictions[i]}  ({value})" for i, value in zip(examples, shown)]
        confidence = self.probabilities[examples, self.predictions[examples]]
        return [f"{self.labels[i]} → {self.predictions[i]}  {100 * p:.0f} %" for i, p in zip(examples, confidence)]

    def summary(self) -> dict:
        """All metrics as plain numbers for JSON; None for non-finite values."""
        confusion = self.confusion
        figures = {"count": len(self.labels), "accuracy": self.accuracy, "loss": self.loss}
        return {**finite(figures), "classes": per_class(confusion), "confusion": confusion.tolist()}
