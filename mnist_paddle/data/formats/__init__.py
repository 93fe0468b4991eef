"""Readers for all file formats. Each returns validated arrays or raises `UsageError` with what is wrong and where.

The format is detected from the content, not the file name. No reader executes anything from a file.
"""

import os
from pathlib import Path

from ...errors import UsageError
from ...system.paths import StrPath
from . import folders
from .archives import read_archive
from .arrays import Raw
from .kinds import READERS, sniff

ARCHIVES = ("zip", "tar")


def read(path: StrPath) -> Raw:
    """Read a dataset of any supported format from a file, a folder or an archive. Raises `UsageError` with position and remedy.

    FOLDER/NAME, where no such file exists, selects the data set of this name in a folder: EMNIST/emnist-letters.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if os.path.lexists(path):
        return read_file(path)
    parent = next(parent for parent in [*path.parents, Path()] if os.path.exists(parent))
    rest = path.relative_to(parent) if parent != Path() else path
    if parent.is_dir() and len(rest.parts) == 1:
        return read_folder(parent, path.name)
    if parent.is_file() and sniff(parent) in ARCHIVES:
        return read_archive(parent, lambda folder: read(folder / rest))
    raise UsageError(f"{path}: no such file or folder; check --data_dir")


def read_file(path: Path) -> Raw:
    """Read one file, or the archive that it is."""
    kind = sniff(path)
    return read_archive(path, folders.read_folder) if kind in ARCHIVES else READERS[kind](path)


def read_folder(folder: Path, dataset: str = "") -> Raw:
    """Read the data set in a folder, or of several the one of this name."""
    candidate = folders.survey(folder, dataset)
    if candidate.kind == "archive":
        return read_archive(candidate.paths[0], folders.read_folder)
    return folders.read_candidate(candidate)
