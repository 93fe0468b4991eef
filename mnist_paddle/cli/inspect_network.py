"""See inside a network: shapes, cost, values and gradients of every layer, and figures of where it looks.

RUN_OR_MODEL is a run folder, a .safetensors file, or the name of a network of --list, with the weights that a training with its
seed begins with. The layers are those of one training step on the first 64 images of the split, made on a copy; nothing changes.

Figures: filters.png, feature_maps.png, gradcam.png, occlusion.png and embedding.png.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_paddle import UsageError

from ..data.formats.arrays import PARTS
from ..distributed import communication
from ..registry import nearest
from ..settings.components import parse_arguments
from ..settings.tables import choices
from ..system import signals, startup
from ..system.files import to_json
from ..system.paths import expand
from . import entry
from .command_line import import_plugins

if TYPE_CHECKING:
    from .inspected import Inspected

IMAGES = 64  # of the step that is looked at


def parse(argv: list) -> argparse.Namespace:
    """The command line."""
    usage = "mnist-paddle inspect RUN_OR_MODEL [options]"
    parser = entry.CommandLine(prog="mnist-paddle inspect", description=__doc__, usage=usage)
    parser.add_argument("subject", metavar="RUN_OR_MODEL", help="run folder, .safetensors file, or a network such as cnn")
    parser.add_argument("--model_args", metavar="ARGS", help="arguments of a network, such as channels=[32,64]")
    parser.add_argument("--seed", type=int, help="its weights are those that this seed gives (default: 0)")
    parser.add_argument("--dataset", help="default: the one it was trained on, or mnist")
    parser.add_argument("--data_dir", help="file or folder with the labeled images")
    parser.add_argument("--split", type=entry.one_of("split", PARTS), help=f"{', '.join(PARTS)} (default: test)")
    parser.add_argument("--image", type=int, default=0, metavar="N", help="the image that is followed, counted from 0")
    parser.add_argument("--content", action="store_true", help="also print what that image becomes in every layer")
    parser.add_argument("--figures", metavar="DIR", help="draw the figures into this folder")
    parser.add_argument("--embedding", action="store_true", help="put the last features into VisualDL's High Dimensional tab")
    parser.add_argument("--plugins", action="append", default=[], help="modules or .py files with components of your own")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    arguments = parser.parse_args(argv)
    if arguments.image < 0:
        raise UsageError(f"--image counts from 0; it is {arguments.image}")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**32:
        raise UsageError(f"--seed must be 0 to {2**32 - 1}; it is {arguments.seed}")
    arguments.figures = output_folder(arguments.figures, "--figures")
    arguments.model_args = None if arguments.model_args is None else parse_arguments(arguments.model_args, "--model_args")
    return arguments


def output_folder(path: Any, flag: str) -> Any:
    """The expanded path of a folder that files go into; None stays None. Raises `UsageError` now if it can't be made later."""
    if path is None:
        return None
    path = expand(path, flag)
    there = Path(path)
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UsageError(f"{flag} {path}: can't write into a folder there; give another path")
    return path


def is_model(arguments: argparse.Namespace) -> bool:
    """Whether the subject is the name of a network. Raises `UsageError` for what is neither that nor a path."""
    name = arguments.subject
    if name in choices("model"):
        if arguments.embedding and arguments.figures is None:
            raise UsageError(f"--embedding: {name} has no run folder; add --figures DIR, where the records go")
        return True
    if not os.path.exists(expand(name, "RUN_OR_MODEL")):
        near = nearest(name, choices("model"))
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(f"{name} is no run folder, no checkpoint and no network; {hint}networks: {', '.join(choices('model'))}")
    for flag in ("model_args", "seed"):
        if getattr(arguments, flag) is not None:
            raise UsageError(f"--{flag} belongs to a network of --list; {name} is a run, which has its own: leave it out")
    return False


def result(subject: "Inspected", arguments: argparse.Namespace) -> dict:
    """All that the command finds out, as plain values."""
    rows, followed = subject.rows(IMAGES), subject.follow(arguments.image)
    found = {
        "network": subject.title,
        "dataset": subject.dataset,
        "split": subject.part,
        "images": min(IMAGES, len(subject.split)),
        "learning_rate": subject.rate,
        "parameters": subject.parameters,
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "image": followed,
        "layers": [row.summary() for row in rows],
    }
    if arguments.content and arguments.json:
        found["content"] = {name: array[0].tolist() for name, array in subject.outputs(arguments.image).items()}
    return found


def show(subject: "Inspected", found: dict, arguments: argparse.Namespace) -> str:
    """The result for a reader."""
    from ..diagnostics.layer_statistics import LayerRow
    from ..diagnostics.layer_table import content_text, layer_table

    image = found["image"]
    lines = [
        f"{found['network']} on {found['dataset']}, {found['split']}: one training step on {found['images']} images, "
        f"learning rate {found['learning_rate']:.3g}",
        f"{found['parameters']:,} parameters, {found['multiply_adds']:,} multiply-adds an image",
        f"image {image['index']}: label {image['label']}, {image['text']}",
        "",
        layer_table([LayerRow(**row) for row in found["layers"]]),
    ]
    if arguments.content:
        kinds = {row["name"]: row["kind"] for row in found["layers"]}
        outputs = subject.outputs(arguments.image)
        lines += ["", f"image {image['index']} in every layer", content_text(outputs, subject.weights(), kinds)]
    return "\n".join(lines)


def main(argv: list) -> int:
    """Parse, look, print; the exit status."""
    arguments = parse(argv)
    communication.stand_alone()
    import_plugins(arguments.plugins)
    model = is_model(arguments)
    startup.require_paddle()
    with signals.importing(), signals.importing_paddle():
        from . import inspected, inspected_figures  # they take seconds
    subject = inspected.of_model(arguments) if model else inspected.of_run(arguments)
    subject.require_image(arguments.image)
    found = result(subject, arguments)
    if arguments.figures:
        inspected_figures.draw(subject, arguments.image, Path(arguments.figures))
    if arguments.embedding:
        inspected_figures.write_embedding(subject, arguments.figures)
    print(to_json(found) if arguments.json else show(subject, found, arguments))
    return 0
