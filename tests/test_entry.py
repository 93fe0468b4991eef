"""`mnist-paddle COMMAND`, `python -m mnist_paddle COMMAND` and scripts/COMMAND.py are the same; so is a wheel."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mnist_paddle
from mnist_paddle import Config, UsageError, load_config
from mnist_paddle.cli.main import COMMANDS, command, dispatch
from mnist_paddle.settings.advice import file_of

ROOT = Path(__file__).parents[1]
PROGRAM = "import sys; sys.argv[0] = 'mnist-paddle'; from mnist_paddle.cli.main import main; main()"


def run(*words, cwd, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, env=environment, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flags", [["--help"], ["--no_such_flag"]])
def test_three_forms_of_a_command_are_the_same(tmp_path, command, flags):
    forms = [
        [str(ROOT / "scripts" / f"{file_of(command)}.py")],
        ["-m", "mnist_paddle", command],
        ["-c", PROGRAM, command.replace("_", "-")],
    ]
    answers = [run(*form, *flags, cwd=tmp_path) for form in forms]
    assert answers[0] == answers[1] == answers[2]
    status, out, err = answers[0]
    assert status == (0 if flags == ["--help"] else 2)
    assert "Traceback" not in err
    assert (len(err.splitlines()), out) == (1, "") if status else err == ""


def test_without_a_command_all_are_listed(capsys):
    assert dispatch([]) == 2
    assert dispatch(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command.replace("_", "-") in shown for command in COMMANDS)
    with pytest.raises(UsageError, match="no command 'trian'; did you mean 'train'"):
        dispatch(["trian"])


@pytest.mark.parametrize("argv", [["--help"], ["--list"], ["--list", "model", "fc"], ["--help", "optimizer"], ["--list", "rnn"]])
def test_help_and_listings_fit_80_columns(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        load_config(argv)
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "<class" not in shown


SECTIONS = {
    "launch": ["Ranks", "Several machines"],
    "verify_resume": ["Stops", "Runs"],
    "benchmark": ["Training", "Scaling", "Record"],
}  # of others: none


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_the_same_layout(name, capsys):
    with pytest.raises(SystemExit) as caught:
        command(name)(["--help"])
    assert not caught.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: mnist-paddle {name.replace('_', '-')} ")
    assert lines[1] == f"       (python scripts/{file_of(name)}.py is the same)"
    assert max(map(len, lines)) <= 80
    assert all(line[28:29].strip() for line in lines if line.startswith("  --") and len(line) > 28)  # one column of texts
    assert [line for line in lines if any(line in names for names in SECTIONS.values())] == SECTIONS.get(name, [])
    assert not any(word in "\n".join(lines) for word in ("(default: 0)", "{", "NPROC", "show this"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("benchmark trane", "there is no benchmark 'trane'; did you mean 'train'?"),
        ("benchmark", "mnist-paddle benchmark needs KIND (see --help)"),
        ("benchmark train --repeats often", "--repeats must be an integer; it is 'often'"),
        ("benchmark train --repeats 0", "--repeats must be at least 1 and finite; it is 0"),
        ("benchmark loader --torch python", "--torch is a flag of `benchmark train`; this is `benchmark loader`"),
        ("benchmark train --network cn", "--network: there is no network 'cn'; did you mean 'cnn'?"),
        ("benchmark train --output nowhere/a.json", "--output nowhere/a.json: can't write a file there"),
        ("benchmark record", "benchmark record needs --output FOLDER, such as records/quick"),
        ("benchmark record --output x --seeds 0", "--seeds must be at least 1 and finite; it is 0"),
        ("benchmark scaling --gbit 0", "--gbit must be above 0 and finite; it is 0.0"),
        ("benchmark scaling --latency_us inf", "--latency_us must be at least 0 and finite; it is inf"),
        ("benchmark scaling --draw nowhere/a.png", "--draw nowhere/a.png: can't write a file there"),
        ("evaluate", "mnist-paddle evaluate needs RUN (see --help)"),
        ("evaluate run --split tset", "--split: there is no split 'tset'; did you mean 'test'?"),
        ("evaluate run --jsn", "--jsn: there is no such flag here; did you mean --json?"),
        ("evaluate run --epochs 3", "--epochs: there is no such flag here; it is a flag of train"),
        ("evaluate run other", "'other' belongs to no flag"),
        ("evaluate run --data-dir", "--data_dir needs a value"),
        ("data --datset mnist", "--datset: there is no such flag here; did you mean --dataset?"),
        ("data --validation-size many", "--validation_size must be an integer; it is 'many'"),
        ("data --nproc 2", "it is a flag of launch"),
        ("launch --max-restarts x", "--max_restarts must be an integer; it is 'x'"),
        ("launch --epoch 3", "did you mean --epochs?"),
        ("verify-resume --stops", "--stops needs a value"),
        ("verify-resume --kind kill", "did you mean --kinds?"),
    ],
)
def test_wrong_words_of_any_command_are_explained(words, message):
    with pytest.raises(UsageError) as caught:
        dispatch(words.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# The named module of Python or of a library interrupts the import like Ctrl-C, and hides the KeyboardInterrupt as some code does.
INTERRUPT = """import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    raise {raised}
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as a shell knows them exist on POSIX only")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("module", "raised"), [("argparse", ""), ("numpy", "ImportError('initialization failed')")])
def test_ctrl_c_during_the_imports_ends_a_command_without_a_traceback(tmp_path, command, module, raised):
    (tmp_path / f"{module}.py").write_text(INTERRUPT.format(raised=raised))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    status, out, err = run(str(ROOT / "scripts" / f"{file_of(command)}.py"), "--no_such_flag", cwd=ROOT, PYTHONPATH=path)
    assert (status, out) == (130, "")
    assert err in ("", "stopped by SIGINT\n")


def test_help_has_its_sections_in_order(capsys):
    with pytest.raises(SystemExit):
        load_config(["--help"])
    lines = capsys.readouterr().out.splitlines()
    sections = ["Data", "Network and loss", "Optimizer and schedule", "Length", "Several ranks", "Run"]
    assert [line for line in lines if line in sections] == sections


def test_a_component_is_described_with_defaults_and_ranges(capsys):
    for argv in (["--list", "model", "fc"], ["--help", "model", "fc"], ["--list", "fc"]):
        with pytest.raises(SystemExit):
            load_config(argv)
        words = " ".join(capsys.readouterr().out.split())
        assert "widths=[200,100] a list of 1 to 100 items, each an integer from 1 to 32768" in words
        assert "dropout=0.0 a number from 0 to 0.99" in words
    for words, message in [
        ("model fcc", "did you mean 'fc'"),
        ("modle", "did you mean 'model'"),
        ("model fc cnn", "--list model fc"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_config(["--list", *words.split()])


@pytest.mark.parametrize("name", ["fc", "fc.yaml", "fc.yml", "configs/fc.yaml", "configs/fc.yml"])
def test_a_recipe_is_found_by_its_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(["--config", name]).model_args == {"widths": [256, 128], "dropout": 0.1}
    (tmp_path / "configs").mkdir()
    for own in ("fc", "fc.yaml", "fc.yml", "configs/fc.yaml", "configs/fc.yml"):  # a file of the user's own comes first
        (tmp_path / own).write_text("model: rnn\n")
    assert load_config(["--config", name]) == Config(model="rnn")


def test_a_wheel_has_recipes_and_the_type_marker(tmp_path):
    built, other = tmp_path / "lib", tmp_path / "elsewhere"
    other.mkdir()
    build = ["setup.py", "-q", "build", "--build-base", str(tmp_path / "base"), "--build-lib", str(built)]
    status, _, err = run(*build, cwd=ROOT)
    assert status == 0, err
    recipes = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert {path.name for path in (built / "mnist_paddle" / "configs").iterdir()} == recipes
    assert (built / "mnist_paddle" / "py.typed").exists()
    lessons = Path("mnist_paddle", "debugging", "lessons")
    for path in (ROOT / lessons).glob("lesson_*"):
        assert (built / lessons / path.name).read_bytes() == path.read_bytes()
    status, out, err = run("-m", "mnist_paddle", "train", "--config", "fc", "--print_config", cwd=other, PYTHONPATH=str(built))
    assert status == 0, err
    assert "model: fc\n" in out


def test_an_editable_install_works_in_the_folder_that_holds_the_clone(tmp_path):
    """Python must prefer the package to the clone's folder, which is a namespace package there."""
    code = "import mnist_paddle; print(mnist_paddle.__file__)"
    installed = run("-c", code, cwd=tmp_path, PYTHONPATH="")[1].strip()
    if installed != mnist_paddle.__file__ or "site-packages" in installed:
        pytest.skip("this checkout is not what is installed as editable")
    (tmp_path / "mnist_paddle").mkdir()
    assert run("-c", code, cwd=tmp_path, PYTHONPATH="") == (0, f"{installed}\n", ""), "installed before? pip install -e . again"


def test_a_script_without_the_package_says_how_to_install_it(tmp_path):
    for name in COMMANDS:
        text = (ROOT / "scripts" / f"{file_of(name)}.py").read_text().replace("mnist_paddle.cli", "mnist_paddle_missing.cli")
        (tmp_path / "script.py").write_text(text)
        status, out, err = run("script.py", cwd=tmp_path)
        assert (status, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert "pip install -e" in err


def test_an_old_python_is_refused_before_anything_is_installed():
    first = ast.parse((ROOT / "setup.py").read_text()).body[1:3]
    code = ast.unparse(ast.Module(first, [])).replace("(3, 9)", "(4, 0)")
    status, out, err = run("-c", code, cwd=ROOT)
    assert (status, out) == (1, "")
    assert err.startswith("mnist_paddle needs Python 3.9 or newer; this is Python 3.")


def test_editors_see_what_the_package_offers():
    module = ast.parse(Path(mnist_paddle.__file__).read_text())
    (block,) = [node for node in module.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == mnist_paddle._HOME
    assert set(mnist_paddle.__all__) == {*seen, "Interrupted", "RunError", "UsageError", "__version__"}
    assert all(getattr(mnist_paddle, name) for name in mnist_paddle.__all__)
