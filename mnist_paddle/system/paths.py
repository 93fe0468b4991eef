"""Paths as the user types them."""

import os

from ..errors import UsageError


def expand(path, what: str) -> str:
    """A path as text, with the home folder for `~` and `~user`; `what` names it in the `UsageError` where there is none."""
    text = os.fspath(path)
    if not text.startswith("~"):
        return text
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = text[1:].replace(os.sep, "/").partition("/")[0]
        reason = f"there is no user {user!r} here" if user else "no home folder is known, HOME is not set"
        raise UsageError(f"{what} {text}: {reason}; give the whole path (or ./{text} for a name that begins with ~)")
    return expanded


def output_file(path, what: str):
    """The expanded path of a file that is to be written at the end; a `UsageError` now where its folder is missing."""
    if path is None:
        return None
    path = expand(path, what)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise UsageError(f"{what} {path}: no file can be written there; give another path")
    return path


def recorded(path, run) -> str:
    """The data that a run was trained on, as its checkpoint names it; a `UsageError` where it is not there any more."""
    if path is None or os.path.exists(path):
        return path
    relative = "" if os.path.isabs(path) else ", a path seen from the folder in which it was trained"
    raise UsageError(f"{run} was trained on {path}{relative}, which is not there; give the data with --data_dir")


def absolute(path):
    """A path that means the same from any working folder; None stays None."""
    if path is None:
        return None
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder was deleted
        return path
