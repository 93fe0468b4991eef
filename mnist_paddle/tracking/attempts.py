"""Tracking never ends a run: what cannot be drawn costs one line."""

import warnings

import numpy as np


class Attempts:
    """What is drawn beside training: where that fails, one line per kind, and the run goes on."""

    def __init__(self, say):
        self.say, self.failed = say, set()

    def __call__(self, kind: str, build, *arguments, name: str = "", **named):
        """`build(...)`, or None where it raises. `build` writes nothing: an error of the run's disk must not end up here."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return build(*arguments, **named)
        except Exception as error:  # of libraries that draw: whatever it is, the training is worth more
            if kind not in self.failed:
                self.failed.add(kind)
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                self.say(f"{kind}{f' of {name}' if name else ''} can't be drawn: {reason}; the run goes on")
            return None
