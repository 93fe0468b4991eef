"""What a launcher has told this process through the environment: its rank, how many there are, where to connect."""

import functools
import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass

from ..errors import UsageError

RANK, RANKS, LOCAL_RANK, LOCAL_RANKS = "PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_RANK", "PADDLE_LOCAL_SIZE"
GPU, OWN_ENDPOINT, ENDPOINTS, MASTER = (
    "FLAGS_selected_gpus",
    "PADDLE_CURRENT_ENDPOINT",
    "PADDLE_TRAINER_ENDPOINTS",
    "PADDLE_MASTER",
)
VARIABLES = (RANK, RANKS, LOCAL_RANK, LOCAL_RANKS, GPU, OWN_ENDPOINT, ENDPOINTS, MASTER)
REMEDY = "unset it, or start the ranks with scripts/launch.py"


@dataclass(frozen=True)
class LaunchEnv:
    """This process's rank of how many, the same within its machine, and its GPU."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    gpu: int = 0
    one_machine: bool = True


def launch_env() -> LaunchEnv:
    """What the environment says; a `UsageError` where the variables can't come from a launcher."""
    return _parse(*(os.environ.get(name, "").strip() for name in VARIABLES))


@functools.lru_cache(maxsize=8)
def _parse(*texts: str) -> LaunchEnv:
    given = {name: text for name, text in zip(VARIABLES, texts) if text}
    rank, ranks = _number(given, RANK, 0), _number(given, RANKS, 1, at_least=1)
    if rank >= ranks:
        raise UsageError(
            f"{RANK}={rank} is set, but there is only one process ({RANKS}={ranks}): {REMEDY}"
            if ranks == 1
            else f"{RANK}={rank} is set, but {RANKS}={ranks} ranks are numbered from 0 to {ranks - 1}: {REMEDY}"
        )
    if ranks > 1:
        _check_launched(given, ranks)
    local_ranks = _number(given, LOCAL_RANKS, ranks, at_least=1)
    local_rank = _number(given, LOCAL_RANK, rank)
    if local_ranks > ranks:
        raise UsageError(f"{LOCAL_RANKS}={local_ranks} is more than {RANKS}={ranks}: {REMEDY}")
    gpu = given.get(GPU, "0").split(",")[0].strip()
    if not _is_number(gpu):
        raise UsageError(f"{GPU}={given[GPU]} is not the number of a GPU: {REMEDY}")
    one_machine = ranks == 1 or (LOCAL_RANKS in given and local_ranks == ranks)
    return LaunchEnv(rank, ranks, local_rank, local_ranks, int(gpu), one_machine)


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text) is not None


def _number(given: dict, name: str, default: int, at_least: int = 0) -> int:
    """The value of a variable; an empty one counts as unset."""
    text = given.get(name, str(default))
    if not _is_number(text) or int(text) < at_least:
        raise UsageError(f"{name}={text} is not a whole number of at least {at_least}: {REMEDY}")
    return int(text)


def _check_launched(given: dict, ranks: int) -> None:
    """Whether the ranks can connect: a launcher that starts several also tells them where. Else they would wait forever."""
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
                raise UsageError(f"{name}={given[name][:80]}: {endpoint[:40]!r} is not HOST:PORT: {REMEDY}")
    if ENDPOINTS in given and len(given[ENDPOINTS].split(",")) != ranks:
        raise UsageError(f"{ENDPOINTS} names {len(given[ENDPOINTS].split(','))} ranks, but {RANKS}={ranks}: {REMEDY}")


def stand_alone(environment: MutableMapping[str, str] = os.environ) -> None:
    """Be a single process, whatever a launcher has left in the environment: for commands that do not run on several ranks."""
    for name in list(environment):
        if name.startswith(("PADDLE_TRAINER", "PADDLE_LOCAL_", "PADDLE_GLOBAL_")) or name in VARIABLES:
            del environment[name]
