"""Readers for all file formats. Each returns validated arrays or raises `UsageError` with what is wrong and where.

The format is detected from the content, not the file name. No reader executes anything from a file.
"""

from pathlib import Path

from ...errors import UsageError
from .arrays import Raw
from .containers import read_npz, read_pickle
from .idx import is_idx, read_idx_files, read_idx_with_siblings
from .image_folder import read_image_folder
from .streams import entries, first_bytes
from .text import read_csv, read_json

READERS = {"idx": read_idx_with_siblings, "csv": read_csv, "json": read_json, "pickle": read_pickle, "npz": read_npz}


def read(path) -> Raw:
    """Read a dataset of any supported format from a file or folder. Raises `UsageError` with file, position and remedy."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    return READERS[sniff(path)](path)


def sniff(path) -> str:
    """The format of a file from its first bytes: idx, json, pickle, npz or csv. Raises `UsageError` for any other."""
    head = first_bytes(path)
    if not head:
        raise UsageError(f"{path}: the file is empty; download it again")
    if is_idx(head):
        return "idx"
    if head[:4] == b"PK\x03\x04":
        return "npz"
    if head.lstrip()[:1] == b"[":
        return "json"
    if head[:1] == b"\x80" or head[:2] in (b"((", b"(l", b"(c", b"]q"):
        return "pickle"
    if head.lstrip(b'"\xef\xbb\xbf')[:5].lower() == b"label" or head[:1].isdigit() or head[:5] == b"pixel":
        return "csv"
    supported = "IDX, mnist.json.gz, mnist.pkl.gz, mnist.npz, a CSV of label and 784 pixels, or a folder of images"
    raise UsageError(f"{path}: starts with {head[:8].hex(' ')}, which is not a supported format: {supported}")


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
