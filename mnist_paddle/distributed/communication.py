"""The only module that asks for the rank, and all that ranks say to each other: start, rank, world_size, total, gather, barrier.

`paddle.distributed.launch` starts one process per device and tells each its rank through the environment.
On a single process every function here is the identity, and Paddle's communication is never set up.
"""

import contextlib
import functools
import os
from collections.abc import MutableMapping
from types import ModuleType
from typing import Optional

import numpy as np

from ..errors import UsageError
from ..system.signals import plain_signals
from ..system.startup import usable_cores
from .launch_env import ENDPOINTS, MASTER, RANKS, launch_env, stand_alone
from .watchdog import watchdog

__all__ = ["barrier", "cores", "gather", "is_main", "largest", "launch_env", "local_device", "local_size"]
__all__ += ["rank", "stand_alone", "start", "total", "watchdog", "world_size"]

LOOPBACK = "127.0.0.1"
# Ranks on one machine start within seconds of each other; several machines are started by hand. Tests set the variable.
MEETING_SECONDS = "MNIST_PADDLE_MEETING_SECONDS"


def rank() -> int:
    """This process's number among all, from 0; the main rank is 0."""
    return launch_env().rank


def world_size() -> int:
    """How many processes train together."""
    return launch_env().ranks


def local_size() -> int:
    """How many of them run on this machine."""
    return launch_env().local_ranks


def is_main() -> bool:
    """Whether this process writes the files and prints."""
    return rank() == 0


def local_device() -> int:
    """The number of the GPU that the launcher gave this process."""
    return launch_env().gpu


@functools.cache
def cores() -> frozenset:
    """The CPU cores of this rank: an equal share of those that this machine's ranks may use."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset(range(max(1, usable_cores() // local_size())))
    usable = sorted(os.sched_getaffinity(0))
    each, number = len(usable) // local_size(), launch_env().local_rank
    return frozenset(usable[each * number : each * (number + 1)] or usable)


def start(device: str = "auto") -> None:
    """Connect the processes that the launcher started: by NCCL on GPUs, by gloo on CPUs or with `device` "cpu"."""
    if world_size() == 1:
        return
    import paddle
    import paddle.distributed as dist

    if device == "cpu" or not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0:
        # The launcher goes by CUDA_VISIBLE_DEVICES, which may be set where there is no GPU, or none is wanted.
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    if hasattr(os, "sched_setaffinity"):
        # A waiting rank sleeps and may wake up on another rank's core. Both then share that core for a while, and every step
        # waits for the slower one (two ranks of the course CNN on two cores: 27.8 -> 25.3 ms a step).
        with contextlib.suppress(OSError):  # where the system forbids it, the ranks train the same, a little slower
            os.sched_setaffinity(0, cores())
    if dist.is_initialized():
        return
    if launch_env().one_machine:
        use_loopback()
    before = _threads()
    # Until the ranks are connected a signal ends the process at once: inside C++ a Python handler would never run.
    with watchdog().connecting(meeting_seconds()), plain_signals():
        dist.init_parallel_env()
        dist.barrier()
    if os.environ.get("PADDLE_DISTRI_BACKEND") == "gloo":
        _lower_priority(_threads() - before)


def meeting_seconds() -> float:
    """How long a rank waits at least for the others to start: machines need not start in the same second."""
    try:
        return float(os.environ.get(MEETING_SECONDS) or (20 if launch_env().one_machine else 60))
    except ValueError:
        raise UsageError(f"{MEETING_SECONDS} must be a number of seconds; it is {os.environ[MEETING_SECONDS]}") from None


def use_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Connect the ranks of one machine over 127.0.0.1: its host name may be unknown, or belong to an old address."""
    _, _, port = (environment.get(MASTER) or environment.get(ENDPOINTS, "").split(",")[0]).rpartition(":")
    if port:
        environment[MASTER] = f"{LOOPBACK}:{port}"
        for name in ("MASTER_ADDR", "MASTER_PORT"):  # which Paddle reads first
            environment.pop(name, None)
    interface = interface_of(LOOPBACK)
    if interface:
        environment["GLOO_SOCKET_IFNAME"] = interface  # else gloo takes the address of the host name


def interface_of(address: str) -> Optional[str]:
    """The name of the network interface that has an IPv4 address, or None."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(candidate.address == address for candidate in addresses):
            return name
    return None


def _threads() -> set:
    """The threads of this process, where the system (Linux) lists them."""
    return set(map(int, os.listdir("/proc/self/task"))) if os.path.isdir("/proc/self/task") else set()


def _lower_priority(threads: set) -> None:
    """Let gloo's threads use a core only when the main thread leaves it.

    While the main thread holds a lock that one of gloo's threads wants, that thread keeps asking for it. With both on one core,
    the main thread then waits for the scheduler's next tick (an all-reduce every 15 ms: median 1.9 -> 0.7 ms, 90th percentile
    4.8 -> 0.4 ms).
    """
    for thread in threads:
        with contextlib.suppress(OSError):  # it may be gone, or the system may forbid it
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, max(5, os.getpriority(os.PRIO_PROCESS, thread)))


def _connected() -> ModuleType:
    """paddle.distributed of connected ranks; before `start` its functions would wait forever or do nothing."""
    import paddle.distributed as dist

    if not dist.is_initialized():
        raise UsageError(
            f"there are {world_size()} ranks ({RANKS}) that are not connected: train with fit, or call start() first"
        )
    return dist


def total(values: np.ndarray) -> np.ndarray:
    """The sum of an array over all ranks; every rank receives it. Shapes must agree; float64 stays float64."""
    if world_size() == 1:
        return values
    import paddle

    dist, tensor = _connected(), paddle.to_tensor(values)
    with watchdog().waiting("an all-reduce"):
        dist.all_reduce(tensor)
        return tensor.numpy()  # on a GPU the line above only starts it


def largest(values: np.ndarray) -> np.ndarray:
    """The elementwise maximum of an array over all ranks; every rank receives it."""
    if world_size() == 1:
        return values
    import paddle

    dist, tensor = _connected(), paddle.to_tensor(values)
    with watchdog().waiting("an all-reduce"):
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.numpy()


def gather(value: object) -> list:
    """The values of all ranks (arrays, numbers, text, in dicts or lists), by rank; every rank receives all of them."""
    if world_size() == 1:
        return [value]
    values: list = []
    dist = _connected()
    with watchdog().waiting("a gather"):
        dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist = _connected()
        with watchdog().waiting("a barrier"):
            dist.barrier()
