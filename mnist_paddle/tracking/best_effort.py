"""Plots and charts never end a run: a failure is logged once per kind."""

import warnings
from typing import Callable, Optional, TypeVar

import numpy as np

from ..system.console import Log

Result = TypeVar("Result")


class BestEffort:
    """Calls functions that draw. A failure is logged, once per kind, and the run continues."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.failed: set[str] = set()

    def __call__(
        self, kind: str, build: Callable[..., Result], *arguments: object, name: str = "", **named: object
    ) -> Optional[Result]:
        """`build(...)`, or None if it raises. `build` must not write files: errors of the run's disk must not be caught here."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return build(*arguments, **named)
        except Exception as error:  # plotting libraries raise anything; training matters more
            if kind not in self.failed:
                self.failed.add(kind)
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                self.log(f"{kind}{f' of {name}' if name else ''} can't be drawn: {reason}; training continues")
            return None
