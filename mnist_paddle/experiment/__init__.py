"""One run: its setup and state, the run folder, checkpoints, resume, the report."""

__all__ = [
    "checkpoint",
    "checkpoints",
    "commands",
    "compare",
    "endings",
    "evaluation",
    "folder",
    "load",
    "network",
    "preflight",
    "recording",
    "resume",
    "sanity",
    "setup",
    "state",
    "stopping",
    "summary",
]
