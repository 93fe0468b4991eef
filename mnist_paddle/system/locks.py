"""File locks between processes. The system releases a lock when its process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from filelock import FileLock, Timeout

from .paths import StrPath

NOTICE_SECONDS = 3  # of waiting, after which the user is told the reason


@contextmanager
def locked(path: StrPath, waiting: Optional[Callable[[], object]] = None) -> Iterator[bool]:
    """Hold the lock file `path`, exclusively among all processes.

    If another process holds it, raises `filelock.Timeout` at once; or, with `waiting`, waits indefinitely and calls `waiting()`
    once, after three seconds. Yields True, or False on a file system without locks, where nothing is excluded.
    """
    if not can_lock(path):
        yield False
        return
    lock = FileLock(path)
    if waiting is None:
        lock.acquire(timeout=0)
    else:
        try:
            lock.acquire(timeout=NOTICE_SECONDS)
        except Timeout:
            waiting()
            lock.acquire()
    try:
        yield True
    finally:
        lock.release()


def can_lock(path: StrPath) -> bool:
    """Whether the file system supports locks (some NFS, CIFS and FUSE do not). Without support, FileLock would wait forever.

    Raises OSError if the file can't be created.
    """
    try:
        import fcntl
    except ImportError:  # Windows always supports locks
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # held by another process; some file systems return EACCES
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
