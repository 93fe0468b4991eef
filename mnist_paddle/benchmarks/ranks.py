"""What several ranks gain: measured on this machine, predicted for more ranks than it has."""

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from ..distributed.launcher import paddle_command, rank_environment, visible_gpus
from ..system import startup
from ..system.console import Log
from .processes import in_turns
from .rank_worker import BATCH
from .scaling import Compute, CostModel, Network, fit_compute, fit_network
from .training import with_range

WORKER = Path(__file__).with_name("rank_worker.py")
PLANNED = [2**power for power in range(11)]  # ranks
DRAWN = (8, 64, 1024)  # ranks whose efficiency is drawn


def measure(ranks: int, micro_batches: int) -> dict:
    """The measurement of so many ranks, started by Paddle's launcher."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        # A single rank is started in the same way, so that nothing else differs.
        command = paddle_command(WORKER, [str(result), str(micro_batches)], Path(folder, "logs"), ranks)
        environment = rank_environment(1, 0 if visible_gpus() else ranks)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        if done.returncode or not result.exists():
            sys.exit(f"error: the benchmark on {ranks} ranks failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(result.read_text())


def median(runs: list) -> dict:
    """The median of every number of several measurements."""
    first = runs[0]
    return {key: median([run[key] for run in runs]) for key in first} if isinstance(first, dict) else statistics.median(runs)


def report(runs: dict, planned: Network, micro_batches: int) -> dict:
    """Everything that follows from the measurements: ranks -> one measurement per round."""
    medians = {ranks: median(measured) for ranks, measured in runs.items()}
    single, most = medians[1], max(medians)
    compute = fit_compute([int(size) for size in single["batches"]], list(single["batches"].values()))
    sizes = medians[most].get("exchange", {})
    model = CostModel(compute, planned, single["bytes"])
    here = fit_network(most, [int(size) for size in sizes], list(sizes.values())) if sizes else None
    return {
        "batch": BATCH,
        "parts": micro_batches,
        "gradient_bytes": single["bytes"],
        "ranks": {ranks: measured_row(ranks, run, speedups(ranks, runs)) for ranks, run in medians.items()},
        "compute": {"step_ms": 1e3 * compute.step, "image_ms": 1e3 * compute.image},
        "here": network_figures(here) if here else None,
        "planned": {
            **network_figures(planned),
            "ranks": {ranks: predicted_row(ranks, model) for ranks in PLANNED},
        },
    }


def speedups(ranks: int, runs: dict) -> list:
    """Speed of the ranks over that of one, round by round: a machine is faster in one minute than in the next."""
    return [ranks * single["step"] / run["step"] for single, run in zip(runs[1], runs[ranks])]


def measured_row(ranks: int, run: dict, speedups: list) -> dict:
    """What is reported of a number of ranks that was measured."""
    return {
        "images_per_second": round(ranks * BATCH / run["step"]),
        "times_one": round(statistics.median(speedups), 3),
        "rounds": [round(speedup, 3) for speedup in speedups],
        "step_ms": {
            "compute": round(1e3 * run["compute"], 3),
            "communication": round(1e3 * max(run["step"] - run["compute"] - run["input"], 0.0), 3),
            "input": round(1e3 * run["input"], 3),
        },
        "exchange_alone_ms": round(1e3 * run["exchange"][str(run["bytes"])], 3) if ranks > 1 else 0.0,
    }


def predicted_row(ranks: int, model: CostModel) -> dict:
    """What is reported of a number of ranks that was not measured."""
    return {
        "images_per_second": round(float(model.throughput(ranks, BATCH))),
        "efficiency": round(float(model.efficiency(ranks, BATCH)), 4),
        "smallest_batch": int(model.smallest_batch(ranks)),
    }


def network_figures(network: Network) -> dict:
    """Latency and bandwidth in the units of the report."""
    return {"latency_us": 1e6 * network.latency, "gbit": 8e-9 * network.bandwidth}


def network_of(figures: dict) -> Network:
    """The network of a report."""
    return Network(figures["latency_us"] / 1e6, figures["gbit"] * 1e9 / 8)


def show(report: dict) -> str:
    """The report as text."""
    micro_batches = f" in {report['parts']} micro-batches" if report["parts"] > 1 else ""
    lines = [f"measured: course CNN, Adam, batches of {BATCH} per rank{micro_batches}, one thread per rank, medians"]
    lines.append("ranks   images/s   speedup   compute   communication   input   all-reduce alone")
    for ranks, row in report["ranks"].items():
        step = row["step_ms"]
        times = [step["compute"], step["communication"], step["input"], row["exchange_alone_ms"]]
        columns = "".join(f"{value:{width}.2f} ms" for value, width in zip(times, (7, 13, 5, 16)))
        lines.append(f"{ranks:5}{row['images_per_second']:11,}{row['times_one']:10.2f}{columns}")
        if ranks > 1:
            lines.append(f"{'':16}({min(row['rounds']):.2f} to {max(row['rounds']):.2f} in {len(row['rounds'])} rounds)")
    return "\n".join([*lines, *show_fit(report), *show_prediction(report)])


def show_fit(report: dict) -> list:
    """The costs that were fitted to the measurements."""
    compute, here = report["compute"], report["here"]
    lines = [f"\nfitted: a step costs {compute['step_ms']:.2f} ms plus {compute['image_ms']:.4f} ms per image on one rank"]
    if here:
        lines.append(
            f"        a message between these ranks takes {here['latency_us']:.0f} us, then runs at {here['gbit']:.1f} Gbit/s"
        )
    return lines


def show_prediction(report: dict) -> list:
    """The prediction for the planned network."""
    planned = report["planned"]
    lines = [
        f"\npredicted by the ring model for {planned['latency_us']:g} us and {planned['gbit']:g} Gbit/s, "
        f"gradients of {report['gradient_bytes']:,} bytes",
        f"ranks     images/s   efficiency at {BATCH} per rank   smallest batch per rank for 80 % efficiency   the same in all",
    ]
    for ranks, row in planned["ranks"].items():
        batch = row["smallest_batch"]
        lines.append(f"{ranks:5}{row['images_per_second']:13,}{100 * row['efficiency']:26.1f} %{batch:46,}{batch * ranks:18,}")
    return lines


def draw(report: dict, png: str) -> None:
    """Measured points, the prediction for the planned network, and efficiency over the batch."""
    import numpy as np

    from ..tracking.plots import draw_scaling

    compute = Compute(report["compute"]["step_ms"] / 1e3, report["compute"]["image_ms"] / 1e3)
    planned, size, ranks = report["planned"], report["gradient_bytes"], np.array(PLANNED)
    model = CostModel(compute, network_of(planned), size)
    models = {f"{planned['latency_us']:g} µs, {planned['gbit']:g} Gbit/s": model}
    if report["here"]:
        models["as between these ranks"] = CostModel(compute, network_of(report["here"]), size)
    curves = {"ideal": (ranks, ranks * float(model.throughput(1, BATCH)))}
    curves |= {name: (ranks, each.throughput(ranks, BATCH)) for name, each in models.items()}
    batches = np.unique(np.geomspace(1, 4096, 200).astype(int))
    efficiencies = {f"{n:,} ranks": (batches, model.efficiency(n, batches)) for n in DRAWN}
    measured = {int(n): row["images_per_second"] for n, row in report["ranks"].items()}
    draw_scaling(measured, curves, efficiencies, png, batch=BATCH)


def measure_all(repeats: int, micro_batches: int, planned: Network, log: Log) -> dict:
    """Measure 1..N ranks in turns: the report."""
    counts = range(1, (visible_gpus() or startup.usable_cores()) + 1)
    measurements = {str(ranks): partial(measure, ranks, micro_batches) for ranks in counts}
    rounds = in_turns(measurements, repeats, log)
    return report({ranks: rounds[str(ranks)] for ranks in counts}, planned, micro_batches)


def measured_table(report: dict) -> list[list[str]]:
    """What was measured, for a document."""
    rows = [["ranks", "images/s", "speedup", "computing, ms", "exchange, ms", "input, ms", "all-reduce alone, ms"]]
    for ranks, row in report["ranks"].items():
        times = [*row["step_ms"].values(), row["exchange_alone_ms"]]
        rows.append(
            [str(ranks), f"{row['images_per_second']:,}", with_range(row["rounds"], ".2f"), *(f"{ms:.2f}" for ms in times)]
        )
    return rows


def predicted_table(report: dict) -> list[list[str]]:
    """What is predicted for the planned network, for a document."""
    planned = report["planned"]
    network = f"ranks ({planned['latency_us']:g} µs, {planned['gbit']:g} Gbit/s)"
    rows = [[network, "images/s", f"efficiency at {report['batch']} images a rank", "images a rank needed for 80 %"]]
    for ranks, row in planned["ranks"].items():
        figures = [f"{row['images_per_second']:,}", f"{100 * row['efficiency']:.1f} %", f"{row['smallest_batch']:,}"]
        rows.append([f"{int(ranks):,}", *figures])
    return rows
