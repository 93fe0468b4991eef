"""The lessons as data: texts in two languages, a broken script and its solution; and a learner's folder with its scripts.

Comments of a script that begin with `# en:` or `# zh:` are for readers of that language alone.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import yaml

from ..errors import UsageError
from ..registry import unknown
from ..system.files import to_json, write_output

LANGUAGES = ("en", "zh")
NUMBERS = tuple(range(1, 11))
RECORD = "lessons.json"  # in the learner's folder: which lessons are solved
LARGEST = 1_000_000  # bytes of a script or record that is read; a script has two thousand

Texts = Mapping[str, str]  # language -> text


@dataclass(frozen=True)
class Lesson:
    """One lesson. `broken` and `solved` are what the two scripts print, as measured; `chart`: the curves of each panel."""

    number: int
    title: Texts
    symptom: Texts
    question: Texts
    hints: tuple[Texts, ...]
    explanation: Texts
    functions: tuple[str, ...]  # those that the check calls or follows
    chart: tuple[list[str], ...]
    broken: str
    solved: str
    wrong: Mapping[str, Texts]  # what the check finds -> what to tell the learner

    def script(self, language: str, solution: bool = False) -> str:
        """The broken script, or the solution, with the comments of a language."""
        return render(_path(self.number, f"_{'solution' if solution else 'broken'}.py").read_text("utf-8"), language)

    def file(self) -> str:
        """The name of the learner's script."""
        return f"lesson_{self.number}.py"


def _path(number: int, ending: str) -> Path:
    return Path(__file__).with_name("lessons") / f"lesson_{number:02}{ending}"


@functools.cache
def load(number: int) -> Lesson:
    """The lesson of a number from 1 to 10."""
    content: dict[str, Any] = yaml.safe_load(_path(number, ".yaml").read_text("utf-8"))
    lists: dict[str, Any] = {name: tuple(content.pop(name)) for name in ("hints", "functions", "chart")}
    printed = [_path(number, f"_{which}.txt").read_text("utf-8") for which in ("broken", "solution")]
    return Lesson(number, broken=printed[0], solved=printed[1], **content, **lists)


def find(word: str) -> Lesson:
    """The lesson that a word of the command line names. Raises `UsageError`, listing the lessons, for any other word."""
    if word.isascii() and word.isdigit() and int(word[:9]) in NUMBERS:
        return load(int(word))
    raise UsageError(f"{unknown('lesson', word, [str(number) for number in NUMBERS])} (mnist-paddle lesson lists their titles)")


def render(text: str, language: str) -> str:
    """A script with the comments of one language.

    >>> render("# en: Add.\\n# zh: 相加。\\na + b  # no text\\n", "zh")
    '# 相加。\\na + b  # no text\\n'
    """
    lines = []
    for line in text.splitlines():
        match = re.match(r"( *# )(\w\w): (.*)", line)
        if match is None or match[2] not in LANGUAGES:
            lines.append(line)
        elif match[2] == language:
            lines.append(match[1] + match[3])
    return "\n".join([*lines, ""])


def read_script(path: Path) -> Optional[bytes]:
    """The bytes of a file; None where there is none. Raises `UsageError` for what is no readable script."""
    try:
        if not path.is_file():
            if path.exists():
                raise UsageError(f"{path}: not a file; give the path of a script")
            return None
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > LARGEST:
        raise UsageError(f"{path}: more than {LARGEST:,} bytes, so no script of a lesson")
    return data


def is_unchanged(lesson: Lesson, data: bytes) -> bool:
    """Whether a file is the broken script as it was given, in either language."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
    return any(text == lesson.script(language).rstrip("\n") for language in LANGUAGES)


def give(lesson: Lesson, path: Path, language: str, solution: bool = False) -> str:
    """Write a script into the learner's folder, never over another file. Returns "written", "unchanged" or "kept".

    "unchanged": the file has this text already. "kept": the file is another one, such as the script that the learner works on.
    """
    data, text = read_script(path), lesson.script(language, solution)
    if data is not None and data.decode("utf-8", "replace").replace("\r\n", "\n") == text:
        return "unchanged"
    if data is not None and not is_unchanged(lesson, data):
        return "kept"
    write_output(path, text.encode("utf-8"))
    return "written"


def solved(folder: Path) -> dict[int, str]:
    """The lessons that are solved in a folder, with the file of each; one that has changed since, or is gone, does not count."""
    found = {}
    for number, (name, digest) in (_recorded(folder) or {}).items():
        try:
            data = read_script(folder / name)
        except UsageError:
            continue
        if data is not None and _digest(data) == digest:
            found[number] = name
    return found


def mark_solved(lesson: Lesson, path: Path, data: bytes) -> None:
    """Record beside a script that it passed. Raises `UsageError` where that is not possible; a foreign file stays as it is."""
    file = path.parent / RECORD
    recorded = _recorded(path.parent)
    if recorded is None:
        raise UsageError(f"{file}: not a record of lessons, so it is left as it is; move it to have solved lessons listed")
    recorded[lesson.number] = (path.name, _digest(data))
    content = {str(number): {"file": name, "sha256": digest} for number, (name, digest) in sorted(recorded.items())}
    write_output(file, (to_json({"lessons": content}, indent=1) + "\n").encode("utf-8"))


def _recorded(folder: Path) -> Optional[dict[int, tuple]]:
    """Lesson -> (file, digest) of a folder's record; {} where there is none, None for a file that is no record."""
    try:
        data = read_script(folder / RECORD)
        if data is None:
            return {}
        rows = json.loads(data)["lessons"]
        recorded = {int(number): (row["file"], row["sha256"]) for number, row in rows.items()}
    except (UsageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    valid = all(number in NUMBERS and isinstance(name, str) and Path(name).name == name for number, (name, _) in recorded.items())
    return recorded if valid else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
