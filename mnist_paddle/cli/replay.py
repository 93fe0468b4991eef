"""Show a past step of a run again: its images, what the network said, its layers and gradients.

The step is made again from the nearest checkpoint before it, or from the beginning, and compared with the digests that were
recorded when it ran. Nothing is written into the run's folder, so the run may be training. Exit status 1: the digests differ.
"""

import argparse
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_paddle import UsageError

from ..debugging import past
from ..distributed import communication
from ..experiment import checkpoint
from ..metrics import display_width, pad, shorten
from ..system import signals, startup
from ..system.files import to_json, write_output
from ..system.paths import output_file
from . import entry
from .command_line import import_plugins

if TYPE_CHECKING:
    import numpy as np

    from ..debugging.replayed import Replay

LONGEST = 24  # columns of a name


def parse(argv: list) -> argparse.Namespace:
    """The command line; the run and its step are looked up."""
    usage = "mnist-paddle replay RUN --step N [options]"
    parser = entry.CommandLine(prog="mnist-paddle replay", description=__doc__, usage=usage)
    parser.add_argument("run", help="run folder")
    parser.add_argument("--step", type=int, help="the step, from 1 as in the log")
    parser.add_argument("--count", type=int, default=10, help="images listed, those with the highest loss")
    parser.add_argument("--png", metavar="FILE", help="also draw the images of the step, worst first")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--data_dir", help="the run's data, where it has moved")
    parser.add_argument("--corrections", help="the run's corrected labels, where they have moved")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with the run's components")
    arguments = parser.parse_args(argv)
    if arguments.step is None:
        raise UsageError("mnist-paddle replay needs the step: --step N")
    if arguments.count < 0:
        raise UsageError(f"--count must be 0 or more; it is {arguments.count}")
    folder = past.run_folder(arguments.run)
    past.check_step(arguments.step, folder, checkpoint.load(folder / past.LAST)[1])
    arguments.png = output_file(arguments.png, "--png")
    return arguments


def show(step: "Replay", count: int) -> str:
    """The step for a reader."""
    evaluation = step.evaluation
    steps = f"{step.repeated:,} step{'s' * (step.repeated != 1)}"
    lines = [
        f"{step.run}, step {step.step:,} of {step.total_steps:,}: {step.network} on {step.dataset}",
        f"epoch {step.epoch:.4g}, learning rate {step.rate:.4g}",
        f"{len(evaluation.labels):,} images: loss {evaluation.loss:.4f}, accuracy {evaluation.accuracy:.2f} %, before the update",
        f"made again from {step.start or 'the beginning'}: {steps}",
        step.verdict(),
        *(f"  perhaps: {reason}" for reason in step.reasons),
        *(f"note: {note}" for note in step.notes),
        "",
        *layers_table(step),
        "",
        *gradients_table(step),
    ]
    return "\n".join([*lines, *(["", *images_table(step, count)] if count else [])])


def layers_table(step: "Replay") -> list[str]:
    """The layers in order of computation: what they gave for the batch."""
    rows = [("layer", "kind", "outputs", "mean", "std", "zeros")]
    for layer in step.activations:
        shape = " x ".join(map(str, layer.shape))
        rows.append((layer.name, layer.kind, shape, f"{layer.mean:.4g}", f"{layer.std:.4g}", f"{layer.zeros:.1%}"))
    return table(rows, "<<<>>>")


def gradients_table(step: "Replay") -> list[str]:
    """The parameters: norms of their gradients and of themselves."""
    from ..debugging.replayed import norm

    if not step.gradients:
        return ["no gradients: the step was not finite"]
    rows = [("parameter", "shape", "gradient", "weights", "ratio")]
    for name, array in step.gradients.items():
        gradient, weights = step.norms[name], norm(step.weights[name])
        ratio = f"{gradient / weights:.2e}" if weights else "-"
        rows.append((name, " x ".join(map(str, array.shape)), f"{gradient:.4g}", f"{weights:.4g}", ratio))
    clipped = step.clip_norm and step.gradient_norm > step.clip_norm
    total = f"norm of all gradients {step.gradient_norm:.4g}" + (f", clipped to {step.clip_norm:g}" if clipped else "")
    return [*table(rows, "<<>>>"), total]


def images_table(step: "Replay", count: int) -> list[str]:
    """The images with the highest loss; `index` counts the training images from 0."""
    evaluation, names = step.evaluation, step.evaluation.classes
    places = step.worst(count)
    rows = [("index", "label", "prediction", "probability", "loss")]
    for place in places:
        label, predicted = int(evaluation.labels[place]), int(evaluation.predictions[place])
        if evaluation.is_regression:
            said = f"output {float(evaluation.outputs[place, 0]):.3g}"
        else:
            said = f"{evaluation.probabilities[place, predicted]:.2%}"
        rows.append((f"{step.indices[place]}", names[label], names[predicted], said, f"{evaluation.losses[place]:.4f}"))
    which = f"the {len(places)} images with the highest losses" if len(places) > 1 else "the image with the highest loss"
    head = f"{which}, of {len(evaluation.labels):,}; index among the training images"
    return [head, *table(rows, "><<>>")]


def table(rows: list, align: str) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    rows = [[shorten(cell, LONGEST) for cell in row] for row in rows]
    widths = [max(map(display_width, column)) for column in zip(*rows)]
    return ["  ".join(pad(*each) for each in zip(row, widths, align)).rstrip() for row in rows]


def said(step: "Replay", places: "np.ndarray", names: Sequence[str]) -> list[tuple[str, str]]:
    """For images of the step, label → prediction, and the loss; names that are the same when shortened become #LABEL."""
    short = [shorten(name, 8) for name in names]
    count = Counter(short)
    short = [name if count[name] == 1 else f"#{label}" for label, name in enumerate(short)]
    evaluation = step.evaluation
    triples = zip(evaluation.labels[places], evaluation.predictions[places], evaluation.losses[places])
    return [(f"{short[int(label)]} → {short[int(guess)]}", f"{loss:.2f}") for label, guess, loss in triples]


def draw(step: "Replay", png: str) -> None:
    """The images of the step as a file."""
    from ..tracking import names, step_plots

    evaluation = step.evaluation
    places = step.worst(step_plots.MOST)
    predicted = evaluation.predictions[places]
    count = len(evaluation.labels)
    which = f"the {len(places)} worst of {count:,} images" if len(places) < count else "worst first"
    title, file = f"Step {step.step:,}, {which}: label → prediction, loss", io.BytesIO()
    wrong = predicted != evaluation.labels[places]
    name = shorten(Path(step.run).absolute().name.encode("utf-8", "replace").decode(), 60)
    captions = said(step, places, names.drawable(evaluation.classes))
    step_plots.draw_step(step.pixels[places], captions, file, wrong=wrong, title=title, note=name)
    if note := names.note(evaluation.classes):
        entry.tell(note)
    write_output(Path(png), file.getvalue())
    entry.tell(f"written: {png}")


def main(argv: list) -> int:
    """Parse, replay, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    startup.require_paddle()
    with signals.importing(), signals.importing_paddle():
        from ..debugging.replay import replay

    given = {name: getattr(arguments, name) for name in ("data_dir", "corrections") if getattr(arguments, name) is not None}
    step = replay(arguments.run, arguments.step, log=entry.tell, **given)
    if arguments.png:
        draw(step, arguments.png)
    print(to_json(step.summary()) if arguments.json else show(step, arguments.count))
    return 0 if step.equal is not False else 1
