"""Whether the batches that reach the network are what they should be: normalized, shuffled, labeled, and not mirrored.

Each check returns an `Alarm`, or None. Arrays are NumPy's.
"""

from typing import Optional

import numpy as np

from ..data.dataset import Split
from .alarms import Alarm

FAR, WIDE, NARROW = 3.0, 5.0, 0.05  # mean and standard deviation of inputs that nobody would call normalized
NEARER, TURNED = 0.6, 0.15  # distance to a turned original over that to the original itself; share of such images
SYMMETRIES = {
    "mirrored left to right": lambda x: x[:, :, ::-1],
    "mirrored top to bottom": lambda x: x[:, ::-1],
    "turned by 180 degrees": lambda x: x[:, ::-1, ::-1],
    "turned by 90 degrees": lambda x: np.rot90(x, 1, (1, 2)),
    "turned by 270 degrees": lambda x: np.rot90(x, 3, (1, 2)),
    "transposed": lambda x: x.swapaxes(1, 2),
    "inverted": lambda x: 255.0 - x,
}
SIDE = 14  # of the averaged images whose neighbors are looked for
REFERENCES, QUERIES = 2000, 400
ALIKE, MANY = 0.02, 0.01  # squared distance over the median of those to the nearest; share of the images
UNLIKE = 0.3  # share of the images that are of another class than they would be by the other part's proportions
LOST, OFTEN = 0.5, 0.2  # what is left of an image's brightness; share of the images
PARTLY = 0.7  # of the agreement of the training labels: below it many labels of a part are wrong
BLANK = 0.1  # share of the images
RENAMED = 0.6  # share of a class's images that look like one other class, from which on it has another name


def check_normalized(images: np.ndarray, step: int, layer: str = "") -> Optional[Alarm]:
    """Whether a batch float32 [n, 1, 28, 28], as a `layer` gets it, is roughly of mean 0 and standard deviation 1."""
    mean, std = float(images.mean(dtype=np.float64)), float(images.std(dtype=np.float64))
    if abs(mean) <= FAR and NARROW <= std <= WIDE:
        return None
    return Alarm("inputs_not_normalized", step, f"a batch has a mean of {mean:.3g} and a standard deviation of {std:.3g}", layer)


def check_turned(images: np.ndarray, originals: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether images of a batch, pixels 0 to 255 float [n, 28, 28], are nearer to a turned original than to the original."""
    seen, pixels = _smooth(images), originals.astype(np.float32)
    straight = _distance(seen, _smooth(pixels))
    shares = {
        name: float(np.mean(_distance(seen, _smooth(turn(pixels))) < NEARER * straight)) for name, turn in SYMMETRIES.items()
    }
    name = max(shares, key=lambda each: shares[each])
    if shares[name] < TURNED:
        return None
    return Alarm("augmentation_flips", step, f"{100 * shares[name]:.0f} % of the images of a batch are {name}")


def check_kept(images: np.ndarray, originals: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether most of the image is left in a batch: pixels 0 to 255 [n, 28, 28] against the originals, by their contrast."""
    seen, usual = (np.abs(each.astype(np.float32) - np.median(each)).sum(axis=(1, 2)) for each in (images, originals))
    share = float((seen < LOST * usual).mean())
    if share < OFTEN:
        return None
    figures = f"{100 * share:.0f} % of the images of a batch have lost more than half of their lines"
    return Alarm("augmentation_too_strong", step, figures)


def check_blank(originals: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether images of a batch uint8 [n, 28, 28], before augmentation, have the same value everywhere."""
    share = float((np.ptp(originals.reshape(len(originals), -1), axis=1) == 0).mean()) if len(originals) else 0.0
    if share < BLANK:
        return None
    return Alarm("blank_images", step, f"{100 * share:.0f} % of the images of a batch have one value everywhere")


def _smooth(pixels: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 pixels: [n, 28, 28] -> [n, 196]."""
    total = pixels[:, ::2, ::2] + pixels[:, 1::2, ::2]
    total += pixels[:, ::2, 1::2]
    total += pixels[:, 1::2, 1::2]
    return total.reshape(len(pixels), -1) / 4


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.sqrt(((one - other) ** 2).sum(axis=1)) + 1e-6


def check_labels_of_batch(labels: np.ndarray, expected: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether the labels [n] of a batch are those that the data set has for its images."""
    if labels.shape == expected.shape and (labels == expected).all():
        return None
    wrong = "all" if labels.shape != expected.shape else f"{int((labels != expected).sum())} of {len(labels)}"
    return Alarm("shuffled_labels", step, f"{wrong} labels of a batch are not those that the data set has for its images")


def check_shuffled(labels: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether labels [n], in the order of the batches, follow each other as at random.

    Of shuffled labels the share equal to the one before is the sum of the squared proportions of the classes.
    """
    if len(labels) < 256:
        return None
    proportions = np.bincount(labels) / len(labels)
    expected, found = float((proportions**2).sum()), float((labels[1:] == labels[:-1]).mean())
    if expected > 0.9 or found < expected + 0.5 * (1 - expected):
        return None
    figures = f"{100 * found:.0f} % of the images are of the class of the one before; at random {100 * expected:.0f} %"
    return Alarm("sorted_batches", step, figures)


class Neighbors:
    """Images uint8 [n, 28, 28] and their labels [n], among which the nearest of others are looked for."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.labels = labels.astype(np.int64)
        self._pixels = _smooth(images.astype(np.float32))
        self._squares = (self._pixels**2).sum(axis=1)

    def nearest(self, images: np.ndarray, *, without_itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The labels [m] of the nearest ones, and the squared distances [m], of averaged pixels.

        `without_itself` leaves out those that are the image.
        """
        asked = _smooth(images.astype(np.float32))
        squares = (asked**2).sum(axis=1, keepdims=True)
        distances = self._squares - 2 * asked @ self._pixels.T + squares
        if without_itself:
            distances[distances <= 1e-5 * (squares + 1)] = np.inf
        return self.labels[distances.argmin(axis=1)], distances.min(axis=1)


def some(count: int, most: int, seed: int) -> np.ndarray:
    """Up to `most` numbers below `count`, in random order."""
    return np.random.default_rng(seed).choice(count, min(count, most), replace=False)


def label_agreement(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The share of images uint8 [n, 28, 28] whose nearest neighbor has their label, and what chance makes of it."""
    order = some(len(images), QUERIES + REFERENCES, seed=0)
    asked, known = order[:QUERIES], order[QUERIES:]
    if len(known) < 100:
        return 1.0, 0.0
    near = Neighbors(images[known], labels[known]).nearest(images[asked])[0]
    classes = int(labels.max()) + 1
    chance = float((np.bincount(labels[asked], minlength=classes) * np.bincount(near, minlength=classes)).sum()) / len(asked) ** 2
    return float((near == labels[asked]).mean()), chance


def check_label_agreement(images: np.ndarray, labels: np.ndarray, step: int) -> Optional[Alarm]:
    """Whether neighbors have equal labels more often than by chance. Only meaningful where a network learns nothing, either."""
    agreement, chance = label_agreement(images, labels)
    if agreement > chance + 0.06:
        return None
    figures = f"{100 * agreement:.0f} % of the images have the label of their nearest neighbor, by chance it would be "
    return Alarm("shuffled_labels", step, f"{figures}{100 * chance:.0f} %, and the network learns nothing from them")


def sample_of(train: Split) -> Optional[Neighbors]:
    """Some training images to compare other parts with; None where there are too few."""
    if len(train.images) < 100:
        return None
    chosen = some(len(train.images), REFERENCES, seed=1)
    return Neighbors(train.images[chosen], train.labels[chosen])


def check_part(train: Split, other: Split, part: str, known: Optional[Neighbors] = None) -> Optional[Alarm]:
    """Whether the labels of another part mean what those of the training images mean, and no image is nearly one of these.

    By the nearest training images, `known` (`sample_of`). Nothing is said of labels where neighbors do not tell the class
    among the training images either.
    """
    known = known or sample_of(train)
    order = some(len(other.images), QUERIES, seed=0)
    if len(order) < 30 or known is None:
        return None
    images, labels = other.images[order], other.labels[order].astype(np.int64)
    near, distances = known.nearest(images)
    if alarm := _check_near_duplicates(train, known, distances, part):
        return alarm
    right, (text, rest) = float((near == labels).mean()), renamed(near, labels)
    if right > 0.8 and not text:
        return None
    agreement, chance = label_agreement(train.images, train.labels.astype(np.int64))
    if agreement < chance + 0.3:
        return None
    figures = f"{100 * right:.0f} % of the images of {part} have the label of the nearest training image"
    if right < chance + 0.5 * (agreement - chance):
        for name, turn in SYMMETRIES.items():
            turned = float((known.nearest(turn(images.astype(np.float32)))[0] == labels).mean())
            if turned > chance + 0.75 * (agreement - chance):
                return Alarm("different_inputs", 0, f"{figures}; {name} it would be {100 * turned:.0f} %")
    # Of images of another kind, such as moved ones, few classes look like their own.
    if text and (rest > chance + PARTLY * (agreement - chance) or right <= chance + 0.25 * (agreement - chance)):
        return Alarm("different_labels", 0, text.format(part=part))
    figures += f"; among the training images it is {100 * agreement:.0f} %"
    if right <= chance + 0.25 * (agreement - chance):
        return Alarm("different_labels", 0, figures)
    # Images of another kind are unlike the training images, but like each other; labels that are wrong fit neither.
    inside, chance = label_agreement(other.images, other.labels.astype(np.int64))
    if right > chance + PARTLY * (agreement - chance) or inside > chance + PARTLY * (agreement - chance):
        return None
    return Alarm("different_labels", 0, f"{figures}, and among those of {part} themselves {100 * inside:.0f} %")


def _check_near_duplicates(train: Split, known: Neighbors, distances: np.ndarray, part: str) -> Optional[Alarm]:
    """Whether more images of a part are nearly a training image than training images are nearly another one.

    `distances`: squared, of images of the part to the nearest known ones. Only a sample is compared, so few are not found.
    """
    if np.quantile(distances, MANY) > ALIKE * np.quantile(distances, 0.9):
        return None
    own = known.nearest(train.images[some(len(train.images), QUERIES, seed=2)], without_itself=True)[1]
    limit = ALIKE * float(np.median(own))
    share, usual = (float((each < limit).mean()) for each in (distances, own))
    if share < max(MANY, 5 * usual):
        return None
    figures = f"{part}: {100 * share:.1f} % of some images are nearly one of {len(known.labels):,} training images"
    return Alarm("test_images_in_training", 0, f"{figures}; of the training images themselves {100 * usual:.1f} %")


def check_proportions(train: np.ndarray, other: np.ndarray, part: str) -> Optional[Alarm]:
    """Whether the labels of another part have other proportions than the training labels: both [n]."""
    if min(len(train), len(other)) < 100:
        return None
    classes = int(max(train.max(), other.max())) + 1
    one, two = (np.bincount(labels, minlength=classes) / len(labels) for labels in (train, other))
    by_chance = 0.4 * np.sqrt(classes * (1 / len(train) + 1 / len(other)))  # of two random samples
    if float(np.abs(one - two).sum()) / 2 < UNLIKE + by_chance:
        return None
    label = int(np.abs(one - two).argmax())
    figures = f"{100 * one[label]:.0f} % of the training images are of class {label}, and {100 * two[label]:.0f} % of {part}"
    return Alarm("different_proportions", 0, figures)


def renamed(near: np.ndarray, labels: np.ndarray) -> tuple[str, float]:
    """A sentence about a class whose images look like those of one other, and the share of images that look like their own class,
    without these two; "" and 0 where there is none. Both [n]: labels.
    """
    for label in np.unique(labels):
        found = near[labels == label]
        other = int(np.bincount(found).argmax())
        share, own = float((found == other).mean()), float((found == label).mean())
        if len(found) >= 15 and other != label and share > RENAMED > 3 * own:
            rest = (labels != label) & (labels != other)
            text = f"{100 * share:.0f} % of the images labeled {label} in {{part}} look like those labeled {other} in training"
            return text, float((near == labels)[rest].mean()) if rest.any() else 1.0
    return "", 0.0


def check_alike(train: np.ndarray, other: np.ndarray, part: str) -> Optional[Alarm]:
    """Whether images uint8 [n, 28, 28] of another part look like the training images: their mean image, brightness, contrast."""
    if min(len(train), len(other)) < 30:
        return None
    one, two = (images.astype(np.float32) for images in (train, other))
    means = [images.mean(axis=0).ravel() for images in (one, two)]
    if min(mean.std() for mean in means) > 1:
        correlation = float(np.corrcoef(*means)[0, 1])
        if correlation < 0.3:
            figures = f"the mean images of {part} and training have a correlation of {correlation:.2f}"
            return Alarm("different_inputs", 0, figures + (": inverted?" if correlation < -0.3 else ""))
    stds = [float(images.std()) for images in (one, two)]
    gap = abs(float(one.mean() - two.mean())) / max(stds[0], 1e-6)
    if gap > 0.5 or not 0.5 <= stds[1] / max(stds[0], 1e-6) <= 2:
        figures = f"mean {two.mean():.0f} and standard deviation {stds[1]:.0f} of the pixels of {part}, in training"
        return Alarm("different_inputs", 0, f"{figures} {one.mean():.0f} and {stds[0]:.0f}")
    return None
