"""How Paddle's launcher is called: its command line and the environment of the ranks. supervisor.py watches what it starts."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..system import gpus, startup
from . import communication

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
# Other variables that tell Paddle's launcher or its ranks where to connect, and may be left over.
STALE_VARIABLES = ("POD_IP", "MASTER_ADDR", "MASTER_PORT", "COLLECTIVE_MASTER_IP")


@dataclass(frozen=True)
class Machines:
    """How many machines train together, which of them this is, and where they connect."""

    count: int = 1
    rank: int = 0
    master: Optional[str] = None  # as the user gave it
    endpoint: Optional[str] = None  # the same with its IPv4 address
    address: str = communication.LOOPBACK  # under which the ranks of this one are reached; the host name may be out of date


def paddle_command(
    script: Path, flags: list, logs: Path, nproc: int, *, devices: Optional[str] = None, machines: Optional[Machines] = None
) -> list:
    """The command line of Paddle's launcher for `nproc` ranks on this machine."""
    machines = machines or Machines()
    command = [sys.executable, *startup.paddle_module("paddle.distributed.launch")]
    command += ["--log_dir", str(logs), "--host", machines.address]
    command += ["--devices", devices] if devices else ["--nproc_per_node", str(nproc)]
    if machines.count > 1:
        command += ["--nnodes", str(machines.count), "--rank", str(machines.rank), "--master", str(machines.endpoint)]
    return [*command, str(script), *flags]


def visible_gpus(device: str = "auto") -> int:
    """How many GPUs Paddle sees; 0 where it is built for CPUs or `device` is "cpu"."""
    if device == "cpu" or not gpus.is_gpu_build():
        return 0
    from ..system.device import gpu_count  # imports paddle

    return gpu_count()


def rank_environment(threads: int, cpu_ranks: int = 0, nproc: int = 1, machines: Optional[Machines] = None) -> dict:
    """The environment of the ranks: their number of threads, and nothing of a launcher that this process may run under.

    `cpu_ranks`: how many ranks there are, where they are not to use GPUs. `nproc` and `machines` let a run print the command
    that resumes it.
    """
    machines = machines or Machines()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PADDLE_", "FLAGS_selected"))}
    for name in STALE_VARIABLES:
        kept.pop(name, None)
    # Paddle's launchers would talk to each other through a proxy. The ranks get it back, for their downloads.
    proxies = {name: kept.pop(name) for name in list(kept) if name.lower() in PROXIES}
    if cpu_ranks:
        # Paddle's launcher gives every rank one of these, if they are set or it is built for GPUs, and fails if they run out.
        kept["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(cpu_ranks)))
    if machines.count > 1 and "GLOO_SOCKET_IFNAME" not in kept and (interface := communication.interface_of(machines.address)):
        kept["GLOO_SOCKET_IFNAME"] = interface
    launch = {"nnodes": machines.count, "node_rank": machines.rank, "master": machines.master, "nproc": nproc}
    return {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        **kept,
        startup.KEPT_PROXIES: json.dumps(proxies),
        "MNIST_PADDLE_LAUNCH": json.dumps(launch),
    }
