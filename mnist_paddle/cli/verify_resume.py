"""Prove that a run loses nothing by being stopped: train straight through, train again with stops, compare every bit.

All flags of train are passed on to it, so that your own recipe is tested.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Optional

from mnist_paddle import UsageError, load_config

from ..config import Config
from ..distributed import communication
from ..system import startup
from ..system.paths import expand, output_file
from . import entry
from .verify_resume_stops import KINDS, Interruption, StoppedTraining, UnexpectedEnd, train_with_interruptions


def parse(argv: list) -> tuple[argparse.Namespace, list, list, Config]:
    """The options of this command, the kinds of stops, the flags for train, and the config that these give."""
    usage = "mnist-paddle verify-resume [options] [flags of train]"
    parser = entry.CommandLine(prog="mnist-paddle verify-resume", description=__doc__, usage=usage)
    stops, results = parser.add_argument_group("Stops"), parser.add_argument_group("Runs")
    stops.add_argument("--stops", type=int, default=6, help="how often the second run is stopped")
    stops.add_argument("--kinds", default="term,int,kill,minutes", metavar="LIST", help="in turns")
    stops.add_argument("--stop_seed", type=int, default=0, help="seed of the random moments of the stops")
    results.add_argument("--nproc", type=int, default=1, help="ranks, started by Paddle's launcher")
    results.add_argument("--folder", metavar="PATH", help="keeps both runs (default: a temporary one)")
    results.add_argument("--draw", metavar="PNG", help="also draw the loss of both runs")
    options, flags = parser.parse_known_args(argv)
    kinds = options.kinds.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--kinds {kind}: choices: {', '.join(KINDS)}")
    if os.name != "posix":
        raise UsageError("verify_resume needs a POSIX system, for the signals that it sends")
    if options.stops < 1 or options.nproc < 1:
        raise UsageError("--stops and --nproc must be at least 1")
    options.draw = output_file(options.draw, "--draw")
    options.folder = options.folder and expand(options.folder, "--folder")
    config = load_config(flags)
    check_flags(config)
    return options, kinds, flags, config


def check_flags(config: Config) -> None:
    """A `UsageError` for flags of train.py under which two runs can't be compared."""
    for name in ("resume", "dry_run"):
        if getattr(config, name):
            raise UsageError(f"--{name} can't be used here: whole runs are compared; leave it out")
    if config.max_minutes is not None:
        raise UsageError("--max_minutes: a run that is stopped by time is never the same twice; leave it out")
    if config.output_dir:
        raise UsageError("--output_dir is a flag of train.py only; use --folder for the folder that keeps both runs")


def show_interruption(number: int, interruption: Interruption) -> None:
    """Print one row of the first table."""
    start = "start" if interruption.during_startup else "step 0" if number == 1 else "resume"
    moment = f"{interruption.seconds:5.2f} s after {start}"
    left = f"status {interruption.status:4}   resumes at step {interruption.step:,} (epoch {interruption.epoch:.2f})"
    print(f"{number:4}  {KINDS[interruption.kind]:14} {moment:24} {left}", flush=True)


def show_rows(rows: list) -> bool:
    """Print the second table; whether everything is identical."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"  {row.what:{width}}  {row.count:32}  {row.difference or 'identical'}")
    return not any(row.difference for row in rows)


def verify(options: argparse.Namespace, kinds: list, flags: list, config: Config, *, folder: Path) -> bool:
    """Train both runs, print both tables; whether everything is identical."""
    from ..experiment import checkpoint
    from ..experiment.identical import compare

    trainer = StoppedTraining(folder, flags, options.nproc)
    print(f"straight: train.py {' '.join(flags)}" + (f" on {options.nproc} ranks" if options.nproc > 1 else ""), flush=True)
    wall = trainer.finish("straight")
    progress = checkpoint.load(folder / "straight" / "last.safetensors")[1]
    steps, seconds = progress["step"], progress["seconds"]
    trainer.total_steps, trainer.epoch_steps = steps, max(1, round(steps / config.epochs))
    print(f"  {steps:,} steps, {seconds:.1f} s of training in {wall:.1f} s\nstopped:", flush=True)
    # Killed runs resume from the last checkpoint, so there should be some within an epoch.
    if not config.checkpoint_every:
        trainer.flags = [*flags, "--checkpoint_every", str(max(1, steps // 100))]
    stops = train_with_interruptions(trainer, kinds, options.stops, seconds, seed=options.stop_seed, show=show_interruption)
    print("compared:")
    same = show_rows(compare(folder / "straight", folder / "stopped"))
    if options.draw:
        from ..tracking.plots import draw_resumed

        straight, stopped = (folder / name / "metrics.jsonl" for name in ("straight", "stopped"))
        draw_resumed(straight, stopped, [stop.step for stop in stops], options.draw)
    if not stops:
        raise UnexpectedEnd("the run is too short: it ended before the first stop; use more --epochs")
    print(f"{'PASS' if same else 'FAIL'}: {len(stops)} stops, {'every bit the same' if same else 'the runs differ'}")
    return same


def make_folder(path: Optional[str]) -> Path:
    """The folder for both runs: the one that was asked for, or a temporary one."""
    if not path:
        return Path(tempfile.mkdtemp(prefix="verify_resume_"))
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--folder {folder}: cannot be created ({error.strerror}); use another folder") from None
    if any((folder / name).exists() for name in ("straight", "stopped")):
        raise UsageError(f"--folder {folder} already holds runs; use another folder")
    return folder


def main(argv: list) -> int:
    """Parse, verify; the exit status: 0 identical, 1 not, 2 wrong usage."""
    options, kinds, flags, config = parse(argv)
    communication.stand_alone()  # its trainings start their own ranks
    startup.require_paddle()
    folder = make_folder(options.folder)
    try:
        return 0 if verify(options, kinds, flags, config, folder=folder) else 1
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
