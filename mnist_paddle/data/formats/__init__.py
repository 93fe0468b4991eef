"""Readers for all file formats. Each returns validated arrays or raises `UsageError` with what is wrong and where.

The format is detected from the content, not the file name. No reader executes anything from a file.
"""

from pathlib import Path

from ...errors import UsageError
from .arrays import Raw
from .idx import read_idx_files
from .image_folder import read_image_folder
from .kinds import READERS, sniff
from .streams import entries


def read(path) -> Raw:
    """Read a dataset of any supported format from a file or folder. Raises `UsageError` with file, position and remedy."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    return READERS[sniff(path)](path)


def read_folder(folder: Path) -> Raw:
    """Read a folder of IDX files, with one dataset file, or with images in one subfolder per class."""
    contents = entries(folder)
    files = [path for path in contents if path.is_file()]
    if not contents:
        raise UsageError(f"{folder}: the folder is empty; put the dataset's files into it")
    if any(path.is_dir() for path in contents):
        return read_image_folder(folder)
    formats, errors = _sniff_all(files)
    idx = [path for path in files if formats[path] == "idx"]
    if idx:
        # An unreadable split must not be mistaken for a missing one.
        for path, error in errors.items():
            if any(word in path.name.lower() for word in ("train", "t10k", "test", "ubyte")):
                raise error
        return read_idx_files(idx, folder)
    others = [path for path in files if formats[path]]
    if len(others) == 1:
        return READERS[formats[others[0]]](others[0])
    names = ", ".join(path.name for path in (others or files)[:5])
    what = "more than one dataset" if others else "no supported dataset"
    raise UsageError(f"{folder}: contains {what} ({names}); pass a file as --data_dir")


def _sniff_all(files) -> tuple[dict, dict]:
    """The format of every file, None if not supported, and the errors of those files."""
    formats, errors = {}, {}
    for path in files:
        try:
            formats[path] = sniff(path)
        except UsageError as error:
            formats[path], errors[path] = None, error
    return formats, errors
