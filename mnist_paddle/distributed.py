"""The only place that asks for the rank: start, rank, world_size, total, barrier.

`paddle.distributed.launch` starts one process per device and tells each its rank through the environment.
On a single process everything here is the identity and paddle's communication is never set up.
"""

import contextlib
import functools
import os

import numpy as np

from .contact import contact
from .runtime import usable_cores


def rank() -> int:
    """This process's number among all, from 0; the main rank is 0."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def local_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("PADDLE_LOCAL_SIZE", world_size()))


@functools.cache
def cores() -> frozenset:
    """The processor cores that are this rank's own: an equal share of those that this machine's ranks may use."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset(range(max(1, usable_cores() // local_size())))
    usable = sorted(os.sched_getaffinity(0))
    each, number = len(usable) // local_size(), int(os.environ.get("PADDLE_LOCAL_RANK", rank()))
    return frozenset(usable[each * number : each * (number + 1)] or usable)


def is_main() -> bool:
    """Whether this process writes the files and talks to the terminal."""
    return rank() == 0


def local_device() -> int:
    """The number of the GPU that the launcher gave this process."""
    return int(os.environ.get("FLAGS_selected_gpus", "0").split(",")[0])  # noqa: SIM112  the launcher's own name


def start(device: str = "auto") -> None:
    """Connect the processes that the launcher started (NCCL on GPUs, gloo on CPUs, which `device` may ask for)."""
    if world_size() > 1:
        import paddle
        import paddle.distributed as dist

        if device == "cpu" or not paddle.is_compiled_with_cuda():
            # The launcher goes by CUDA_VISIBLE_DEVICES, which may be set where no GPU is, or none is wanted.
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        if hasattr(os, "sched_setaffinity"):
            # A rank that waits sleeps, and may be woken on the other's core: both then share it for a while, and every step has
            # to wait for the slower one (two ranks of the course CNN on two cores: 27.8 -> 25.3 ms a step).
            with contextlib.suppress(OSError):  # where the system does not allow it, ranks train the same, a little slower
                os.sched_setaffinity(0, cores())
        if not dist.is_initialized():
            before = _threads()
            with contact.waiting("the beginning", least=60):  # machines need not start in the same second
                dist.init_parallel_env()
                dist.barrier()
            if os.environ.get("PADDLE_DISTRI_BACKEND") == "gloo":
                _step_back(_threads() - before)


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
    import paddle.distributed as dist

    tensor = paddle.to_tensor(values)
    with contact.waiting("a sum"):
        dist.all_reduce(tensor)
        return tensor.numpy()  # a GPU has only begun it above


def largest(values: np.ndarray) -> np.ndarray:
    """The elementwise maximum of an array over all ranks; every rank receives it."""
    if world_size() == 1:
        return values
    import paddle
    import paddle.distributed as dist

    tensor = paddle.to_tensor(values)
    with contact.waiting("a question"):
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.numpy()


def gather(value) -> list:
    """What every rank has given (arrays, numbers, text, in dicts or lists), by rank; every rank receives all of it."""
    if world_size() == 1:
        return [value]
    import paddle.distributed as dist

    found = []
    with contact.waiting("a gathering"):
        dist.all_gather_object(found, value)
    return found


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        import paddle.distributed as dist

        with contact.waiting("a barrier"):
            dist.barrier()
