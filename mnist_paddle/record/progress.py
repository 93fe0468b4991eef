"""How training goes right now: the window of the last steps, the clock, the progress bar."""

import sys
import time
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from .. import distributed
from ..registry import RunError
from .metrics import predict


class Window:
    """Loss and accuracy over the steps since the last summary, counted over all ranks.

    Adding a step keeps its tensors and asks for no number: `float(loss)` in every step would make a GPU wait for the processor.
    """

    def __init__(self, step: int = 0):
        self.first = step
        self.outputs, self.labels, self.losses = [], [], []

    def add(self, outputs, labels, losses) -> None:
        """One step of this rank: outputs [m, k], labels [m], losses [m], as Paddle tensors."""
        self.outputs.append(outputs)
        self.labels.append(labels)
        self.losses.append(losses)

    def close(self) -> dict:
        """Mean loss and accuracy in percent; the window is empty afterwards. Raises `RunError` where a loss is not finite."""
        losses = [tensor.numpy().astype(np.float64) for tensor in self.losses]
        sums = distributed.total(np.array([step.sum() for step in losses]))
        if not np.isfinite(sums).all():
            raise RunError(_diverged(self.first + int(np.argmin(np.isfinite(sums))) + 1))
        right = sum(int((predict(outputs.numpy()) == labels.numpy()).sum()) for outputs, labels in zip(self.outputs, self.labels))
        count = sum(len(step) for step in losses)
        right, count = distributed.total(np.array([right, count], np.float64))
        self.__init__(self.first + len(losses))
        return {"loss": float(sums.sum() / count), "accuracy": float(100 * right / count)}


def _diverged(step: int) -> str:
    return (
        f"the loss is not finite at step {step}: try a smaller --learning_rate, --warmup_epochs 1 or --clip_norm 1; "
        "the checkpoints of earlier steps are untouched"
    )


class Clock:
    """Seconds spent and images seen, leaving out what runs inside `paused()`."""

    def __init__(self):
        self.images, self.seconds = 0, 0.0
        self.started = self.mark = time.perf_counter()
        self.marked_images = 0

    def rate(self) -> float:
        """Images a second since the last call."""
        now = time.perf_counter()
        rate = (self.images - self.marked_images) / max(now - self.mark, 1e-9)
        self.mark, self.marked_images = now, self.images
        return rate

    def elapsed(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self.started

    @contextmanager
    def paused(self):
        """What happens inside does not count as training."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.started += time.perf_counter() - begin
            self.mark += time.perf_counter() - begin


def progress_bar(images: int, done: int, enabled: bool):
    """A bar over all images of the run, with images/s and time left; nothing where stderr is not a terminal."""
    return tqdm(
        total=images,
        initial=done,
        unit=" images",
        unit_scale=True,
        disable=not (enabled and sys.stderr.isatty()),
        dynamic_ncols=True,
        mininterval=0.2,
        leave=False,
    )
