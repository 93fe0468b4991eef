"""Learn to debug a training: ten short scripts with a classic fault each. See the symptom, fix the script, have it checked.

Without N the lessons are listed. `lesson N` shows a symptom and writes the broken script, lesson_N.py, into this folder; a
changed file is never overwritten. The exit status of --check is 0 if the script is fixed and 1 if not.
"""

import argparse
import io
import math
import os
from pathlib import Path
from typing import Optional

from ..data.dataset import load_dataset
from ..debugging import lesson as lessons
from ..debugging import lesson_check, lesson_words
from ..debugging.lesson import LANGUAGES, Lesson
from ..errors import UsageError
from ..metrics import pad
from ..system import startup
from ..system.files import write_output
from ..system.paths import expand, output_file
from . import entry

GIVEN = ("check", "hint", "solution", "png", "output")


def parse(argv: list) -> argparse.Namespace:
    """The command line; `lesson` is None where all are to be listed."""
    parser = entry.CommandLine(prog="mnist-paddle lesson", description=__doc__, usage="mnist-paddle lesson [N] [options]")
    parser.add_argument("lesson", nargs="?", metavar="N", help="the lesson, 1 to 10")
    text = "test FILE (default: lesson_N.py): is it fixed?"
    parser.add_argument("--check", nargs="?", const="", metavar="FILE", help=text)
    parser.add_argument("--hint", nargs="?", const=1, type=int, metavar="K", help="print a hint: the first, or number K")
    parser.add_argument("--solution", action="store_true", help="print the fixed script and the explanation")
    parser.add_argument("--png", metavar="FILE", help="draw the symptom's curve; with --solution, both curves")
    parser.add_argument("--output", metavar="FILE", help="file for the script (default: lesson_N.py)")
    text = "en, zh (default: en, or zh where LANG begins with zh)"
    parser.add_argument("--language", type=entry.one_of("language", LANGUAGES), help=text)
    parser.add_argument("--time_limit", type=float, metavar="SECONDS", help="for --check (default: 120)")
    arguments = parser.parse_args(argv)
    refuse_combinations(arguments)
    arguments.lesson = None if arguments.lesson is None else lessons.find(arguments.lesson)
    arguments.png = output_file(arguments.png, "--png")
    arguments.output = output_file(arguments.output, "--output")
    check_hint(arguments)
    return arguments


def refuse_combinations(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for options that do not go together."""
    given = [name for name in GIVEN if getattr(arguments, name) not in (None, False)]
    if given and arguments.lesson is None:
        raise UsageError(f"--{given[0]} needs a lesson: mnist-paddle lesson 1 --{given[0]}")
    actions = [name for name in given if name in ("check", "hint", "solution")]
    if len(actions) > 1:
        raise UsageError(f"--{actions[0]} and --{actions[1]} can't be given together; leave one of them out")
    other = next((name for name in given if name in ("png", "output")), None)
    if other and actions and actions[0] != "solution":
        raise UsageError(f"--{other} is not for --{actions[0]}; leave one of them out")
    limit = arguments.time_limit
    if limit is not None and arguments.check is None:
        raise UsageError("--time_limit is for --check; leave it out")
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise UsageError(f"--time_limit must be above 0 and finite; it is {limit}")


def check_hint(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for a hint that the lesson does not have."""
    if arguments.hint is not None and not 1 <= arguments.hint <= len(arguments.lesson.hints):
        count = len(arguments.lesson.hints)
        raise UsageError(f"--hint {arguments.hint}: lesson {arguments.lesson.number} has the hints 1 to {count}")


class Answers:
    """What the command prints, in one language; `given` is the flag that later commands need to stay in it."""

    def __init__(self, language: Optional[str]) -> None:
        default = "zh" if os.environ.get("LANG", "").startswith("zh") else "en"
        self.language = language or default
        self.given = f" --language {self.language}" if self.language != default else ""

    def word(self, key: str, *values: object) -> str:
        """A word or sentence in the language."""
        return lesson_words.word(key, self.language, *values)

    def row(self, key: str, text: str) -> str:
        """A line with what a command is for, and the command."""
        return f"  {pad(self.word(key), 12)} {text}"

    def command(self, one: Lesson, *flags: object) -> str:
        """A command about a lesson."""
        return " ".join(map(str, ["mnist-paddle lesson", one.number, *flags])) + self.given

    def listing(self) -> str:
        """All lessons, a line each, and which are solved in this folder."""
        done = lessons.solved(Path())
        lines = []
        for number in lessons.NUMBERS:
            mark = f"  ({self.word('solved')}: {done[number]})" if number in done else ""
            lines.append(f"{number:4}  {lessons.load(number).title[self.language]}{mark}")
        first = next((number for number in lessons.NUMBERS if number not in done), None)
        following = [self.row("next", self.command(lessons.load(first)))] if first and done else []
        return "\n".join([*lines, *([""] if following else []), *following])

    def show(self, one: Lesson) -> str:
        """The symptom and the question of a lesson."""
        from ..debugging.lesson_figure import text_curve

        printed = [f"    {line}".rstrip() for line in one.broken.splitlines()]
        lines = [self.word("lesson", one.number, one.title[self.language]), "", *one.symptom[self.language].splitlines(), ""]
        lines += [*printed, "", *text_curve(one, self.language), "", *one.question[self.language].splitlines(), ""]
        return "\n".join(lines)


def write_script(one: Lesson, arguments: argparse.Namespace, answers: Answers) -> str:
    """Write the broken script; the line that says what became of it. A file given by --output must not be another one."""
    path = Path(arguments.output or one.file())
    state = lessons.give(one, path, answers.language)
    if state == "kept" and arguments.output:
        raise UsageError(f"--output {path}: there is another file; give a new name (it is left as it is)")
    return answers.row("script", f"{path} ({answers.word(state)})")


def start(one: Lesson, arguments: argparse.Namespace, answers: Answers) -> int:
    """`lesson N`: the symptom, the script, what to do next."""
    script = write_script(one, arguments, answers)
    print(answers.show(one))
    print(script)
    path = arguments.output or one.file()
    file = [path] if arguments.output else []
    print(answers.row("keep", answers.word("functions", ", ".join(one.functions))))
    print(answers.row("run", f"python {path}"))
    print(answers.row("check", answers.command(one, "--check", *file)))
    print(answers.row("hint", answers.command(one, "--hint")))
    return 0


def hint(one: Lesson, number: int, answers: Answers) -> int:
    """`--hint`: one hint, and the command for the next."""
    print(answers.word("hint of", number, len(one.hints), one.hints[number - 1][answers.language].strip()))
    flags = ("hint", ("--hint", number + 1)) if number < len(one.hints) else ("solution", ("--solution",))
    entry.tell("\n" + answers.row(flags[0], answers.command(one, *flags[1])))
    return 0


def solution(one: Lesson, output: Optional[str], answers: Answers) -> int:
    """`--solution`: the fixed script on stdout or in a file, the explanation beside it."""
    if output:
        if lessons.give(one, Path(output), answers.language, solution=True) == "kept":
            raise UsageError(f"--output {output}: there is another file; give a new name (it is left as it is)")
        entry.tell(f"{answers.word('written')}: {output}")
    else:
        print(one.script(answers.language, solution=True), end="")
    entry.tell("\n" + explanation(one, answers))
    return 0


def explanation(one: Lesson, answers: Answers) -> str:
    """Why it was wrong, and what the solution prints."""
    printed = [f"    {line}".rstrip() for line in one.solved.splitlines()]
    return "\n".join([one.explanation[answers.language].rstrip(), "", answers.word("prints now"), "", *printed])


def check(one: Lesson, arguments: argparse.Namespace, answers: Answers) -> int:
    """`--check`: test the learner's script; 0 if it is fixed, 1 if not."""
    path = Path(expand(arguments.check or one.file(), "--check"))
    data = lessons.read_script(path)
    if data is None:
        raise UsageError(f"{path}: there is no such file; {answers.command(one)} writes the script of the lesson")
    startup.require_paddle()
    load_dataset(
        "mnist", log=lambda text: None if " loaded from " in text else entry.tell(text)
    )  # the time limit is the script's
    verdict = lesson_check.check(one, path, answers.language, arguments.time_limit or lesson_check.SECONDS)
    if not verdict.solved:
        print(answers.word("not fixed", verdict.text))
        if lessons.is_unchanged(one, data):
            print(answers.word("still broken", path))
        print("\n" + answers.row("hint", answers.command(one, "--hint")))
        return 1
    print(answers.word("fixed", one.number, path), explanation(one, answers), sep="\n\n")
    try:
        lessons.mark_solved(one, path, data)
    except UsageError as error:  # the list of solved lessons is a convenience
        entry.tell(f"note: {error}")
    if one.number < lessons.NUMBERS[-1]:
        print("\n" + answers.row("next", answers.command(lessons.load(one.number + 1))))
    return 0


def draw(one: Lesson, png: str, both: bool, answers: Answers) -> None:
    """`--png`: the figure as a file."""
    from ..debugging.lesson_figure import draw as draw_curves

    lesson_words.require_font(answers.language)
    file = io.BytesIO()
    draw_curves(one, answers.language, file, solution=both)
    write_output(Path(png), file.getvalue())
    entry.tell(f"{answers.word('written')}: {png}")


def main(argv: list) -> int:
    """Answer; the exit status."""
    arguments = parse(argv)
    answers, one = Answers(arguments.language), arguments.lesson
    if one is None:
        print(answers.listing())
        return 0
    if arguments.png:
        draw(one, arguments.png, arguments.solution, answers)
    if arguments.check is not None:
        return check(one, arguments, answers)
    if arguments.hint is not None:
        return hint(one, arguments.hint, answers)
    return solution(one, arguments.output, answers) if arguments.solution else start(one, arguments, answers)
