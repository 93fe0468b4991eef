"""Classic faults of trainings, each a small patch: `BUGS` names them, `faulty` makes a good training faulty."""

from . import data, loop, losses, networks, wiring
from .table import BASE, BUGS, GOOD, NAMED_BY, Training, faulty, good_training

__all__ = [
    "BASE",
    "BUGS",
    "GOOD",
    "NAMED_BY",
    "Training",
    "data",
    "faulty",
    "good_training",
    "loop",
    "losses",
    "networks",
    "wiring",
]
