"""The run folder: who may write into it, what lies in it, and the last words of a run."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from filelock import Timeout
from tqdm import tqdm

from ..distributed import communication
from ..errors import RunError, UsageError
from ..settings import file
from ..system import console, locks
from ..system.files import to_json, write_atomically
from ..system.signals import StopRequest
from ..tracking import curves, graph, plots
from .commands import curves_command, evaluate_command, more_command, real_command, resume_command

# What marks a folder as one that holds a run.
MARKS = ("config.yaml", "last.safetensors", "best.safetensors", "metrics.jsonl", "report.json")
LOCK = ".lock"


class Run:
    """One run's folder and its curves. Off the main rank nothing is written and nothing said."""

    def __init__(self, folder, settings: dict, main: bool, say):
        self.folder, self.settings, self.main, self.say = folder, settings, main, say
        self.saved = None  # the step of the newest checkpoint
        self.curves = curves.open_curves(folder, enabled=main, say=say)

    def write_settings(self) -> None:
        """Write config.yaml, which --config takes again."""
        if self.main:
            write_atomically(self.folder / "config.yaml", file.dump(self.settings).encode())

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file, whole or not at all."""
        if self.main:
            write_atomically(self.folder / name, (to_json(content, indent=2) + "\n").encode())

    @contextmanager
    def drawing(self, model: str, arguments: dict):
        """Draw the network graph beside what happens inside."""
        if not self.main:
            yield
            return
        process = self.curves.attempt("the network graph", graph.start, self.folder, model, arguments)
        try:
            yield
        finally:
            if process is not None:
                graph.finish(process, self.say)

    def pictures(self, step: int, split, found, report: dict) -> None:
        """The figures of the test set, and the same in VisualDL: what was mistaken for what."""
        if not self.main:
            return
        worst = found.worst(24)
        captions = found.captions(worst)
        self.draw_curves()
        self.figure("confusion.png", plots.draw_confusion, found.confusion)
        self.figure("mistakes.png", plots.draw_mistakes, split.images[worst], captions)
        self.curves.images(step, "test/wrongly_recognised", split.images[worst], captions)
        self.curves.pr_curves(step, found.labels, found.probabilities)
        self.curves.hyperparameters(self.settings, report["test_accuracy"], step)

    def draw_curves(self) -> None:
        """The training so far as plots/curves.png."""
        self.figure("curves.png", plots.draw_curves, self.folder / curves.METRICS)

    def figure(self, name: str, draw, *content) -> None:
        """One figure in plots/, under the run's name. One that can't be drawn costs a line, a full disk is the run's error."""

        def data() -> bytes:
            picture = io.BytesIO()
            draw(*content, picture, self.folder.absolute().name)
            return picture.getvalue()

        found = self.curves.attempt(name, data)
        if found:
            (self.folder / "plots").mkdir(exist_ok=True)
            (self.folder / "plots" / name).write_bytes(found)

    def draw_stop(self) -> None:
        """The curves of a run that ends early. Everything that counts is saved by now, so nothing here may change how it ends."""
        # A second signal is heard after the figure, which takes a second.
        with contextlib.suppress(OSError), StopRequest():
            if (self.folder / curves.METRICS).stat().st_size:
                self.draw_curves()


def say_on_main(say=None):
    """How a run speaks: by `say`, by default above the progress bar; ranks other than the main one are silent."""
    return (say or to_terminal) if communication.is_main() else lambda text: None


def to_terminal(text: str) -> None:
    """Print above the progress bar. A run goes on when nobody reads along any more."""
    if not console.is_open(sys.stdout):
        return
    try:
        tqdm.write(text)
    except BrokenPipeError:
        console.silence_stdout()
    except OSError:
        console.silence_lost_terminal()


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
        run = Run(folder, settings, True, say)
        try:
            yield run
        except RunError:
            if not dry_run:
                run.draw_stop()
            raise
        finally:
            run.curves.close()
            if dry_run:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path):
    """Inside, no other process writes into the run folder; the lock goes with the process, however it ends."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder / LOCK))
        except Timeout:
            raise UsageError(f"{folder}: another process is training in this folder; wait for its end, or stop it") from None
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"{folder}: can't be written ({reason}); make it writable, or copy it elsewhere") from None
        yield


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
        place = output_dir or "runs"
        reason = error.strerror
        if os.path.islink(place) and not os.path.exists(place):
            reason = f"it is a link to {os.readlink(place)}, which is not there"
        elif os.path.isfile(place):
            reason = "it is a file"
        raise UsageError(f"{place}: can't make a run folder here ({reason}); give another --output_dir") from None
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


def last_words(report: dict, run: Run, dry_run: bool, complete: bool, lifted: dict) -> str:
    """What a run ends by saying: accuracy, time, where everything lies, what to type next.

    `lifted`: the settings under which a run that stopped early does not stop again at once.
    """
    if not run.main:
        return ""
    if dry_run:
        return "dry run: every part worked, and the run folder is removed again; without --dry_run it trains"
    minutes, seconds = divmod(round(report["train_seconds"]), 60)
    chosen = f"step {report['best_step']:,}"
    if report["validation_accuracy"] is not None:
        chosen += f", best of {report['evaluations']} on validation with {report['validation_accuracy']:.2f} %"
    epochs = f"{report['epochs']:g} epoch{'s' * (report['epochs'] != 1)}"
    speed = f"{report['images_per_second']:,.0f} images/s on {report['device']}"
    return f"""
test accuracy  {report["test_accuracy"]:.2f} %, loss {report["test_loss"]:.4f} (weights of {chosen})
training       {epochs}, {report["steps"]:,} steps in {minutes}:{seconds:02} min, {speed}
run folder     {run.folder}

next
{next_steps(run, complete, lifted)}"""


def next_steps(run: Run, complete: bool, lifted: dict) -> str:
    """The commands that continue from here, a line each."""
    folder, settings, pictures = run.folder, run.settings, run.folder / "plots"
    lines = []
    if seen := curves_command(folder):
        lines += [f"curves       {seen[0]}", f"             then open {seen[1]}; or look at {pictures / 'curves.png'}"]
    else:
        lines.append(f"curves       {pictures / 'curves.png'}")
    lines.append(f"mistakes     {pictures / 'mistakes.png'}")
    lines.append(f"in detail    {evaluate_command(folder, settings)}")
    if settings["overfit_batches"]:  # what was to be seen is seen: more of it says nothing
        lines.append(f"train on all {real_command(folder, settings)}")
    elif complete:
        lines.append(f"train more   {more_command(folder, settings)}")
    else:
        lines.append(f"go on        {resume_command(folder, settings['dataset'], **lifted)}")
    return "\n".join(f"  {line}" for line in lines)
