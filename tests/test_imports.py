"""The order of the packages: imports point one way, as the documentation and `ls` tell it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mnist_paddle"
# Lowest first; modules and packages of one level do not import each other.
LEVELS = [
    "errors arguments version",
    "registry",
    "system",
    "settings",
    "kernels",
    "activations muon patches",
    "convolution",
    "config data layers losses optimizers schedules metrics significance",
    "models",
    "distributed",
    "diagnostics",
    "tracking",
    "experiment",
    "trainer",
    "audit debugging deploy studies",
    "benchmarks",
    "cli",
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names.split()}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem not in ("__init__", "__main__")]


def own_name(path: Path) -> tuple:
    return path.relative_to(PACKAGE).with_suffix("").parts


def is_module(name: tuple) -> bool:
    place = Path(PACKAGE, *name)
    return place.is_dir() or place.with_suffix(".py").exists()


def is_for_types(node) -> bool:
    """Whether a block is read by type checkers and editors only; no run imports what it names."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(path: Path):
    """The modules of the package that a file imports, as tuples of names: ("experiment", "state")."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = []
    if path.stem != "__init__":  # whose imports for types are what `import mnist_paddle` offers
        types = [node for block in ast.walk(tree) if is_for_types(block) for node in block.body]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node in types:
            continue
        words = tuple(node.module.split(".")) if node.module else ()
        if node.level:
            names = (*path.parents[node.level - 1].relative_to(PACKAGE).parts, *words)
        elif words[:1] == ("mnist_paddle",):
            names = words[1:]
        else:
            continue
        for alias in node.names:
            yield (*names, alias.name) if is_module((*names, alias.name)) else names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(own_name(path)))
def test_imports_point_down(path):
    package = own_name(path)[0]
    assert package in LEVEL, f"{package} has no level"
    for name in imported(path):
        if name and name[0] != package:  # without a name: what the package itself offers
            assert LEVEL[name[0]] < LEVEL[package], f"{path.name} imports {'.'.join(name)}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {own_name(path): set(imported(path)) for path in MODULES}
    done, way = set(), []

    def visit(module):
        assert module not in way, f"a circle: {' -> '.join('.'.join(name) for name in [*way, module])}"
        if module in graph and module not in done:
            way.append(module)
            for other in sorted(graph[module]):
                visit(other)
            done.add(way.pop())

    for module in graph:
        visit(module)


WITHOUT_PADDLE = ["config", "data.dataset", "data.augment", "schedules", "system.startup", "distributed.communication"]
WITHOUT_PADDLE += ["data.checks", "data.page", "data.corrections", "cli.data"]
WITHOUT_PADDLE += ["cli.main", "cli.train", "cli.command_line", "experiment.checkpoint"]


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
        if path.stem not in ("launch_env", "graph", "processes"):  # the last asks for the ranks of other processes
            assert "PADDLE_TRAINER" not in path.read_text(encoding="utf-8"), path


def test_nothing_reads_a_pickle_but_the_vetted_reader():
    for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "paddle.load(" not in text, path
        assert "allow_pickle=True" not in text, path
        assert path.stem == "containers" or "import pickle" not in text, path


def test_the_three_lines_in_readme_are_those_of_the_trainer():
    sources = [PACKAGE / "trainer.py", PACKAGE / "experiment" / "setup.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    lines = [line.strip() for line in text.splitlines() if "# distributed, " in line]
    readme = "\n".join(
        path.read_text(encoding="utf-8") for path in [PACKAGE.parent / "README.md", *(PACKAGE.parent / "docs").glob("*.md")]
    )
    assert sorted(line.split("# distributed, ")[1][:6] for line in lines) == ["1 of 3", "2 of 3", "3 of 3"]
    assert all(line in readme for line in lines)


def package_sources() -> list:
    """(path, text) of every file of the package and the scripts."""
    return [
        (path, path.read_text(encoding="utf-8")) for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").glob("*.py")]
    ]


def test_no_check_is_an_assert_which_python_O_leaves_out():
    for path, text in package_sources():
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))), path


def test_every_md5_works_on_a_fips_host():
    for path, text in package_sources():
        calls = [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        assert all("usedforsecurity=False" in call for call in calls if call.startswith("hashlib.md5(")), path


@pytest.mark.parametrize("package", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_a_package_lists_the_modules_that_others_import(package):
    """`__all__` of a package is its public part; its other modules are its own business."""
    public = set()
    for path in [*MODULES, *PACKAGE.rglob("__init__.py"), PACKAGE / "__main__.py"]:
        if path.relative_to(PACKAGE).parts[0] != package:
            public |= {name[1] for name in imported(path) if name[:1] == (package,) and len(name) > 1}
    listed = ast.literal_eval(
        next(
            node.value
            for node in ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
        )
    )
    assert sorted(public - {"formats"}) == listed


@pytest.mark.parametrize("path", [path for path in MODULES if own_name(path)[0] in ("trainer", "experiment", "tracking")])
def test_functions_of_a_run_take_four_positional_arguments_at_most(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args] if argument.arg != "self"]
            assert len(names) <= 4, f"{node.name}{tuple(names)}"
