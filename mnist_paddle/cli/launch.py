"""Train on several devices: as many ranks as there are GPUs, or processor cores that divide the batch.

All flags of train.py are passed on to it. Rank 0 speaks on the terminal; the logs of all ranks lie in the run folder, in logs/.
"""

import math
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mnist_paddle import UsageError, load_config

from ..distributed import communication, rendezvous
from ..distributed.launcher import STOPPED, Nodes, Ranks, paddle_command, rank_environment, visible_gpus
from ..system import console, gpus, signals, startup
from . import entry

RANK = Path(__file__).with_name("rank.py")
MOST_RANKS = 8  # of a processor, unless --nproc asks for more


def parse(argv):
    """Own flags, and those for train.py."""
    parser = entry.CommandLine(prog="launch.py", description=__doc__, usage="%(prog)s [options] [flags of train.py]")
    parser.add_argument("--nproc", type=int, help="ranks on this machine (default: all visible GPUs, else processor cores)")
    parser.add_argument("--devices", help="the GPUs to use, such as 0,1 (default: all visible ones)")
    parser.add_argument("--nnodes", type=int, default=1, help="machines (default: 1); the same command on each of them")
    parser.add_argument("--node_rank", type=int, default=0, help="which of them this is, from 0; 0 has rank 0 and the run folder")
    parser.add_argument("--master", metavar="HOST:PORT", help="where machine 0 waits for the others")
    parser.add_argument("--max_restarts", type=int, default=0, help="start again so often, from the last checkpoint (default: 0)")
    own, flags = parser.parse_known_args(argv)
    for name, least in (("nproc", 1), ("nnodes", 1), ("node_rank", 0), ("max_restarts", 0)):
        value = getattr(own, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}; it is {value}")
    if own.nnodes > 1 and not own.master:
        raise UsageError(f"--nnodes {own.nnodes} needs --master HOST:PORT, an address of machine 0 and a free port there")
    if own.node_rank >= own.nnodes:
        raise UsageError(f"--node_rank {own.node_rank}: the machines are numbered from 0 to {own.nnodes - 1}")
    return own, flags


def share_out(own, config) -> tuple[int, bool]:
    """How many ranks this machine gets, and whether they are to use GPUs."""
    from ..experiment import preflight

    found = visible_gpus(config.device)
    if own.devices:
        devices = own.devices.split(",")
        if not found:
            why = (
                "they are GPUs, and --device cpu wants none"
                if config.device == "cpu"
                else gpus.unavailable_reason(gpus.is_gpu_build())
            )
            raise UsageError(f"--devices {own.devices}: {why}")
        if not all(device.isdigit() for device in devices):
            raise UsageError(f"--devices {own.devices}: wanted are their numbers, such as 0,1")
        if own.nproc not in (None, len(devices)):
            raise UsageError(f"--nproc {own.nproc} and --devices {own.devices} differ; leave --nproc out")
        return len(devices), True
    if config.device == "gpu" and not found:
        raise UsageError(f"--device gpu: {gpus.unavailable_reason(gpus.is_gpu_build())}")
    wanted = own.nproc or found or processor_ranks(config, own.nnodes)
    if found and wanted > found:
        raise UsageError(f"--nproc {wanted}: there are {found} GPUs; each rank needs one, or take --device cpu")
    if not found:
        preflight.check_count(wanted, startup.usable_cores())
    return wanted, bool(found)


def find_nodes(own) -> Nodes:
    """The machines and where they meet; a `UsageError` where that can't be."""
    master = rendezvous.find_master(own.master) if own.master else None
    if own.nnodes == 1:
        return Nodes()
    if own.node_rank == 0:
        rendezvous.check_port(master)
    endpoint = f"{master.address}:{master.port}"
    return Nodes(own.nnodes, own.node_rank, own.master, endpoint, rendezvous.own_address(master))


def processor_ranks(config, nnodes: int) -> int:
    """A rank per core, as many as divide the batch."""
    most = min(startup.usable_cores(), MOST_RANKS)
    if config.parallel == "model":
        return max(1, 2 // nnodes)
    return max((n for n in range(1, most + 1) if config.batch_size % (n * nnodes) == 0), default=1)


def place(own, config) -> tuple[Path, Path]:
    """The run folder and the folder of this machine's logs."""
    from ..experiment.checkpoint import to_resume
    from ..experiment.folder import make_folder

    if config.dry_run:
        folder = Path(tempfile.mkdtemp(prefix="dry_run_"))
    elif config.resume:
        folder = to_resume(config.output_dir)[0]
    elif own.nnodes > 1 and not config.output_dir:
        raise UsageError("--nnodes above 1 needs --output_dir, one folder that every machine names alike")
    elif own.node_rank == 0:
        folder = make_folder(config.output_dir, f"{config.dataset}-{config.model}")
    else:
        folder = Path(config.output_dir)
    return folder, folder / "logs" / (f"node{own.node_rank}" if own.nnodes > 1 else "")


class Stop:
    """The signals that the user sends to this process, to be passed on."""

    def __init__(self):
        self.pending = []
        for number in signals.STOP_SIGNALS:
            # Set anew where it is to be ignored, for Paddle's import may have put a handler of its own on it.
            signal.signal(number, signal.SIG_IGN if signals.is_ignored(number) else self.receive)

    def receive(self, number, frame):
        """The handler."""
        console.silence_lost_terminal()
        self.pending.append(number)

    def take(self):
        """The next one, or None."""
        return self.pending.pop(0) if self.pending else None


@dataclass(frozen=True)
class Launch:
    """What does not change from one start of the ranks to the next."""

    nproc: int
    on_gpus: bool
    devices: Optional[str]
    threads: int
    nodes: Nodes
    logs: Path
    wait: float

    def start(self, flags: list) -> Ranks:
        """Start the ranks with these flags of train.py."""
        from ..experiment.folder import to_terminal

        command = paddle_command(RANK, flags, self.logs, self.nproc, self.devices, self.nodes)
        environment = rank_environment(self.threads, 0 if self.on_gpus else self.nproc, self.nproc, self.nodes)
        show = (lambda line: to_terminal(f"rank 0 | {line}")) if self.nodes.rank == 0 else (lambda line: None)
        return Ranks(command, self.nproc, self.logs, environment, show, self.wait)

    def __str__(self):
        machines = f" of {self.nodes.count * self.nproc} on {self.nodes.count} machines" if self.nodes.count > 1 else ""
        share = (
            f"on GPUs {self.devices}" if self.devices else "each on a GPU" if self.on_gpus else f"threads of each: {self.threads}"
        )
        return f"{self.nproc} rank{'s' * (self.nproc != 1)}{machines}; {share}; logs of all: {self.logs}"


def launch(own, flags: list, config) -> int:
    """Check, start, watch, start again; the exit status."""
    from ..experiment import preflight
    from ..experiment.folder import to_terminal

    nproc, on_gpus = share_out(own, config)
    preflight.check(config, nproc * own.nnodes)
    nodes = find_nodes(own)
    stop, made = Stop(), not Path(config.output_dir or "").exists() or config.output_dir is None
    folder, logs = place(own, config)
    threads = config.threads or max(1, startup.usable_cores() // nproc)
    wait = max(60, config.stall_seconds) if config.stall_seconds else math.inf
    ranks = Launch(nproc, on_gpus, own.devices, threads, nodes, logs, wait)
    to_terminal(str(ranks))
    if not config.dry_run and not config.resume:
        flags = [*flags, "--output_dir", str(folder)]
    status = 0
    try:
        status = watch(ranks, flags, folder, own.max_restarts, stop)
        return status
    finally:
        if config.dry_run:
            shutil.rmtree(folder, ignore_errors=True)
        elif status in (2, *STOPPED) and not config.resume:
            tidy_up(folder, logs, made)


def watch(ranks: Launch, flags: list, folder: Path, restarts: int, stop: Stop) -> int:
    """Start the ranks, again where they failed, and see them to their end; the exit status."""
    from ..experiment.folder import to_terminal

    for attempt in range(restarts + 1):
        running = ranks.start(flags)
        status = running.watch(stop)
        if status == 0:
            return 0
        if running.asked and status == 128 + running.asked:
            return console.end_with(running.reason(), status)  # the user's wish, and no error
        console.fail(running.reason(), status)
        # Wrong usage is as wrong the second time, and what the user stopped is to stay so.
        if status == 2 or running.asked or attempt == restarts:
            break
        if (folder / "last.safetensors").exists():
            flags = [*(flag for flag in flags if flag != "--resume"), "--resume", "--output_dir", str(folder)]
        where = ", from the last checkpoint" if "--resume" in flags else ""
        to_terminal(f"restart {attempt + 1} of {restarts}{where}")
    return status


def tidy_up(folder: Path, logs: Path, made: bool) -> None:
    """After a refusal or a stop before the run began, remove the logs and, where it was made for this run, the folder."""
    from ..experiment.folder import MARKS

    if any((folder / mark).exists() for mark in MARKS):
        return
    shutil.rmtree(folder if made else logs, ignore_errors=True)


def main(argv) -> int:
    """Parse, launch; the exit status is the training's."""
    signals.end_at_signal()
    own, flags = parse(argv)
    communication.stand_alone()  # it starts ranks and is none
    config = load_config(flags)
    startup.require_paddle()
    return launch(own, flags, config)
