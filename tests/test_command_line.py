"""Flags as people type and paste them: read, or one line that says what to type."""

import inspect
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_paddle import Config, UsageError, load_config
from mnist_paddle.config import FIELDS, settings_of

# (flags, setting, value)
READ = [
    (["--lr", "1", "--lr", "2"], "learning_rate", 2.0),
    (["--lr=1", "--learning-rate=2"], "learning_rate", 2.0),
    (["--epochs", "1e1"], "epochs", 10),
    (["--epochs", "0x10"], "epochs", 16),
    (["--epochs", " 3"], "epochs", 3),
    (["--lr", ".5"], "learning_rate", 0.5),
    (["--dry_run=true", "--dry_run=false"], "dry_run", False),
    (["--max_minutes", "null"], "max_minutes", None),
    (["--target_accuracy", "None"], "target_accuracy", None),
    (["--target_accuracy=~"], "target_accuracy", None),
    (["--data_dir", "null"], "data_dir", None),
    (["--validation_size", "null"], "validation_size", None),
    (["--model_args", ""], "model_args", {}),
    (["--model_args=null"], "model_args", {}),
    (["--model_args", "channels=(4, 8), norm='batch',"], "model_args", {"channels": [4, 8], "norm": "batch"}),
    (["--model_args", '{"channels": [4, 8], "dropout": 1e-1}'], "model_args", {"channels": [4, 8], "dropout": 0.1}),
    (["--model_args", "norm: batch"], "model_args", {"norm": "batch"}),
    (["--loss=focal", "--loss_args", "gamma=1e-3"], "loss_args", {"gamma": 0.001}),
    (["--output_dir", "1e3"], "output_dir", "1e3"),
    (["--output_dir", Path("runs") / "a"], "output_dir", "runs/a"),
    (["--epochs", 3], "epochs", 3),
]


@pytest.mark.parametrize(("argv", "name", "value"), READ)
def test_what_is_read(argv, name, value):
    setting = getattr(load_config(argv), name)
    assert setting == value
    assert type(setting) is type(value)


# (flags, part of the message)
WRONG = [
    (["--epoch", "3"], "--epoch: there is no such flag; did you mean --epochs?"),
    (["--batchsize", "3"], "did you mean --batch_size?"),
    (["--learningrate", "3"], "did you mean --learning_rate?"),
    (["--Epochs", "3"], "did you mean --epochs?"),
    (["--optimiser", "sgd"], "did you mean --optimizer?"),
    (["--gpu"], "did you mean --device?"),
    (["--wd=1e-4"], "did you mean --weight_decay?"),
    (["--nproc", "2"], "it is a flag of launch: scripts/launch.py or mnist-paddle launch"),
    (["--split", "test"], "it is a flag of evaluate: scripts/evaluate.py"),
    (["--dropout", "0.2"], "--model_args, with dropout=..."),
    (["--gamma", "2"], "--loss_args, with gamma=..."),
    (["--model_args.dropout", "0.2"], "write --model_args dropout=VALUE"),
    (["-lr", "3"], "flags begin with two dashes: --lr"),
    (["--epochs", "3", "-lr", "3"], "flags begin with two dashes: --lr"),
    (["–epochs", "3"], "type --epochs"),
    (["--seed", "1", "—epochs", "3"], "type --epochs"),
    (["--epochs"], "--epochs needs a value, such as --epochs 1"),
    (["--epochs", "--lr", "3"], "--epochs needs a value"),
    (["--config"], "--config needs a value"),
    (["--config", "a.yaml", "b.yaml"], "'b.yaml' belongs to no flag. For several files: --config a.yaml --config b.yaml"),
    (["--config", "cnn", "fc"], "For several files: --config cnn --config fc"),
    (["--config", "cnnn"], "there is no such settings file; did you mean cnn?"),
    (["--config", "resnet.yam"], "there is no such settings file; did you mean resnet?"),
    (["--config", "nothing"], "there is no such settings file; the recipes are baseline, cnn, "),
    (["--config", ""], "there is no such settings file"),
    (["--config", "nowhere/cnn"], "--config nowhere/cnn: there is no such settings file"),
    (["--config", "x" * 5000], "can't be read"),
    (["softmax"], "did you mean --config softmax?"),
    (["--optimizer", "adma"], "did you mean 'adam'?"),
    (["--npoc", "2"], "did you mean --nproc? It is a flag of launch"),
    (["--nproc_per_node", "2"], "did you mean --nproc? It is a flag of launch"),
    (["--optimizer", "momentum", "--momentum", "0.5", "--optimizer_args", "momentum=0.9"], "leave one of them out"),
    (["--activation", "tanh", "--model_args", "activation=relu"], "--activation and --model_args activation=relu give the same"),
    (["--model_args"], "--model_args needs a value, such as channels="),
    (["--dry_run", "false"], "write --dry_run=false"),
    (["--resume=maybe"], "--resume must be true or false; it is 'maybe'"),
    (["fc"], "did you mean --model fc?"),
    (["recipe.yaml"], "did you mean --config recipe.yaml?"),
    (["epochs=3"], "did you mean --epochs=3?"),
    (["--model", "fc", "runs", "x"], "'runs' belongs to no flag"),
    (["--"], "no such flag"),
    (["--model_args", "widths=[10,", "20]"], "type --model_args 'widths=[10,20]'"),
    (["--model_args", "widths=[10]", "dropout=0.2"], "type --model_args 'widths=[10],dropout=0.2'"),
    (["--model_args", "dropout=0.1,", "norm=batch"], "type --model_args dropout=0.1,norm=batch"),
    (["--model_args", "widths=[4", "4]"], "type --model_args 'widths=[4,4]'"),
    (["--model_args", "widths=[", "4", ",", "4", "]"], "type --model_args 'widths=[4,4]'"),
    (["--model_args", "{norm:", "batch}"], "type --model_args '{norm: batch}'"),
    (["--model_args", "widths", "=", "[10]"], "type --model_args 'widths=[10]'"),
    (["--model_args", "widths=[10,20"], "lacks a ']'"),
    (["--model_args", "widths=10]"], "a ']' too many"),
    (["--model_args", "widths=[10}"], "a '}' too many"),
    (["--model_args", "norm='batch"], 'lacks a "\'"'),
    (["--model_args", "channels=32,64"], "a list goes in brackets: channels=[...]"),
    (["--model_args", "norm=batch,norm=none"], "norm is given twice"),
    (["--model_args", "{norm: batch, norm: none}"], "norm is given twice"),
    (["--model_args", "norm="], "norm has no value"),
    (["--model_args", "norm"], "write pairs"),
    (["--model_args", "norm:batch"], "write norm=batch"),
    (["--model_args", "[norm]"], "write pairs"),
    (["--model_args", "norm=*a"], "quotes"),
    (["--model_args", "norm=!!python/name:os.system x"], "is not read"),
    (["--epochs", "3.5"], "--epochs must be an integer; it is 3.5"),
    (["--epochs", "010"], "without leading zeros: 10"),
    (["--epochs", "1,000"], "without commas: 1000"),
    (["--epochs", ""], "--epochs must be an integer; it is ''"),
    (["--epochs", "9" * 5000], "--epochs must be an integer"),
    (["--lr", "0,01"], "with a point: 0.01"),
    (["--lr", "10^-3"], "as 1e-3"),
    (["--lr", "−1"], "with an ASCII minus: -1"),
    (["--lr", "1e400"], "finite"),
    (["--target_accuracy", "99%"], "without the sign: 99"),
    (["--max_minutes", "1:30"], "--max_minutes must be a number"),
    (["--max_minutes", ""], "--max_minutes must be a number"),
    (["--validation_size", "0.1"], "must be a number of images"),
    (["--warmup_epochs", "500"], "it counts epochs"),
    (["--ema", "1.0"], "from 0 to 0.99999"),
    (["--seed", "-1"], "from 0 to"),
    (["--resume", "runs/mine"], "write --resume --output_dir runs/mine"),
    (["--dry_run", "yes"], "leave 'yes' out"),
]


@pytest.mark.parametrize(("argv", "message"), WRONG)
def test_what_is_refused_and_the_remedy(argv, message):
    with pytest.raises(UsageError) as caught:
        load_config(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("<class", "NoneType", " str;", " int;"))


def test_a_settings_file_is_found_in_spite_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my file.yaml").write_text("epochs: 2\n")
    (tmp_path / "own.yml").write_text("epochs: 3\n")
    with pytest.raises(UsageError, match=r"quotes: --config 'my file\.yaml'"):
        load_config(["--config", "my", "file.yaml"])
    with pytest.raises(UsageError, match=r"did you mean own\.yml\?"):
        load_config(["--config", "own.yaml"])
    assert load_config(["--config", "own.yml", "--config", "my file.yaml"]).epochs == 2


QUESTIONS = [["-h"], ["--help"], ["--list"], ["--version"], ["--epochs", "x", "--help"], ["--help", "--nonsense"]]


@pytest.mark.parametrize("argv", QUESTIONS)
def test_questions_are_answered_whatever_else_is_wrong(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        load_config(argv)
    assert not caught.value.code
    assert capsys.readouterr().out


def test_help_names_every_setting_and_its_choices(capsys):
    with pytest.raises(SystemExit):
        load_config(["--help"])
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in FIELDS)
    assert "one_cycle" in text
    assert "given twice" in text


def test_a_notebooks_values_are_settings():
    config = Config(
        data_dir=Path("a") / "b",
        epochs=np.int64(3),
        learning_rate=np.float32(0.5),
        momentum=np.float64(0.5),
        dry_run=np.bool_(True),
        model=np.str_("fc"),
        optimizer="momentum",
        model_args={"widths": (np.int32(10), 20), "dropout": np.float32(0.5)},
    )
    plain = Config(
        data_dir=str(Path("a", "b")),
        epochs=3,
        learning_rate=0.5,
        momentum=0.5,
        dry_run=True,
        model="fc",
        optimizer="momentum",
        model_args={"widths": [10, 20], "dropout": 0.5},
    )
    assert config == plain
    assert settings_of(config) == settings_of(plain)
    assert [type(value) for value in vars(config).values()] == [type(value) for value in vars(plain).values()]
    for widths in (range(10, 30, 10), np.array([10, 20]), [np.int8(10), 20]):
        assert Config(model="fc", model_args={"widths": widths}).model_args == {"widths": [10, 20]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.1, "learning_rate": 0.1}, "learning_rate is given twice"),
        ({"lr": -1}, "--learning_rate must be at least 0"),
        ({"LR": 0.1}, "no setting 'LR'; did you mean learning_rate?"),
        ({"epoch": 1}, "did you mean epochs?"),
        ({"dropout": 0.5}, "model_args, with dropout=..."),
        ({"epochs": 1.5}, "--epochs must be an integer; it is 1.5"),
        ({"epochs": True}, "--epochs must be an integer; it is True"),
        ({"epochs": None}, "--epochs must be an integer; it is empty"),
        ({"epochs": np.array([1, 2])}, "--epochs must be an integer; it is a list"),
        ({"learning_rate": np.float64("nan")}, "finite"),
        ({"dry_run": 1}, "--dry_run must be true or false; it is 1"),
        ({"model_args": [1]}, "--model_args must be name=value pairs; it is a list"),
        ({"data_dir": b"bytes"}, "--data_dir must be a string"),
        ({"model": print}, "--model must be a string"),
    ],
)
def test_what_python_gives_wrongly_is_a_usage_error(settings, message):
    with pytest.raises(UsageError) as caught:
        Config(**settings)
    assert message in str(caught.value)


def test_a_config_stays_a_plain_dataclass():
    config = Config(model="fc", seed=3)
    assert pickle.loads(pickle.dumps(config)) == replace(Config(model="fc"), seed=3) == config
    assert list(inspect.signature(Config).parameters) == list(FIELDS)


@pytest.mark.parametrize("argv", [[], ["-c"], [""], ["/usr/lib/python3/ipykernel_launcher.py", "-f", "kernel.json"]])
def test_flags_given_as_a_list_do_not_depend_on_the_processes_own(argv, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert load_config(["--epochs", "2"]) == Config(epochs=2)
    assert load_config([]) == Config()
