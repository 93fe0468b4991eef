"""A trained network by the path of its run."""

from ..config import make_config, settings_of
from ..errors import UsageError
from ..models import MODELS
from ..registry import call
from ..system.global_state import fresh_global_state
from . import checkpoint


def load_model(path):
    """The network of a run folder or checkpoint, with its evaluated weights (the averaged ones where the run kept an average).

    Returns the layer in evaluation mode and the run's settings as a dict.
    """
    arrays, progress = checkpoint.load(path)
    if progress.get("own_model"):
        raise UsageError(
            f"{path} holds the weights of a network that was given in Python, fit(..., model=network), which no setting names; "
            "build it there and resume(path, model=network)"
        )
    config = make_config(checkpoint.settings_in(progress, path))  # which looks at every value: the file may come from a stranger
    with fresh_global_state():
        model = call("model", MODELS.pick(config.model), config.model_arguments())
        checkpoint.restore_model(model, checkpoint.weights(arrays), path)
    model.eval()
    # As recorded: an early run has paths that are seen from the folder in which it was trained.
    return model, {**settings_of(config), "data_dir": config.data_dir, "init_from": config.init_from}
