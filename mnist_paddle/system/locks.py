"""Locks between processes. A lock goes with its process, however that ends."""

import os
from contextlib import contextmanager

from filelock import FileLock, Timeout

PATIENCE = 3  # seconds of waiting after which the user is told what is waited for


@contextmanager
def locked(path, waiting=None):
    """Inside, no other process has the lock of the file `path`.

    Where one has it, raises `filelock.Timeout` at once; with `waiting`, waits for as long as it takes and calls `waiting()` once,
    after three seconds. Yields False on a file system without locks: there two processes are not kept apart.
    """
    if not can_lock(path):
        yield False
        return
    lock = FileLock(path)
    if waiting is None:
        lock.acquire(timeout=0)
    else:
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            waiting()
            lock.acquire()
    try:
        yield True
    finally:
        lock.release()


def can_lock(path) -> bool:
    """Whether the file system has locks (some NFS, CIFS and FUSE have none); where it has not, FileLock would wait for ever.

    Raises OSError where the file can't be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows always has
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # held by another process; some file systems say so by EACCES
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
