"""The run folder: who may write into it, what lies in it, and the last words of a run."""

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from .. import distributed, runtime, settings_file
from ..files import write_atomically
from ..registry import UsageError
from . import curves, graph, plots

# What marks a folder as one that holds a run.
MARKS = ("config.yaml", "last.safetensors", "best.safetensors", "metrics.jsonl", "report.json")
LOCK = ".lock"


class Run:
    """One run's folder and its curves. Off the main rank nothing is written and nothing said."""

    def __init__(self, folder, settings: dict, main: bool, say):
        self.folder, self.settings, self.main, self.say = folder, settings, main, say
        self.curves = curves.open_curves(folder, enabled=main)

    def write_settings(self) -> None:
        """Write config.yaml, which --config takes again."""
        if self.main:
            write_atomically(self.folder / "config.yaml", settings_file.dump(self.settings).encode())

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
    return (say or to_terminal) if distributed.is_main() else lambda text: None


def to_terminal(text: str) -> None:
    """Print above the progress bar. A run goes on when nobody reads along any more."""
    if not runtime.is_open(sys.stdout):
        return
    try:
        tqdm.write(text)
    except BrokenPipeError:
        runtime.silence_stdout()


@contextmanager
def open_run(output_dir, settings: dict, name: str, main: bool, say, dry_run: bool = False, lengths=None):
    """Make the run folder and open its curves; a dry run gets a temporary folder that goes with it.

    `lengths` of the curves' files, from a checkpoint: the run of a folder already `locked` is resumed, its curves are cut back to
    that. Raises `UsageError` where the folder holds a run already, can't be written, or is being written by another process.
    """
    if not main:
        yield Run(None, settings, False, say)
        return
    if lengths is not None:
        folder, lock = Path(output_dir), nullcontext()
        for line in reopen(folder, lengths):
            say(line)
    else:
        folder = Path(tempfile.mkdtemp(prefix="dry_run_")) if dry_run else make_folder(output_dir, name)
        lock = locked(folder)
    with lock:
        (folder / "plots").mkdir(exist_ok=True)
        run = Run(folder, settings, True, say)
        try:
            yield run
        finally:
            run.curves.close()
            if dry_run:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path):
    """Inside, no other process writes into the run folder; the lock goes with the process, however it ends."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is training in this folder; wait for its end, or stop it") from None
    except OSError as error:
        raise UsageError(f"{folder}: can't be written ({error.strerror}); make it writable, or copy it elsewhere") from None
    try:
        yield
    finally:
        lock.release()


def reopen(folder: Path, lengths: dict) -> list[str]:
    """Bring a run folder back to where a checkpoint was written; returns what there is to say about it."""
    try:
        for mark in ("*.safetensors", "config.yaml", "report.json"):
            for rest in folder.glob(f".{mark}.*.tmp"):  # of a process that died while it wrote
                rest.unlink()
        return curves.rewind(folder, lengths)
    except OSError as error:
        raise UsageError(
            f"{error.filename}: can't be written ({error.strerror}); make it writable, or copy the run elsewhere"
        ) from None


def make_folder(output_dir, name: str) -> Path:
    """The empty folder of a new run: `output_dir`, or runs/NAME-DATE with a number behind it where that is taken."""
    try:
        if output_dir is not None:
            folder = Path(output_dir)
            # An empty metrics.jsonl is what a run leaves that was killed in its first moment.
            held = [mark for mark in MARKS if (folder / mark).exists() and (folder / mark).stat().st_size]
            if held:
                raise UsageError(f"{folder} already holds a run ({held[0]}); go on with --resume, or give another --output_dir")
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


def command(script: str, arguments: str) -> str:
    """What to type to run another of the project's scripts, seen from where this one was called."""
    path = Path(sys.argv[0])
    if script == "train.py" and distributed.world_size() > 1:
        script, arguments = "launch.py", f"--nproc {distributed.local_size()} {arguments}"
    path = path.with_name(script) if path.name in ("train.py", "evaluate.py") else Path("scripts", script)
    return f"python {shlex.quote(str(path))} {arguments}"


def resume_command(folder) -> str:
    """What to type to go on with a run."""
    return command("train.py", f"--resume --output_dir {shlex.quote(str(folder))}")


def last_words(report: dict, folder, dry_run: bool, complete: bool) -> str:
    """What a run ends by saying: accuracy, time, where everything lies, what to type next."""
    if dry_run:
        return "dry run: every part worked, and the run folder is removed again; without --dry_run it trains"
    minutes, seconds = divmod(round(report["train_seconds"]), 60)
    place = shlex.quote(str(folder))
    chosen = f"step {report['best_step']:,}"
    if report["validation_accuracy"] is not None:
        chosen += f", best of {report['evaluations']} on validation with {report['validation_accuracy']:.2f} %"
    epochs = f"{report['epochs']:g} epoch{'s' * (report['epochs'] != 1)}"
    speed = f"{report['images_per_second']:,.0f} images/s on {report['device']}"
    more = command("train.py", f"--init_from {place}") if complete else resume_command(folder)
    return f"""
test accuracy  {report["test_accuracy"]:.2f} %, loss {report["test_loss"]:.4f} (weights of {chosen})
training       {epochs}, {report["steps"]:,} steps in {minutes}:{seconds:02} min, {speed}
run folder     {folder}

next
  curves       visualdl --logdir {place} --host 127.0.0.1 --disable-telemetry
               then open http://127.0.0.1:8040/app/scalar; or look at {Path(folder, "plots", "curves.png")}
  mistakes     {Path(folder, "plots", "mistakes.png")}
  in detail    {command("evaluate.py", place)}
  {"train more" if complete else "go on     "}   {more}"""
