"""Prove that a run loses nothing by being stopped: train straight, train again with stops, compare every bit.

All flags of train.py are passed on to it, so that it is your own recipe that is tried.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from mnist_paddle import RunError, UsageError, load_config

from ..distributed import communication
from ..distributed.launcher import paddle_command
from ..settings import plugins
from ..system import startup
from ..system.paths import expand, output_file
from . import entry

RANK = Path(__file__).with_name("rank.py")
NAMES = {"term": "SIGTERM", "int": "SIGINT", "kill": "SIGKILL", "minutes": "--max_minutes"}
# Exit statuses of the training and of paddle.distributed.launch; negative: ended by the signal before there was a run to save.
STATUSES = {"term": (143, -15, 15), "int": (130, -2, 2), "kill": (-9,), "minutes": ()}
PATIENCE = 600  # seconds without an end or a beginning after which a process counts as hung


@dataclass
class Stop:
    """One interruption: of what kind, when (seconds after the process began to train, or after its start), what was left."""

    kind: str
    seconds: float
    starting: bool = False
    status: int = 0
    step: int = 0
    epoch: float = 0.0


class Stopped(RunError):
    """A training that ended as it should not have."""


def parse(argv):
    """Own flags, and those for train.py."""
    parser = entry.CommandLine(prog="verify_resume.py", description=__doc__, usage="%(prog)s [options] [flags of train.py]")
    parser.add_argument("--stops", type=int, default=6, help="how often the second run is stopped (default: 6)")
    parser.add_argument("--kinds", default="term,int,kill,minutes", help="comma-separated, in turn (default: %(default)s)")
    parser.add_argument("--nproc", type=int, default=1, help="ranks, by paddle.distributed.launch (default: 1)")
    parser.add_argument("--stop_seed", type=int, default=0, help="the random instants follow from it")
    parser.add_argument("--draw", metavar="PNG", help="also draw the loss of both runs")
    parser.add_argument("--folder", help="keep both runs in this folder (default: a temporary one that goes)")
    own, flags = parser.parse_known_args(argv)
    kinds = own.kinds.split(",")
    for kind in kinds:
        if kind not in NAMES:
            raise UsageError(f"--kinds {kind}: choices: {', '.join(NAMES)}")
    if os.name != "posix":
        raise UsageError("only a POSIX system has the signals that this script sends")
    if own.stops < 1 or own.nproc < 1:
        raise UsageError("--stops and --nproc must be at least 1")
    own.draw = output_file(own.draw, "--draw")
    own.folder = own.folder and expand(own.folder, "--folder")
    config = load_config(flags)
    for name in ("resume", "dry_run"):
        if getattr(config, name):
            raise UsageError(f"--{name} makes no sense here: whole runs are compared")
    if config.max_minutes is not None:
        raise UsageError("--max_minutes: a run that the clock ends is never the same twice; leave it out")
    if config.output_dir:
        raise UsageError("--output_dir belongs to train.py alone; here --folder says where both runs are kept")
    return own, kinds, flags, config


class Trainer:
    """Trains by command, in one process or several, and stops it."""

    def __init__(self, folder: Path, flags: list, nproc: int):
        self.folder, self.flags, self.nproc = folder, flags, nproc
        self.output = ""

    def start(self, name: str, *extra):
        """A training in the run folder `name`, from its beginning or from where it stopped."""
        run = self.folder / name
        resume = (run / "last.safetensors").exists()
        # A resumed run keeps its settings, a limit of time among them: here each stop brings its own.
        flags = ["--resume", "--max_minutes", "null", *plugins.flags()] if resume else self.flags
        flags = [*flags, "--output_dir", str(run), *extra]
        command = [sys.executable, str(RANK), *flags]
        if self.nproc > 1:
            command = paddle_command(RANK, flags, self.folder / "log", self.nproc)
        self.log = open(self.folder / f"{name}.txt", "ab")  # noqa: SIM115  the process keeps it
        return subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

    def finish(self, name: str) -> float:
        """Train to the end; the seconds that it took."""
        begin = time.monotonic()
        process = self.start(name)
        self.wait(process)
        if process.returncode:
            raise Stopped(f"the run ended with status {process.returncode}: {self.last_line(name)}")
        return time.monotonic() - begin

    def stop(self, name: str, stop: Stop) -> bool:
        """Train until the stop; whether the training was still running then."""
        settings = self.folder / name / "config.yaml"
        before = settings.stat().st_mtime_ns if settings.exists() else None
        extra = ["--max_minutes", str(stop.seconds / 60)] if stop.kind == "minutes" else []
        begin = time.monotonic()
        process = self.start(name, *extra)
        try:
            if not stop.starting:  # config.yaml is written anew when the first step is about to be made
                while process.poll() is None and (not settings.exists() or settings.stat().st_mtime_ns == before):
                    time.sleep(0.005)
                    if time.monotonic() - begin > PATIENCE:
                        raise Stopped(f"the run did not begin within {PATIENCE} s: {self.last_line(name)}")
            if stop.kind != "minutes":
                try:
                    process.wait(stop.seconds)
                except subprocess.TimeoutExpired:
                    self.send(process, signal.Signals[NAMES[stop.kind]])
            self.wait(process)
        finally:
            self.send(process, signal.SIGKILL)
        stop.status = process.returncode
        if stop.status not in (0, *STATUSES[stop.kind]):
            raise Stopped(f"{NAMES[stop.kind]} ended the run with status {stop.status}: {self.last_line(name)}")
        return stop.status != 0 or stop.kind == "minutes"

    def send(self, process, number) -> None:
        """A signal, as the user or the power company gives it: SIGKILL reaches every rank, others the one who was started."""
        if process.poll() is not None:
            return
        everybody = psutil.Process(process.pid).children(recursive=True) if number == signal.SIGKILL else []
        for victim in [process, *everybody]:
            try:
                victim.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def wait(self, process) -> None:
        """Wait for the end."""
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.send(process, signal.SIGKILL)
            raise Stopped(f"the run hung for {PATIENCE} s") from None
        finally:
            self.log.close()

    def last_line(self, name: str) -> str:
        """What the run said last."""
        lines = (self.folder / f"{name}.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "(nothing said)"


def train_with_stops(trainer: Trainer, kinds: list, count: int, seconds: float, generator, show) -> list[Stop]:
    """Train in the folder `stopped` with `count` stops spread over a training of so many seconds."""
    from ..experiment import checkpoint

    stops, last = [], trainer.folder / "stopped" / "last.safetensors"
    share_left = 1.0
    while len(stops) < count:
        # Twice the even share at the most, so that about all stops fall into the training; some into the start of the process.
        limit = 2 * seconds * share_left / (count - len(stops) + 1)
        kind = kinds[len(stops) % len(kinds)]
        starting = kind == "kill" and generator.random() < 0.2
        stop = Stop(kind, generator.uniform(0, 4) if starting else generator.uniform(0, limit), starting)
        was_running = trainer.stop("stopped", stop)
        if last.exists():
            for path in last.parent.glob("*.safetensors"):
                checkpoint.load(path)  # every file that is there must be whole
            progress = checkpoint.load(last)[1]
            done = progress["epoch"] + progress["position"] / max(1, trainer.epoch_steps)
            stop.step, stop.epoch, share_left = progress["step"], done, max(0.0, 1 - progress["step"] / trainer.total_steps)
        if not was_running:
            break  # it came to its end before the stop
        stops.append(stop)
        show(len(stops), stop)
    trainer.finish("stopped")
    return stops


def show_stop(number: int, stop: Stop) -> None:
    """One line of the first table."""
    moment = f"{stop.seconds:5.2f} s after {'start' if stop.starting else 'step 0' if number == 1 else 'going on'}"
    left = f"status {stop.status:4}   goes on at step {stop.step:,} (epoch {stop.epoch:.2f})"
    print(f"{number:4}  {NAMES[stop.kind]:14} {moment:24} {left}", flush=True)


def show_rows(rows) -> bool:
    """The second table; whether all is the same."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"  {row.what:{width}}  {row.count:32}  {row.difference or 'identical'}")
    return not any(row.difference for row in rows)


def verify(own, kinds, flags, config, folder: Path) -> bool:
    """Both runs, both tables; whether all is the same."""
    from ..experiment import checkpoint
    from ..experiment.compare import compare

    trainer = Trainer(folder, flags, own.nproc)
    print(f"straight: train.py {' '.join(flags)}" + (f" on {own.nproc} ranks" if own.nproc > 1 else ""), flush=True)
    wall = trainer.finish("straight")
    progress = checkpoint.load(folder / "straight" / "last.safetensors")[1]
    trainer.total_steps = progress["step"]
    trainer.epoch_steps = max(1, round(progress["step"] / config.epochs))
    print(f"  {progress['step']:,} steps, {progress['seconds']:.1f} s of training in {wall:.1f} s\nstopped:", flush=True)
    # Killed runs go on from the last checkpoint, so there should be some in mid-epoch.
    if not config.checkpoint_every:
        trainer.flags = [*flags, "--checkpoint_every", str(max(1, progress["step"] // 100))]
    stops = train_with_stops(trainer, kinds, own.stops, progress["seconds"], random.Random(own.stop_seed), show_stop)
    print("compared:")
    same = show_rows(compare(folder / "straight", folder / "stopped"))
    if own.draw:
        from ..tracking.plots import draw_resumed

        draw_resumed(
            folder / "straight" / "metrics.jsonl", folder / "stopped" / "metrics.jsonl", [s.step for s in stops], own.draw
        )
    if not stops:
        raise Stopped("the run is too short, it ended before the first stop; give more --epochs")
    print(f"{'PASS' if same else 'FAIL'}: {len(stops)} stops, {'every bit the same' if same else 'the runs differ'}")
    return same


def main(argv) -> int:
    """Parse, verify; the exit status: 0 the same, 1 not, 2 wrong usage."""
    own, kinds, flags, config = parse(argv)
    communication.stand_alone()  # its trainings start their own ranks
    startup.require_paddle()
    folder = Path(own.folder) if own.folder else Path(tempfile.mkdtemp(prefix="verify_resume_"))
    if own.folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--folder {folder}: can't be made ({error.strerror}); give another") from None
        if any((folder / name).exists() for name in ("straight", "stopped")):
            raise UsageError(f"{folder} holds runs already; give another --folder")
    try:
        return 0 if verify(own, kinds, flags, config, folder) else 1
    finally:
        if not own.folder:
            shutil.rmtree(folder, ignore_errors=True)
