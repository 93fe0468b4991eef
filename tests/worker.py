"""One rank of test_ranks.py: trains and evaluates what a JSON file lists, under paddle.distributed.launch or alone."""

import json
from pathlib import Path

import numpy as np
from digits import make_digits
from letters import letters

from mnist_paddle import Config, UsageError, evaluate, fit, load_loss, load_model
from mnist_paddle.cli import entry
from mnist_paddle.data.dataset import Dataset, Split
from mnist_paddle.distributed import communication
from mnist_paddle.experiment.folder import RunFolder


def small() -> Dataset:
    """602 training images: in batches of 60 the last one has 2, too few for 3 ranks."""
    images, labels = make_digits(903)
    parts = np.split(np.arange(903), [602, 703])
    return Dataset("custom", *(Split(images[part], labels[part]) for part in parts), source="synthetic")


def in_float64() -> None:
    """Make networks and images float64."""
    import paddle

    from mnist_paddle.data import loader
    from mnist_paddle.experiment import evaluation
    from mnist_paddle.system import global_state

    global_state.DTYPE = "float64"
    paddle.set_default_dtype("float64")
    normalize = loader.normalize
    evaluation.normalize = lambda pixels, *values, out=None: normalize(pixels, *values).astype(np.float64)
    loader.normalize = evaluation.normalize


def train(folder: Path, data: Dataset, name: str, settings: dict) -> None:
    """One run; each rank writes its own buffers and how often it skipped the exchange of gradients."""
    import paddle

    from mnist_paddle import trainer

    skipped, built, no_sync, build = [], [], paddle.DataParallel.no_sync, trainer.build

    def counted(model):
        skipped.append(1)
        return no_sync(model)

    by_rank = settings.pop("by_rank", None)  # settings of one rank only
    data = letters(images=24) if settings.pop("letters", False) else data
    fixed = {"batch_size": 60, "epochs": 2, "threads": 1, "kernels": "python", "learning_rate": 0.006, "optimizer_args": {}}
    if paddle.get_default_dtype() == "float64":
        fixed["reader"] = "sync"  # the asynchronous one writes into float32 tensors
    settings = {**fixed, "output_dir": str(folder / name), **settings}
    if by_rank and communication.rank() == by_rank[0]:
        settings |= by_rank[1]
    paddle.DataParallel.no_sync = counted
    trainer.build = lambda *arguments, **named: built.append(build(*arguments, **named)) or built[0]
    try:
        fit(Config(**settings), data, log=print)
        tensors = {key: tensor.numpy() for key, tensor in built[0].model.state_dict().items()}
        np.savez(folder / f"{name}.{communication.rank()}.npz", skipped=len(skipped), **tensors)
    except UsageError as error:
        (folder / f"{name}.{communication.rank()}.error").write_text(str(error))
    finally:
        paddle.DataParallel.no_sync, trainer.build = no_sync, build


def measure(folder: Path, data: Dataset, name: str, checkpoint: str) -> None:
    """Evaluate a checkpoint on the test images."""
    from mnist_paddle.system.device import set_device

    communication.start()
    set_device("cpu", 1)
    model, _ = load_model(checkpoint)
    images, labels = make_digits(10_000, seed=3)
    result = evaluate(model, Split(images, labels), load_loss("cross_entropy", {}))
    np.savez(
        folder / f"{name}.{communication.rank()}.npz",
        losses=result.losses,
        confusion=result.confusion,
        outputs=result.outputs,
    )


def main(argv) -> int:
    """argv: the JSON file and the folder for the results."""
    work, folder = json.loads(Path(argv[0]).read_text()), Path(argv[1])
    folder.mkdir(exist_ok=True)
    # Drawing the figures takes longer than these runs.
    RunFolder.draw_graph = lambda *arguments: None
    RunFolder.figure = lambda *arguments: None
    if work.get("float64"):
        in_float64()
    for name, settings in work.get("train", {}).items():
        train(folder, small(), name, settings)
    for name, checkpoint in work.get("evaluate", {}).items():
        measure(folder, small(), name, checkpoint)
    return 0


if __name__ == "__main__":
    entry.script(main)
