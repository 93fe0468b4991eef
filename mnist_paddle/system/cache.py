"""The user's cache folder: downloaded datasets, compiled kernels."""

import os
from pathlib import Path

from . import paths

CACHE = "MNIST_PADDLE_CACHE"


def cache_folder() -> Path:
    """$MNIST_PADDLE_CACHE, else the user's cache folder on this system."""
    import platformdirs

    if configured := os.environ.get(CACHE, "").strip():
        return Path(paths.expand(configured, CACHE))
    return Path(os.path.expanduser(platformdirs.user_cache_dir("mnist_paddle")))


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a cache folder. Raises OSError where that fails, and without a home folder, where its name begins with ~."""
    if folder.parts[0] == "~":
        raise FileNotFoundError(2, "there is no home folder")
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
