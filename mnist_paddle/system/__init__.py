"""Before and around Paddle: start-up, signals, devices, paths, files, locks."""

__all__ = [
    "cache",
    "console",
    "denormals",
    "device",
    "files",
    "global_state",
    "gpus",
    "locks",
    "memory",
    "paths",
    "signals",
    "startup",
    "usage",
]
