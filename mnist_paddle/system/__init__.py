"""Before and around Paddle: start-up, signals, devices, paths, files, locks."""

__all__ = ["console", "device", "files", "global_state", "gpus", "locks", "paths", "signals", "startup"]
