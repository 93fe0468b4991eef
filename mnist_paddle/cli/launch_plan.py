"""Which ranks `launch` starts on this machine: how many, on which devices, connected to which other machines."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..config import Config
from ..distributed import limits, rendezvous
from ..distributed.launcher import Machines, paddle_command, rank_environment, visible_gpus
from ..distributed.supervisor import Supervisor
from ..errors import UsageError
from ..system import gpus, startup

RANK_SCRIPT = Path(__file__).with_name("rank.py")
MOST_CPU_RANKS = 8  # unless --nproc asks for more


@dataclass(frozen=True)
class Plan:
    """What stays the same from one start of the ranks to the next."""

    nproc: int
    on_gpus: bool
    devices: Optional[str]
    threads: int  # of each rank
    machines: Machines
    logs: Path
    start_timeout: float  # seconds

    def start(self, flags: list) -> Supervisor:
        """Start the ranks with these flags of train.py."""
        from ..experiment.folder import to_terminal

        command = paddle_command(RANK_SCRIPT, flags, self.logs, self.nproc, devices=self.devices, machines=self.machines)
        return Supervisor(
            command,
            self.nproc,
            self.logs,
            environment=rank_environment(self.threads, 0 if self.on_gpus else self.nproc, self.nproc, self.machines),
            show=(lambda line: to_terminal(f"rank 0 | {line}")) if self.machines.rank == 0 else (lambda line: None),
            start_timeout=self.start_timeout,
        )

    def __str__(self) -> str:
        total = self.machines.count * self.nproc
        of_all = f" of {total} on {self.machines.count} machines" if self.machines.count > 1 else ""
        if self.devices:
            device = f"on GPUs {self.devices}"
        else:
            device = "one GPU each" if self.on_gpus else f"threads per rank: {self.threads}"
        return f"{self.nproc} rank{'s' * (self.nproc != 1)}{of_all}; {device}"


def count_ranks(options: argparse.Namespace, config: Config) -> tuple[int, bool]:
    """How many ranks this machine runs, and whether on GPUs."""
    gpu_count = visible_gpus(config.device)
    if options.devices:
        return count_devices(options, config, gpu_count), True
    if config.device == "gpu" and not gpu_count:
        raise UsageError(f"--device gpu: {gpus.unavailable_reason(gpus.is_gpu_build())}")
    nproc = options.nproc or gpu_count or cpu_ranks(config, options.nnodes)
    if gpu_count and nproc > gpu_count:
        raise UsageError(
            f"--nproc {nproc}: each rank needs a GPU, and there are {gpu_count}; use --nproc {gpu_count} or --device cpu"
        )
    if not gpu_count:
        limits.check_process_count(nproc, startup.usable_cores())
    return nproc, bool(gpu_count)


def count_devices(options: argparse.Namespace, config: Config, gpu_count: int) -> int:
    """How many GPUs --devices lists."""
    devices = options.devices.split(",")
    if not gpu_count:
        cpu_only = "they are GPUs, and --device cpu uses none; leave one of the two out"
        raise UsageError(
            f"--devices {options.devices}: {cpu_only if config.device == 'cpu' else gpus.unavailable_reason(gpus.is_gpu_build())}"
        )
    if not all(device.isdigit() for device in devices):
        raise UsageError(f"--devices {options.devices}: give the numbers of the GPUs, such as 0,1")
    if options.nproc not in (None, len(devices)):
        raise UsageError(f"--nproc {options.nproc} and --devices {options.devices} differ; leave --nproc out")
    return len(devices)


def cpu_ranks(config: Config, nnodes: int) -> int:
    """One rank per core, as many as divide the batch."""
    most = min(startup.usable_cores(), MOST_CPU_RANKS)
    if config.parallel == "model":
        return max(1, 2 // nnodes)
    return max((n for n in range(1, most + 1) if config.batch_size % (n * nnodes) == 0), default=1)


def find_machines(options: argparse.Namespace) -> Machines:
    """The machines and where they connect; a `UsageError` where they cannot."""
    if options.nnodes == 1 and not options.master:
        return Machines()
    master = rendezvous.find_master(options.master)  # checked in any case
    if options.nnodes == 1:
        return Machines()
    if options.node_rank == 0:
        rendezvous.check_port(master)
    endpoint = f"{master.address}:{master.port}"
    return Machines(options.nnodes, options.node_rank, options.master, endpoint, rendezvous.own_address(master))
