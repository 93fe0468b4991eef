"""What the commands do not import: a second before a wrong flag is refused is a second lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_paddle.cli.main import COMMANDS

SCRIPTS = Path(__file__).parents[1] / "scripts"
# Each takes 0.1 to 1.2 s.
HEAVY = {"paddle", "matplotlib", "visualdl", "setuptools", "scipy", "onnxruntime", "flask", "pandas", "http.client", "cv2"}


def imported(*words: str) -> set:
    """The top-level modules that a command has imported when it ends."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(list(sys.modules)), file=sys.__stdout__, flush=True))\n"
        f"sys.argv = {['mnist-paddle', *words]!r}\n"
        "from mnist_paddle.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [("--help",), ("--list",), ("--list", "model", "fc"), ("--version",), ("--nonsense",)], ids=" ".join
)
@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_usage_errors_import_nothing_heavy(command, words):
    assert not imported(command, *words) & HEAVY


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",), ("tarin",)])
def test_the_overview_does_without_numpy(words):
    assert not imported(*words) & {*HEAVY, "numpy", "yaml"}


@pytest.mark.parametrize("words", [("train", "--lr", "abc"), ("train", "--model", "fcc"), ("train", "--print_config")])
def test_wrong_values_import_nothing_heavy(words):
    assert not imported(*words) & HEAVY


PADDLE = "import sys, mnist_paddle, paddle; "


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_module_for_extensions_is_whole_when_it_is_used():
    show = "print(callable(paddle.utils.cpp_extension.load), 'setuptools' in sys.modules)"
    assert python(PADDLE + show) == "True True"
    assert python(PADDLE + "from paddle.utils.cpp_extension import CppExtension, load; print(load.__name__)") == "load"
    assert python(PADDLE + "print(hasattr(paddle.utils.cpp_extension, 'nothing'))") == "False"


def test_visualdl_can_be_imported_whole_afterwards(tmp_path):
    code = "from mnist_paddle.tracking import vdl; vdl.record('scalar', 'a', {'value': 1.0, 'step': 1})\n"
    code += "import sys; assert 'visualdl' not in sys.modules\n"
    code += "from visualdl import LogWriter\n"
    code += f"with LogWriter({str(tmp_path)!r}) as writer: writer.add_scalar('a', 1.0, 1)\nprint('ok')"
    assert python(code) == "ok"
