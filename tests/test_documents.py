"""What the documents say is so: their commands parse, their code runs, their links, files and tests exist.

Commands are those of the ```bash blocks. Each is given to the parser of its own program, in a folder that holds what a reader of
the documents has by then: the checkout, runs called RUN, mine and kept, digits of one's own, a plugin. A program that has no
check here fails the test. Commands that train also take one step of their recipe, on synthetic digits.

Code is that of the ```python blocks. All of it compiles, and calls of this package name existing settings. A block that trains
once runs, on synthetic digits: `Config(...)` gets their file.
"""

import ast
import inspect
import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
from digits import make_digits, write_csv, write_npz, write_pictures
from documents import CHECKS, DOCUMENTS, ROOT, blocks, check_command, check_train, commands
from test_imports import LEVELS

import mnist_paddle
from mnist_paddle.cli.main import COMMANDS
from mnist_paddle.config import FIELDS
from mnist_paddle.metrics import accuracy_interval, accuracy_text
from mnist_paddle.settings.advice import file_of

pytestmark = pytest.mark.usefixtures("clean_tables")

PLUGIN = '''
from paddle import nn

from mnist_paddle import MODELS

if "mine" not in MODELS:

    @MODELS.register
    def mine(width: int = 200) -> nn.Layer:
        """A plugin's."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
'''


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """The folder of somebody who has followed the documents so far."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("configs", "scripts", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("RUN", "mine", "kept", "letters"):
        shutil.copytree(ROOT / "tests" / "runs" / "0.1.0", folder / "runs" / name)
    shutil.copy(folder / "runs" / "kept" / "last.safetensors", folder / "runs" / "kept" / "step_00003000.safetensors")
    for name in ("my_digits", "my_letters", "other_letters"):
        write_pictures(folder / name, make_digits(100))
    write_csv(folder / "train.csv", make_digits(100))
    write_npz(folder / "FILE.npz", make_digits(60), make_digits(20)).rename(folder / "FILE")
    write_npz(folder / "digits.npz", make_digits(600), make_digits(100, seed=1))
    (folder / "my_module.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def there(reader, monkeypatch):
    """The same folder, as the working directory."""
    monkeypatch.chdir(reader)
    monkeypatch.syspath_prepend(str(reader))
    return reader


@pytest.mark.parametrize(("document", "words"), commands(), ids=lambda value: value if type(value) is str else " ".join(value))
def test_every_command_is_one_that_its_program_takes(document, words, there, small, monkeypatch):
    monkeypatch.setattr(sys, "argv", [""])  # the parser of Paddle's launcher reads it
    check_command(words, small)


def test_every_command_of_the_package_is_documented():
    assert set(COMMANDS) == set(CHECKS)
    assert {file_of(name) for name in COMMANDS} == {path.stem for path in ROOT.glob("scripts/*.py")}
    told = " ".join(" ".join(words) for _, words in commands())
    assert all(f"scripts/{file_of(name)}.py" in told for name in COMMANDS)


@pytest.mark.parametrize(("document", "code"), blocks("python"))
def test_code_compiles_and_names_what_exists(document, code):
    tree = ast.parse(code)
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) in {*imported} & {*mnist_paddle.__all__}:
            parameters = inspect.signature(getattr(mnist_paddle, call.func.id)).parameters
            for keyword in call.keywords:
                assert keyword.arg in {*parameters, *FIELDS}, f"{call.func.id} takes no {keyword.arg}"


TRAINING = dict.fromkeys(code for _, code in blocks("python") if "import" in code and len(re.findall(r"\bfit\(", code)) == 1)


@pytest.fixture
def models():
    """The table of networks; what a test registers is gone afterwards."""
    table = mnist_paddle.MODELS
    before = dict(table)
    table.pop("mine", None)  # the plugin's
    yield table
    table.clear()
    table.update(before)


@pytest.mark.parametrize("code", TRAINING)
def test_code_that_trains_once_runs(code, there, models):
    shutil.rmtree("runs/mine", ignore_errors=True)
    names = {}
    exec(code.replace("Config(", 'Config(dataset="custom", data_dir="digits.npz", '), names)
    assert names["report"]["test_accuracy"] > 15


def test_the_model_of_the_contributors_guide_trains(models):
    import paddle

    code = next(code for name, code in blocks("python") if name == "CONTRIBUTING.md")
    assert 8 <= len(code.splitlines()) <= 12
    exec(code, dict(vars(import_module("mnist_paddle.models"))))
    network = models["wide"](width=8)
    network(paddle.ones([3, 1, 28, 28])).sum().backward()
    assert [list(each.grad.shape) for each in network.parameters()] == [[784, 8], [8], [8, 10], [10]]


def anchors(text: str) -> set:
    """The names that a page's headings have in links."""
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"(?m)^#+ (.*)$", text)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_files_named_exist(document):
    folder, text = (ROOT / document).parent, DOCUMENTS[document]
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```|`[^`\n]*`", "", text)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        assert not path or (folder / path).exists(), target
        if anchor:
            assert anchor in anchors((folder / path).read_text("utf-8") if path else text), target
    # Names in capitals stand for others.
    for path in re.findall(r"(?<![\w/.])(?:configs|docs|scripts|tests|mnist_paddle)/[a-z_0-9./-]*[a-z_0-9]\b", text):
        assert (ROOT / path).exists(), path


def test_the_readme_is_short_and_its_tree_is_the_one_on_disk():
    text = DOCUMENTS["README.md"]
    assert len(text.splitlines()) <= 150
    tree = text.partition("## Files\n\n```\n")[2].partition("```")[0]
    inside = set(re.findall(r"(?m)^  ([\w./]+)", tree))
    assert all((ROOT / "mnist_paddle" / name).exists() for name in inside)
    on_disk = {f"{path.name}/" for path in ROOT.glob("mnist_paddle/*/") if path.is_dir() and path.name != "__pycache__"}
    assert on_disk == {name for name in inside if name.endswith("/")}
    assert all((ROOT / name).exists() for name in re.findall(r"(?m)^([\w./]+)", tree))


def test_the_contributors_guide_shows_the_order_of_the_packages():
    assert "```\n" + "\n".join(LEVELS) + "\n```" in DOCUMENTS["CONTRIBUTING.md"]


def test_versions_of_the_changelog_have_a_date_and_its_new_imports_exist():
    text = DOCUMENTS["CHANGELOG.md"]
    versions = re.findall(r"(?m)^## (.*)$", text)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - (unreleased|\d{4}-\d\d-\d\d)", version) for version in versions)
    assert set(re.findall(r"(?m)^### (.*)$", text)) <= {"Added", "Changed", "Fixed", "Removed"}
    new = [row.split("|")[2] for row in text.splitlines() if row.startswith("  | `mnist_paddle.")]
    for name in re.findall(r"`(mnist_paddle[\w.]*?)\.?`", " ".join(new)):
        place = ROOT.joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").exists() or hasattr(mnist_paddle, name.partition(".")[2]), name


def test_every_test_that_robustness_names_exists():
    """A cell names tests as FILE::NAME; `*` stands for any text."""
    cells = [row.rstrip("| ").rpartition("|")[2] for row in DOCUMENTS["docs/robustness.md"].splitlines() if row.startswith("| ")]
    for cell in cells[1:]:
        for file, _, name in re.findall(r"(\btest_\w+\.py)(::([\w*]+))?", cell):
            defined = re.findall(r"(?m)^def (test_\w+)", (ROOT / "tests" / file).read_text("utf-8"))
            assert not name or any(re.fullmatch(name.replace("*", ".*"), each) for each in defined), f"{file}::{name}"
    text = "\n".join(cells)
    assert len(re.findall(r"test_\w+\.py", text)) > 90
    assert not re.search(r"(?<!\.py)::", text), "write the file before ::"


def test_intervals_in_the_results_are_those_of_10_000_images():
    rows = [row for row in DOCUMENTS["README.md"].splitlines() if row.startswith("| `--config configs/")]
    for row in rows:
        accuracy, low, high = map(float, re.search(r"\| (\d+\.\d\d) % \((\d+\.\d\d) to (\d+\.\d\d)[;)]", row).groups())
        assert accuracy_interval(accuracy, 10_000) == pytest.approx((low, high), abs=0.0051), row
    log = re.search(r"(?m)^test accuracy  (.*?), loss", DOCUMENTS["README.md"])[1]
    assert log == accuracy_text(float(log.split()[0]), 10_000)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_a_config_names_its_command_and_the_result_that_the_readme_shows(path, there, small):
    command, result = path.read_text("utf-8").splitlines()[:2]
    assert command == f"# python scripts/train.py --config configs/{path.name}"
    check_train(shlex.split(command)[3:], small)
    row = next(line for line in DOCUMENTS["README.md"].splitlines() if line.startswith(f"| `--config configs/{path.name}`"))
    accuracy, minutes = re.match(r"# (\d+\.\d\d %) test accuracy,.* in (\d+:\d\d) min on ", result).groups()
    assert f"| {accuracy}" in row
    assert row.endswith(f"| {minutes} |")
