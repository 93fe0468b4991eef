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

from .. import distributed
from ..files import write_atomically
from ..registry import UsageError
from . import curves, graph, plots

# What marks a folder as one that holds a run.
MARKS = ("config.yaml", "last.safetensors", "best.safetensors", "metrics.jsonl", "report.json")


class Run:
    """One run's folder and its curves. Off the main rank nothing is written and nothing said."""

    def __init__(self, folder, settings: dict, main: bool, say):
        self.folder, self.settings, self.main, self.say = folder, settings, main, say
        self.curves = curves.open_curves(folder, enabled=main)

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file, whole or not at all."""
        if self.main:
            write_atomically(self.folder / name, (json.dumps(content, indent=2) + "\n").encode())

    @contextmanager
    def drawing(self, model: str, arguments: dict):
        """Draw the network graph beside what happens inside."""
        if not self.main:
            yield
            return
        process = graph.start(self.folder, model, arguments)
        try:
            yield
        finally:
            graph.finish(process, self.say)

    def pictures(self, step: int, split, found, report: dict) -> None:
        """The figures of the test set, and the same in VisualDL: what was mistaken for what."""
        if not self.main:
            return
        folder = self.folder / "plots"
        plots.draw_curves(self.folder / "metrics.jsonl", folder / "curves.png")
        plots.draw_confusion(found.confusion, folder / "confusion.png")
        worst = found.worst(24)
        plots.draw_mistakes(split.images[worst], found.captions(worst), folder / "mistakes.png")
        self.curves.images(step, "test/wrongly_recognised", split.images[worst], found.captions(worst))
        self.curves.pr_curves(step, found.labels, found.probabilities)
        self.curves.hyperparameters(self.settings, {name: report[name] for name in ("test_accuracy", "test_loss")}, step)


def say_on_main(say=None):
    """How a run speaks: by `say`, by default above the progress bar; ranks other than the main one are silent."""
    return (say or tqdm.write) if distributed.is_main() else lambda text: None


@contextmanager
def open_run(output_dir, settings: dict, name: str, dry_run: bool, main: bool, say):
    """Make the run folder and open its curves; a dry run gets a temporary folder that goes with it.

    Raises `UsageError` where the folder holds a run already or can't be written.
    """
    folder = None
    if main:
        folder = Path(tempfile.mkdtemp(prefix="dry_run_")) if dry_run else make_folder(output_dir, name)
        (folder / "plots").mkdir(exist_ok=True)
        write_atomically(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
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
        raise UsageError(
            f"{output_dir or 'runs'}: can't make a run folder here ({error.strerror}); give another --output_dir"
        ) from None
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


def last_words(report: dict, folder, dry_run: bool) -> str:
    """What a run ends by saying: accuracy, time, where everything lies, what to type next."""
    if dry_run:
        return "dry run: every part worked, and the run folder is removed again; without --dry_run it trains"
    minutes, seconds = divmod(round(report["train_seconds"]), 60)
    place = shlex.quote(str(folder))
    script = Path(sys.argv[0]).with_name("evaluate.py") if Path(sys.argv[0]).name == "train.py" else "scripts/evaluate.py"
    chosen = f"step {report['best_step']:,}"
    if report["validation_accuracy"] is not None:
        chosen += f", best of {report['evaluations']} on validation with {report['validation_accuracy']:.2f} %"
    speed = f"{report['images_per_second']:,.0f} images/s on {report['device']}"
    return f"""
test accuracy  {report["test_accuracy"]:.2f} %, loss {report["test_loss"]:.4f} (weights of {chosen})
training       {report["epochs"]:g} epochs, {report["steps"]:,} steps in {minutes}:{seconds:02} min, {speed}
run folder     {folder}

next
  curves       visualdl --logdir {place} --host 127.0.0.1 --disable-telemetry
               then open http://127.0.0.1:8040/app/scalar; or look at {Path(folder, "plots", "curves.png")}
  mistakes     {Path(folder, "plots", "mistakes.png")}
  in detail    python {script} {place}"""
