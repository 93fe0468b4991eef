"""Settings files as editors, shells and hand-written notes leave them: read, or one line with file, line and key."""

import dataclasses
import os
import subprocess
import sys

import pytest

from mnist_paddle import Config, UsageError, load_config
from mnist_paddle.settings.file import dump

RECIPE = "# 学习率和批大小\nmodel: linear\nlearning_rate: 1e-3\nbatch_size: 32\n"


def read(tmp_path, content, *flags):
    file = tmp_path / "recipe.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_config(["--config", str(file), *flags])


def refusal(tmp_path, content, *flags):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content, *flags)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / "recipe.yaml"), "FILE")


READ = {
    "utf-8": RECIPE,
    "BOM and CRLF": b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode(),
    "CR": RECIPE.replace("\n", "\r"),
    "document marks": f"---\n{RECIPE}...\n",
    "flag spellings": "model: linear\nlr: 0.001\nbatch-size: 32\n",
    "flags": "--model: linear\n--lr: 0.001\n--batch-size: 32\n",
    "texts": "model: 'linear'\nlearning_rate: '1e-3'\nbatch_size: \"32\"\n",
    "JSON": '{"model": "linear", "learning_rate": 0.001, "batch_size": 32}',
    "JSON with tabs": '{\n\t"model": "linear",\n\t"learning_rate": 1.0e-3,\n\t"batch_size": 32\n}',
    "hexadecimal": "model: linear\nlr: .001\nbatch_size: 0x20\n",
    "whole numbers as floats": "model: linear\nlr: 1E-3\nbatch_size: 3.2e1\n",
}


@pytest.mark.parametrize("name", READ)
def test_one_recipe_in_many_forms(name, tmp_path):
    assert read(tmp_path, READ[name]) == Config(model="linear", learning_rate=0.001, batch_size=32)


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}])
def test_utf8_is_read_under_any_locale(environment, tmp_path):
    (tmp_path / "配方.yaml").write_bytes(f"{RECIPE}output_dir: läufe/数字\n".encode())
    code = "from mnist_paddle import load_config; print(ascii(load_config(['--config', '配方.yaml']).output_dir))"
    command = [sys.executable, "-c", code.replace("配方", "\\u914d\\u65b9")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **environment})
    if environment.get("PYTHONUTF8") == "0":
        # Under an ASCII locale Python itself can't name the file; what matters is the content.
        (tmp_path / "recipe.yaml").write_bytes((tmp_path / "配方.yaml").read_bytes())
        command[-1] = code.replace("配方", "recipe")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **environment})
    assert (done.stdout.strip(), done.stderr) == (ascii("läufe/数字"), "")


# line of YAML -> setting, value
MEANT = [
    ("dry_run: yes", "dry_run", True),
    ("dry_run: off", "dry_run", False),
    ("output_dir: 2024-01-01", "output_dir", "2024-01-01"),
    ("output_dir: 010", "output_dir", "010"),
    ("output_dir: 1e3", "output_dir", "1e3"),
    ("output_dir: yes", "output_dir", "yes"),
    ("output_dir: ~", "output_dir", None),
    ("output_dir: None", "output_dir", None),
    ("output_dir: 'null'", "output_dir", "null"),
    ("data_dir:", "data_dir", None),
    ("max_minutes: null", "max_minutes", None),
    ("model_args:", "model_args", {}),
    ("model_args: {}", "model_args", {}),
    ("model_args: channels=[4,8],norm=batch", "model_args", {"channels": [4, 8], "norm": "batch"}),
    ("schedule_args:\n  final: 1e-3", "schedule_args", {"final": 0.001}),
    ("seed: 1_000", "seed", 1000),
]


@pytest.mark.parametrize(("text", "name", "value"), MEANT)
def test_a_value_means_what_it_says(text, name, value, tmp_path):
    assert getattr(read(tmp_path, text), name) == value


# content -> parts of the message
WRONG = {
    "GBK": (RECIPE.encode("gbk"), "FILE, line 1", "not UTF-8"),
    "Latin-1 in a value": ("epochs: 1\noutput_dir: läufe\n".encode("latin-1"), "FILE, line 2, output_dir", "not UTF-8"),
    "UTF-16": (RECIPE.encode("utf-16"), "FILE", "UTF-16; save it as UTF-8"),
    "UTF-16 without BOM": (RECIPE.encode("utf-16-le"), "FILE", "binary"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0", "FILE", "binary"),
    "control character": ("epochs: 3\nmodel: fc\x07\n", "FILE, line 2", "control character"),
    "too large": ("#" + "x" * 200_000, "FILE", "more than 100,000 bytes"),
    "tab": ("model: linear\nmodel_args:\n\toutputs: 10\n", "FILE, line 3", "tab"),
    "twice": ("epochs: 1\nmodel: fc\nepochs: 50\n", "FILE, line 3", "epochs is given twice, first in line 1"),
    "two spellings": ("lr: 1\nlearning_rate: 2\n", "FILE, line 2", "learning_rate is given twice, first in line 1"),
    "an argument twice": ("model_args:\n  norm: batch\n  norm: none\n", "FILE, line 3", "norm is given twice"),
    "list": ("- epochs: 1\n", "FILE, line 1", "the file is a list"),
    "text": ("hello\n", "FILE, line 1", "plain text ('hello')"),
    "no space": ("epochs:4\n", "FILE, line 1", "'epochs: 4'"),
    "no space below": ("model: fc\nepochs:4\n", "FILE, line 2", "'epochs:4'", "space after the colon"),
    "equals sign": ("epochs=4\n", "FILE, line 1", "'epochs: 4'"),
    "full-width colon": ("model: fc\nepochs：4\n", "FILE, line 2", "full-width"),
    "empty": ("", "FILE", "holds no settings"),
    "comments alone": ("# nothing\n", "FILE", "holds no settings"),
    "two documents": ("epochs: 1\n---\nepochs: 2\n", "FILE, line 2", "second document"),
    "bracket": ("epochs: [1\n", "FILE, line", "bracket"),
    "quote": ("model: 'fc\n", "FILE, line", "quote"),
    "Windows path": ('data_dir: "C:\\data"\n', "FILE, line 1", "single quotes"),
    "two colons": ("model: fc: 3\n", "FILE, line 1", "': '"),
    "at sign": ("model: @fc\n", "FILE, line 1", "quotes"),
    "indentation": ("model: fc\n  epochs: 3\n", "FILE, line 2", "indentation"),
    "bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nmodel_args: {c: [*b, *b]}\n", "FILE, line 1", "a: there is no such setting"),
    "bomb inside": ("model_args:\n  a: &a [x]\n  b: [*a, *a]\n", "FILE, line", "anchor"),
    "alias to itself": ("model_args: &a\n  b: *a\n", "FILE, line 1", "anchor"),
    "merge": ("model_args: &a {norm: batch}\nloss_args: {<<: *a}\n", "FILE, line"),
    "glob": ("data_dir: *.csv\n", "FILE, line 1", "quotes"),
    "deep": ("model_args: " + "[" * 5000, "FILE", "nested too deeply"),
    "tag": ("epochs: !!python/object/apply:os.system ['true']\n", "FILE, line 1", "!!python/object", "not read"),
    "tag of a number": ("epochs: !!float 3\n", "FILE, line 1", "!!float"),
    "heading": ("train:\n  epochs: 3\n", "FILE, line 1: train", "write epochs at the beginning of a line"),
    "component as a mapping": ("model:\n  name: fc\n", "FILE, line", "model_args"),
    "number as key": ("1: 2\n", "FILE, line 1", "the key '1'"),
    "null as key": ("~: 2\n", "FILE, line 1", "the key '~'"),
    "collection as key": ("[epochs]: 2\n", "FILE, line 1", "a collection"),
    "config inside": ("config: other.yaml\n", "FILE, line 1: config", "give --config twice"),
    "a question": ("epochs: 1\nlist: true\n", "FILE, line 2: list", "no setting"),
    "launcher's": ("nproc: 2\n", "FILE, line 1: nproc", "scripts/launch.py"),
    "argument": ("model: fc\ndropout: 0.2\n", "FILE, line 2: dropout", "model_args"),
    "misspelled": ("epochs: 3\nbatch_sise: 3\n", "FILE, line 2: batch_sise", "did you mean batch_size?"),
    "Keras's name": ("num_epochs: 3\n", "FILE, line 1: num_epochs", "did you mean epochs?"),
    "type": ("model: fc\nepochs: three\n", "FILE, line 2: epochs must be an integer; it is 'three'"),
    "fraction": ("model: fc\n\nepochs: 1.5\n", "FILE, line 3: epochs must be an integer; it is 1.5"),
    "octal": ("epochs: 010\n", "FILE, line 1: epochs must be an integer", "10"),
    "base 60": ("max_minutes: 1:30\n", "FILE, line 1: max_minutes must be a number"),
    "infinity": ("lr: .inf\n", "FILE, line 1: learning_rate must be a finite number"),
    "date": ("epochs: 2024-01-01\n", "FILE, line 1: epochs must be an integer"),
    "boolean for a number": ("epochs: true\n", "FILE, line 1: epochs must be an integer"),
    "number for a boolean": ("dry_run: 1\n", "FILE, line 1: dry_run must be true or false"),
    "list for a number": ("epochs: [3]\n", "FILE, line 1: epochs must be an integer; it is a list"),
    "mapping for a text": ("output_dir: {a: 1}\n", "FILE, line 1: output_dir must be a string; it is a mapping"),
    "nothing for a number": ("model: fc\nepochs:\n", "FILE, line 2: epochs must be an integer; it is empty"),
    "list for arguments": ("model_args: [a]\n", "FILE, line 1: model_args", "it is a list"),
    "number for arguments": ("model_args: 5\n", "FILE, line 1: model_args", "pairs"),
    "range": ("batch_size: 0\n", "FILE, line 1: batch_size must be at least 1"),
    "no such component": ("epochs: 3\nmodel: cn\n", "FILE, line 2: model: there is no model 'cn'"),
    "no such argument": ("model: fc\nmodel_args: {widht: 3}\n", "FILE, line 2: model_args", "widht"),
    "combination": ("epochs: 3\nwarmup_epochs: 5\n", "FILE, line 2: warmup_epochs 5 leaves nothing"),
    "percent": ("target_accuracy: 0.99\n", "FILE, line 1: target_accuracy 0.99 is in percent: 99?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_with_file_line_and_key(name, tmp_path):
    content, *parts = WRONG[name]
    message = refusal(tmp_path, content)
    assert all(part in message for part in parts), message


def test_a_flag_replaces_a_wrong_value_and_later_files_go_over_earlier_ones(tmp_path):
    assert read(tmp_path, "epochs: 0\n", "--epochs", "2").epochs == 2
    for name, text in (("one", "epochs: 1\nseed: 1\n"), ("two", "seed: 2\n")):
        (tmp_path / name).write_text(text)
    config = load_config(["--config", str(tmp_path / "one"), "--config", str(tmp_path / "two")])
    assert (config.epochs, config.seed) == (1, 2)


def test_what_is_no_readable_file_is_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("epochs: 1\n")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for path, part in (
        (tmp_path / "run", f"--config {tmp_path / 'run' / 'config.yaml'}?"),
        (tmp_path / "missing", "no such settings file"),
        (tmp_path / "run" / "config.yaml" / "x", "can't be read"),
        (tmp_path / ("x" * 300), "can't be read"),
        (tmp_path / "loop", "can't be read"),
        (tmp_path / "pipe", "not a file"),
        ("/dev/zero", "not a file"),
        ("", ""),
        ("a\0b", "can't be read"),
    ):
        with pytest.raises(UsageError) as caught:
            load_config(["--config", str(path)])
        assert part in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path):
    (tmp_path / "recipe.yaml").write_text("epochs: 1\n")
    (tmp_path / "recipe.yaml").chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        load_config(["--config", str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize(
    "settings",
    [
        {"data_dir": "läufe/数字 'x' \"y\": #😀", "epochs": 3},
        {"data_dir": "null", "init_from": "~"},
        {"data_dir": "None", "device": "cpu"},
        {"data_dir": "2024-01-01"},
        {"data_dir": "010"},
        {"data_dir": "1e3"},
        {"data_dir": "no"},
        {"data_dir": " spaces \n and lines\t"},
        {"learning_rate": 1e-30, "weight_decay": 1e22, "seed": 2**32 - 1},
        {"learning_rate": 1e-05, "target_accuracy": 99.5, "max_minutes": None},
        {"model": "fc", "model_args": {"widths": [1], "dropout": 1e-07, "norm": "none"}},
        {"schedule_args": {"final": 1e-16}},
    ],
)
def test_the_settings_of_a_run_come_back_whatever_they_are(settings, tmp_path):
    config = Config(**settings)
    text = dump(dataclasses.asdict(config))
    assert read(tmp_path, text, *["--init_from=null"] * ("init_from" in settings)) == Config(**{**settings, "init_from": None})
