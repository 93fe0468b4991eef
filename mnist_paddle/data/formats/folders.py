"""Which data set is in a folder, one or two folders further down included, and which reader it is for."""

from pathlib import Path
from typing import NamedTuple, Optional

from ...errors import UsageError
from .arrays import Raw
from .csv_files import read_csv_files
from .decode import SUFFIXES, is_picture
from .idx import read_idx_files
from .image_folder import SPLITS, read_image_folder
from .keys import checked_parts
from .kinds import READERS, csv_has_label, known_suffix, sniff
from .names import dataset_key, parse_name
from .npz import array_names, read_array_files
from .parquet import read_table_files
from .streams import entries, first_bytes

DEPTH, MAX_FOLDERS = 3, 2000
PARTED = ("idx", "csv", "parquet", "arrays")  # data sets of several files


class Candidate(NamedTuple):
    """A data set: the reader it is for, its files, its name ("emnist-letters") and its folder."""

    kind: str
    paths: list
    name: str
    folder: Path
    notes: tuple = ()


def read_folder(folder: Path, dataset: str = "") -> Raw:
    """Read the data set in a folder, or of several the one of this name."""
    candidate = survey(folder, dataset)
    if candidate.kind == "archive":
        raise UsageError(f"{candidate.paths[0]}: an archive within an archive; unpack it and pass the folder as --data_dir")
    return read_candidate(candidate)


def read_candidate(candidate: Candidate) -> Raw:
    """Hand a data set to its reader."""
    raw = _read_candidate(candidate)
    return Raw(raw.format, raw.splits, [*candidate.notes, *raw.notes], raw.findings, raw.classes)


def _read_candidate(candidate: Candidate) -> Raw:
    if candidate.kind == "idx":
        return read_idx_files(candidate.paths, candidate.folder)
    if candidate.kind == "pictures":
        return read_image_folder(candidate.paths[0])
    if candidate.kind == "arrays":
        return read_array_files(candidate.paths, candidate.folder)
    if len(candidate.paths) == 1:
        return READERS[candidate.kind](candidate.paths[0])
    parts: dict[str, list] = {}
    for path in candidate.paths:
        part = part_of(path, candidate.folder)
        if part is None or (part in parts and candidate.kind == "csv"):
            raise UsageError(
                f"{candidate.folder}: contains more than one dataset ({_names(candidate.paths)}); pass a file as --data_dir"
            )
        parts.setdefault(part, []).append(path)
    checked_parts(parts, candidate.folder, "give the files names with train and test, or pass one as --data_dir")
    if candidate.kind == "parquet":
        return read_table_files(parts, candidate.folder)
    return read_csv_files({part: paths[0] for part, paths in parts.items()}, candidate.folder)


def part_of(path: Path, folder: Path) -> Optional[str]:
    """The part of a data set that a file is, from its name or the folder it is in."""
    return parse_name(path.name).part or (parse_name(path.parent.name).part if path.parent != folder else None)


def survey(folder: Path, dataset: str = "") -> Candidate:
    """The data set in a folder, or of several the one of this name. Raises `UsageError` if that is none or not clear."""
    if dataset:
        return _selected(folder, dataset)
    if not entries(folder):
        raise UsageError(f"{folder}: the folder is empty; put the dataset's files into it")
    candidates = _search(folder)
    if not candidates:
        names = _names([path for path in entries(folder) if path.is_file()] or entries(folder))
        raise UsageError(
            f"{folder}: contains no supported dataset ({names}); pass a file, or a folder with a subfolder for each class"
        )
    return _the_one(candidates, folder)


def _the_one(candidates: list, folder: Path) -> Candidate:
    """The only data set. Raises `UsageError` for several, which says how to choose."""
    if len(candidates) > 1:
        raise UsageError(
            f"{folder}: contains more than one dataset ({_described(candidates, folder)}); {_choice(candidates, folder)}"
        )
    if candidates[0].folder != folder:
        return candidates[0]._replace(notes=(*candidates[0].notes, f"read from {candidates[0].folder}"))
    return candidates[0]


def _selected(folder: Path, dataset: str) -> Candidate:
    """The data set in the folder itself whose files are named so: DATASET-train-images..., DATASET_train.csv."""
    key, named = dataset_key(dataset), []
    try:
        named = [each for each in data_sets(folder) if each.kind in PARTED and part_of(each.paths[0], folder)]
    except UsageError as error:  # of another file, perhaps
        if dataset in str(error):
            raise
    chosen = [each for each in named if each.name == key] or [
        each for each in named if each.name.startswith(f"{key}-") and all(path.name.startswith(dataset) for path in each.paths)
    ]
    if not chosen:
        names = ", ".join(sorted({each.name for each in named if each.name})[:9])
        there = f"; {folder} has {names}" if names else ""
        raise UsageError(f"{folder / dataset}: no such file or folder; check --data_dir{there}")
    return _the_one(chosen, folder)


def _search(folder: Path) -> list:
    """The data sets of the highest level that has any."""
    level, examined = [folder], 0
    for _ in range(DEPTH + 1):
        candidates = _joined([each for place in level for each in data_sets(place)], folder)
        if candidates:
            return candidates
        examined += len(level)
        level = [path for place in level for path in entries(place) if path.is_dir()]
        if examined + len(level) > MAX_FOLDERS:
            raise UsageError(f"{folder}: over {MAX_FOLDERS:,} folders and no data in the first; pass the folder with the data")
    return []


def _joined(candidates: list, folder: Path) -> list:
    """Files in several folders become one data set if each is another part of it: train/data.csv and test/data.csv."""
    kinds = {each.kind for each in candidates}
    if len(candidates) < 2 or len(kinds) > 1 or not kinds <= set(PARTED) or len({each.name for each in candidates}) > 1:
        return candidates
    roles: list[tuple] = []
    for each in candidates:
        roles += {(part_of(path, each.folder.parent), each.kind == "idx" and parse_name(path.name).kind) for path in each.paths}
    if len(set(roles)) < len(roles) or any(part is None for part, _ in roles):
        return candidates
    notes = tuple(note for each in candidates for note in each.notes)
    return [
        Candidate(candidates[0].kind, [path for each in candidates for path in each.paths], candidates[0].name, folder, notes)
    ]


def data_sets(folder: Path) -> list:
    """The data sets in the files of a folder; without any, the folder itself if it is one of pictures."""
    contents = entries(folder)
    kinds, errors, notes = _sniff_all([path for path in contents if path.is_file()])
    groups: dict[tuple, list] = {}
    for path in [path for path in kinds if kinds[path] != "idx" and path.with_suffix("") in kinds and path.suffix == ".gz"]:
        notes.append(f"{path.name} not read: {path.stem} is read in its place")
        del kinds[path]
    for path, kind in kinds.items():
        name = parse_name(path.name)
        grouped = kind in ("idx", "arrays") or (kind in ("csv", "parquet") and part_of(path, folder))
        groups.setdefault((kind, name.dataset if grouped else str(path)), []).append(path)
    archives = [key for key in groups if key[0] in ("zip", "tar")]
    if len(groups) > len(archives):
        notes += [f"{path.name} not read: an archive beside the data" for key in archives for path in groups.pop(key)]
    candidates = [
        Candidate("archive" if kind in ("zip", "tar") else kind, paths, parse_name(paths[0].name).dataset, folder, tuple(notes))
        for (kind, _), paths in groups.items()
    ]
    if candidates:
        for path, error in errors.items():
            if not known_suffix(path) and (parse_name(path.name).part or "ubyte" in path.name):
                raise error  # an unreadable part must not be mistaken for a missing one
    pictures = picture_folder(contents, folder, alone=not candidates)
    return [*candidates, Candidate("pictures", [pictures], dataset_key(pictures.name), folder)] if pictures else candidates


def _sniff_all(files: list) -> tuple:
    """Path -> format of the files that are data, path -> error of others, notes about data that are not read."""
    kinds, errors, notes = {}, {}, []
    for path in files:
        try:
            kind = sniff(path)
            if kind == "csv" and not csv_has_label(path):
                notes.append(f"{path.name} not read: it has no labels")
                continue
            if kind == "npy" or (kind == "npz" and len(array_names(path)) == 1):
                kind = "arrays"
            kinds[path] = kind
        except UsageError as error:
            errors[path] = error
    return kinds, errors, notes


def picture_folder(contents: list, folder: Path, alone: bool) -> Optional[Path]:
    """The folder to read pictures from, or None: with class folders, with split folders, or with pictures in it.

    Beside other data, one folder of pictures is no class.
    """
    folders = [path for path in contents if path.is_dir()]
    splits = [path for path in folders if path.name.lower() in SPLITS and _has_classes(path)]
    if splits:
        only_training = len(folders) == 1 and SPLITS[splits[0].name.lower()] == "train"
        return splits[0] if only_training else folder
    classes = sum(_has_pictures(path) or (path.name.isdigit() and alone) for path in folders)
    if classes > (0 if alone else 1):
        return folder
    if alone and not folders and _has_pictures(folder):
        raise UsageError(f"{folder}: pictures without class folders; put each into a subfolder named for its class, such as 7")
    return None


def _has_classes(folder: Path) -> bool:
    folders = [path for path in entries(folder) if path.is_dir()]
    return any(path.name.isdigit() or _has_pictures(path) for path in folders) or _has_pictures(folder)


def _has_pictures(folder: Path) -> bool:
    """Whether one of the first files in a folder is a picture."""
    for path in [path for path in entries(folder) if path.is_file()][:20]:
        if path.suffix.lower() in SUFFIXES or is_picture(first_bytes(path)):
            return True
    return False


def _names(paths: list) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", ..." if len(paths) > 5 else "")


def _described(candidates: list, folder: Path) -> str:
    """The names of data sets: of their file, their name or their folder."""
    texts = []
    for each in candidates:
        relative = each.paths[0].relative_to(folder)
        place = f"{each.folder.relative_to(folder)}/" if each.folder != folder else ""
        named = each.kind == "idx" or len(each.paths) > 1
        texts.append(f"{place}{each.name or each.paths[0].name}" if named else str(relative) if relative.parts else "pictures")
    return ", ".join(sorted(set(texts))[:9]) + (", ..." if len(set(texts)) > 9 else "")


def _choice(candidates: list, folder: Path) -> str:
    """How to choose one of several data sets."""
    first = next((each for each in candidates if each.name and len(each.paths) > 1), None)
    if first and len({each.folder for each in candidates}) == 1:
        return f"choose one, such as --data_dir {first.folder / first.name}, or pass a file as --data_dir"
    inside = next((each.folder for each in candidates if each.folder != folder), None)
    return f"choose one: --data_dir {inside}" if inside else "pass a file as --data_dir"
