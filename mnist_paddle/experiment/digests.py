"""Digests of a step: short texts that tell whether its images, outputs, losses and gradients were the same to the bit.

They are recorded with every point of the training curves. Whoever repeats a step, as `replay` does, can show that it is the one
that the run made: all else follows from (seed, step) and the settings.
"""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

import numpy as np
import paddle

from ..data.loader import Batch
from ..diagnostics.finite import PLAIN
from ..system.memory import as_array
from ..tracking.curves import DIGESTS
from .recording import point_is_due
from .replication import MOST, math_threads
from .setup import Setup
from .state import State, trainable

KINDS = ("images", "labels", "outputs", "losses", "gradients")
LENGTH = 8  # hexadecimal digits
# What a line has besides the step and its digests: images of this rank, and what else can change the last bits.
COUNTS = {"count": 0, "ranks": 1, "replicas": 1, "threads": 1}  # with the least value of each


def record_digests(setup: Setup, state: State, batch: Batch) -> None:
    """Record the digests of the step just made, where a point of the curves is due; those of the main rank's shard.

    Gradients are those that the optimizer leaves: Paddle 3 clips them in place (--clip_norm), Paddle 2 does not.
    """
    if setup.folder.main and point_is_due(setup, state):
        outputs, _, losses = state.window.last
        setup.folder.curves.digests(
            {
                "step": state.step,
                "count": batch.local_size,
                "ranks": state.strategy.world_size,
                "replicas": state.strategy.replicas,
                "threads": math_threads(setup),
                "device": setup.device,
                **step_digests(state, batch, outputs, losses),
            }
        )


def step_digests(state: State, batch: Batch, outputs: paddle.Tensor, losses: paddle.Tensor) -> dict[str, str]:
    """The digests of the step that a state has just made by a batch, of its outputs [m, k] and losses [m]."""
    gradients = [parameter.grad for _, parameter in trainable(state.model)]
    tensors = ([batch.images], [batch.labels], [outputs], [losses], gradients)
    return {kind: digest(each) for kind, each in zip(KINDS, tensors)}


def digest(tensors: Iterable[Optional[paddle.Tensor]]) -> str:
    """The CRC-32 of the shapes and values of tensors, as hexadecimal digits; None is one without values.

    It is no protection against forgery, which nobody gains from. Recording a step of `fc` takes 0.33 ms, with SHA-256 0.67.
    """
    checksum = 0
    for tensor in tensors:
        checksum = zlib.crc32(b"\nnone" if tensor is None else f"\n{list(tensor.shape)}".encode(), checksum)
        if tensor is not None and 0 not in tensor.shape:
            checksum = zlib.crc32(values(tensor).data, checksum)
    return f"{checksum:08x}"


def values(tensor: paddle.Tensor) -> np.ndarray:
    """The values of a tensor that has some, as a contiguous array: its own memory where that is possible."""
    own = tensor.place.is_cpu_place() and tensor.is_contiguous() and tensor.dtype in (*PLAIN, paddle.int64)
    return as_array(tensor) if own else np.ascontiguousarray(tensor.numpy())


def read_digests(folder: Path) -> tuple[dict[int, dict], int]:
    """The lines of a run's digests.jsonl by step, and how many lines are none of a run; ({}, 0) where there is no such file.

    A last line without an end is one that the run is writing.
    """
    try:
        content = (folder / DIGESTS).read_bytes()
    except OSError:
        return {}, 0
    lines = [_line(text) for text in content.split(b"\n")[:-1]]
    return {line["step"]: line for line in lines if line is not None}, lines.count(None)


def _line(text: bytes) -> Optional[dict]:
    """One line, or None where it does not come from a run: the file may come from a stranger."""
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or line.get("device") not in ("cpu", "gpu"):
        return None
    numbers = all(_is_count(line.get(name), least) for name, least in {"step": 1, **COUNTS}.items())
    if not numbers or max(line["replicas"], line["threads"]) > MOST:
        return None
    return line if all(isinstance(line.get(kind), str) and len(line[kind]) == LENGTH for kind in KINDS) else None


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
