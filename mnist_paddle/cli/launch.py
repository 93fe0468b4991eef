"""Train on several devices: one rank per GPU, or on a CPU one per core, as many as divide the batch.

All flags of train are passed on to it. Rank 0 prints on the terminal; the logs of all ranks are in the run folder, in logs/.
"""

import argparse
import math
import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Optional

from mnist_paddle import UsageError, load_config

from ..config import Config
from ..distributed import communication
from ..distributed.supervisor import USAGE
from ..system import console, signals, startup
from ..system.signals import STOPPED
from . import entry
from .launch_plan import Plan, count_ranks, find_machines

START_SECONDS = 60  # that ranks on other machines have to start in, unless --stall_seconds allows more


def parse(argv: list) -> tuple[argparse.Namespace, list]:
    """The options of this command, and the flags for train."""
    usage = "mnist-paddle launch [options] [flags of train]"
    parser = entry.CommandLine(prog="mnist-paddle launch", description=__doc__, usage=usage)
    ranks, machines = parser.add_argument_group("Ranks"), parser.add_argument_group("Several machines")
    ranks.add_argument("--nproc", type=int, help="ranks on this machine (default: one per GPU or core)")
    ranks.add_argument("--devices", metavar="LIST", help="the GPUs to use, such as 0,1 (default: all)")
    ranks.add_argument("--max_restarts", type=int, default=0, help="restarts from the last checkpoint on failure")
    machines.add_argument("--nnodes", type=int, default=1, help="machines; run the same command on each")
    machines.add_argument("--node_rank", type=int, default=0, help="which machine this is; 0 has the run folder")
    machines.add_argument("--master", metavar="HOST:PORT", help="where machine 0 waits for the others")
    options, flags = parser.parse_known_args(argv)
    for name, least in (("nproc", 1), ("nnodes", 1), ("node_rank", 0), ("max_restarts", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}; it is {value}")
    if options.nnodes > 1 and not options.master:
        raise UsageError(f"--nnodes {options.nnodes} needs --master HOST:PORT, an address of machine 0 and a free port there")
    if options.node_rank >= options.nnodes:
        raise UsageError(f"--node_rank {options.node_rank}: the machines are numbered from 0 to {options.nnodes - 1}")
    return options, flags


def make_folders(options: argparse.Namespace, config: Config) -> tuple[Path, Path]:
    """The run folder and the folder of this machine's logs."""
    from ..experiment.checkpoint import to_resume
    from ..experiment.folder import make_folder

    if config.dry_run:
        folder = Path(tempfile.mkdtemp(prefix="dry_run_"))
    elif config.resume:
        folder = to_resume(config.output_dir)[0]
    elif options.nnodes > 1 and not config.output_dir:
        raise UsageError("--nnodes above 1 needs --output_dir, the same folder on every machine")
    elif options.node_rank == 0 or not config.output_dir:
        folder = make_folder(config.output_dir, f"{config.dataset}-{config.model}")
    else:
        folder = Path(config.output_dir)
    return folder, folder / "logs" / (f"node{options.node_rank}" if options.nnodes > 1 else "")


class StopSignals:
    """Collects the signals that the user sends to this process, to be passed on to the ranks."""

    def __init__(self) -> None:
        self.pending: list[int] = []
        for number in signals.STOP_SIGNALS:
            # SIG_IGN is set again, since Paddle's import may have installed a handler of its own.
            signal.signal(number, signal.SIG_IGN if signals.is_ignored(number) else self.receive)

    def receive(self, number: int, frame: Optional[FrameType]) -> None:
        """The signal handler."""
        console.silence_lost_terminal()
        self.pending.append(number)

    def take(self) -> Optional[int]:
        """The next signal, or None."""
        return self.pending.pop(0) if self.pending else None


def launch(options: argparse.Namespace, flags: list, config: Config) -> int:
    """Check everything, start the ranks, watch them, restart them; the exit status."""
    from ..experiment import preflight
    from ..experiment.folder import to_terminal

    nproc, on_gpus = count_ranks(options, config)
    preflight.check(config, nproc * options.nnodes)
    machines = find_machines(options)
    stop, is_new = StopSignals(), config.output_dir is None or not Path(config.output_dir).exists()
    folder, logs = make_folders(options, config)
    threads = config.threads or max(1, startup.usable_cores() // nproc)
    timeout = max(START_SECONDS, config.stall_seconds) if config.stall_seconds else math.inf
    plan = Plan(nproc, on_gpus, options.devices, threads, machines=machines, logs=logs, start_timeout=timeout)
    # A dry run removes its logs, unless they hold the reason of a failure.
    to_terminal(str(plan) if config.dry_run else f"{plan}; logs of all ranks: {logs}")
    if not config.dry_run and not config.resume:
        flags = [*flags, "--output_dir", str(folder)]
    status = 0
    try:
        status = run_with_restarts(plan, flags, folder, options.max_restarts, stop=stop)
        return status
    finally:
        if config.dry_run and status in (0, USAGE, *STOPPED):
            shutil.rmtree(folder, ignore_errors=True)
        elif not config.dry_run and status in (USAGE, *STOPPED) and not config.resume:
            remove_unused(folder, logs, is_new)


def run_with_restarts(plan: Plan, flags: list, folder: Path, restarts: int, *, stop: StopSignals) -> int:
    """Start the ranks, again after a failure, and watch them until they end; the exit status."""
    from ..experiment.folder import to_terminal

    for attempt in range(restarts + 1):
        supervisor = plan.start(flags)
        status = supervisor.watch(stop)
        if status == 0:
            return 0
        if supervisor.was_stopped(status):
            return console.end_with(supervisor.reason(), status)  # the user asked for it: not an error
        console.fail(supervisor.reason(), status)
        # Wrong usage stays wrong, and what the user stopped stays stopped.
        if status == USAGE or supervisor.requested or attempt == restarts:
            break
        if (folder / "last.safetensors").exists():
            flags = [*(flag for flag in flags if flag != "--resume"), "--resume", "--output_dir", str(folder)]
        start = ", from the last checkpoint" if "--resume" in flags else ""
        to_terminal(f"restart {attempt + 1} of {restarts}{start}")
    return status


def remove_unused(folder: Path, logs: Path, is_new: bool) -> None:
    """After a usage error or a stop before the run began, remove the logs, and the folder where it was made for this run."""
    from ..experiment.folder import MARKS

    if any((folder / mark).exists() for mark in MARKS):
        return
    shutil.rmtree(folder if is_new else logs, ignore_errors=True)


def main(argv: list) -> int:
    """Parse, launch; the exit status is the training's."""
    signals.end_at_signal()
    options, flags = parse(argv)
    communication.stand_alone()  # it starts ranks and is none itself
    config = load_config(flags)
    startup.require_paddle()
    return launch(options, flags, config)
