"""Paths as users type them: home folders, output files, data folders."""

import os
from typing import Optional, Union

from ..errors import UsageError

StrPath = Union[str, "os.PathLike[str]"]


def expand(path: StrPath, setting: str) -> str:
    """`path` as text with `~` and `~user` expanded. Raises `UsageError`, naming `setting`, if there is no home folder."""
    text = os.fspath(path)
    if not text.startswith("~"):
        return text
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = text[1:].replace(os.sep, "/").partition("/")[0]
        reason = f"unknown user {user!r}" if user else "no home folder, because HOME is not set"
        raise UsageError(f"{setting} {text}: {reason}; give the full path (or ./{text} for a name that starts with ~)")
    return expanded


def output_file(path: Optional[StrPath], setting: str) -> Optional[str]:
    """The expanded path of an output file; None stays None. Raises `UsageError` now if it can't be written later."""
    if path is None:
        return None
    path = expand(path, setting)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise UsageError(f"{setting} {path}: can't write a file there; give another path")
    return path


def recorded_data(path: Optional[str], run: object) -> Optional[str]:
    """The data path recorded in the checkpoint of `run`. Raises `UsageError` if the data no longer exists."""
    if path is None or os.path.exists(path):
        return path
    relative = "" if os.path.isabs(path) else ", a path relative to the folder in which it was trained"
    raise UsageError(f"{run} was trained on {path}{relative}, which does not exist; pass the data with --data_dir")


def absolute(path: Optional[str]) -> Optional[str]:
    """The absolute path; None stays None."""
    if path is None:
        return None
    try:
        return os.path.abspath(path)
    except OSError:  # the current folder was deleted
        return path
