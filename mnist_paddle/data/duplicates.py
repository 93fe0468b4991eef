"""Images that occur more than once: the same bytes, or slightly changed copies.

What pixels can tell: a copy that was shifted, dimmed, compressed, made noisy or turned by a few degrees is far closer to its
original than two drawings ever are. What they can't tell: whether two different images come from one writer. Split by writer
before the data gets here: a folder each for train, val and test.
"""

from collections.abc import Iterator

import numpy as np

SIDE = 28
GROUPS, SMALLEST = 25, 50  # groups of references, images in one; the median of their nearest distances is the usual one
# Cosines of signatures that a copy has at least, and its distance relative to the usual one at most. Measured against training
# images: of MNIST's 10,000 test images none is so near, of Fashion-MNIST's about 20, which are real pairs.
COARSE_CLOSE, CLOSE, USUAL = 0.994, 0.991, 0.3
IDENTICAL = 0.9995  # cosine of copies where there are so many that the usual distance is a copy's
BLOCK = 16 * 2**20  # similarities in memory at a time
MOST = 10**9  # similarities in all: about ten seconds
MOST_REFERENCES = 200_000  # of more, a strided sample, or the signatures would take a gigabyte


def same_images(parts: dict) -> list[tuple]:
    """Pairs of places (part, index) with equal images: the first one and each repetition. `parts`: name -> uint8 [n, 28, 28].

    Constant images are left out.
    """
    names = list(parts)
    flat = [images.reshape(len(images), -1) for images in parts.values()]
    hashes = np.fromiter((hash(row.tobytes()) for rows in flat for row in rows), np.int64, sum(map(len, flat)))
    order = np.argsort(hashes, kind="stable")
    repeated = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
    starts = np.cumsum([0, *map(len, flat)])

    def place(number: int) -> tuple[int, int]:
        part = int(np.searchsorted(starts, number, "right")) - 1
        return part, int(number - starts[part])

    pairs, first = [], None
    for position in repeated:
        first = position - 1 if first is None or hashes[order[first]] != hashes[order[position]] else first
        (part, index), (other, again) = place(order[first]), place(order[position])
        row = flat[part][index]
        if row.min() < row.max() and (row == flat[other][again]).all():
            pairs.append(((names[part], index), (names[other], again)))
    return sorted(pairs, key=lambda pair: (names.index(pair[1][0]), pair[1][1]))


def near_pairs(reference: np.ndarray, images: np.ndarray) -> tuple[list[tuple], int]:
    """Pairs (index in reference, index in images) of slightly changed copies, and how many of the images were looked at.

    Equal images are not listed. Images uint8 [n, 28, 28]; a strided sample of `images` where all would take minutes, and of
    more than 200,000 references. The
    signatures are the image, centered by mass and averaged over 4x4 and, for the few that are left, 2x2 pixels. A copy's
    distance to its original is much smaller than the usual distance to a nearest neighbor (Lowe's ratio test, IJCV 2004, with
    groups of references instead of the second nearest, so that several copies do not hide each other).
    """
    stride = -(-len(reference) // MOST_REFERENCES)
    reference = reference[::stride]
    step = max(1, int(np.ceil(len(images) * len(reference) / MOST)))
    numbers = np.arange(0, len(images), step)
    groups = max(1, min(GROUPS, len(reference) // SMALLEST))
    size = -(-len(reference) // groups)
    known = [_grouped(vectors, groups, size) for vectors in signatures(reference)]
    coarse, fine = signatures(images[::step])
    rows = max(1, BLOCK // (size * groups))
    # Averaging brings a copy nearer to its original, so that no pair that the fine signature would show is lost here.
    nearest = [(block @ known[0].T).max(axis=1) for block in _blocks(coarse, rows)]
    candidates = np.flatnonzero(np.concatenate(nearest) >= COARSE_CLOSE)
    pairs = []
    for chosen in _blocks(candidates, rows):
        cosines = (fine[chosen] @ known[1].T).reshape(len(chosen), groups, size)
        nearest = cosines.max(axis=2)
        best, usual = nearest.max(axis=1), np.median(nearest, axis=1)
        ratio = np.sqrt(np.maximum(1 - best, 0) / np.maximum(1 - usual, 1e-6))
        for row in np.flatnonzero((best >= CLOSE) & (ratio <= USUAL) | (best >= IDENTICAL)):
            group, member = divmod(int(cosines[row].argmax()), size)
            pair = member * groups + group, int(numbers[chosen[row]])
            if not np.array_equal(reference[pair[0]], images[pair[1]]):
                pairs.append((pair[0] * stride, pair[1]))
    return pairs, len(numbers)


def _blocks(array: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _grouped(known: np.ndarray, groups: int, size: int) -> np.ndarray:
    """Signatures in groups, one after the other. Each takes every 25th image, for neighbors in a file are often alike."""
    blanks = np.zeros((size * groups - len(known), known.shape[1]), np.float32)  # which fill up the last ones
    return np.concatenate([known, blanks]).reshape(size, groups, -1).swapaxes(0, 1).reshape(size * groups, -1)


def signatures(images: np.ndarray) -> list[np.ndarray]:
    """Images uint8 [n, 28, 28] -> unit vectors without mean, coarse [n, 49] and fine [n, 196]; of constant images zeros."""
    blocks = []
    for block in _blocks(images, 2048):
        fine = _averaged(centered(block).astype(np.float32))
        blocks.append([_unit(_averaged(fine)), _unit(fine)])
    return [np.concatenate(vectors) for vectors in zip(*blocks)]


def _averaged(pixels: np.ndarray) -> np.ndarray:
    """Means over 2x2 pixels."""
    return (pixels[:, ::2, ::2] + pixels[:, 1::2, ::2] + pixels[:, ::2, 1::2] + pixels[:, 1::2, 1::2]) / 4


def _unit(pixels: np.ndarray) -> np.ndarray:
    vectors = pixels.reshape(len(pixels), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > 1, vectors / np.maximum(norms, 1), 0)


def centered(images: np.ndarray) -> np.ndarray:
    """Images moved by whole pixels, around the edges, so that the center of mass is in the middle."""
    mass = images.astype(np.float32)
    total = np.maximum(mass.sum(axis=(1, 2)), 1e-6)
    positions = np.arange(SIDE, dtype=np.float32)
    moves = [np.rint((SIDE - 1) / 2 - (mass.sum(axis=axis) * positions).sum(axis=1) / total).astype(int) for axis in (2, 1)]
    rows, columns = ((np.arange(SIDE) - move[:, None]) % SIDE for move in moves)
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
