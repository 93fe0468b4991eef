"""The folder in which fetched datasets are kept, and its lock."""

import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import UsageError
from ..system import locks, paths

CACHE = "MNIST_PADDLE_CACHE"
ANOTHER = f"set {CACHE} to another folder"


def cache_folder() -> Path:
    """Where datasets are kept: $MNIST_PADDLE_CACHE, else the system's place for caches."""
    import platformdirs

    if given := os.environ.get(CACHE, "").strip():
        return Path(paths.expand(given, CACHE))
    return Path(os.path.expanduser(platformdirs.user_cache_dir("mnist_paddle")))


def writable_cache(say) -> Path:
    """The cache folder; where the default one can't be written (no home folder), one of this user's among temporary files."""
    folder = cache_folder()
    try:
        if folder.parts[0] == "~":
            raise FileNotFoundError(2, "there is no home folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = error.strerror or error
        if os.environ.get(CACHE):
            raise UsageError(f"{folder}: can't keep datasets here ({reason}); {ANOTHER}") from None
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    other = Path(tempfile.gettempdir(), f"mnist_paddle-{owner}")
    say(f"{folder}: can't keep datasets here ({reason}); keeping them in {other}, or {ANOTHER}")
    try:
        other.mkdir(mode=0o700, exist_ok=True)
        if owner not in ("user", other.lstat().st_uid):  # what others can write must not be read as ours
            raise PermissionError(13, "it belongs to another user")
    except OSError as error:
        raise UsageError(f"{other}: can't keep datasets here ({error.strerror or error}); {ANOTHER}") from None
    return other


@contextmanager
def locked(folder: Path, say):
    """One process at a time fetches; the others wait, and find it done. Yields whether the file system has locks."""
    path = f"{folder}.lock"
    waiting = f"waiting for another process that fetches {folder.name}: {path}"
    with ExitStack() as stack:
        try:
            alone = stack.enter_context(locks.locked(path, lambda: say(waiting)))
        except OSError as error:
            raise UsageError(f"{path}: can't be locked ({error.strerror or error}); {ANOTHER}") from None
        yield alone
