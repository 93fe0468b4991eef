"""What this toolkit is measured by, each in a process of its own: `python -m mnist_paddle.benchmarks.worker NAME [ARGUMENT ...]`.

The last line printed is the result as JSON.
"""

import json
import os
import statistics
import sys
import time
from contextlib import closing
from functools import partial
from typing import Any, Callable

import numpy as np

from ..system.startup import usable_cores
from .processes import scratch_folder

BATCH = 64
NETWORKS: dict[str, dict] = {
    "cnn": {"model": "cnn"},
    "fc": {"model": "fc", "model_args": {"widths": [100, 100]}},
    "resnet": {"model": "resnet"},
}
PARTS_STEPS = 60  # of which the first quarter is not counted
WINDOW = 50  # steps between two points of the curves, each with the speed since the last
SIZES = (1024, 2048, 3072, 4096)  # of the matrices whose product is timed


def random_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 [n, 28, 28] and labels uint8 [n]; speed does not depend on what they show."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, generator.integers(0, 10, count).astype(np.uint8)


def train(network: str, kernels: str, steps: str) -> float:
    """A whole `fit` of one of `NETWORKS` by Adam on arrays in memory: images/s of its training steps after a warm-up.

    Loader, replicas, checks, curves and logging count as in every run; evaluation does not. `kernels`: auto or python.
    """
    from mnist_paddle import Config, Dataset, Split, fit

    from ..config import FIELDS

    batches = WINDOW * (int(steps) // WINDOW + 1)
    split = Split(*random_digits(BATCH * min(batches, 750)))
    dataset = Dataset("random", split, split.slice(0, 0), split.slice(0, BATCH))
    settings = {**NETWORKS[network], "optimizer": "adam", "learning_rate": 1e-3, "schedule": "constant", "batch_size": BATCH}
    settings |= {"epochs": -(-batches // 750), "evaluate_every": 10**6, "log_every": WINDOW, "device": "cpu"}
    if "kernels" in FIELDS:
        settings["kernels"] = kernels
    points: list[dict] = []
    with scratch_folder() as folder:
        fit(Config(**settings, output_dir=f"{folder}/run"), dataset, log=lambda text: None, on_point=points.append)
    speeds = [point["images_per_second"] for point in points if point["split"] == "train" and point["step"] % WINDOW == 0]
    return statistics.harmonic_mean(speeds[1:])


def loader(reader: str, steps: str) -> float:
    """This toolkit's batches on one core, shuffled, normalized: Paddle tensors by a reader, or "numpy" arrays: images/s."""
    from mnist_paddle import Loader, Split

    from ..data.loader import Sampler, Source
    from .plain_paddle import speed

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    split = Split(*random_digits(50_000))
    if reader == "numpy":
        source, counter = Source(split, Sampler(len(split), BATCH)), iter(range(10**9))
        return speed(lambda: source.batch(next(counter)), int(steps))
    with closing(Loader(split, BATCH, reader=reader).batches()) as batches:
        return speed(lambda: next(batches), int(steps))


def save(every: str) -> dict[str, float]:
    """An epoch of the default recipe, saved every so many steps (0: the default): seconds of training and of saving, saves."""
    from mnist_paddle import Config, fit

    from ..experiment import checkpoints
    from ..experiment.setup import Setup
    from ..experiment.state import State

    original, spent = checkpoints.save, []

    def timed(setup: Setup, state: State) -> None:
        start = time.perf_counter()
        original(setup, state)
        spent.append(time.perf_counter() - start)

    checkpoints.save = timed
    with scratch_folder() as folder:
        report = fit(Config(epochs=1, checkpoint_every=int(every), output_dir=f"{folder}/run"), log=lambda text: None)
    return {"training": report["train_seconds"], "saving": sum(spent), "saves": len(spent)}


def product(library: str) -> float:
    """GFLOP/s of products of large float32 matrices on all cores at once, by NumPy or Paddle; the best of several sizes."""
    multiply = {"numpy": _numpy_product, "paddle": _paddle_product}[library]
    return max(2e-9 * size**3 / multiply(size) for size in SIZES)


def _numpy_product(size: int) -> float:
    left, right = np.random.default_rng(0).random((2, size, size), np.float32)
    return _shortest(lambda: left @ right)


def _paddle_product(size: int) -> float:
    import paddle
    from paddle.framework import core

    core.set_num_threads(usable_cores())
    left, right = paddle.rand([size, size]), paddle.rand([size, size])
    return _shortest(lambda: paddle.matmul(left, right))


def step(kernels: str) -> dict[str, float]:
    """Median milliseconds of every part, batch 64, in this process: forward and backward apart, one replica."""
    import paddle

    from ..config import Config
    from ..experiment.state import build
    from ..losses import LOSSES
    from ..system.device import set_device

    set_device("cpu")
    state = build(Config(model="cnn", kernels=kernels))
    first, second, *head = state.model.children()
    pixels, labels = random_digits(64)
    images, labels = paddle.to_tensor(pixels[:, None].astype("float32") / 255), paddle.to_tensor(labels.astype("int64"))
    times: dict[str, list[float]] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = action()
        times.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        return result

    def end(features: paddle.Tensor) -> paddle.Tensor:
        for layer in head:
            features = layer(features)
        return LOSSES["cross_entropy"](features, labels).sum() * (1 / 64)

    for _ in range(PARTS_STEPS):
        one = timed("first block, forward", lambda: first(images))
        inner = one.detach()
        inner.stop_gradient = False
        two = timed("second block, forward", partial(second, inner))
        features = two.detach()
        features.stop_gradient = False
        loss = timed("linear layer and loss, forward", partial(end, features))
        timed("linear layer and loss, backward", loss.backward)
        timed("second block, backward", partial(two.backward, features.grad))
        timed("first block, backward", partial(one.backward, inner.grad))
        timed("Adam", state.optimizer.step)
        state.optimizer.clear_grad()
    return {name: statistics.median(values[PARTS_STEPS // 4 :]) for name, values in times.items()}


def _shortest(action: Callable[[], object]) -> float:
    """Seconds of the fastest of five calls, after one that is not counted."""
    action()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    from ..system.device import versions

    return versions()


WORKERS: dict[str, Callable[..., Any]] = {
    "train": train,
    "loader": loader,
    "save": save,
    "product": product,
    "step": step,
    "versions": versions,
}

if __name__ == "__main__":
    print(json.dumps(WORKERS[sys.argv[1]](*sys.argv[2:])))
