"""Training time, and progress as a bar or log lines."""

import sys
import time
from typing import Any

from tqdm import tqdm

from ..system import console
from ..system.console import Log


class Stopwatch:
    """Measures time between calls: `lap` returns it, `skip` discards it."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last `lap` or `skip`."""
        previous, self._mark = self._mark, time.perf_counter()
        return self._mark - previous

    def skip(self) -> None:
        """Exclude the time since the last lap."""
        self._mark = time.perf_counter()


class Bar(tqdm):
    """A progress bar that survives the closing of its terminal."""

    def display(self, *arguments: Any, **named: Any) -> Any:
        """Called by tqdm."""
        try:
            return super().display(*arguments, **named)
        except OSError:
            console.silence_lost_terminal()
            self.disable = True


class Progress:
    """Training progress: a bar if stderr is a terminal, otherwise (log file, notebook, rank) a line every few seconds."""

    EVERY = 10.0  # seconds between two lines

    def __init__(self, total: int, done: int, log: Log, enabled: bool = True) -> None:
        """`total` and `done` count images, of the whole run and already trained on; `log` prints a line."""
        self.log, self.total, self.done, self.text = log, total, done, ""
        bar = enabled and console.is_open(sys.stderr) and sys.stderr.isatty()
        self.lines = enabled and not bar
        self.logged = time.monotonic()
        self.bar = Bar(
            total=total,
            initial=done,
            unit=" images",
            unit_scale=True,
            disable=not bar,
            dynamic_ncols=True,
            mininterval=0.2,
            leave=False,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left{postfix}",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def describe(self, epoch: str, metrics: str) -> None:
        """Show the epoch, such as "epoch 1/4", and the latest metrics."""
        self.text = f"{epoch}  {metrics}"
        self.bar.set_description(epoch, refresh=False)
        self.bar.set_postfix_str(metrics)

    def update(self, images: int) -> None:
        """Add `images` trained on since the last call."""
        self.done += images
        self.bar.update(images)
        if self.lines and self.text and time.monotonic() - self.logged >= self.EVERY:
            self.logged = time.monotonic()
            self.log(f"{100 * self.done / self.total:3.0f} %  {self.text}")
