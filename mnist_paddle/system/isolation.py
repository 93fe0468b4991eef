"""The former name of `global_state`."""

from .global_state import fresh_global_state as clean_paddle  # noqa: F401
