"""The run folder: who may write into it, what lies in it, and the last words of a run."""

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import yaml
from tqdm import tqdm

from .. import checkpoint
from ..registry import UsageError
from . import curves, plots

# What marks a folder as one that holds a run.
MARKS = ("config.yaml", "last.safetensors", "best.safetensors", "metrics.jsonl", "report.json")


class Run:
    """One run's folder and its curves. Off the main rank nothing is written and nothing said."""

    def __init__(self, folder, settings: dict, main: bool, say):
        self.folder, self.settings, self.main, self.say = folder, settings, main, say
        self.curves = curves.open_curves(folder, enabled=main)

    def save(self, name: str, arrays: dict, progress: dict) -> None:
        """Write the checkpoint `name`.safetensors."""
        if self.main:
            checkpoint.save(self.folder / f"{name}.safetensors", arrays, {"config": self.settings, **progress})

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file, whole or not at all."""
        if self.main:
            checkpoint.write_atomically(self.folder / name, (json.dumps(content, indent=2) + "\n").encode())

    def pictures(self, split, evaluation) -> None:
        """The figures of the test set and the same in VisualDL: what was mistaken for what."""
        if not self.main:
            return
        folder = self.folder / "plots"
        plots.curves(self.folder / "metrics.jsonl", folder / "curves.png")
        plots.confusion(evaluation.confusion, folder / "confusion.png", [str(digit) for digit in range(10)])
        plots.mistakes(
            split.images, split.labels, evaluation.predictions, evaluation.probabilities, folder / "mistakes.png"
        )


@contextmanager
def open_run(output_dir, settings: dict, name: str, dry_run: bool, main: bool, say=None):
    """Make the run folder and open its curves; a dry run gets a temporary folder that goes with it.

    Raises `UsageError` where the folder holds a run already or can't be written.
    """
    say = (say or tqdm.write) if main else (lambda text: None)
    folder = None
    if main:
        folder = Path(tempfile.mkdtemp(prefix="dry_run_")) if dry_run else make_folder(output_dir, name)
        (folder / "plots").mkdir(exist_ok=True)
        checkpoint.write_atomically(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
    run = Run(folder, settings, main, say)
    try:
        yield run
    finally:
        run.curves.close()
        if main and dry_run:
            shutil.rmtree(folder, ignore_errors=True)


def make_folder(output_dir, name: str) -> Path:
    """The empty folder of a new run: `output_dir`, or runs/NAME-DATE with a number behind it where that is taken."""
    try:
        if output_dir is not None:
            folder = Path(output_dir)
            held = [mark for mark in MARKS if (folder / mark).exists()]
            if held:
                raise UsageError(f"{folder} already holds a run ({held[0]}); give another --output_dir")
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _new_folder(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "no permission to write")
    except OSError as error:
        raise UsageError(f"{output_dir or 'runs'}: can't make a run folder here ({error.strerror}); give another --output_dir") from None
    return folder


def _new_folder(wanted: Path) -> Path:
    """Two runs that start in the same second must not share a folder: mkdir decides who is first."""
    for number in range(1000):
        folder = wanted if number == 0 else Path(f"{wanted}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise UsageError(f"{wanted}: a thousand runs of this name; give --output_dir")


def last_words(report: dict, folder) -> str:
    """What a run ends by saying: accuracy, time, where everything lies, what to type next."""
    minutes, seconds = divmod(round(report["train_seconds"]), 60)
    hours, minutes = divmod(minutes, 60)
    place = shlex.quote(str(folder))
    script = shlex.quote(str(Path(sys.argv[0]).with_name("evaluate.py"))) if "train" in sys.argv[0] else "scripts/evaluate.py"
    chosen = ""
    if report["validation_accuracy"] is not None:
        chosen = f", best of {report['evaluations']} on validation ({report['validation_accuracy']:.2f} %)"
    lines = [
        f"test accuracy  {report['test_accuracy']:.2f} %   test loss {report['test_loss']:.4f}   weights of step {report['best_step']:,}{chosen}",
        f"training       {report['epochs']:g} epochs, {report['steps']:,} steps in {hours}:{minutes:02}:{seconds:02}"
        f" ({report['images_per_second']:,.0f} images/s on {report['device']})",
        f"run folder     {folder}",
        "",
        "next:",
        f"  curves       visualdl --logdir {place} --host 127.0.0.1 --disable-telemetry   and open http://127.0.0.1:8040/app/scalar",
        f"               or look at {Path(folder) / 'plots'}{os.sep}: curves.png, confusion.png, mistakes.png",
        f"  in detail    python {script} {place}",
    ]
    return "\n".join(lines)

