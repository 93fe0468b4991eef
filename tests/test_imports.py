"""The floors of the house: imports go down, never up, never sideways."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mnist_paddle"
FLOORS = [
    {"arguments", "registry", "runtime", "contact", "watchdog", "signals", "rendezvous", "gpus"}
    | {"distributed", "files", "locks", "paths", "processes", "version", "values", "advice"},
    {
        "config",
        "data",
        "models",
        "losses",
        "optimizers",
        "schedules",
        "device",
        "finite",
        "scaling",
        "isolation",
        "settings_file",
    },
    {"checkpoint", "parallel", "record", "component_arguments"},
    {"state", "course", "sense"},
    {"saving", "verify", "launcher", "command_line"},
    {"trainer", "preflight"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# Inside floor 0, what is below what.
GROUND = {("runtime", "registry"), ("contact", "registry"), ("contact", "runtime"), ("contact", "watchdog")}
GROUND |= {("distributed", name) for name in ("contact", "registry", "runtime", "signals")}
GROUND |= {("registry", "arguments"), ("paths", "registry"), ("signals", "runtime"), ("rendezvous", "registry")}


def imported(path: Path):
    """The rooms of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        relative = (folder / (node.module or "").replace(".", "/")).relative_to(PACKAGE)
        if relative.parts:
            yield relative.parts[0]
        else:
            yield from (alias.name for alias in node.names)


def rooms():
    files = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"]
    return [(path, path.relative_to(PACKAGE).parts[0].removesuffix(".py")) for path in files]


@pytest.mark.parametrize(("path", "room"), rooms(), ids=lambda value: getattr(value, "name", value))
def test_imports_go_down_the_floors(path, room):
    assert room in FLOOR, f"{room} stands on no floor"
    for other in imported(path):
        if other != room and (room, other) not in GROUND:
            assert FLOOR[other] < FLOOR[room], f"{path.name} imports {other}"


WITHOUT_PADDLE = ["config", "command_line", "data.dataset", "data.augment", "schedules", "runtime", "distributed"]


@pytest.mark.parametrize("module", WITHOUT_PADDLE)
def test_these_modules_do_without_paddle(module):
    code = f"import sys, mnist_paddle.{module}; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_paddle_one_line_names_both_commands():
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'paddle' else find(name, *rest)\n"
        "from mnist_paddle import MODELS"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode
    assert "pip install paddlepaddle (CPU)" in last
    assert "pip install paddlepaddle-gpu" in last


def test_only_distributed_asks_for_the_rank():
    for path in PACKAGE.rglob("*.py"):
        if path.stem not in ("distributed", "graph", "processes"):  # which asks for the ranks of other processes
            assert "PADDLE_TRAINER" not in path.read_text(encoding="utf-8"), path


def test_nothing_reads_a_pickle_but_the_vetted_reader():
    for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "paddle.load(" not in text, path
        assert "allow_pickle=True" not in text, path
        assert path.stem == "containers" or "import pickle" not in text, path


def test_the_three_lines_in_readme_are_those_of_the_trainer():
    readme, trainer = ((PACKAGE.parent / name).read_text(encoding="utf-8") for name in ("README.md", "mnist_paddle/trainer.py"))
    lines = [line.strip() for line in trainer.splitlines() if "# distributed, " in line]
    assert sorted(line.split("# distributed, ")[1][:6] for line in lines) == ["1 of 3", "2 of 3", "3 of 3"]
    assert all(line in readme for line in lines)
