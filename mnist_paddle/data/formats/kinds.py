"""Which format a file has, from its first bytes."""

from pathlib import Path

from ...errors import UsageError
from ...system.paths import StrPath
from .archives import archive_kind
from .columns import has_label
from .containers import read_pickle
from .csv_files import read_csv
from .decode import is_picture
from .idx import is_idx, read_idx_with_siblings
from .npz import read_npy, read_npz
from .parquet import read_table_file
from .streams import first_bytes
from .tables import head_of
from .text import read_json

READERS = {
    "idx": read_idx_with_siblings,
    "csv": read_csv,
    "json": read_json,
    "pickle": read_pickle,
    "npz": read_npz,
    "npy": read_npy,
    "parquet": read_table_file,
}
HEAD = 1 << 16
# Formats that are named, not read: first bytes -> what to do.
REMEDIES = {
    b"\x89HDF\r\n": "an HDF5 file; save its arrays with numpy.savez(FILE, x_train=..., y_train=...)",
    b"MATLAB 5.0": "a MATLAB file; save its arrays with numpy.savez(FILE, x_train=..., y_train=...), or use EMNIST's gzip.zip",
    b"%PDF": "a PDF document",
}


def sniff(path: StrPath) -> str:
    """The format of a file from its first bytes, one of `READERS`, zip or tar. Raises `UsageError` for any other."""
    head = first_bytes(path, HEAD)
    if not head:
        raise UsageError(f"{path}: the file is empty; download it again")
    if is_idx(head):
        return "idx"
    if archive := archive_kind(path, head):
        return archive
    for magic, remedy in REMEDIES.items():
        if head.startswith(magic):
            raise UsageError(f"{path}: {remedy}")
    if head.lower().replace(b" ", b"").startswith((b"@relation", b"%1.title")):
        raise UsageError(f"{path}: an ARFF file; remove its lines up to @DATA and save the rest as CSV")
    if is_picture(head):
        raise UsageError(f"{path}: a single picture; pass a folder with a subfolder for each class")
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:4] == b"PAR1" or head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return "parquet"
    if head.lstrip()[:1] == b"[":
        return "json"
    if head[:1] == b"\x80" or head[:2] in (b"((", b"(l", b"(d", b"(c", b"]q", b"}q"):
        return "pickle"
    if _looks_like_csv(head):
        return "csv"
    supported = "IDX, mnist.json.gz, mnist.pkl.gz, mnist.npz, a CSV of label and 784 pixels, or a folder of images"
    raise UsageError(f"{path}: starts with {head[:8].hex(' ')}, which is not a supported format: {supported}")


def _looks_like_csv(head: bytes) -> bool:
    """Whether the first line has many fields, or begins like one of numbers or names of columns."""
    text = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\"'")
    line = text.splitlines()[0] if text.strip() else b""
    if any(line.count(delimiter) > 100 for delimiter in (b",", b";", b"\t", b" ")):
        return True
    return text[:1].isdigit() or text[:5].lower() in (b"label", b"pixel", b"class", b"digit", b"targe", b"sep=,", b"sep=;")


def csv_has_label(path: StrPath) -> bool:
    """Whether a CSV file has a column for the label. Raises `UsageError` for a file that is no table of 784 pixels."""
    _, fields, _ = head_of(path)
    if len(fields) < 784:
        raise UsageError(f"{path}: line 1: {len(fields)} columns; expected a label and 784 pixels (28x28)")
    return has_label(fields)


def known_suffix(path: Path) -> bool:
    """Whether a name says that the file is not data: a document, a program."""
    documents = "txt md rst pdf html htm doc docx rtf url lnk xml names log yaml yml toml cfg ini md5 sha256 py ipynb sh bat m r"
    return path.suffix.lower().lstrip(".") in documents.split()
