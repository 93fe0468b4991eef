"""How training goes right now: the window of the last steps, the clock, the progress bar."""

import sys
import time
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from ..diagnostics.finite import NotFinite
from ..distributed import communication
from ..distributed.watchdog import contact
from ..metrics import predict
from ..system import startup


class Window:
    """Loss and accuracy over the steps since the last point of the curves, and over those since the last evaluation.

    Both are counted over all ranks. Adding a step keeps its tensors and asks for no number: `float(loss)` in every step would
    make a GPU wait for the processor. `numbers` is the window between two points as JSON can hold it; a window made from it
    continues as if nothing had been.
    """

    def __init__(self, first: int = 0, losses=(), right: int = 0, count: int = 0, epoch=(0.0, 0, 0)):
        self.first = first  # the steps done before the window began
        self.losses, self.right, self.count = list(losses), right, count  # loss sums per step; examples right and in all
        self.epoch = list(epoch)  # since the last evaluation: sum of the losses, examples right, examples
        self._added = []

    def add(self, outputs, labels, losses) -> None:
        """One step of this rank: outputs [m, k], labels [m], losses [m], as Paddle tensors."""
        self._added.append((outputs, labels, losses))

    def settle(self) -> None:
        """Turn what was added into numbers over all ranks. Raises `NotFinite` where a loss is not finite."""
        if not self._added:
            return
        with contact.waiting("a point on the curves"):
            added = [(outputs.numpy(), labels.numpy(), losses.numpy()) for outputs, labels, losses in self._added]
        sums = communication.total(np.array([losses.astype(np.float64).sum() for _, _, losses in added]))
        if not np.isfinite(sums).all():
            step = self.first + len(self.losses) + int(np.argmin(np.isfinite(sums))) + 1
            raise NotFinite("the loss is not finite", step=step)
        hits = sum(int((predict(outputs) == labels).sum()) for outputs, labels, _ in added)
        right, count = communication.total(np.array([hits, sum(len(labels) for _, labels, _ in added)], np.float64))
        self.losses += sums.tolist()
        self.right += int(right)
        self.count += int(count)
        self.epoch = [self.epoch[0] + float(sums.sum()), self.epoch[1] + int(right), self.epoch[2] + int(count)]
        self._added = []

    @property
    def steps(self) -> int:
        """Steps since the last point of the curves."""
        return len(self.losses) + len(self._added)

    def close(self) -> dict:
        """Mean loss and accuracy in percent since the last point; the next step begins a new one."""
        self.settle()
        figures = {"loss": float(np.sum(self.losses) / self.count), "accuracy": 100 * self.right / self.count}
        self.first, self.losses, self.right, self.count = self.first + len(self.losses), [], 0, 0
        return figures

    def close_epoch(self) -> dict:
        """Mean loss and accuracy in percent over all steps since the last evaluation; the next step begins a new epoch."""
        self.settle()
        loss, right, count = self.epoch
        self.epoch = [0.0, 0, 0]
        return {"loss": loss / count, "accuracy": 100 * right / count} if count else {}

    def numbers(self) -> dict:
        """What makes this window again: keyword arguments of `Window`."""
        self.settle()
        return {"first": self.first, "losses": self.losses, "right": self.right, "count": self.count, "epoch": self.epoch}


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


class Bar(tqdm):
    """A bar whose terminal may be closed: the run goes on without it."""

    def display(self, *arguments, **named):
        """Called by tqdm."""
        try:
            return super().display(*arguments, **named)
        except OSError:
            startup.silence_lost_terminal()
            self.disable = True


def progress_bar(images: int, done: int, enabled: bool):
    """A bar over all images of the run, with images/s and time left; nothing where stderr is not a terminal."""
    return Bar(
        total=images,
        initial=done,
        unit=" images",
        unit_scale=True,
        disable=not (enabled and startup.is_open(sys.stderr) and sys.stderr.isatty()),
        dynamic_ncols=True,
        mininterval=0.2,
        leave=False,
    )
