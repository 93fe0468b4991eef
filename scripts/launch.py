"""Train on several devices: as many ranks as there are GPUs, or processor cores that divide the batch.

All flags of train.py are passed on to it. Rank 0 speaks on the terminal; the logs of all ranks lie in the run folder, in logs/.
"""

import math
import re
import shutil
import signal
import tempfile
from pathlib import Path

from mnist_paddle import UsageError, load_config, runtime
from mnist_paddle.launcher import Ranks, paddle_command, rank_environment, visible_gpus

TRAIN = Path(__file__).with_name("train.py")
MOST_RANKS = 8  # of a processor, unless --nproc asks for more


def parse(argv):
    """Own flags, and those for train.py."""
    parser = runtime.CommandLine(prog="launch.py", description=__doc__, usage="%(prog)s [options] [flags of train.py]")
    parser.add_argument("--nproc", type=int, help="ranks on this machine (default: all visible GPUs, else processor cores)")
    parser.add_argument("--devices", help="the GPUs to use, such as 0,1 (default: all visible ones)")
    parser.add_argument("--nnodes", type=int, default=1, help="machines (default: 1); the same command on each of them")
    parser.add_argument("--node_rank", type=int, default=0, help="which of them this is, from 0; 0 has rank 0 and the run folder")
    parser.add_argument("--master", metavar="IP:PORT", help="where machine 0 waits for the others")
    parser.add_argument("--max_restarts", type=int, default=0, help="start again so often, from the last checkpoint (default: 0)")
    own, flags = parser.parse_known_args(argv)
    for name, least in (("nproc", 1), ("nnodes", 1), ("node_rank", 0), ("max_restarts", 0)):
        value = getattr(own, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}; it is {value}")
    if own.nnodes > 1 and not re.fullmatch(r".+:\d+", own.master or ""):
        raise UsageError(f"--nnodes {own.nnodes} needs --master IP:PORT, an address of machine 0 and a free port there")
    if own.node_rank >= own.nnodes:
        raise UsageError(f"--node_rank {own.node_rank}: the machines are numbered from 0 to {own.nnodes - 1}")
    return own, flags


def share_out(own, config) -> tuple[int, bool]:
    """How many ranks this machine gets, and whether they are to use GPUs."""
    gpus = visible_gpus(config.device)
    if own.devices:
        devices = own.devices.split(",")
        if not gpus:
            raise UsageError(f"--devices {own.devices}: this Paddle sees no GPU; leave it out, or install paddlepaddle-gpu")
        if not all(device.isdigit() for device in devices):
            raise UsageError(f"--devices {own.devices}: wanted are their numbers, such as 0,1")
        if own.nproc not in (None, len(devices)):
            raise UsageError(f"--nproc {own.nproc} and --devices {own.devices} differ; leave --nproc out")
        return len(devices), True
    wanted = own.nproc or gpus or processor_ranks(config, own.nnodes)
    if gpus and wanted > gpus:
        raise UsageError(f"--nproc {wanted}: there are {gpus} GPUs; each rank needs one, or take --device cpu")
    return wanted, bool(gpus)


def processor_ranks(config, nnodes: int) -> int:
    """A rank per core, as many as divide the batch."""
    most = min(runtime.usable_cores(), MOST_RANKS)
    if config.parallel == "model":
        return max(1, 2 // nnodes)
    return max((n for n in range(1, most + 1) if config.batch_size % (n * nnodes) == 0), default=1)


def place(own, config) -> tuple[Path, Path]:
    """The run folder and the folder of this machine's logs."""
    from mnist_paddle.checkpoint import to_resume
    from mnist_paddle.record.run import make_folder

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
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self.pending.append(number))

    def take(self):
        """The next one, or None."""
        return self.pending.pop(0) if self.pending else None


def launch(own, flags: list, config) -> int:
    """Start, watch, start again; the exit status."""
    from mnist_paddle.record.run import to_terminal

    nproc, on_gpus = share_out(own, config)
    threads = config.threads or max(1, runtime.usable_cores() // nproc)
    folder, logs = place(own, config)
    stop, first = Stop(), own.node_rank == 0
    if not config.dry_run and not config.resume:
        flags = [*flags, "--output_dir", str(folder)]
    machines = f" of {own.nnodes * nproc} on {own.nnodes} machines" if own.nnodes > 1 else ""
    share = (f"on GPUs {own.devices}" if own.devices else "each on a GPU") if on_gpus else f"threads of each: {threads}"
    to_terminal(f"{nproc} rank{'s' * (nproc != 1)}{machines}; {share}; logs of all: {logs}")
    try:
        for attempt in range(own.max_restarts + 1):
            command = paddle_command(TRAIN, flags, logs, nproc, own.devices, own.nnodes, own.node_rank, own.master)
            ranks = Ranks(
                command,
                nproc,
                logs,
                rank_environment(threads, 0 if on_gpus else nproc),
                lambda line: to_terminal(f"rank 0 | {line}") if first else None,
                max(60, config.stall_seconds) if config.stall_seconds else math.inf,
            )
            status = ranks.watch(stop)
            if status == 0:
                return 0
            runtime.fail(ranks.reason(), status)
            # Wrong usage is as wrong the second time, and what the user stopped is to stay so.
            if status == 2 or ranks.asked or attempt == own.max_restarts:
                return status
            if (folder / "last.safetensors").exists():
                flags = [*(flag for flag in flags if flag != "--resume"), "--resume", "--output_dir", str(folder)]
            where = ", from the last checkpoint" if "--resume" in flags else ""
            to_terminal(f"restart {attempt + 1} of {own.max_restarts}{where}")
        return status
    finally:
        if config.dry_run:
            shutil.rmtree(folder, ignore_errors=True)


def main(argv) -> int:
    """Parse, launch; the exit status is the training's."""
    own, flags = parse(argv)
    config = load_config(flags)
    runtime.require_paddle()
    return launch(own, flags, config)


if __name__ == "__main__":
    runtime.script(main)
