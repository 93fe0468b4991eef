"""Compare trained runs: the settings that differ, their results, and which is better on the same images.

Every run is evaluated again with its best weights. Each is compared with the first by McNemar's exact test: whether the images
that only one of them recognizes are too many for chance.
"""

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_paddle import UsageError

from ..data.dataset import Split
from ..distributed import communication
from ..system import signals, startup
from ..system.files import to_json, write_output
from ..system.paths import output_file
from . import entry
from .command_line import import_plugins
from .evaluate import chosen

if TYPE_CHECKING:
    from ..experiment.load import TrainedModel
    from ..studies.comparison import Run

DATA = ("dataset", "data_dir", "validation_size", "validation_split", "corrections")


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    usage = "mnist-paddle compare RUN RUN [RUN ...] [options]"
    parser = entry.CommandLine(prog="mnist-paddle compare", description=__doc__, usage=usage)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders (their best weights) or .safetensors files")
    parser.add_argument("--split", type=entry.one_of("split", ("validation", "test")), help="validation, test (default: test)")
    parser.add_argument("--dataset", help="default: the one they were trained on")
    parser.add_argument("--data_dir", help="file or folder with labeled images, for all runs")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with the runs' components")
    parser.add_argument("--png", metavar="FILE", help="also draw training loss and validation error of all runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    arguments = parser.parse_args(argv)
    if len(arguments.runs) < 2:
        raise UsageError("mnist-paddle compare needs two runs or more (see --help)")
    arguments.png = output_file(arguments.png, "--png")
    return arguments


def measured(arguments: argparse.Namespace) -> tuple[list["Run"], str, str]:
    """The runs, evaluated on the same images; the dataset's name and the part."""
    from ..studies.comparison import fingerprint, measure, open_run, short_names

    paths, names = arguments.runs, short_names(arguments.runs)
    opened = [open_run(path) for path in paths]
    sources: dict[str, tuple[str, str, Split]] = {}
    images = [images_of(arguments, path, trained, sources) for path, trained in zip(paths, opened)]
    prints = [fingerprint(split, trained.classes) for (_, _, split), trained in zip(images, opened)]
    for path, found, (_, _, split) in zip(paths, prints, images):
        if found != prints[0]:
            counts = f"{len(split):,} images that are not the {len(images[0][2]):,} of {paths[0]}"
            raise UsageError(f"{path} is evaluated on {counts}, or have other classes; give one set for all by --data_dir")
    runs = [measure(path, name, trained, one[2]) for path, name, trained, one in zip(paths, names, opened, images)]
    return runs, images[0][0], images[0][1]


def images_of(arguments: argparse.Namespace, path: str, trained: "TrainedModel", sources: dict) -> tuple[str, str, Split]:
    """What `evaluate` would evaluate a run on; `sources` keeps what was read, for runs on the same data."""
    key = str(([trained.settings[name] for name in DATA], trained.data, trained.classes))
    if key not in sources:
        words = {name: getattr(arguments, name) for name in ("dataset", "data_dir", "split")}
        sources[key] = chosen(argparse.Namespace(run=path, strict_data=False, **words), trained)
        if not len(sources[key][2]):
            raise UsageError(f"{path}: dataset {sources[key][0]} has no {sources[key][1]} images")
    found: tuple[str, str, Split] = sources[key]
    return found


def show(runs: list, dataset: str, part: str) -> str:
    """The comparison for a reader."""
    from ..studies.comparison import compare_with_first, differing
    from ..studies.tables import pair_lines, results_table, settings_table

    count, settings = len(runs[0].evaluation.labels), differing(runs)
    lines = [f"{len(runs)} runs on {dataset}, {part}: {count:,} images", "", *settings_table(runs, settings), ""]
    lines += results_table(runs, part)
    if (
        len({str([value for name, value in run.settings.items() if name.split()[0] in ("loss", "loss_args")]) for run in runs})
        > 1
    ):
        lines.append("losses of different functions can't be compared")
    return "\n".join([*lines, "", *pair_lines(compare_with_first(runs))])


def summary(runs: list, dataset: str, part: str) -> dict:
    """The comparison as plain values."""
    from ..studies.comparison import compare_with_first, differing

    return {
        "dataset": dataset,
        "split": part,
        "count": len(runs[0].evaluation.labels),
        "settings": differing(runs),
        "runs": [run.summary() for run in runs],
        "pairs": [pair.summary() for pair in compare_with_first(runs)],
    }


def draw(runs: list, png: str) -> None:
    """The figure as a file."""
    from ..tracking.curves import METRICS
    from ..tracking.study_plots import draw_compared

    folders = {run.name: Path(run.path) if Path(run.path).is_dir() else Path(run.path).parent for run in runs}
    curves = {name: folder / METRICS for name, folder in folders.items() if (folder / METRICS).is_file()}
    for name in folders.keys() - curves.keys():
        entry.tell(f"note: {name} has no {METRICS}, so the figure is without it")
    file = io.BytesIO()
    draw_compared(curves, file)
    write_output(Path(png), file.getvalue())
    entry.tell(f"written: {png}")


def main(argv: list) -> int:
    """Parse, evaluate, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    startup.require_paddle()
    with signals.importing(), signals.importing_paddle():
        from ..studies import comparison  # noqa: F401  it takes seconds
    runs, dataset, part = measured(arguments)
    if arguments.png:
        draw(runs, arguments.png)
    print(to_json(summary(runs, dataset, part)) if arguments.json else show(runs, dataset, part))
    return 0
