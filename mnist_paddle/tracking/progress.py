"""How training is going right now: time, and a progress bar or lines of a log."""

import sys
import time

from tqdm import tqdm

from ..system import console


class Stopwatch:
    """Seconds since the last call: `lap` returns them, `skip` discards what should not count."""

    def __init__(self):
        self._mark = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap or skip."""
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before

    def skip(self) -> None:
        """Let the time since the last lap not count."""
        self._mark = time.perf_counter()


class Bar(tqdm):
    """A bar whose terminal may be closed: the run goes on without it."""

    def display(self, *arguments, **named):
        """Called by tqdm."""
        try:
            return super().display(*arguments, **named)
        except OSError:
            console.silence_lost_terminal()
            self.disable = True


class Progress:
    """How training is going: a bar where stderr is a terminal, elsewhere (a log, a notebook, a rank) a line every few seconds."""

    EVERY = 10.0  # seconds between two lines

    def __init__(self, total: int, done: int, log, enabled: bool = True):
        """`total` and `done`: images of the whole run and those already trained on; `log` prints a line."""
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

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def describe(self, epoch: str, figures: str) -> None:
        """Show where training is, such as "epoch 1/4", and its latest figures."""
        self.text = f"{epoch}  {figures}"
        self.bar.set_description(epoch, refresh=False)
        self.bar.set_postfix_str(figures)

    def update(self, images: int) -> None:
        """So many more images are trained on."""
        self.done += images
        self.bar.update(images)
        if self.lines and self.text and time.monotonic() - self.logged >= self.EVERY:
            self.logged = time.monotonic()
            self.log(f"{100 * self.done / self.total:3.0f} %  {self.text}")
