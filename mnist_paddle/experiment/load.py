"""A trained network by the path of its run."""

import paddle

from ..config import make_config, settings_of
from ..errors import UsageError
from ..models import MODELS
from ..registry import call
from ..system.global_state import fresh_global_state
from ..system.paths import StrPath
from . import checkpoint


def load_model(path: StrPath) -> tuple[paddle.nn.Layer, dict]:
    """The network of a run folder or checkpoint, with the weights that were evaluated (averaged, if the run kept an average).

    Returns the layer in evaluation mode and the run's settings as a dict.
    """
    arrays, progress = checkpoint.load(path)
    if progress.get("own_model"):
        raise UsageError(
            f"{path} holds the weights of a network that was given in Python, fit(..., model=network), which no setting names; "
            "build it there and resume(path, model=network)"
        )
    config = make_config(checkpoint.settings_in(progress, path))  # which validates every value: the file may come from a stranger
    with fresh_global_state():
        model = call("model", MODELS.pick(config.model), config.model_arguments())
        checkpoint.restore_model(model, checkpoint.weights(arrays), path)
    model.eval()
    # As recorded: runs of early versions have paths relative to the folder in which they were trained.
    return model, {**settings_of(config), "data_dir": config.data_dir, "init_from": config.init_from}
