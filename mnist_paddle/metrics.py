"""Figures that say how good a network is: pure NumPy, from outputs and labels."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .system.files import finite

CLASSES = 10


def predict(outputs: np.ndarray) -> np.ndarray:
    """The digits that outputs [n, k] mean: the largest score; of a regression head (k = 1) the nearest digit -> int64 [n]."""
    if outputs.shape[1] == 1:
        numbers = np.nan_to_num(outputs[:, 0], nan=0.0, posinf=CLASSES - 1, neginf=0.0)  # NaN has no nearest digit
        return np.clip(np.rint(numbers), 0, CLASSES - 1).astype(np.int64)
    return outputs.argmax(axis=1)


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax of scores [n, 10]; a regression head is certain of its digit -> float64 [n, 10]."""
    if outputs.shape[1] == 1:
        return np.eye(CLASSES)[predict(outputs)]
    outputs = outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):  # rows that are not finite have no probabilities: NaN
        scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """How often label i was taken for j: int64 [10, 10], rows the labels, columns the predictions."""
    flat = labels.astype(np.int64) * CLASSES + predictions
    return np.bincount(flat, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


def per_class(confusion: np.ndarray) -> list[dict]:
    """Precision, recall and F1 of every class, as shares of 1 (0 where there is nothing to divide by), and its image count."""
    hits = np.diag(confusion)
    rows = []
    for digit, (hit, labelled, predicted) in enumerate(zip(hits, confusion.sum(axis=1), confusion.sum(axis=0))):
        precision = hit / predicted if predicted else 0.0
        recall = hit / labelled if labelled else 0.0
        f1 = 2 * hit / (labelled + predicted) if labelled + predicted else 0.0
        row = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
        rows.append({"label": digit, **row, "support": int(labelled)})
    return rows


def report_text(confusion: np.ndarray) -> str:
    """Per-class figures and the confusion matrix as a table for the terminal."""
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
    """A network's answers for a whole split: labels uint8 [n], outputs float32 [n, k], losses float32 [n]."""

    labels: np.ndarray
    outputs: np.ndarray
    losses: np.ndarray

    @cached_property
    def predictions(self) -> np.ndarray:
        """int64 [n]."""
        return predict(self.outputs)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float64 [n, 10]."""
        return probabilities(self.outputs)

    @property
    def confusion(self) -> np.ndarray:
        """int64 [10, 10], rows labels, columns predictions."""
        return confusion_matrix(self.labels, self.predictions)

    @property
    def accuracy(self) -> float:
        """Percent; NaN where there are no examples."""
        return float(100 * (self.predictions == self.labels).mean()) if len(self.labels) else math.nan

    @property
    def loss(self) -> float:
        """Mean over the examples, summed in float64; NaN where there are none."""
        return float(self.losses.astype(np.float64).mean()) if len(self.losses) else math.nan

    @property
    def is_regression(self) -> bool:
        """Whether the network gives one number, which says nothing of how sure it is."""
        return self.outputs.shape[1] == 1

    def worst(self, count: int) -> np.ndarray:
        """Up to `count` wrongly recognized examples: the surest first, of one output those farthest from their label."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        if self.is_regression:
            bad = np.abs(self.outputs[wrong, 0] - self.labels[wrong])
        else:
            bad = self.probabilities[wrong, self.predictions[wrong]]
        return wrong[np.argsort(-bad, kind="stable")][:count]

    def captions(self, examples) -> list[str]:
        """For every example: label, prediction, and how sure the network was, or the one number that it gave."""
        if self.is_regression:
            values = [float(value) for value in self.outputs[examples, 0]]
            shown = [f"{value:.1f}" if abs(value) < 1000 else f"{value:.1e}" for value in values]
            return [f"{self.labels[i]} → {self.predictions[i]}  ({value})" for i, value in zip(examples, shown)]
        share = self.probabilities[examples, self.predictions[examples]]
        return [f"{self.labels[i]} → {self.predictions[i]}  {100 * s:.0f} %" for i, s in zip(examples, share)]

    def summary(self) -> dict:
        """Everything as plain numbers, for JSON; None for what is not finite."""
        confusion = self.confusion
        figures = {"count": len(self.labels), "accuracy": self.accuracy, "loss": self.loss}
        return {**finite(figures), "classes": per_class(confusion), "confusion": confusion.tolist()}
