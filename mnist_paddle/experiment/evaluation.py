"""Evaluating a network on a split, on one rank or sharded over several."""

from contextlib import nullcontext
from typing import Callable, Optional, Union

import numpy as np
import paddle

from ..data.dataset import Split, require_labels
from ..data.loader import normalize, shard
from ..diagnostics.finite import NonFiniteError, monitor_layers
from ..diagnostics.structure import in_training
from ..distributed import communication
from ..distributed.data_parallel import DataParallel
from ..distributed.replicas import Replicas
from ..distributed.strategy import Strategy
from ..losses import check_losses
from ..metrics import Evaluation
from ..system.global_state import fresh_global_state
from .network import BATCH, TrainedOn


@fresh_global_state()
@paddle.no_grad()
def evaluate(
    model: Union[paddle.nn.Layer, Replicas],
    split: Split,
    loss_function: Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor],
    strategy: Optional[Strategy] = None,
) -> Evaluation:
    """Outputs and losses for every example of a split, each counted once for any number of ranks and threads.

    Images are normalized as in the training of `model`: it carries class names and normalization as `trained_on` (`load_model`
    and `fit` see to that); another network gets MNIST's. The threads of replicas take blocks of images in turn.
    `strategy` is that of a State whose model is `model`; without it every rank has the whole network. Raises
    `NonFiniteError`, with the layer, where the network's numbers are infinite or NaN, even where the outputs hide it.
    """
    strategy = strategy or DataParallel()
    network = model.models[0] if isinstance(model, Replicas) else model
    classes, normalization = getattr(network, "trained_on", None) or TrainedOn(_numbered(split))
    require_labels(split.labels, len(classes), "this network's ")
    network.eval()
    # Ranks take whole batches, the same for any number of ranks: other batches would round the sums differently.
    batches = [slice(start, start + BATCH) for start in range(0, len(split), BATCH)]
    own = batches[shard(batches, strategy.shard_index, strategy.shard_count)]
    broken: list[str] = []
    training: list[str] = []

    @paddle.no_grad()  # which a thread has for itself
    def rows(network: paddle.nn.Layer, batch: slice) -> np.ndarray:
        # Layers are monitored in the first batch; in the others the losses show what is not finite.
        with monitor_layers(network, broken) if batch == own[0] else nullcontext():
            if batch == own[0]:
                training.extend(in_training(network))
            outputs = network(paddle.to_tensor(normalize(split.images[batch], *normalization)[:, None]))
            labels = paddle.to_tensor(split.labels[batch].astype(np.int64))
            losses = loss_function(outputs, labels)
            check_losses(losses, labels)
            return np.column_stack([outputs.numpy(), losses.numpy()])

    with communication.watchdog().waiting("an evaluation"):
        tables = model.map(rows, own) if isinstance(model, Replicas) else [rows(network, batch) for batch in own]
    network.train()
    own_rows = {batch.start: table for batch, table in zip(own, tables)} if strategy.reports_metrics else {}
    table = gathered(own_rows, broken, len(classes) + 1)
    return Evaluation(split.labels, table[:, :-1], table[:, -1], classes, tuple(training))


def gathered(rows: dict[int, np.ndarray], broken: list[str], columns: int) -> np.ndarray:
    """The rows of all ranks in the order of the images: float32 [n, columns]. `rows`: this rank's, by a batch's first image.

    Raises `NonFiniteError` on all ranks if one of them found a layer in `broken`, or a number that is not finite.
    """
    parts = communication.gather((rows, broken))
    every = {start: table for part, _ in parts for start, table in part.items()}
    table = np.concatenate([every[start] for start in sorted(every)]) if every else np.zeros((0, columns), np.float32)
    layers = [layer for _, names in parts for layer in names]
    if layers or not np.isfinite(table).all():
        raise NonFiniteError("the evaluation is not finite", (layers or ["outputs or losses of some images"])[0])
    return table


def _numbered(split: Split) -> tuple:
    """Class names for a network that has none: the labels, ten at least."""
    return tuple(str(label) for label in range(max(10, int(split.labels.max(initial=0)) + 1)))
