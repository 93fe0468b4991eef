"""A reader for every file format: each turns bytes into arrays, or says in one line what is wrong and where.

The format is found by looking at the content, not at the name. No reader executes anything that a file says.
"""

from pathlib import Path

from ...errors import UsageError
from .arrays import Raw
from .containers import read_npz, read_pickle
from .idx import is_idx, read_idx_beside, read_idx_files
from .pictures import read_pictures
from .streams import entries, first_bytes
from .text import read_csv, read_json

READERS = {"idx": read_idx_beside, "csv": read_csv, "json": read_json, "pickle": read_pickle, "npz": read_npz}


def read(path) -> Raw:
    """Read a dataset of any known format from a file or folder. Raises `UsageError` with file, place and remedy."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    return READERS[sniff(path)](path)


def sniff(path) -> str:
    """The format of a file, by its first bytes: idx, json, pickle, npz or csv."""
    head = first_bytes(path)
    if not head:
        raise UsageError(f"{path}: the file is empty: fetch it again")
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
    known = "IDX, mnist.json.gz, mnist.pkl.gz, mnist.npz, a CSV of label and 784 pixels, or a folder of images"
    raise UsageError(f"{path}: begins with {head[:8].hex(' ')}, which is none of the formats read here: {known}")


def read_folder(folder: Path) -> Raw:
    """A folder of IDX files, of one dataset file, or of pictures in one sub-folder per class."""
    inside = entries(folder)
    files = [path for path in inside if path.is_file()]
    if not inside:
        raise UsageError(f"{folder}: the folder is empty; put the dataset's files there")
    if any(path.is_dir() for path in inside):
        return read_pictures(folder)
    kinds, broken = _sniff_all(files)
    idx = [path for path in files if kinds[path] == "idx"]
    if idx:
        # A part that cannot be read must not pass for one that is not there.
        for path, error in broken.items():
            if any(word in path.name.lower() for word in ("train", "t10k", "test", "ubyte")):
                raise error
        return read_idx_files(idx, folder)
    others = [path for path in files if kinds[path]]
    if len(others) == 1:
        return READERS[kinds[others[0]]](others[0])
    names = ", ".join(path.name for path in (others or files)[:5])
    what = "more than one dataset" if others else "no dataset that can be read here"
    raise UsageError(f"{folder}: holds {what} ({names}); give the file itself as --data_dir")


def _sniff_all(files) -> tuple[dict, dict]:
    """The format of every file, None where there is none; and the errors of those."""
    kinds, broken = {}, {}
    for path in files:
        try:
            kinds[path] = sniff(path)
        except UsageError as error:
            kinds[path], broken[path] = None, error
    return kinds, broken
