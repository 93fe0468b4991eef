"""Parquet and Arrow files, as Hugging Face's datasets have them: images as PNG or 784 numbers, and labels. Needs pyarrow."""

import io
import json
from pathlib import Path
from typing import Optional

import numpy as np
from PIL import Image

from ...errors import UsageError
from ...system.paths import StrPath
from .arrays import MAX_IMAGES, SIDE, Raw, assemble
from .names import parse_name
from .streams import require_size

IMAGE_COLUMNS = "image img images pixels pixel_values x data features".split()
LABEL_COLUMNS = "label labels digit class target y fine_label character".split()


def read_table_file(path: StrPath) -> Raw:
    """Read one file as a single part."""
    return read_table_files({"all": [path]}, path)


def read_table_files(parts: dict, where: StrPath) -> Raw:
    """Read the files of the parts of one data set: split -> paths. Raises `UsageError` without pyarrow."""
    arrays, names = {}, None
    for split, paths in parts.items():
        pieces = [_read(path) for path in paths]
        arrays[split] = tuple(np.concatenate([piece[kind] for piece in pieces]) for kind in (0, 1))
        names = names or next((piece[2] for piece in pieces if piece[2]), None)
    dataset = parse_name(Path(where).name).dataset
    return assemble("parquet", arrays, where, names, dataset=dataset)


def _read(path: StrPath) -> tuple:
    """Images [n, 28, 28], labels [n], names of the classes or None."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise UsageError(f"{path}: a parquet or Arrow file, which requires pyarrow: pip install pyarrow") from None
    require_size(Path(path).stat().st_size, path)
    try:
        with open(path, "rb") as file:
            head = file.read(6)
        if head[:4] == b"PAR1":
            opened = parquet.ParquetFile(path)
            _require_rows(
                path,
                opened.metadata.num_rows,
                sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.metadata.num_row_groups)),
            )
            table = opened.read()
        else:
            source = pyarrow.memory_map(str(path))
            table = (ipc.open_file(source) if head == b"ARROW1" else ipc.open_stream(source)).read_all()
        _require_rows(path, table.num_rows, table.nbytes)
        columns = {name.lower(): name for name in table.column_names}
        image = next((columns[name] for name in IMAGE_COLUMNS if name in columns), None)
        label = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
        if image is None or label is None:
            raise UsageError(f"{path}: columns {', '.join(table.column_names[:8])}; expected image and label")
        images = _pixels(table.column(image).to_pylist(), path)
        return images, np.array(table.column(label).to_pylist()), _class_names(table.schema.metadata, label)
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises many kinds of errors for a broken file
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:150]
        raise UsageError(f"{path}: not a readable parquet or Arrow file ({reason}); download it again") from None


def _require_rows(path: StrPath, rows: int, size: int) -> None:
    require_size(size, path)
    if rows > MAX_IMAGES:
        raise UsageError(f"{path}: {rows:,} rows, too many for a digit dataset; check the file")


def _pixels(values: list, path: StrPath) -> np.ndarray:
    """Encoded pictures ({"bytes": ...} or bytes), or lists of 784 numbers -> [n, 28, 28] or [n, 784]."""
    if not values or isinstance(values[0], (list, tuple)):
        return np.array(values)
    images = np.empty((len(values), SIDE, SIDE), np.uint8)
    for row, value in enumerate(values):
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise UsageError(f"{path}: row {row:,} has no image within the file; embed the images or pass an image folder")
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")) as picture:
            if picture.size != (SIDE, SIDE):
                size = "x".join(map(str, picture.size))
                raise UsageError(f"{path}: row {row:,}: an image of {size} pixels; expected 28x28; save it as an image folder")
            images[row] = np.asarray(picture.convert("L"))
    return images


def _class_names(metadata: Optional[dict], label: str) -> Optional[list]:
    """The names of the classes that Hugging Face's datasets writes into a file, or None."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and names else None
