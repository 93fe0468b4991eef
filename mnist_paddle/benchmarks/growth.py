"""Time per epoch and memory as the data grows: MNIST's training set, and files with several times as many images."""

import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..data.dataset import Split, load_dataset
from ..system.console import Log
from .processes import in_turns, scratch_folder
from .training import ratios, with_range
from .whole import train

TIMES = (1, 2, 5, 10)
VALIDATION = 10_000  # images, however large the data is: only training grows


def write_idx(folder: Path, part: str, split: Split, copies: int) -> None:
    """IDX files of a part ("train", "t10k") with several copies of a split, each moved by another distance.

    Copies differ, so that no check finds duplicates, and from the split: MNIST itself is recognized and read in another way than
    data of one's own. They are written one at a time.
    """
    count = copies * len(split)
    moves = [(down, right) for down in (1, -1, 2, -2) for right in (0, 1, -1, 2, -2)]
    with open(folder / f"{part}-images-idx3-ubyte", "wb") as images:
        images.write(struct.pack(">IIII", 2051, count, 28, 28))
        for move in moves[:copies]:
            images.write(np.roll(split.images, move, axis=(1, 2)).tobytes())
    with open(folder / f"{part}-labels-idx1-ubyte", "wb") as labels:
        labels.write(struct.pack(">II", 2049, count))
        labels.writelines([split.labels.astype(np.uint8).tobytes()] * copies)


def training_images() -> tuple[Split, Split]:
    """MNIST's 60,000 training and 10,000 test images."""
    data = load_dataset("mnist", validation_size=0, log=lambda text: None)
    return data.train, data.test


def measure(repeats: int, log: Log, times: Sequence[int] = TIMES) -> dict:
    """An epoch of the default recipe on each size, by round: {"sizes": {times: rounds}, "images": {times: number}}."""
    images, test = training_images()
    with scratch_folder() as folder:
        for copies in times:
            data = Path(folder, str(copies))
            data.mkdir()
            write_idx(data, "train", images, copies)
            write_idx(data, "t10k", test, 1)
        return {"sizes": epochs(Path(folder), times, repeats, log), "images": {str(each): each * len(images) for each in times}}


def epochs(folder: Path, times: Sequence[int], repeats: int, log: Log, flags: Sequence[str] = ()) -> dict[str, list]:
    """One epoch on the data in each folder, by round."""
    how = ["--dataset", "custom", "--validation_size", str(VALIDATION), "--epochs", "1", *flags]
    measurements = {str(each): partial(train, [*how, "--data_dir", str(folder / str(each))]) for each in times}
    return in_turns(measurements, repeats, log)


def table(result: dict) -> list[list[str]]:
    """Speed and memory of each size, and the time of an image over that with MNIST's own size."""
    sizes = result["sizes"]
    rows = [["images", "epoch, s", "images/s", "time of an image over 1 x", "peak anonymous memory, MB", "peak memory, MB"]]
    speeds = {name: [each["images_per_second"] for each in rounds] for name, rounds in sizes.items()}
    first = next(iter(speeds.values()))
    for name, rounds in sizes.items():
        row = [f"{name} x ({result['images'][name]:,})", with_range([each["train_seconds"] for each in rounds], ".1f")]
        row += [with_range(speeds[name], ",.0f"), with_range(ratios(first, speeds[name]), ".2f")]
        rows.append(row + [with_range([each[key] for each in rounds], ".0f") for key in ("anonymous_mb", "resident_mb")])
    return rows
