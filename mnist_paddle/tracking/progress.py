"""How training goes right now: the window of the last steps, the clock, the progress bar."""

import sys
import time
from contextlib import contextmanager

from tqdm import tqdm

from ..system import console


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
            console.silence_lost_terminal()
            self.disable = True


def progress_bar(images: int, done: int, enabled: bool):
    """A bar over all images of the run, with images/s and time left; nothing where stderr is not a terminal."""
    return Bar(
        total=images,
        initial=done,
        unit=" images",
        unit_scale=True,
        disable=not (enabled and console.is_open(sys.stderr) and sys.stderr.isatty()),
        dynamic_ncols=True,
        mininterval=0.2,
        leave=False,
    )
