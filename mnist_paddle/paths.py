"""Paths as the user types them."""

import os

from .registry import UsageError


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


def absolute(path):
    """A path that means the same from any working folder; None stays None."""
    if path is None:
        return None
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder was deleted
        return path
