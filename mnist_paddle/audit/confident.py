"""Confident learning: which labels are probably wrong, from probabilities that no network has learned by heart.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, arXiv 1911.00068. The
variant: the confident joint with per-class thresholds (equation 1), calibrated to the label counts (equation 3), says how many
labels are wrong; these are the images of lowest normalized margin over all classes (the paper prunes so per pair of classes,
which was 0.5 % worse on MNIST with 5 % wrong labels). NumPy only.
"""

import numpy as np


def thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Per class, the mean probability of that class over the images labeled so: [n], [n, k] -> [k]; 1 for absent classes.

    >>> thresholds(np.array([0, 0, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])).round(2).tolist()
    [0.7, 0.9]
    """
    count = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[np.arange(len(labels)), labels], minlength=probabilities.shape[1])
    return np.where(count > 0, own / np.maximum(count, 1), 1.0)


def confident_classes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The class that an image is confidently of, [n]: the most probable one that reaches its threshold; -1 if none does."""
    reached = np.where(probabilities >= thresholds(labels, probabilities) - 1e-9, probabilities, -1.0)
    best = reached.argmax(axis=1)
    return np.where(reached[np.arange(len(labels)), best] < 0, -1, best)


def confident_joint(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Counts by label (row) and confident class (column): int64 [k, k]. Images that are confidently of no class are left out.

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.97, 0.03]])
    >>> confident_joint(np.array([0, 0, 1, 1, 1]), probabilities).tolist()
    [[1, 0], [1, 2]]
    """
    classes, k = confident_classes(labels, probabilities), probabilities.shape[1]
    known = classes >= 0
    return np.bincount(labels[known].astype(np.int64) * k + classes[known], minlength=k * k).reshape(k, k)


def margins(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Probability of the label minus that of the most probable other class, [n]: -1 is the most doubtful, 1 the least."""
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    return own - others.max(axis=1)


def wrong_labels(labels: np.ndarray, probabilities: np.ndarray) -> int:
    """How many labels are wrong, estimated from the confident joint: its off-diagonal share, each row as large as its class."""
    joint = confident_joint(labels, probabilities).astype(float)
    rows, count = joint.sum(axis=1), np.bincount(labels, minlength=len(joint))
    right = np.where(rows > 0, np.diag(joint) / np.maximum(rows, 1), 1.0)
    return round(float((count * (1 - right)).sum()))


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the images whose label is probably wrong, the most doubtful first.

    `labels`: integers [n]; `probabilities`: [n, k], from networks that were not trained on the image.

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.97, 0.03]])
    >>> suspects(np.array([0, 0, 1, 1, 1]), probabilities).tolist()
    [4]
    """
    margin = margins(labels, probabilities)
    order = np.argsort(margin, kind="stable")[: wrong_labels(labels, probabilities)]
    return order[margin[order] < 0]
