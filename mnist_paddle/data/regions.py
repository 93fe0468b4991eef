"""Connected regions of ink, and which of them make one digit."""

from collections.abc import Iterable

import numpy as np


def label_regions(mask: np.ndarray) -> np.ndarray:
    """Number the connected regions of a mask, diagonals included: bool [h, w] -> int32 [h, w], 0 outside, then 1, 2, ...

    >>> label_regions(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], bool)).tolist()
    [[1, 0, 1], [0, 1, 0], [0, 0, 0], [2, 2, 0]]
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]  # of the same runs, in the same order
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    first = np.searchsorted(rows, np.arange(height + 1)).tolist()
    left, right = starts.tolist(), stops.tolist()
    for row in range(1, height):
        above, here = first[row - 1], first[row]
        while above < first[row] and here < first[row + 1]:
            if left[above] <= right[here] and left[here] <= right[above]:  # touching, diagonally too
                a, b = root(above), root(here)
                parent[max(a, b)] = min(a, b)
            if right[above] < right[here]:
                above += 1
            else:
                here += 1
    numbers: Iterable = np.unique([root(run) for run in range(len(rows))], return_inverse=True)[1] + 1 if len(rows) else []
    labels = np.zeros((height, width), np.int32)
    for row, start, stop, number in zip(rows.tolist(), left, right, numbers):
        labels[row, start:stop] = number
    return labels


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """The boxes and sizes of all regions: int64 [regions, 5] of top, left, bottom, right (exclusive) and pixels."""
    count = int(labels.max(initial=0))
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns] - 1
    table = np.zeros((count, 5), np.int64)
    table[:, :2] = max(labels.shape)
    np.minimum.at(table[:, 0], numbers, rows)
    np.minimum.at(table[:, 1], numbers, columns)
    np.maximum.at(table[:, 2], numbers, rows + 1)
    np.maximum.at(table[:, 3], numbers, columns + 1)
    table[:, 4] = np.bincount(numbers, minlength=count)
    return table


def drop_margins_and_specks(table: np.ndarray, shape: tuple) -> np.ndarray:
    """Which regions may belong to digits, bool [regions]: no specks, nothing that comes in from the border beside a digit."""
    if not len(table):
        return np.zeros(0, bool)
    top, left, bottom, right, pixels = table.T
    keep = pixels >= max(4, 0.03 * pixels.max())
    sides = (top == 0).astype(int) + (left == 0) + (bottom == shape[0]) + (right == shape[1])
    inner = keep & (sides == 0)
    # A table's edge or a shadow comes in from the border; a digit cut closely does so too, but then there is no other.
    if inner.any() and (bottom - top)[inner].max() >= max(0.15 * shape[0], 0.25 * (bottom - top)[keep].max()):
        keep = inner
    largest = pixels[keep].max(initial=0)
    return keep & (pixels >= 0.03 * largest)


def drop_frames(labels: np.ndarray, table: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """`keep` without boxes drawn around a digit: regions that lie along the edges of their own box, with another inside."""
    keep = keep.copy()
    for number in np.flatnonzero(keep):
        top, left, bottom, right, pixels = table[number].tolist()
        inside = keep & (table[:, 0] > top) & (table[:, 1] > left) & (table[:, 2] < bottom) & (table[:, 3] < right)
        if not (inside & (table[:, 2] - table[:, 0] >= 0.25 * (bottom - top))).any():
            continue
        band = max(2, round(0.12 * (bottom - top))), max(2, round(0.12 * (right - left)))
        middle = labels[top + band[0] : bottom - band[0], left + band[1] : right - band[1]]
        keep[number] = (middle == number + 1).sum() > 0.1 * pixels
    return keep


def cut_touching(labels: np.ndarray) -> np.ndarray:
    """Digits that touch their neighbors, cut where the ink is thinnest: int32 [h, w], regions in reading order -> the same."""
    result, last = np.zeros_like(labels), 0
    for number, (top, left, bottom, right, _) in enumerate(boxes_of(labels).tolist(), 1):
        mask = labels[top:bottom, left:right] == number
        cuts = [0, *_cuts(mask), right - left]
        for start, stop in zip(cuts, cuts[1:]):
            last += 1
            result[top:bottom, left + start : left + stop][mask[:, start:stop]] = last
    return result


def _cuts(mask: np.ndarray) -> list:
    """The columns where a region that is too wide for one digit is cut; none if its ink is nowhere thin."""
    height, width = mask.shape
    count = round(width / (0.62 * height))
    if width < 1.25 * height or count < 2 or count > 20:
        return []
    profile, step = mask.sum(axis=0), width / count
    cuts = []
    for number in range(1, count):
        start = int((number - 0.35) * step)
        cuts.append(start + int(np.argmin(profile[start : int((number + 0.35) * step) + 1])))
    return cuts if all(profile[cut] <= 0.6 * profile.mean() for cut in cuts) else []


def group_digits(table: np.ndarray) -> list:
    """Which regions make one digit: a list of lists of their indices, in reading order.

    Strokes above each other belong together, and small ones to what they nearly touch.
    """
    groups = [[index] for index in np.argsort(table[:, 1], kind="stable").tolist()]
    merged = True
    while merged:
        merged = False
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                if not merged and _belong_together(_union(table, groups[i]), _union(table, groups[j])):
                    groups[i] += groups.pop(j)
                    merged = True
    boxes = [_union(table, group) for group in groups]
    tallest = max((box[2] - box[0] for box in boxes), default=0)
    large = [number for number, box in enumerate(boxes) if box[2] - box[0] >= 0.4 * tallest]
    return [groups[number] for number in sorted(large, key=lambda number: _reading_place(boxes, large, number))]


def _union(table: np.ndarray, group: list) -> np.ndarray:
    rows = table[group]
    return np.array([*rows[:, :2].min(axis=0), *rows[:, 2:4].max(axis=0), rows[:, 4].sum()])


def _belong_together(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes with their pixels are strokes of one digit."""
    height, width = (np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])).tolist()  # of the overlap; negative: a gap
    narrow = min(a[3] - a[1], b[3] - b[1])
    tall, wide = max(a[2] - a[0], b[2] - b[0]), max(a[3] - a[1], b[3] - b[1])
    small = min(a[4], b[4]) < 0.35 * max(a[4], b[4])
    above = width > 0.5 * narrow and height > -(0.35 if small else 0.12) * max(tall, wide)
    return above or (small and min(width, height) > -0.08 * tall)


def _reading_place(boxes: list, numbers: list, number: int) -> tuple:
    """Line and column of a box among others: lines do not overlap by more than half of a box's height."""
    top, left, bottom = boxes[number][:3]
    before = [each for each in numbers if (boxes[each][0] + boxes[each][2]) / 2 < top]
    return len({_line(boxes, each) for each in before}), int(left), int(bottom)


def _line(boxes: list, number: int) -> int:
    """The first box whose middle is at the height of this one."""
    middle = (boxes[number][0] + boxes[number][2]) / 2
    return next(each for each, box in enumerate(boxes) if box[0] <= middle < box[2])
