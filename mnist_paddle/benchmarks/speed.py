"""Implementations compared by speed, each measured in a process of its own, in turns.

Such a process runs this file by its path: plain Paddle must not import mnist_paddle, which would speed it up.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

BATCH = 64


def train_plain(steps: int) -> float:
    """The course CNN as in Paddle's documentation, its batches ready in memory: images/s."""
    import numpy as np
    import paddle
    from paddle import nn

    paddle.seed(0)
    network = nn.Sequential(
        nn.Conv2D(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2, 2),
        nn.Conv2D(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2, 2),
        nn.Flatten(), nn.Linear(980, 10),
    )  # fmt: skip
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    criterion = nn.CrossEntropyLoss()
    images = paddle.to_tensor(np.random.default_rng(0).normal(size=(BATCH, 1, 28, 28)).astype("float32"))
    labels = paddle.to_tensor(np.arange(BATCH) % 10)

    def step() -> None:
        loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    return speed(step, steps)


def train_ours(steps: int) -> float:
    """The same network and optimizer through this toolkit, its loader included: images/s."""
    from mnist_paddle import LOSSES, Config, Loader
    from mnist_paddle.data.dataset import Split
    from mnist_paddle.experiment.state import build
    from mnist_paddle.system.device import set_device
    from mnist_paddle.trainer import train_step

    set_device("cpu", threads=0)
    state = build(Config(model="cnn", optimizer="adam", learning_rate=1e-3))
    with closing(Loader(Split(*random_digits(10_000)), BATCH).batches()) as batches:
        return speed(lambda: train_step(state, state.model, LOSSES["cross_entropy"], next(batches), rate=1e-3), steps)


def random_digits(count: int) -> tuple:
    """Random images and labels; speed does not depend on what they show."""
    import numpy as np

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, generator.integers(0, 10, count).astype(np.uint8)


def speed(step: Callable[[], object], steps: int) -> float:
    """Images per second of a function that processes one batch, after a warm-up of a tenth of the steps."""
    for _ in range(steps // 10 + 1):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return BATCH * steps / (time.perf_counter() - start)


def loader_paddle(fast: bool) -> Callable[[int], float]:
    """paddle.vision.datasets.MNIST through paddle.io.DataLoader, normalized, shuffled: images/s.

    As documented, with ToTensor and Normalize; or, `fast`, without PIL and with NumPy arithmetic.
    """

    def measure(steps: int) -> float:
        import numpy as np
        import paddle
        from paddle.vision.transforms import Compose, Normalize, ToTensor

        from mnist_paddle.data.formats.idx import idx_bytes

        def arithmetic(image: np.ndarray) -> np.ndarray:
            return ((image.astype("float32") - 33.3) / 78.6).reshape(1, 28, 28)

        transform = arithmetic if fast else Compose([ToTensor(), Normalize([0.1307], [0.3081])])
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder, name)) for name in ("images.gz", "labels.gz")]
            for path, array in zip(paths, random_digits(20_000)):
                Path(path).write_bytes(gzip.compress(idx_bytes(np.asarray(array)), 1))
            backend = "cv2" if fast else "pil"
            data = paddle.vision.datasets.MNIST(*paths, transform=transform, download=False, backend=backend)
            batches = iter(paddle.io.DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=0))
            return speed(lambda: next(batches), min(steps, 250))

    return measure


def loader_of(reader: str) -> Callable[[int], float]:
    """This toolkit's reader of this name, up to Paddle tensors: images/s."""

    def measure(steps: int) -> float:
        from mnist_paddle import Loader
        from mnist_paddle.data.dataset import Split

        with closing(Loader(Split(*random_digits(50_000)), BATCH, reader=reader).batches()) as batches:
            return speed(lambda: next(batches), steps)

    return measure


def loader_numpy(steps: int) -> float:
    """This toolkit's batches as NumPy arrays, float32, normalized, shuffled: images/s."""
    from mnist_paddle.data.dataset import Split
    from mnist_paddle.data.loader import Sampler, make_batch

    split, sampler = Split(*random_digits(50_000)), Sampler(50_000, BATCH)
    counter = iter(range(10**9))
    return speed(lambda: make_batch(split, sampler, next(counter)), steps)


def saving(every: int) -> Callable[[int], dict]:
    """An epoch of the default recipe, saved every `every` steps (0: the default): seconds of training and of saving, saves."""

    def measure(steps: int) -> dict:
        from mnist_paddle import Config, fit
        from mnist_paddle.experiment import checkpoints
        from mnist_paddle.experiment.setup import Setup
        from mnist_paddle.experiment.state import State

        save, spent = checkpoints.save, []

        def timed(setup: Setup, state: State) -> None:
            start = time.perf_counter()
            save(setup, state)
            spent.append(time.perf_counter() - start)

        checkpoints.save = timed
        with tempfile.TemporaryDirectory(dir=".") as folder:  # on a real disk, which /tmp need not be
            config = Config(epochs=1, checkpoint_every=every, output_dir=str(Path(folder, "run")))
            report = fit(config, log=lambda text: None)
        return {"training": report["train_seconds"], "saving": sum(spent), "saves": len(spent)}

    return measure


SAVING: dict[str, Callable] = {
    "at every evaluation (default)": saving(0),
    "every 100 steps": saving(100),
    "every step": saving(1),
}

IMPLEMENTATIONS: dict[str, dict[str, Callable]] = {
    "train": {"plain Paddle": train_plain, "mnist_paddle": train_ours},
    "loader": {
        "paddle.io.DataLoader, as documented": loader_paddle(fast=False),
        "paddle.io.DataLoader, fastest form": loader_paddle(fast=True),
        "NumPy batches": loader_numpy,
        "reader sync": loader_of("sync"),
        "reader async": loader_of("async"),
        "reader resident": loader_of("resident"),
    },
}
BASES = {"train": "plain Paddle", "loader": "paddle.io.DataLoader, fastest form"}  # what docs/benchmarks.md compares with
STEPS = {"train": 150, "loader": 5000}


def measure(kind: str, name: str) -> Any:
    """One implementation in a process of its own; loaders run on one core."""
    command = [sys.executable, "-W", "ignore", __file__, "one", kind, name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: the benchmark of {name} ({kind}) failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(kind: str, repeats: int) -> dict:
    """All implementations in turns: median images/s of each, and the ratio to the fastest form of Paddle's own (`BASES`)."""
    rates: dict[str, list] = {name: [] for name in IMPLEMENTATIONS[kind]}
    for _ in range(repeats):
        for name in rates:
            rates[name].append(measure(kind, name))
    medians = {name: statistics.median(measured) for name, measured in rates.items()}
    base = medians[BASES[kind]]
    return {
        name: {
            "images_per_second": round(rate),
            "ratio": round(rate / base, 2),
            "runs": [round(each) for each in rates[name]],
        }
        for name, rate in medians.items()
    }


def saving_shares(repeats: int) -> dict:
    """For every interval: milliseconds of a save and percent of the training time, medians."""
    shares = {}
    for name in SAVING:
        runs = [measure("save", name) for _ in range(repeats)]
        shares[name] = {
            "saves": runs[0]["saves"],
            "milliseconds": round(statistics.median(1000 * run["saving"] / run["saves"] for run in runs), 2),
            "percent": round(statistics.median(100 * run["saving"] / run["training"] for run in runs), 2),
        }
    return shares


def run_one(kind: str, name: str) -> None:
    """Measure one implementation in this process and print the result."""
    if kind == "loader" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    implementations = SAVING if kind == "save" else IMPLEMENTATIONS[kind]
    print(json.dumps(implementations[name](STEPS.get(kind))))


if __name__ == "__main__":
    run_one(*sys.argv[2:])
