"""Classification metrics in pure NumPy: from a network's outputs and the labels."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional, Union

import numpy as np

from .system.files import finite

DIGITS = tuple("0123456789")
MANY = 20  # classes; with more the text report names only the worst
Z_95 = 1.959963985  # 95 % of a normal distribution lie within so many standard deviations
WORST = 10  # that the text report then names


def accuracy_interval(accuracy: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy in percent that was measured on `count` images: (low, high) in percent; NaN for none.

    The score interval of Wilson, "Probable inference, the law of succession, and statistical inference", 1927: the accuracies
    that a test with p = 0.05 would not reject. It never leaves 0 to 100, unlike the accuracy plus and minus two standard errors.

    >>> [round(end, 2) for end in accuracy_interval(99.16, 10_000)]
    [98.96, 99.32]
    """
    if not count:
        return math.nan, math.nan
    share, square = accuracy / 100, Z_95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = Z_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return 100 * max(center - half, 0.0), 100 * min(center + half, 1.0)


def accuracy_text(accuracy: float, count: int) -> str:
    """An accuracy in percent with its 95 % interval.

    >>> accuracy_text(99.16, 10_000)
    '99.16 % (98.96 to 99.32 %)'
    """
    low, high = accuracy_interval(accuracy, count)
    return f"{accuracy:.2f} % ({low:.2f} to {high:.2f} %)"


def predict(outputs: np.ndarray, classes: int = 10) -> np.ndarray:
    """Predicted labels: the class with the highest score, or for one output the nearest label: [n, k] -> int64 [n].

    >>> predict(np.array([[-3.0], [4.6], [12.0]])).tolist()
    [0, 5, 9]
    """
    if outputs.shape[1] == 1:
        numbers = np.nan_to_num(outputs[:, 0], nan=0.0, posinf=classes - 1, neginf=0.0)  # NaN has no nearest label
        return np.clip(np.rint(numbers), 0, classes - 1).astype(np.int64)
    return outputs.argmax(axis=1)


def probabilities(outputs: np.ndarray, classes: int = 10) -> np.ndarray:
    """Softmax of the scores; for one output, probability 1 for the predicted label: [n, k] -> float64 [n, classes]."""
    if outputs.shape[1] == 1:
        return np.eye(classes)[predict(outputs, classes)]
    outputs = outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):  # non-finite rows become NaN
        scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int = 10) -> np.ndarray:
    """How often label i was predicted as j: int64 [classes, classes], rows are labels, columns predictions.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    flat = labels.astype(np.int64) * classes + predictions
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: np.ndarray, names: Optional[Sequence[str]] = None) -> list[dict]:
    """Precision, recall, F1 and support (number of images) of every class, as fractions; 0 where undefined.

    `names` are those of the classes, by label; with them every row has its name.
    """
    rows = []
    figures = zip(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0))
    for label, (hit, labeled, predicted) in enumerate(figures):
        precision = hit / predicted if predicted else 0.0
        recall = hit / labeled if labeled else 0.0
        f1 = 2 * hit / (labeled + predicted) if labeled + predicted else 0.0
        row = {"label": label} if names is None else {"label": label, "name": names[label]}
        rows.append({**row, "precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(labeled)})
    return rows


def most_confused(confusion: np.ndarray, count: int = 10) -> list[tuple]:
    """The pairs of classes that are most often mistaken: up to `count` tuples (label, prediction, images), the most first.

    >>> most_confused(np.array([[5, 2, 0], [0, 5, 3], [1, 0, 5]]), 2)
    [(1, 2, 3), (0, 1, 2)]
    """
    mistakes = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    pairs = (divmod(int(place), len(confusion)) for place in order)
    return [(label, predicted, int(mistakes[label, predicted])) for label, predicted in pairs if mistakes[label, predicted]]


def report_text(confusion: np.ndarray, names: Optional[Sequence[str]] = None) -> str:
    """Per-class metrics and the confusion matrix as text for the terminal; of many classes the worst and the most confused.

    `names` are those of the classes, by label (default: the labels).
    """
    confusion = np.asarray(confusion)
    names = [shorten(str(name), 20) for name in (range(len(confusion)) if names is None else names)]
    rows = per_class(confusion, names)
    if len(rows) <= MANY:
        return "\n".join([*_class_table(rows), "", *_matrix(confusion, names)])
    rows = sorted((row for row in rows if row["support"]), key=lambda row: row["f1"])
    head = f"the {min(WORST, len(rows))} worst of {len(confusion)} classes"
    lines = [head, *_class_table(rows[:WORST]), "", "most often confused: label -> prediction, images"]
    pairs = most_confused(confusion)
    lines += [f"  {pad(names[label], 20, '>')} -> {pad(names[other], 20)}  {count:6,}" for label, other, count in pairs]
    return "\n".join(lines if pairs else [*lines, "  none"])


def _class_table(rows: list) -> list[str]:
    width = max(5, *(display_width(row["name"]) for row in rows)) if rows else 5
    lines = [f"{'class':>{width}}  precision  recall      F1  images"]
    for row in rows:
        figures = f"{row['precision']:9.2%}  {row['recall']:6.2%}  {row['f1']:6.2%}"
        lines.append(f"{pad(row['name'], width, '>')}  {figures}  {row['support']:6,}")
    return lines


def _matrix(confusion: np.ndarray, names: list) -> list[str]:
    """The confusion matrix; where a name is too long to head a column, labels do, and the rows have both."""
    width = max(5, len(str(confusion.max())) + 1)
    heads = names
    if max(map(display_width, names)) >= width:
        heads = [str(label) for label in range(len(names))]
        names = [f"{label} {name}" for label, name in enumerate(names)]
    side = max(5, *map(display_width, names))
    lines = ["confusion matrix: rows are labels, columns predictions"]
    lines.append(" " * side + "".join(pad(head, width, ">") for head in heads))
    for name, row in zip(names, confusion):
        lines.append(pad(name, side, ">") + "".join(f"{count or '.':>{width}}" for count in row))
    return lines


def display_width(text: str) -> int:
    """The columns of a terminal that a text takes; Chinese characters take two.

    >>> display_width("3"), display_width("三")
    (1, 2)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else not unicodedata.combining(letter) for letter in text)


def pad(text: str, width: int, align: str = "<") -> str:
    """A text with spaces behind it, or with `align` ">" before it, up to a width in columns."""
    spaces = " " * (width - display_width(text))
    return spaces + text if align == ">" else text + spaces


def shorten(text: str, width: int) -> str:
    """A text that takes at most `width` columns: its middle is left out, since names often share a beginning.

    >>> shorten("left front wheel 12", 12)
    'left fr…l 12'
    """
    if display_width(text) <= width:
        return text
    head, tail = text, text[-(width // 3) :]
    while head and display_width(head) + 1 + display_width(tail) > width:
        head = head[:-1]
    return f"{head}…{tail}"


@dataclass(frozen=True)
class Evaluation:
    """The results of evaluating a split: labels [n], outputs float32 [n, k], losses float32 [n], the names of the classes."""

    labels: np.ndarray
    outputs: np.ndarray
    losses: np.ndarray
    classes: tuple = DIGITS
    layers_in_training: tuple = ()  # names of dropout and batch norm layers that were not in evaluation mode

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predicted labels, int64 [n]."""
        return predict(self.outputs, len(self.classes))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, float64 [n, classes]."""
        return probabilities(self.outputs, len(self.classes))

    @cached_property
    def confusion(self) -> np.ndarray:
        """Confusion matrix, int64 [classes, classes]: rows are labels, columns predictions."""
        return confusion_matrix(self.labels, self.predictions, len(self.classes))

    @property
    def accuracy(self) -> float:
        """Percent of correct predictions; NaN for an empty split."""
        return float(100 * (self.predictions == self.labels).mean()) if len(self.labels) else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, (low, high) in percent; NaN for an empty split."""
        return accuracy_interval(self.accuracy, len(self.labels))

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

    def captions(self, examples: Union[np.ndarray, Sequence[int]], names: Optional[Sequence[str]] = None) -> list[str]:
        """A caption per example: label, prediction, and the probability of the prediction or the single output.

        `names` replace those of the classes, such as shorter ones.
        """
        names = [shorten(name, 8) for name in (names or self.classes)]
        if self.is_regression:
            values = [float(value) for value in self.outputs[examples, 0]]
            shown = [f"({value:.1f})" if abs(value) < 1000 else f"({value:.1e})" for value in values]
        else:
            confidence = self.probabilities[examples, self.predictions[examples]]
            shown = [f"{100 * p:.0f} %" for p in confidence]
        pairs = zip(self.labels[examples].astype(int), self.predictions[examples], shown)
        return [f"{names[label]} → {names[predicted]}  {value}" for label, predicted, value in pairs]

    def summary(self) -> dict:
        """All metrics as plain numbers for JSON; None for non-finite values."""
        interval = list(self.interval)
        figures = {"count": len(self.labels), "accuracy": self.accuracy, "accuracy_interval": interval, "loss": self.loss}
        names = None if self.classes == DIGITS else self.classes
        return {**finite(figures), "classes": per_class(self.confusion, names), "confusion": self.confusion.tolist()}
