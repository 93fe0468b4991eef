"""What ranks gain: measured on this machine, predicted for more. This file is also what Paddle's launcher runs for a rank."""

import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from mnist_paddle.benchmarks.scaling import Network, efficiency, fit_compute, fit_network, smallest_batch, throughput
from mnist_paddle.system import startup
from mnist_paddle.system.paths import output_file

BATCH, STEPS = 64, 100
BATCHES = (8, 16, 32, 64, 128, 256)  # of one rank, to tell what a step costs from what an image costs
SIZES = [4**power for power in range(1, 12)]  # bytes, up to 4 MB
PLANNED = [2**power for power in range(11)]  # ranks
SHOWN = (8, 64, 1024)  # those whose efficiency is drawn


def measure_rank(parts: int) -> dict:
    """What a rank measures, with the others: seconds of a step and its parts, and of all-reduces by size.

    `parts`: every batch goes through the network in so many pieces, as with --accumulate_steps.
    """
    import paddle

    from mnist_paddle import LOSSES, Config, Loader
    from mnist_paddle.benchmarks.speed import digits
    from mnist_paddle.data.dataset import Split
    from mnist_paddle.distributed import communication
    from mnist_paddle.distributed.watchdog import contact
    from mnist_paddle.experiment.state import build
    from mnist_paddle.system.device import set_device
    from mnist_paddle.trainer import train_step

    contact.guard(60)
    communication.start()
    finished = paddle.device.synchronize if set_device("auto", threads=1) == "gpu" else lambda: None  # a GPU only begins a step
    world, rank = communication.world_size(), communication.rank()
    config = Config(model="cnn", optimizer="adam", learning_rate=1e-3, batch_size=BATCH * world)
    state, single = build(config), build(config)
    split = Split(*digits(20_000))

    def seconds(state, model, size: int) -> tuple:
        """Of a step over batches of `size` a rank, and of its input."""
        with closing(Loader(split, size * world, rank=rank, world_size=world).batches()) as batches:
            step = functools.partial(train_step, state, model, LOSSES["cross_entropy"], rate=1e-3, parts=parts)
            return time_steps(step, batches, STEPS * BATCH // max(size, BATCH), finished)

    step, waited = seconds(state, state.strategy.replicate(state.model), BATCH)
    alone, _ = seconds(single, single.model, BATCH)  # the same, without an exchange
    found = {"step": step, "input": waited, "compute": alone - waited, "bytes": 4 * state.parameters}
    if world == 1:
        found["batches"] = {size: seconds(single, single.model, size)[0] for size in BATCHES}
    else:
        found["exchange"] = {size: exchange(size) for size in [*SIZES, found["bytes"]]}
    return found


def time_steps(step, batches, count: int, finished) -> tuple:
    """Seconds of `step(batch)` and of waiting for the batch, the slowest rank's means; `finished()` waits for a GPU."""
    import numpy as np

    from mnist_paddle.distributed import communication

    for _ in range(10):
        step(next(batches))
    communication.barrier()
    finished()
    begin, waited = time.perf_counter(), 0.0
    for _ in range(count):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step(batch)
    finished()
    spent = time.perf_counter() - begin
    return tuple(communication.largest(np.array([spent, waited])) / count)


def exchange(size: int) -> float:
    """Seconds of an all-reduce of so many bytes: the median of 50."""
    import paddle
    import paddle.distributed as dist

    tensor, times = paddle.zeros([size // 4]), []
    for _ in range(60):
        begin = time.perf_counter()
        dist.all_reduce(tensor)
        tensor[0].item()  # a GPU only begins it above
        times.append(time.perf_counter() - begin)
    return statistics.median(times[10:])


def measure(ranks: int, parts: int) -> dict:
    """The measurement of so many ranks, by Paddle's launcher."""
    from mnist_paddle.distributed.launcher import paddle_command, rank_environment, visible_gpus

    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        # One rank is started like many, so that they differ in nothing else.
        command = paddle_command(Path(__file__), [str(result), str(parts)], Path(folder, "logs"), ranks)
        environment = rank_environment(1, 0 if visible_gpus() else ranks)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        if done.returncode or not result.exists():
            raise SystemExit(f"error: the benchmark on {ranks} ranks failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(result.read_text())


def median(runs: list) -> dict:
    """The median of every number of several measurements."""
    first = runs[0]
    return {key: median([run[key] for run in runs]) for key in first} if isinstance(first, dict) else statistics.median(runs)


def report(runs: dict, planned: Network, parts: int) -> dict:
    """Everything that follows from the measurements: ranks -> as many of them as there were rounds."""
    found = {ranks: median(measured) for ranks, measured in runs.items()}
    # Machines are faster in one minute than in the next, so ranks are compared within a round.
    gains = {ranks: [ranks * one["step"] / run["step"] for one, run in zip(runs[1], runs[ranks])] for ranks in runs}
    one, most = found[1], max(found)
    compute = fit_compute([int(size) for size in one["batches"]], list(one["batches"].values()))
    sizes = found[most].get("exchange", {})
    here = fit_network(most, [int(size) for size in sizes], list(sizes.values())) if sizes else None
    size = one["bytes"]
    return {
        "batch": BATCH,
        "parts": parts,
        "gradient_bytes": size,
        "ranks": {
            ranks: {
                "images_per_second": round(ranks * BATCH / run["step"]),
                "times_one": round(statistics.median(gains[ranks]), 3),
                "rounds": [round(gain, 3) for gain in gains[ranks]],
                "step_ms": {
                    "compute": round(1e3 * run["compute"], 3),
                    "communication": round(1e3 * max(run["step"] - run["compute"] - run["input"], 0.0), 3),
                    "input": round(1e3 * run["input"], 3),
                },
                "exchange_alone_ms": round(1e3 * run["exchange"][str(size)], 3) if ranks > 1 else 0.0,
            }
            for ranks, run in found.items()
        },
        "compute": {"step_ms": 1e3 * compute.step, "image_ms": 1e3 * compute.image},
        "here": {"latency_us": 1e6 * here.latency, "gbit": 8e-9 * here.bandwidth} if here else None,
        "planned": {
            "latency_us": 1e6 * planned.latency,
            "gbit": 8e-9 * planned.bandwidth,
            "ranks": {
                ranks: {
                    "images_per_second": round(float(throughput(compute, planned, size, ranks, BATCH))),
                    "efficiency": round(float(efficiency(compute, planned, size, ranks, BATCH)), 4),
                    "smallest_batch": int(smallest_batch(compute, planned, size, ranks)),
                }
                for ranks in PLANNED
            },
        },
    }


def show(report: dict) -> str:
    """The same for a reader."""
    pieces = f" in {report['parts']} pieces" if report["parts"] > 1 else ""
    lines = [f"measured: course CNN, Adam, batches of {BATCH} a rank{pieces}, one thread a rank, medians"]
    lines.append("ranks   images/s   x one   compute   communication   input   all-reduce alone")
    for ranks, row in report["ranks"].items():
        parts = row["step_ms"]
        times = [parts["compute"], parts["communication"], parts["input"], row["exchange_alone_ms"]]
        columns = "".join(f"{value:{width}.2f} ms" for value, width in zip(times, (7, 13, 5, 16)))
        lines.append(f"{ranks:5}{row['images_per_second']:11,}{row['times_one']:8.2f}{columns}")
        if ranks > 1:
            lines.append(f"{'':16}({min(row['rounds']):.2f} to {max(row['rounds']):.2f} in {len(row['rounds'])} rounds)")
    compute, here, plan = report["compute"], report["here"], report["planned"]
    lines.append(f"\nfitted: a step costs {compute['step_ms']:.2f} ms and {compute['image_ms']:.4f} ms an image on one rank")
    if here:
        lines.append(
            f"        a message between these ranks costs {here['latency_us']:.0f} us, then runs at {here['gbit']:.1f} Gbit/s"
        )
    lines.append(
        f"\npredicted by the ring model for {plan['latency_us']:g} us and {plan['gbit']:g} Gbit/s, "
        f"gradients of {report['gradient_bytes']:,} bytes\n"
        f"ranks     images/s   efficiency at {BATCH} a rank   batch a rank under which it falls below 80 %   the same in all"
    )
    for ranks, row in plan["ranks"].items():
        batch = row["smallest_batch"]
        lines.append(f"{ranks:5}{row['images_per_second']:13,}{100 * row['efficiency']:22.1f} %{batch:40,}{batch * ranks:28,}")
    return "\n".join(lines)


def draw(report: dict, png) -> None:
    """Measured points, the prediction for the planned network, and efficiency over the batch."""
    import numpy as np

    from mnist_paddle.benchmarks.scaling import Compute
    from mnist_paddle.tracking.plots import draw_scaling

    compute = Compute(report["compute"]["step_ms"] / 1e3, report["compute"]["image_ms"] / 1e3)
    plan, size = report["planned"], report["gradient_bytes"]
    networks = {f"{plan['latency_us']:g} µs, {plan['gbit']:g} Gbit/s": network(plan)}
    if report["here"]:
        networks["as between these ranks"] = network(report["here"])
    ranks = np.array(PLANNED)
    curves = {"ideal": (ranks, ranks * float(throughput(compute, network(plan), size, 1, BATCH)))}
    curves |= {name: (ranks, throughput(compute, net, size, ranks, BATCH)) for name, net in networks.items()}
    batches = np.unique(np.geomspace(1, 4096, 200).astype(int))
    shares = {f"{n:,} ranks": (batches, efficiency(compute, network(plan), size, n, batches)) for n in SHOWN}
    measured = {int(n): row["images_per_second"] for n, row in report["ranks"].items()}
    draw_scaling(measured, curves, shares, BATCH, png)


def network(figures: dict) -> Network:
    """The network of a report."""
    return Network(figures["latency_us"] / 1e6, figures["gbit"] * 1e9 / 8)


def main(arguments) -> int:
    """Measure 1..N ranks in turns, report; the exit status."""
    from mnist_paddle.distributed.launcher import visible_gpus

    png = output_file(arguments.draw, "--draw")
    counts = range(1, (visible_gpus() or startup.usable_cores()) + 1)
    runs = {ranks: [] for ranks in counts}
    for _ in range(arguments.repeats):
        for ranks in counts:
            runs[ranks].append(measure(ranks, arguments.parts))
    planned = Network(arguments.latency_us / 1e6, arguments.gbit * 1e9 / 8)
    found = report(runs, planned, arguments.parts)
    print(json.dumps(found) if arguments.json else show(found))
    if png:
        draw(found, png)
    return 0


if __name__ == "__main__":
    from mnist_paddle.distributed.communication import is_main

    measured = measure_rank(int(sys.argv[2]))
    if is_main():
        Path(sys.argv[1]).write_text(json.dumps(measured))
