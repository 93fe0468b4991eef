"""The folder that caches downloaded datasets, and its lock."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import UsageError
from ..system import locks
from ..system.cache import CACHE, cache_folder, make_folder
from ..system.console import Log

REMEDY = f"set {CACHE} to another folder"


def writable_cache(log: Log) -> Path:
    """The cache folder, or a temporary folder of this user if the default one can't be written (no home folder).

    Raises `UsageError` if neither can be written, or the folder that $MNIST_PADDLE_CACHE names.
    """
    folder = cache_folder()
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = error.strerror or error
        if os.environ.get(CACHE):
            raise UsageError(f"{folder}: can't cache datasets here ({reason}); {REMEDY}") from None
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    fallback = Path(tempfile.gettempdir(), f"mnist_paddle-{owner}")
    log(f"{folder}: can't cache datasets here ({reason}); using {fallback}; or {REMEDY}")
    try:
        fallback.mkdir(mode=0o700, exist_ok=True)
        if owner not in ("user", fallback.lstat().st_uid):  # never read files that another user can write
            raise PermissionError(13, "it belongs to another user")
    except OSError as error:
        raise UsageError(f"{fallback}: can't cache datasets here ({error.strerror or error}); {REMEDY}") from None
    return fallback


@contextmanager
def cache_lock(folder: Path, log: Log) -> Iterator[bool]:
    """Let one process at a time download into `folder`; others wait. Yields whether the file system supports locks."""
    path = f"{folder}.lock"
    waiting = f"waiting for another process that downloads {folder.name}: {path}"
    with ExitStack() as stack:
        try:
            has_lock = stack.enter_context(locks.locked(path, lambda: log(waiting)))
        except OSError as error:
            raise UsageError(f"{path}: can't be locked ({error.strerror or error}); {REMEDY}") from None
        yield has_lock
