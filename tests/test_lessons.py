"""Lessons: broken scripts fail their check, solutions and other right fixes pass, fake fixes fail; a learner's files are safe.

Scripts are mostly tested in this process, which has imported Paddle already; a few in a process of their own, as users do.
"""

import contextlib
import difflib
import io
import json
import os
import re
import string
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import SCRIPTS
from lesson_fixes import BAD, FAKES, RIGHT, changed

from mnist_paddle import UsageError
from mnist_paddle.cli import lesson as command
from mnist_paddle.cli.main import dispatch
from mnist_paddle.debugging import lesson, lesson_check, lesson_figure, lesson_worker
from mnist_paddle.debugging.lesson import LANGUAGES, NUMBERS
from mnist_paddle.debugging.lesson_words import COLUMNS, WORDS
from mnist_paddle.metrics import display_width

pytestmark = pytest.mark.commands  # every script is trained

CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
PACKAGE = Path(lesson.__file__).parent


def verdict(number: int, text: str, folder: Path, language: str = "en") -> lesson_check.Verdict:
    """What the check says of a script, tested in this process."""
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        answer = lesson_worker.answer(number, path)
    assert answer["kind"] != "usage", answer
    return lesson_check.verdict(lesson.load(number), path, language, json.loads(json.dumps(answer)))


@pytest.mark.mnist
@pytest.mark.parametrize("number", NUMBERS)
def test_the_broken_script_fails_and_the_solution_passes(number, tmp_path):
    one = lesson.load(number)
    for language in LANGUAGES:
        broken = verdict(number, one.script(language), tmp_path, language)
        assert not broken.solved
        assert bool(CHINESE.search(broken.text)) == (language == "zh")
        assert "\n" not in broken.text
        assert not re.search(r"[{}]", broken.text)
    assert verdict(number, one.script("zh", solution=True), tmp_path) == lesson_check.Verdict(True)


@pytest.mark.mnist
@pytest.mark.parametrize(("number", "changes"), [(row[0], row[1:]) for row in RIGHT.values()], ids=list(RIGHT))
def test_another_right_fix_passes(number, changes, tmp_path):
    assert verdict(number, changed(number, *changes), tmp_path) == lesson_check.Verdict(True)


@pytest.mark.mnist
@pytest.mark.parametrize(("number", "message", "changes"), [(row[0], row[1], row[2:]) for row in FAKES.values()], ids=list(FAKES))
def test_a_fake_or_half_fix_fails_and_says_why(number, message, changes, tmp_path):
    found = verdict(number, changed(number, *changes), tmp_path)
    assert not found.solved
    assert message in found.text


@pytest.mark.mnist
@pytest.mark.parametrize(("text", "message"), list(BAD.values()), ids=list(BAD))
def test_a_script_that_does_not_work_gets_one_clear_line(text, message, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    path = tmp_path / "script.py"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    answer = lesson_worker.answer(1, path)
    found = lesson_check.verdict(lesson.load(1), path, "en", json.loads(json.dumps(answer)))
    assert not found.solved
    assert message in found.text
    assert "\n" not in found.text


@pytest.mark.mnist
def test_the_command_checks_in_a_process_of_its_own_from_any_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "my folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "my folder" / "lösung.py"
    path.write_text(lesson.load(8).script("zh", solution=True), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert dispatch(["lesson", "8", "--check", str(path), "--language", "zh"]) == 0
    assert "第 8 课已解决" in capsys.readouterr().out
    assert lesson.solved(path.parent) == {8: "lösung.py"}
    assert list(Path().iterdir()) == []
    assert {each.name for each in path.parent.iterdir()} == {"lösung.py", "lessons.json"}


@pytest.mark.parametrize(
    ("text", "seconds", "message"),
    [
        ("while True:\n    pass\n", 0.5, "was still running after 0.5 s and was stopped"),
        ("import os\nos._exit(3)\n", 60, "ended the process before it was tested (exit status 3)"),
    ],
)
@pytest.mark.mnist
def test_a_script_that_never_ends_or_ends_the_process_is_told_of(text, seconds, message, tmp_path):
    path = tmp_path / "lesson_1.py"
    path.write_text(text)
    found = lesson_check.check(lesson.load(1), path, "en", seconds)
    assert not found.solved
    assert message in found.text


@pytest.mark.mnist
@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_lesson_shows_is_what_its_scripts_print(number, tmp_path):
    """With another Paddle or processor the figures differ a little; a training that goes wild may go another way."""
    one, numbers = lesson.load(number), r"[-+]?\d+\.\d+(?:e[-+]\d+)?"
    for solution, recorded in ((False, one.broken), (True, one.solved)):
        path = tmp_path / "script.py"
        path.write_text(one.script("en", solution), encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(path.read_text("utf-8"), str(path), "exec"), {"__name__": "__main__"})
        now = re.sub(r"(?m)^mnist loaded .*\n", "", printed.getvalue())
        words = [re.sub(r" +", " ", re.sub(numbers, "#", text)) for text in (now, recorded)]
        assert words[0] == words[1]
        if solution or number not in (3, 8):
            values = [[float(value) for value in re.findall(numbers, text)] for text in (now, recorded)]
            far = [pair for pair in zip(*values) if pair[0] != pytest.approx(pair[1], rel=0.25, abs=0.3)]
            assert len(values[0]) == len(values[1])
            assert len(far) <= len(values[0]) / 10  # single batches jump


@pytest.mark.mnist
@pytest.mark.skipif(os.name != "posix", reason="groups of processes exist on POSIX only")
def test_processes_that_a_script_has_started_end_with_its_check(tmp_path):
    path, file = tmp_path / "lesson_1.py", tmp_path / "pid"
    code = "import os, subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    path.write_text(f"{code}with open({str(file)!r}, 'w') as file:\n    print(child.pid, file=file)\nos._exit(0)\n")
    assert "exit status 0" in lesson_check.check(lesson.load(1), path, "en", 60).text
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(int(file.read_text()))
        assert child.status() == psutil.STATUS_ZOMBIE or not child.wait(10)


def texts(value, place=""):
    """(place, {language: text}) of every text in a lesson."""
    if hasattr(value, "keys") and set(value) & set(LANGUAGES):
        yield place, value
    elif hasattr(value, "keys"):
        for name, item in value.items():
            yield from texts(item, f"{place}.{name}")
    elif isinstance(value, tuple):
        for count, item in enumerate(value):
            yield from texts(item, f"{place}.{count}")


def fields(text: str) -> set:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("number", NUMBERS)
def test_every_text_is_there_in_both_languages(number):
    one = lesson.load(number)
    found = dict(texts(vars(one)))
    assert {".title", ".symptom", ".question", ".explanation", ".hints.0", ".hints.1"} <= found.keys()
    for place, both in found.items():
        assert set(both) == set(LANGUAGES), place
        assert not CHINESE.search(both["en"]), place
        assert CHINESE.search(both["zh"]), place
        if place.startswith(".wrong"):
            assert fields(both["en"]) == fields(both["zh"]), place
    for place in (".title", ".symptom", ".question", ".explanation"):
        for text in found[place].values():
            assert max(map(display_width, text.splitlines())) <= 84, place
    for name in {name for panel in one.chart for name in panel}:
        assert name in COLUMNS
        assert name in lesson_figure.series(one.broken)[1].keys() & lesson_figure.series(one.solved)[1].keys()


def test_common_words_are_there_in_both_languages():
    for table in (WORDS, COLUMNS):
        for key, both in table.items():
            assert set(both) == set(LANGUAGES), key
            assert not CHINESE.search(both["en"]), key
            assert fields(both["en"]) == fields(both["zh"]), key


def test_every_finding_of_a_check_has_its_words():
    source = (PACKAGE / "lesson_judge.py").read_text("utf-8")
    tests = re.split(r"(?m)^def ", source)[1 : len(NUMBERS) + 1]
    for number, text in zip(NUMBERS, tests):
        for name in re.findall(r'Wrong\("(\w+)"', text):
            assert name in {*lesson.load(number).wrong, *WORDS}, (number, name)
    everywhere = "".join((PACKAGE / f"lesson_{name}.py").read_text("utf-8") for name in ("judge", "measures", "script"))
    for number in NUMBERS:
        assert all(f'Wrong("{name}"' in everywhere for name in lesson.load(number).wrong)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("number", NUMBERS)
def test_the_two_scripts_differ_only_where_the_fault_is(number, language):
    one = lesson.load(number)
    scripts = [one.script(language, solution).splitlines() for solution in (False, True)]
    lines = [line for line in difflib.ndiff(*scripts) if line[0] in "+-"]
    assert 1 <= len(lines) <= 6
    assert not any("#" in line for line in lines)  # no comment gives the fault away
    for text in map("\n".join, scripts):
        assert bool(CHINESE.search(text)) == (language == "zh")
        assert not re.search(r"# (en|zh):", text)
        assert 25 <= len([line for line in text.splitlines() if line.strip()]) <= 55
        names = {name for name in one.functions if f"def {name}(" in text}
        assert names == set(one.functions)


def test_the_comments_of_both_languages_are_in_pairs():
    for path in sorted((PACKAGE / "lessons").glob("lesson_*.py")):
        marks = re.findall(r"(?m)^( *)# (en|zh): \S", path.read_text("utf-8"))
        assert marks, path
        assert [mark for _, mark in marks] == list(LANGUAGES) * (len(marks) // 2), path
        assert [indent for indent, _ in marks[::2]] == [indent for indent, _ in marks[1::2]], path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in which a learner works, with a terminal in English."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    return tmp_path


def test_a_lesson_shows_its_symptom_and_writes_its_script(folder, capsys):
    for number in NUMBERS:
        assert dispatch(["lesson", str(number)]) == 0
        shown = capsys.readouterr().out
        one = lesson.load(number)
        assert shown.startswith(f"Lesson {number}: {one.title['en']}\n")
        assert one.question["en"].splitlines()[0] in shown
        assert one.broken.splitlines()[-1] in shown
        assert f"lesson_{number}.py (written)" in shown
        assert max(map(display_width, shown.splitlines())) <= 84
        assert Path(f"lesson_{number}.py").read_text("utf-8") == one.script("en")
        compile(one.script("en"), "script", "exec")


def test_the_language_is_that_of_the_terminal_or_the_flag(folder, capsys, monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert dispatch(["lesson", "1"]) == 0
    assert capsys.readouterr().out.startswith("第 1 课")
    assert Path("lesson_1.py").read_text("utf-8") == lesson.load(1).script("zh")
    assert dispatch(["lesson", "1", "--language", "en"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Lesson 1")
    assert "mnist-paddle lesson 1 --check --language en" in shown  # the next command stays in that language
    assert Path("lesson_1.py").read_text("utf-8") == lesson.load(1).script("en")  # it had not been changed


def test_a_changed_script_is_never_overwritten(folder, capsys):
    Path("lesson_1.py").write_text("mine")
    assert dispatch(["lesson", "1"]) == 0
    assert "lesson_1.py (your version, left as it is)" in capsys.readouterr().out
    for words in (["lesson", "1", "--output", "lesson_1.py"], ["lesson", "1", "--solution", "--output", "lesson_1.py"]):
        with pytest.raises(UsageError, match=r"--output lesson_1\.py: there is another file"):
            dispatch(words)
    assert Path("lesson_1.py").read_text() == "mine"
    assert dispatch(["lesson", "1", "--output", "again.py"]) == 0
    assert Path("again.py").read_text("utf-8") == lesson.load(1).script("en")
    assert dispatch(["lesson", "1", "--solution", "--output", "fixed.py"]) == 0
    assert dispatch(["lesson", "1", "--solution", "--output", "fixed.py"]) == 0  # the same text again
    assert Path("fixed.py").read_text("utf-8") == lesson.load(1).script("en", solution=True)


def test_a_folder_in_place_of_the_script_or_one_without_permission_is_one_line(folder, monkeypatch):
    Path("lesson_1.py").mkdir()
    for words in (["lesson", "1"], ["lesson", "1", "--check"]):
        with pytest.raises(UsageError, match="not a file"):
            dispatch(words)
    with pytest.raises(UsageError, match="no such file; mnist-paddle lesson 2 writes"):
        dispatch(["lesson", "2", "--check"])
    with pytest.raises(UsageError, match="can't write a file there"):
        dispatch(["lesson", "2", "--output", "nowhere/a.py"])


def test_hints_come_one_at_a_time(folder, capsys):
    for number in NUMBERS:
        hints = lesson.load(number).hints
        for count, both in enumerate(hints, start=1):
            assert dispatch(["lesson", str(number), "--hint", *([str(count)] if count > 1 else []), "--language", "zh"]) == 0
            shown = capsys.readouterr()
            assert shown.out == f"提示 {count}（共 {len(hints)} 条）：{both['zh']}\n"
            following = f"--hint {count + 1} " if count < len(hints) else "--solution "
            assert following in shown.err


def test_the_solution_is_a_script_that_can_be_piped_into_a_file(folder, capsys):
    assert dispatch(["lesson", "4", "--solution"]) == 0
    shown = capsys.readouterr()
    assert shown.out == lesson.load(4).script("en", solution=True)
    assert lesson.load(4).explanation["en"].splitlines()[0] in shown.err


def test_the_list_shows_what_is_solved_and_still_the_same(folder, capsys):
    for number in (1, 3):
        Path(f"lesson_{number}.py").write_text(f"fixed = {number}\n")
        data = Path(f"lesson_{number}.py").read_bytes()
        lesson.mark_solved(lesson.load(number), Path(f"lesson_{number}.py"), data)
    Path("lesson_3.py").write_text("changed since")
    assert dispatch(["lesson"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:10]] == [str(number) for number in NUMBERS]
    assert [line.split()[0] for line in lines if "(solved" in line] == ["1"]
    assert lines[-1].split() == ["next", "mnist-paddle", "lesson", "2"]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"lessons": {"1": 3}}', '{"lessons": {"1": {"file": "../a.py", "sha256": "0"}}}', "[" * 100_000, "\0"]
)
def test_a_foreign_record_counts_as_none_and_is_not_overwritten(folder, content):
    Path("lessons.json").write_text(content)
    assert lesson.solved(folder) == {}
    with pytest.raises(UsageError, match="not a record of lessons"):
        lesson.mark_solved(lesson.load(1), folder / "lesson_1.py", b"")
    assert Path("lessons.json").read_text() == content


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("11", "there is no lesson '11'; did you mean '1'? choices: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ("0", "choices: 1, 2, 3"),
        ("-1", "there is no lesson '-1'"),
        ("one", "there is no lesson 'one'"),
        ("1.0", "there is no lesson '1.0'"),
        ("1 2", "'2' belongs to no flag"),
        ("--check", "--check needs a lesson: mnist-paddle lesson 1 --check"),
        ("--check lesson_1.py", "--check needs a lesson"),
        ("--png a.png", "--png needs a lesson"),
        ("1 --hint 9", "--hint 9: lesson 1 has the hints 1 to 3"),
        ("1 --hint 0", "--hint 0: lesson 1 has the hints 1 to 3"),
        ("1 --hint two", "--hint must be an integer; it is 'two'"),
        ("1 --hint --check", "--check and --hint can't be given together"),
        ("1 --check --output a.py", "--output is not for --check"),
        ("1 --hint --png a.png", "--png is not for --hint"),
        ("1 --png nowhere/a.png", "--png nowhere/a.png: can't write a file there"),
        ("1 --language de", "there is no language 'de'"),
        ("1 --time_limit 3", "--time_limit is for --check"),
        ("1 --check --time-limit 0", "--time_limit must be above 0 and finite; it is 0.0"),
        ("1 --chek", "did you mean --check?"),
    ],
)
def test_wrong_words_are_explained(words, message, folder):
    with pytest.raises(UsageError) as caught:
        dispatch(["lesson", *words.split()])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), ([], 0), (["3"], 0), (["3", "--hint"], 0), (["33"], 2)])
def test_all_but_the_check_is_answered_without_importing_paddle(words, status, tmp_path):
    (tmp_path / "paddle.py").write_text("raise SystemExit('paddle was imported')")
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    line = [sys.executable, str(SCRIPTS / "lesson.py"), *words]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert done.returncode == status, done.stderr
    assert "paddle was imported" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("flags", [[], ["--solution"]])
def test_the_curve_is_drawn_in_either_language(language, flags, folder, capsys):
    if language == "zh":
        from mnist_paddle.tracking.names import fonts_for

        if not fonts_for("损失"):
            pytest.skip("no font with Chinese characters")
    assert dispatch(["lesson", "10", "--png", "curve.png", "--language", language, *flags]) == 0
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_without_a_font_for_its_language_is_refused_in_one_line(folder, monkeypatch):
    monkeypatch.setattr("mnist_paddle.debugging.lesson_words.fonts_for", lambda text: ())
    with pytest.raises(UsageError, match="--language zh: no font here has the letters"):
        dispatch(["lesson", "1", "--png", "curve.png", "--language", "zh"])
    assert not Path("curve.png").exists()


def test_a_dataset_that_cannot_be_loaded_is_no_fault_of_the_script():
    with pytest.raises(UsageError, match="no such mirror"):
        lesson_check.verdict(lesson.load(1), Path("lesson_1.py"), "en", {"kind": "usage", "text": "no such mirror"})


def test_parse_gives_the_lesson():
    assert command.parse(["7", "--check"]).lesson.number == 7
    assert command.parse([]).lesson is None
