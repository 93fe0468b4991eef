"""The run folder: who may write into it, and what lies in it."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional, Union

from filelock import Timeout
from tqdm import tqdm

from ..data.dataset import Split
from ..distributed import communication
from ..errors import RunError, UsageError
from ..metrics import Evaluation
from ..settings import file
from ..system import console, locks
from ..system.console import Log, silent
from ..system.files import to_json, write_atomically
from ..system.paths import StrPath
from ..system.signals import StopRequest
from ..tracking import curves, figures, names
from ..tracking.artist import Job
from ..tracking.drawing import Drawing

# What marks a folder as one that holds a run.
MARKS = ("config.yaml", "last.safetensors", "best.safetensors", "metrics.jsonl", "report.json")
LOCK = ".lock"


class RunFolder:
    """The folder of one run: its settings, curves and figures. Off the main rank nothing is written and nothing logged.

    `create` makes it; `lock` and `reopen` open an existing one. A context manager: leaving it closes all files, after drawing
    the curves of a run that stops early.
    """

    def __init__(self, log: Optional[Log] = None, *, dry_run: bool = False, drawing: Optional[Drawing] = None) -> None:
        """`drawing` are the processes that draw, where they have been started already."""
        self.main, self.dry_run = communication.is_main(), dry_run
        self.log: Log = (log or to_terminal) if self.main else silent
        self._path: Optional[Path] = None
        self.saved: Optional[int] = None  # the step of the newest checkpoint
        self.curves: Union[curves.Curves, curves.SilentCurves] = curves.SilentCurves()
        self._drawing = drawing or Drawing()
        self._figures: dict[str, Job] = {}  # file name -> its drawing
        self._stack = ExitStack()

    @property
    def is_open(self) -> bool:
        """Whether there is a folder by now: never off the main rank."""
        return self._path is not None

    @property
    def path(self) -> Path:
        """The folder, on the main rank once it is open."""
        if self._path is None:
            raise RuntimeError("no run folder is open")
        return self._path

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with self._stack, self._drawing:
            if isinstance(error, RunError) and self.is_open and not self.dry_run:
                self.draw_stop()
            self.curves.close()

    def create(self, output_dir: Optional[StrPath], name: str) -> None:
        """Make the folder of a new run; a dry run gets a temporary one, which is removed at the end.

        Raises `UsageError` if it already holds a run, can't be written, or is being written by another process.
        """
        if not self.main:
            return
        if self.dry_run:
            self._path = Path(tempfile.mkdtemp(prefix="dry_run_"))
            self._stack.callback(shutil.rmtree, self.path, ignore_errors=True)
        else:
            self._path = make_folder(output_dir, name)
        self.lock(self.path)
        self.curves = curves.open_curves(self.path, enabled=True, log=self.log, artist=self._drawing.artist)

    def lock(self, path: Path) -> None:
        """Keep other processes out of the folder of a run until this one ends."""
        if self.main:
            self._stack.enter_context(locked(path))

    def reopen(self, path: Path, lengths: dict) -> None:
        """Open a locked folder as it was when a checkpoint was written; `lengths` are those of the curves' files then."""
        if not self.main:
            return
        self._path = path
        for line in rewind(path, lengths):
            self.log(line)
        self.curves = curves.open_curves(path, enabled=True, log=self.log, artist=self._drawing.artist)

    def write_settings(self, settings: dict, *comments: str) -> None:
        """Write config.yaml, which --config reads, below lines of comment."""
        if self.main:
            text = "".join(f"# {line}\n" for line in comments) + file.dump(settings)
            write_atomically(self.path / "config.yaml", text.encode())

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file atomically."""
        if self.main:
            write_atomically(self.path / name, (to_json(content, indent=2) + "\n").encode())

    def draw_graph(self, model: str, arguments: dict) -> None:
        """Begin to draw the network graph."""
        if self.main:
            self.curves.attempt("the network graph", self._drawing.draw_graph, self.path, model, arguments)

    def finish_drawing(self) -> None:
        """Wait for the network graph and the figures, and write these."""
        self.write_figures()
        self._drawing.finish_graph(self.log)

    def write_figures(self) -> None:
        """Write the figures whose drawing was begun. A full disk ends the run."""
        for name, job in self._figures.items():
            if png := self.curves.attempt(name, job.result):
                (self.path / "plots").mkdir(exist_ok=True)
                (self.path / "plots" / name).write_bytes(png)
        self._figures = {}

    def draw_test(self, step: int, split: Split, evaluation: Evaluation) -> None:
        """The figures of the test set, and the same in VisualDL: which images were mistaken for what."""
        if not self.main:
            return
        worst = evaluation.worst(24)
        classes = self.curves.attempt("class names", names.drawable, evaluation.classes) or evaluation.classes
        if note := self.curves.attempt("class names", names.note, evaluation.classes):
            self.log(note)
        captions = evaluation.captions(worst, classes)
        self.figure("confusion.png", figures.confusion_png, evaluation.confusion, evaluation.classes)
        self.figure("mistakes.png", figures.mistakes_png, split.images[worst], captions)
        self.curves.images(step, "test/mistakes", split.images[worst], captions)
        self.curves.pr_curves(step, evaluation.labels, evaluation.probabilities, evaluation.classes)

    def draw_curves(self) -> None:
        """The training so far as plots/curves.png."""
        if not self.main:
            return
        self.figure("curves.png", figures.curves_png, self.path / curves.METRICS)

    def figure(self, name: str, draw: Callable[..., bytes], *content: object) -> None:
        """Begin to draw a figure of plots/, titled with the run's name. If it can't be drawn, `write_figures` logs it."""
        self._figures[name] = self._drawing.submit(draw, *content, self.path.absolute().name)

    def draw_stop(self) -> None:
        """The curves of a run that ends early. Its checkpoints are saved by now, so nothing here may change how it ends."""
        # A second signal is handled after the figure, which takes a second.
        with contextlib.suppress(OSError), StopRequest():
            if (self.path / curves.METRICS).stat().st_size:
                self.draw_curves()
                self.write_figures()


def to_terminal(text: str) -> None:
    """Print above the progress bar. Training continues when the terminal is closed."""
    if not console.is_open(sys.stdout):
        return
    try:
        tqdm.write(text)
    except BrokenPipeError:
        console.silence_stdout()
    except OSError:
        console.silence_lost_terminal()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process writes into the run folder; the lock ends with the process, however that ends."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder / LOCK))
        except Timeout:
            raise UsageError(f"{folder}: another process is training in this folder; wait for its end, or stop it") from None
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"{folder}: can't be written ({reason}); make it writable, or copy it elsewhere") from None
        yield


def rewind(folder: Path, lengths: dict) -> list[str]:
    """Bring a run folder back to where a checkpoint was written; returns lines for the log."""
    try:
        for mark in ("*.safetensors", "config.yaml", "report.json"):
            for leftover in folder.glob(f".{mark}.*.tmp"):  # of a process that was killed while it wrote
                leftover.unlink()
        return curves.rewind(folder, lengths)
    except OSError as error:
        raise UsageError(
            f"{error.filename}: can't be written ({error.strerror}); make it writable, or copy the run elsewhere"
        ) from None


def make_folder(output_dir: Optional[StrPath], name: str) -> Path:
    """The empty folder of a new run: `output_dir`, or runs/NAME-DATE with a number behind it where that is taken."""
    try:
        if output_dir is not None:
            folder = Path(output_dir)
            # An empty metrics.jsonl is what a run leaves that was killed in its first moment.
            marks = [mark for mark in MARKS if (folder / mark).exists() and (folder / mark).stat().st_size]
            if marks:
                raise UsageError(f"{folder} already holds a run ({marks[0]}); add --resume, or give another --output_dir")
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


def _new_folder(base: Path) -> Path:
    """Two runs that start in the same second must not share a folder: mkdir decides which is first."""
    for number in range(1000):
        folder = base if number == 0 else Path(f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise UsageError(f"{base}: a thousand runs of this name; give --output_dir")
