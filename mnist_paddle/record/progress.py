"""How training goes right now: the window of the last steps, the clock, the progress bar."""

import sys
import time
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from .. import distributed, runtime
from ..contact import contact
from ..registry import RunError
from .metrics import predict


class Window:
    """Loss and accuracy over the steps since the last point of the curves, counted over all ranks.

    Adding a step keeps its tensors and asks for no number: `float(loss)` in every step would make a GPU wait for the processor.
    `numbers` is the window between two points as JSON can hold it; a window made from it goes on as if nothing had been.
    """

    def __init__(self, first: int = 0, losses=(), right: int = 0, count: int = 0):
        self.first = first  # the steps done before the window began
        self.losses, self.right, self.count = list(losses), right, count  # loss sums per step; examples right and in all
        self._added = []

    def add(self, outputs, labels, losses) -> None:
        """One step of this rank: outputs [m, k], labels [m], losses [m], as Paddle tensors."""
        self._added.append((outputs, labels, losses))

    def settle(self) -> None:
        """Turn what was added into numbers over all ranks. Raises `RunError` where a loss is not finite."""
        if not self._added:
            return
        with contact.waiting("a point on the curves"):
            added = [(predict(outputs.numpy()) == labels.numpy(), losses.numpy()) for outputs, labels, losses in self._added]
        sums = distributed.total(np.array([losses.astype(np.float64).sum() for _, losses in added]))
        if not np.isfinite(sums).all():
            raise RunError(_diverged(self.first + len(self.losses) + int(np.argmin(np.isfinite(sums))) + 1))
        counts = np.array([sum(hits.sum() for hits, _ in added), sum(len(hits) for hits, _ in added)], np.float64)
        right, count = distributed.total(counts)
        self.losses += sums.tolist()
        self.right += int(right)
        self.count += int(count)
        self._added = []

    def close(self) -> dict:
        """Mean loss and accuracy in percent; the window is empty afterwards."""
        self.settle()
        figures = {"loss": float(np.sum(self.losses) / self.count), "accuracy": 100 * self.right / self.count}
        self.__init__(self.first + len(self.losses))
        return figures

    def numbers(self) -> dict:
        """What makes this window again: keyword arguments of `Window`."""
        self.settle()
        return {"first": self.first, "losses": self.losses, "right": self.right, "count": self.count}


def _diverged(step: int) -> str:
    return (
        f"the loss is not finite at step {step}: try a smaller --learning_rate, --warmup_epochs 1 or --clip_norm 1; "
        "the checkpoints of earlier steps are untouched"
    )


class Clock:
    """Seconds spent and images seen, leaving out what runs inside `paused()`; those of earlier sessions count on."""

    def __init__(self, seconds: float = 0.0, images: int = 0):
        self.images, self.before = images, seconds
        self.started = self.mark = time.perf_counter()
        self.marked_images = images

    def rate(self) -> float:
        """Images a second since the last call."""
        now = time.perf_counter()
        rate = (self.images - self.marked_images) / max(now - self.mark, 1e-9)
        self.mark, self.marked_images = now, self.images
        return rate

    def session(self) -> float:
        """Seconds of training since this process began."""
        return time.perf_counter() - self.started

    def elapsed(self) -> float:
        """Seconds of training in all."""
        return self.before + self.session()

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
        disable=not (enabled and runtime.is_open(sys.stderr) and sys.stderr.isatty()),
        dynamic_ncols=True,
        mininterval=0.2,
        leave=False,
    )
