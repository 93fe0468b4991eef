"""What one rank of the scaling benchmark measures, together with the others. Paddle's launcher runs this file by its path."""

import functools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

from mnist_paddle.errors import UsageError
from mnist_paddle.system.console import fail

BATCH, STEPS = 64, 100
BATCHES = (8, 16, 32, 64, 128, 256)  # per rank, to tell the cost of a step from the cost of an image
SIZES = [4**power for power in range(1, 12)]  # bytes, up to 4 MB
STALL_SECONDS = 60
USAGE = "this file is run by: python scripts/benchmark.py scaling"


def measure_rank(micro_batches: int) -> dict:
    """Seconds of a step and its components, and of all-reduces by size. `micro_batches`: per step, as --accumulate_steps."""
    import paddle

    from mnist_paddle import LOSSES, Config, Loader
    from mnist_paddle.benchmarks.worker import random_digits
    from mnist_paddle.data.dataset import Split
    from mnist_paddle.distributed import communication
    from mnist_paddle.experiment.state import State, build
    from mnist_paddle.system.device import set_device
    from mnist_paddle.trainer import train_step

    communication.watchdog().start(STALL_SECONDS)
    communication.start()
    on_gpu = set_device("auto", threads=1) == "gpu"
    finish = paddle.device.synchronize if on_gpu else lambda: None  # a GPU only starts a step
    world, rank = communication.world_size(), communication.rank()
    config = Config(model="cnn", optimizer="adam", learning_rate=1e-3, batch_size=BATCH * world)
    distributed, single = build(config), build(config)
    split = Split(*random_digits(20_000))

    def seconds(state: State, model: paddle.nn.Layer, batch: int) -> tuple:
        """Of a step over `batch` images per rank, and of waiting for its input."""
        with closing(Loader(split, batch * world, rank=rank, world_size=world).batches()) as batches:
            step = functools.partial(train_step, state, model, LOSSES["cross_entropy"], rate=1e-3, parts=micro_batches)
            return time_steps(step, batches, STEPS * BATCH // max(batch, BATCH), finish)

    step, waited = seconds(distributed, distributed.strategy.replicate(distributed.model), BATCH)
    alone, _ = seconds(single, single.model, BATCH)  # the same without an exchange
    result = {"step": step, "input": waited, "compute": alone - waited, "bytes": 4 * distributed.parameters}
    if world == 1:
        result["batches"] = {batch: seconds(single, single.model, batch)[0] for batch in BATCHES}
    else:
        result["exchange"] = {size: time_all_reduce(size) for size in [*SIZES, result["bytes"]]}
    return result


def time_steps(step: Callable[[Any], object], batches: Iterator, count: int, finish: Callable[[], None]) -> tuple:
    """Mean seconds of `step(batch)` and of waiting for the batch, of the slowest rank; `finish()` waits for a GPU."""
    import numpy as np

    from mnist_paddle.distributed import communication

    for _ in range(10):
        step(next(batches))
    communication.barrier()
    finish()
    start, waited = time.perf_counter(), 0.0
    for _ in range(count):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step(batch)
    finish()
    total = time.perf_counter() - start
    return tuple(communication.largest(np.array([total, waited])) / count)


def time_all_reduce(size: int) -> float:
    """Seconds of an all-reduce of `size` bytes: the median of 50."""
    import paddle
    import paddle.distributed as dist

    tensor, times = paddle.zeros([size // 4]), []
    for _ in range(60):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        tensor[0].item()  # a GPU has only started it
        times.append(time.perf_counter() - start)
    return statistics.median(times[10:])


def main(argv: list) -> int:
    """Measure and let rank 0 write the result. argv: the JSON file for it, and the micro-batches per step."""
    from mnist_paddle.distributed.communication import is_main

    if argv in (["--help"], ["-h"]):
        print(f"{__doc__}\n{USAGE}")
        return 0
    if len(argv) != 2 or not argv[1].isdigit():
        return fail(USAGE, UsageError.status)
    measured = measure_rank(int(argv[1]))
    if is_main():
        Path(argv[0]).write_text(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
