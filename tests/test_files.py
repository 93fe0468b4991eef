"""Atomic writes, also on file systems or for users with restrictions."""

import errno
import os
import stat

import pytest

from mnist_paddle.errors import UsageError
from mnist_paddle.experiment.folder import locked
from mnist_paddle.system.files import write_atomically
from mnist_paddle.tracking.curves import open_curves

UNABLE = [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]
FULL_OR_BROKEN = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS]


def is_folder(descriptor) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def refuse(monkeypatch, code, of_folders_only=False):
    """Make fsync fail."""

    def fsync(descriptor):
        if is_folder(descriptor) or not of_folders_only:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", UNABLE, ids=errno.errorcode.get)
def test_a_file_system_that_can_not_flush_does_without(code, tmp_path, monkeypatch):
    refuse(monkeypatch, code)
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    record = open_curves(tmp_path, enabled=True)
    record.scalars(1, 1.0, "train", loss=1.0)
    assert record.lengths()["metrics.jsonl"] > 0
    record.close()


@pytest.mark.parametrize("code", [errno.EBADF, errno.EACCES, errno.EPERM], ids=errno.errorcode.get)
def test_a_folder_that_can_not_be_flushed_does_no_harm(code, tmp_path, monkeypatch):
    refuse(monkeypatch, code, of_folders_only=True)
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_folder_that_may_be_written_but_not_read_does_no_harm(tmp_path, monkeypatch):
    true_open = os.open

    def opening(path, flags, *more, **named):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return true_open(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opening)
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("code", FULL_OR_BROKEN, ids=errno.errorcode.get)
@pytest.mark.parametrize("of_folders_only", [True, False])
def test_a_full_or_broken_disk_stays_an_error(of_folders_only, code, tmp_path, monkeypatch):
    write_atomically(tmp_path / "a", b"old")
    refuse(monkeypatch, code, of_folders_only)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == (b"new" if of_folders_only else b"old")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_run_folder_is_locked_until_its_process_lets_go(tmp_path):
    with locked(tmp_path), pytest.raises(UsageError, match="another process is training in this folder"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_no_other_process(code, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        pass


def test_what_else_is_wrong_with_a_lock_is_said(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UsageError, match="Is a directory"), locked(tmp_path):
        pass
