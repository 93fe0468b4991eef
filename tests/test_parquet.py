"""Parquet files and Hugging Face folders, with pyarrow and without."""

import io
import json
import sys

import numpy as np
import pytest
from digits import make_digits
from PIL import Image

from mnist_paddle import UsageError
from mnist_paddle.data.formats import read

TWO = {"train": make_digits(60, 0), "test": make_digits(20, 2)}
NAMES = list("abcdefghij")


def png(image) -> dict:
    """An image as Hugging Face's datasets stores it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.mark.parametrize("layout", ["data/{}-00000-of-00001.parquet", "{}/data-00000-of-00001.arrow"])
def test_hugging_face_folders_are_read(layout, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    features = {"info": {"features": {"label": {"names": NAMES}}}}
    for name, (images, labels) in TWO.items():
        table = arrow.table({"image": [png(image) for image in images], "label": labels.tolist()})
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        path = tmp_path / layout.format(name)
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            parquet.write_table(table, path)
        else:
            with arrow.OSFile(str(path), "wb") as file, ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
            (path.parent / "state.json").write_text("{}")
    raw = read(tmp_path)
    assert raw.classes == tuple(NAMES)
    for name, (images, labels) in TWO.items():
        np.testing.assert_array_equal(raw.splits[name][0], images)
        np.testing.assert_array_equal(raw.splits[name][1], labels)


@pytest.mark.parametrize("head", [b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"])
def test_without_pyarrow_the_error_says_what_to_install(head, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train.parquet").write_bytes(head + bytes(100))
    with pytest.raises(UsageError, match=r"train\.parquet.* pip install pyarrow"):
        read(tmp_path / "train.parquet")


@pytest.mark.parametrize("damage", [slice(4, 500), slice(1000, None), slice(4, -300)])
def test_a_damaged_parquet_file_is_rejected(damage, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images, labels = TWO["test"]
    parquet.write_table(arrow.table({"image": [png(image) for image in images], "label": labels}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + data[damage])
    with pytest.raises(UsageError, match=r"a\.parquet"):
        read(tmp_path / "a.parquet")
