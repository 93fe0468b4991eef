"""What --config names: a settings file, or a recipe of the project."""

import os
import shlex
from pathlib import Path

from ..errors import UsageError
from ..registry import nearest

PACKAGE = Path(__file__).parents[1]


def refuse_second_file(text: str, extra: list) -> None:
    """Words behind `--config FILE`: parts of a file's name with spaces, or further files."""
    whole = " ".join([text, *extra])
    if extra and os.path.exists(whole):
        raise UsageError(f"--config: a value with spaces needs quotes: --config {shlex.quote(whole)}")
    if extra:
        given = " ".join(f"--config {shlex.quote(word)}" for word in (text, *extra))
        raise UsageError(f"--config takes one file; {extra[0]!r} belongs to no flag. For several files: {given}")


def recipes() -> dict[str, Path]:
    """The recipes of the project by name; in a checkout they lie beside the package, in a wheel inside it."""
    files = [file for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") for file in folder.glob("*.yaml")]
    return {file.stem: file for file in sorted(files)}


def find_recipe(path: str) -> str:
    """A settings file; where there is none of this name, a recipe: cnn, cnn.yaml, cnn.yml, configs/cnn.yaml.

    Raises `UsageError` for neither, with the name that was probably meant.
    """
    name = Path(path)
    try:
        os.lstat(path)
        return path
    except FileNotFoundError:
        pass
    except (OSError, ValueError):  # reading it explains why
        return path
    is_recipe = name.parent.as_posix() in (".", "configs")
    stem = name.name.removesuffix(name.suffix if name.suffix in (".yaml", ".yml") else "")
    if is_recipe and stem in recipes():
        return str(recipes()[stem])
    known = {recipe: recipe for recipe in recipes()} if is_recipe else {}
    known.update({file.stem: str(file) for ending in ("*.yaml", "*.yml") for file in name.parent.glob(ending)})
    near = nearest(name.stem, known)
    hint = f"; did you mean {known[near]}?" if near else f"; the recipes are {', '.join(recipes())}" if is_recipe else ""
    raise UsageError(f"--config {path}: there is no such settings file{hint}")
