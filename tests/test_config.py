import dataclasses

import pytest

from mnist_paddle import Config, UsageError, load_config
from mnist_paddle.config import refused_changes, settings_of


def test_flags_go_over_yaml_and_yaml_over_defaults_wherever_they_stand(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("epochs: 7\nlearning_rate: 1e-3\nmodel: fc\nmodel_args: {widths: [30, 20]}\n")
    for argv in (
        ["--config", str(file), "--epochs", "2"],
        ["--epochs", "2", "--config", str(file)],
        ["--epochs=2", f"--config={file}"],
    ):
        config = load_config(argv)
        assert (config.epochs, config.learning_rate, config.model) == (2, 0.001, "fc")
        assert config.model_args == {"widths": [30, 20]}
        assert config.batch_size == Config().batch_size


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--batch-size", "32"], "batch_size", 32),
        (["--lr", "1e-2"], "learning_rate", 0.01),
        (["--lr=0.5"], "learning_rate", 0.5),
        (["--output_dir=-x"], "output_dir", "-x"),
        (["--dry_run"], "dry_run", True),
        (["--dry-run"], "dry_run", True),
        (
            ["--model_args", "channels=[8,16],norm=batch,dropout=0.1"],
            "model_args",
            {"channels": [8, 16], "norm": "batch", "dropout": 0.1},
        ),
        (["--model-args={kernel: 3}"], "model_args", {"kernel": 3}),
        (["--loss", "focal", "--loss_args", "gamma=1.5"], "loss_args", {"gamma": 1.5}),
        (["--optimizer", "momentum", "--momentum", "0.8"], "momentum", 0.8),
        (["--validation_size", "0"], "validation_size", 0),
        (["--loss", "mse_scalar", "--model_args", "outputs=1"], "loss", "mse_scalar"),
    ],
)
def test_spellings_that_are_accepted(argv, field, value):
    assert getattr(load_config(argv), field) == value


# (flags, what the message says)
WRONG = [
    (["--modle", "cnn"], "modle"),
    (["--epoch", "3"], "epoch"),
    (["cnn"], "cnn"),
    (["--model", "cn"], "did you mean 'cnn'"),
    (["--optimizer", "adamm"], "did you mean 'adam'"),
    (["--reader", "fast"], "choices: sync, async, resident"),
    (["--epochs", "three"], "--epochs must be an integer; it is 'three'"),
    (["--epochs", "0"], "at least 1"),
    (["--batch_size", "-4"], "at least 1"),
    (["--lr", "-1"], "at least 0"),
    (["--lr", "0"], "above 0"),
    (["--lr", "nan"], "--learning_rate must be a finite number; it is nan"),
    (["--momentum", "2", "--optimizer", "momentum"], "from 0 to 1"),
    (["--momentum", "0.9", "--optimizer", "sgd"], "those that do: momentum, rmsprop"),
    (["--activation", "tanh", "--model", "rnn"], "those that do: fc, cnn, quick, lenet, resnet"),
    (["--model_args", "widht=3"], "no argument 'widht'"),
    (["--schedule_args", "drops=3"], "no argument 'drops'"),
    (["--optimizer_args", "learning_rate=3"], "no argument 'learning_rate'"),
    (["--loss", "mse_scalar"], "add --model_args outputs=1"),
    (["--model_args", "outputs=1"], "--loss mse_scalar"),
    (["--warmup_epochs", "4"], "leaves nothing"),
    (["--validation_size", "0", "--patience", "2"], "need --validation_size"),
    (["--config", "nowhere.yaml"], "nowhere.yaml"),
    (["--dataset", "minst"], "did you mean 'mnist'"),
    (["--resume", "yes"], "yes"),
    (["--init_from", ""], "no path"),
    (["--output_dir="], "no path"),
    (["--data_dir", "a\0b"], "no path"),
    (["--output_dir", "run\udcff"], "no path"),
    (["--resume", "--dry_run"], "can't --resume"),
    (["--accumulate_steps", "65"], "more than --batch_size 64 has images"),
    (["--keep", "-1"], "at least 0"),
    (["--checkpoint_minutes", "-1"], "at least 0"),
]


@pytest.mark.parametrize(("argv", "message"), WRONG)
def test_what_makes_no_sense_is_a_usage_error_that_says_what_would(argv, message):
    with pytest.raises(UsageError) as caught:
        load_config(argv)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["epochz: 3", "model_args: 5", "epochs: [1", "- 1", "epochs: 1.5"])
def test_a_wrong_yaml_file_is_a_usage_error(tmp_path, text):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UsageError):
        load_config(["--config", str(file)])


def test_a_config_made_in_python_is_checked_too():
    with pytest.raises(UsageError, match="--epochs must be an integer"):
        Config(epochs="3")
    with pytest.raises(UsageError, match="finite"):
        Config(learning_rate=float("inf"))
    with pytest.raises(UsageError, match="no model 'cn'"):
        Config(model="cn")


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3


def test_print_config_prints_what_can_be_read_back(tmp_path, capsys):
    with pytest.raises(SystemExit):
        load_config(["--model", "fc", "--model_args", "widths=[5]", "--print_config"])
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    assert load_config(["--config", str(file)]) == Config(model="fc", model_args={"widths": [5]})


RUN = {"model": "fc", "model_args": {"widths": [5]}, "epochs": 7, "schedule": "constant", "max_minutes": 2.0}


def test_a_resumed_run_has_its_own_settings_for_defaults_and_flags_over_them():
    asked = []

    def run_settings(path):
        asked.append(path)
        return RUN

    config = load_config(["--resume", "--output_dir", "runs/a", "--epochs", "9", "--max_minutes", "null"], run_settings)
    assert asked == ["runs/a"]
    assert config == Config(**{**RUN, "epochs": 9, "max_minutes": None}, resume=True, output_dir="runs/a")
    assert load_config(["--epochs", "9"], run_settings) == Config(epochs=9)
    assert asked == ["runs/a"]


def test_settings_of_a_newer_version_are_refused_by_name():
    with pytest.raises(UsageError, match="no setting 'epochz'"):
        load_config(["--resume", "--output_dir", "runs/a"], lambda path: {"epochz": 3})


def test_of_every_setting_it_is_known_whether_a_resumed_run_may_change_it():
    free = {field.name for field in dataclasses.fields(Config) if field.metadata["free"]}
    assert free == set(
        "data_dir corrections strict_data reader "
        "max_minutes target_accuracy patience device kernels threads replicas output_dir resume checkpoint_every "
        "checkpoint_minutes keep evaluate_every log_every alarms check_layers parallel sync stall_seconds plugins".split()
    )
    assert refused_changes(RUN, Config(**{**RUN, "log_every": 3, "output_dir": "elsewhere"})) == []
    assert refused_changes(RUN, Config(**{**RUN, "seed": 3})) == ["--seed was 0, not 3"]
    # a tuple from Python is the list that the file holds
    assert refused_changes(RUN, Config(**{**RUN, "model_args": {"widths": (5,)}})) == []


def test_what_describes_a_run_says_nothing_of_where_it_lies():
    assert not {"output_dir", "resume"} & settings_of(Config(output_dir="runs/a")).keys()
