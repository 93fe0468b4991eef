"""The only place that asks for the rank: start, rank, world_size, total, barrier.

`paddle.distributed.launch` starts one process per device and tells each its rank through the environment.
On a single process everything here is the identity and paddle's communication is never set up.
"""

import contextlib
import functools
import os
import re
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..system.signals import plain_signals
from ..system.startup import usable_cores
from .watchdog import contact

RANK, RANKS, LOCAL_RANK, LOCAL_RANKS = "PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_RANK", "PADDLE_LOCAL_SIZE"
GPU, OWN_ENDPOINT, ENDPOINTS, MASTER = (
    "FLAGS_selected_gpus",
    "PADDLE_CURRENT_ENDPOINT",
    "PADDLE_TRAINER_ENDPOINTS",
    "PADDLE_MASTER",
)
VARIABLES = (RANK, RANKS, LOCAL_RANK, LOCAL_RANKS, GPU, OWN_ENDPOINT, ENDPOINTS, MASTER)
# Ranks on one machine start within seconds of each other; several machines are started by hand. Tests set the variable.
LOOPBACK = "127.0.0.1"
MEETING_SECONDS = "MNIST_PADDLE_MEETING_SECONDS"
REMEDY = "unset it, or start the ranks with scripts/launch.py"


@dataclass(frozen=True)
class Place:
    """What a launcher has told this process: its rank of how many, the same on this machine, and its GPU."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    gpu: int = 0
    one_machine: bool = True


def place() -> Place:
    """This process's place among the ranks; a `UsageError` where the variables can't come from a launcher."""
    return _place(*(os.environ.get(name, "").strip() for name in VARIABLES))


@functools.lru_cache(maxsize=8)
def _place(*texts) -> Place:
    given = {name: text for name, text in zip(VARIABLES, texts) if text}
    rank, ranks = _number(given, RANK, 0), _number(given, RANKS, 1, least=1)
    if rank >= ranks:
        raise UsageError(
            f"{RANK}={rank} is set, but there is only one process ({RANKS}={ranks}): {REMEDY}"
            if ranks == 1
            else f"{RANK}={rank} is set, but {RANKS}={ranks} ranks are numbered from 0 to {ranks - 1}: {REMEDY}"
        )
    if ranks > 1:
        _check_launched(given, ranks)
    local_ranks = _number(given, LOCAL_RANKS, ranks, least=1)
    local_rank = _number(given, LOCAL_RANK, rank)
    if local_ranks > ranks:
        raise UsageError(f"{LOCAL_RANKS}={local_ranks} is more than {RANKS}={ranks}: {REMEDY}")
    gpu = given.get(GPU, "0").split(",")[0].strip()
    if not _is_number(gpu):
        raise UsageError(f"{GPU}={given[GPU]} is not the number of a GPU: {REMEDY}")
    return Place(rank, ranks, local_rank, local_ranks, int(gpu), ranks == 1 or (LOCAL_RANKS in given and local_ranks == ranks))


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text) is not None


def _number(given: dict, name: str, default: int, least: int = 0) -> int:
    """The value of a variable; what is empty counts as unset."""
    text = given.get(name, str(default))
    if not _is_number(text) or int(text) < least:
        raise UsageError(f"{name}={text} is not a whole number of at least {least}: {REMEDY}")
    return int(text)


def _check_launched(given: dict, ranks: int) -> None:
    """Whether ranks can meet: who started several of them has also told them where. Without that they would wait for nobody."""
    for name in (RANK, OWN_ENDPOINT):
        if name not in given:
            raise UsageError(f"{RANKS}={ranks} is set, but not {name}, so no launcher has started this process: {REMEDY}")
    if not given.keys() & {ENDPOINTS, MASTER} and not (os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT")):
        raise UsageError(
            f"{RANKS}={ranks} is set, but neither {ENDPOINTS} nor {MASTER}, so no launcher has started this process: {REMEDY}"
        )
    for name in (OWN_ENDPOINT, ENDPOINTS, MASTER):
        for endpoint in given[name].split(",") if name in given else []:
            if not re.fullmatch(r"[^:]+:[0-9]{1,5}", endpoint.strip()):
                raise UsageError(f"{name}={given[name][:80]} has no HOST:PORT in {endpoint[:40]!r}: {REMEDY}")
    if ENDPOINTS in given and len(given[ENDPOINTS].split(",")) != ranks:
        raise UsageError(f"{ENDPOINTS} names {len(given[ENDPOINTS].split(','))} ranks, {RANKS} says {ranks}: {REMEDY}")


def drop_empty(environment=os.environ) -> None:
    """Remove the variables that are set to nothing: Paddle's import fails on them."""
    for name in VARIABLES:
        if not environment.get(name, "-").strip():
            del environment[name]


def stand_alone(environment=os.environ) -> None:
    """Be a single process, whatever a launcher or an earlier one has left in the environment: for scripts that have no ranks."""
    for name in list(environment):
        if name.startswith(("PADDLE_TRAINER", "PADDLE_LOCAL_", "PADDLE_GLOBAL_")) or name in VARIABLES:
            del environment[name]


def rank() -> int:
    """This process's number among all, from 0; the main rank is 0."""
    return place().rank


def world_size() -> int:
    """How many processes train together."""
    return place().ranks


def local_size() -> int:
    """How many of them run on this machine."""
    return place().local_ranks


@functools.cache
def cores() -> frozenset:
    """The processor cores that are this rank's own: an equal share of those that this machine's ranks may use."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset(range(max(1, usable_cores() // local_size())))
    usable = sorted(os.sched_getaffinity(0))
    each, number = len(usable) // local_size(), place().local_rank
    return frozenset(usable[each * number : each * (number + 1)] or usable)


def is_main() -> bool:
    """Whether this process writes the files and talks to the terminal."""
    return rank() == 0


def local_device() -> int:
    """The number of the GPU that the launcher gave this process."""
    return place().gpu


def start(device: str = "auto") -> None:
    """Connect the processes that the launcher started (NCCL on GPUs, gloo on CPUs, which `device` may ask for)."""
    if world_size() == 1:
        return
    import paddle
    import paddle.distributed as dist

    if device == "cpu" or not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0:
        # The launcher goes by CUDA_VISIBLE_DEVICES, which may be set where no GPU is, or none is wanted.
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    if hasattr(os, "sched_setaffinity"):
        # A rank that waits sleeps, and may be woken on the other's core: both then share it for a while, and every step has
        # to wait for the slower one (two ranks of the course CNN on two cores: 27.8 -> 25.3 ms a step).
        with contextlib.suppress(OSError):  # where the system does not allow it, ranks train the same, a little slower
            os.sched_setaffinity(0, cores())
    if dist.is_initialized():
        return
    if place().one_machine:
        meet_at_home()
    before = _threads()
    # Until they have met, a signal ends the process at once: C++ would keep a handler of Python's waiting.
    with contact.meeting(meeting_seconds()), plain_signals():
        dist.init_parallel_env()
        dist.barrier()
    if os.environ.get("PADDLE_DISTRI_BACKEND") == "gloo":
        _step_back(_threads() - before)


def meeting_seconds() -> float:
    """How long a rank waits for the first sign of the others in any case: machines need not start in the same second."""
    try:
        return float(os.environ.get(MEETING_SECONDS) or (20 if place().one_machine else 60))
    except ValueError:
        raise UsageError(f"{MEETING_SECONDS} must be a number of seconds; it is {os.environ[MEETING_SECONDS]}") from None


def meet_at_home(environment=os.environ) -> None:
    """Let the ranks of one machine meet on 127.0.0.1: its host name may be unknown, or known for an address that it lost."""
    _, _, port = (environment.get(MASTER) or environment.get(ENDPOINTS, "").split(",")[0]).rpartition(":")
    if port:
        environment[MASTER] = f"{LOOPBACK}:{port}"
        for name in ("MASTER_ADDR", "MASTER_PORT"):  # which Paddle asks first
            environment.pop(name, None)
    interface = interface_of(LOOPBACK)
    if interface:
        environment["GLOO_SOCKET_IFNAME"] = interface  # without it gloo takes the address of the host name


def interface_of(address: str):
    """The name of the network interface that has an IPv4 address, or None."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address == address for found in addresses):
            return name
    return None


def _connected():
    """paddle.distributed, for ranks that have met; without that its functions would wait for ever, or do nothing."""
    import paddle.distributed as dist

    if not dist.is_initialized():
        raise UsageError(
            f"there are {world_size()} ranks ({RANKS}) that have not met: train with fit, or call distributed.start()"
        )
    return dist


def _threads() -> set:
    """The threads of this process, where the system (Linux) lists them."""
    return set(map(int, os.listdir("/proc/self/task"))) if os.path.isdir("/proc/self/task") else set()


def _step_back(threads: set) -> None:
    """Let gloo's threads take a core only when the main thread leaves it.

    While the main thread holds a lock that gloo's wants, that one asks for it again and again. Both on one core, the main
    thread then waits for the scheduler's next tick (an all-reduce every 15 ms: 1.9 -> 0.7 ms, nine in ten 4.8 -> 0.4 ms).
    """
    for thread in threads:
        with contextlib.suppress(OSError):  # it may be gone, or the system may not allow it
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, max(5, os.getpriority(os.PRIO_PROCESS, thread)))


def total(values: np.ndarray) -> np.ndarray:
    """The sum of an array over all ranks; every rank receives it. Shapes must agree; float64 stays float64."""
    if world_size() == 1:
        return values
    import paddle

    dist, tensor = _connected(), paddle.to_tensor(values)
    with contact.waiting("a sum"):
        dist.all_reduce(tensor)
        return tensor.numpy()  # a GPU has only begun it above


def largest(values: np.ndarray) -> np.ndarray:
    """The elementwise maximum of an array over all ranks; every rank receives it."""
    if world_size() == 1:
        return values
    import paddle

    dist, tensor = _connected(), paddle.to_tensor(values)
    with contact.waiting("a question"):
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.numpy()


def gather(value) -> list:
    """What every rank has given (arrays, numbers, text, in dicts or lists), by rank; every rank receives all of it."""
    if world_size() == 1:
        return [value]
    dist, found = _connected(), []
    with contact.waiting("a gathering"):
        dist.all_gather_object(found, value)
    return found


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist = _connected()
        with contact.waiting("a barrier"):
            dist.barrier()
