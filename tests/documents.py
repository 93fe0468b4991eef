"""The Markdown files, their blocks, and the checks of the commands in them."""

import inspect
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

from mnist_paddle import Loader, load_config, load_dataset, load_loss
from mnist_paddle.settings.advice import file_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}


def blocks(language: str) -> list:
    """(document, text) of every block of a language."""
    found = [(name, block) for name, text in DOCUMENTS.items() for block in re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)]
    assert found, f"no document has a block of {language}"
    return found


def commands() -> list:
    """(document, words) of every command; a line may join several with &&."""
    found = []
    for name, block in blocks("bash"):
        for line in block.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
            lexer.whitespace_split = True
            found.append((name, []))
            for word in lexer:
                if word == "&&":
                    found.append((name, []))
                else:
                    found[-1][1].append(word)
    return [(name, words) for name, words in found if words]


def check_train(words, small) -> None:
    """The flags are valid, files that they name can be read, and one step can be made."""
    from mnist_paddle.experiment.network import TrainedOn
    from mnist_paddle.experiment.state import build
    from mnist_paddle.trainer import train_step

    try:
        config = load_config(words)
    except SystemExit as stop:  # --list, --print_config
        if stop.code:
            raise
        return
    data = small if config.data_dir is None else load_dataset(config.dataset, config.data_dir, log=lambda text: None)
    state = build(config, trained_on=TrainedOn(data.classes))
    batches = Loader(data.train, 8, augment=config.augment).batches()
    train_step(state, state.model, load_loss(config.loss, config.loss_args), next(batches), rate=1e-3)
    batches.close()
    assert state.step == 1


def check_launch(words, small) -> None:
    from mnist_paddle.cli.launch import parse
    from mnist_paddle.experiment import preflight

    own, flags = parse(words)
    preflight.check(load_config(flags), (own.nproc or 2) * own.nnodes)


def check_evaluate(words, small) -> None:
    from mnist_paddle.cli.evaluate import parse
    from mnist_paddle.experiment import checkpoint

    arguments = parse(words)
    checkpoint.load(arguments.run)
    if arguments.data_dir:
        load_dataset(arguments.dataset or "custom", arguments.data_dir, log=lambda text: None)


def check_parsed(name: str):
    """A check by the command's own parser alone."""
    return lambda words, small: import_module(f"mnist_paddle.cli.{file_of(name)}").parse(words)


PARSED = (
    "data",
    "predict",
    "make_pictures",
    "compare",
    "find_lr",
    "inspect",
    "study",
    "verify_resume",
    "benchmark",
    "replay",
    "lesson",
    "bugs",
)
CHECKS = {name: check_parsed(name) for name in PARSED}
CHECKS.update(train=check_train, launch=check_launch, evaluate=check_evaluate)


def check_pytest(words) -> None:
    """Markers are those of pyproject.toml, paths exist."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    options = dict(zip(words, words[1:]))
    for marker in re.findall(r"\w+", options.get("-m", "")):
        assert marker in ("not", "and", "or") or f'"{marker}: ' in project, f"there is no marker {marker}"
    for word in words:
        assert "/" not in word or (ROOT / word).exists(), word


def check_install(words) -> None:
    """pip install: extras are those of setup.py."""
    assert words[0] == "install"
    for extra in re.findall(r"\w+", "".join(re.findall(r"\[(.*?)\]", " ".join(words)))):
        assert re.search(rf'"{extra}": \[', (ROOT / "setup.py").read_text("utf-8")), f"there is no extra {extra}"


def check_visualdl(words) -> None:
    from visualdl.server import args

    for word in words:
        assert not word.startswith("--") or f'"{word}"' in inspect.getsource(args), word


def check_paddle_launcher(words, small) -> None:
    """Paddle's own launcher reads sys.argv."""
    from paddle.distributed.launch.context.args_envs import parse_args

    sys.argv[1:] = words
    known, unknown = parse_args()
    assert not unknown
    assert known.training_script == "scripts/train.py"
    check_train(known.training_script_args, small)


def check_style(program: str, words) -> None:
    """What a contributor runs is what CI runs."""
    assert f"/{' '.join([program, *words])}\n" in (ROOT / ".ci" / "run").read_text("utf-8")


def check_module(words, small) -> None:
    """`python -m MODULE ...`"""
    module, arguments = words[0], words[1:]
    if module == "pytest":
        check_pytest(arguments)
    elif module == "mnist_paddle":
        check_ours(arguments, small)
    elif module == "paddle.distributed.launch":
        check_paddle_launcher(arguments, small)
    else:
        assert words == ["venv", ".venv"], words


def check_ours(words, small) -> None:
    """`mnist-paddle COMMAND ...`"""
    CHECKS[words[0].replace("-", "_")](words[1:], small)


def check_command(words, small) -> None:
    """One command of any program; in the folder of a reader of the documents."""
    program, arguments = words[0].rpartition("/")[2], words[1:]
    others = {"pip": check_install, "visualdl": check_visualdl, "pytest": check_pytest}
    if program in ("python", "python3") and arguments[0] == "-m":
        check_module(arguments[1:], small)
    elif program in ("python", "python3"):
        assert (ROOT / arguments[0]).parent == ROOT / "scripts", arguments[0]
        name = {file_of(command): command for command in CHECKS}[Path(arguments[0]).stem]
        check_ours([name, *arguments[1:]], small)
    elif program == "mnist-paddle":
        check_ours(arguments, small)
    elif program in ("ruff", "mypy"):
        check_style(program, arguments)
    elif program in others:
        others[program](arguments)
    else:
        assert words == [".", ".venv/bin/activate"], f"no check for {' '.join(words)}"
