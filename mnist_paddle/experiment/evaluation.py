"""Evaluating a network on a split, on one rank or sharded over several."""

from contextlib import nullcontext
from typing import Callable, Optional

import numpy as np
import paddle

from ..data.dataset import Split, require_labels
from ..data.loader import normalize, shard
from ..diagnostics.finite import NonFiniteError, monitor_layers
from ..distributed import communication
from ..distributed.data_parallel import DataParallel
from ..distributed.strategy import Strategy
from ..metrics import Evaluation
from ..system.global_state import fresh_global_state
from .network import BATCH, TrainedOn


@fresh_global_state()
@paddle.no_grad()
def evaluate(
    model: paddle.nn.Layer,
    split: Split,
    loss_function: Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor],
    strategy: Optional[Strategy] = None,
) -> Evaluation:
    """Outputs and losses for every example of a split, each counted once for any number of ranks.

    Images are normalized as in the training of `model`: it carries class names and normalization as `trained_on` (`load_model`
    and `fit` see to that); another network gets MNIST's.
    `strategy` is that of a State whose model is `model`; without it every rank has the whole network. Raises
    `NonFiniteError`, with the layer, where the network's numbers are infinite or NaN, even where the outputs hide it.
    """
    strategy = strategy or DataParallel()
    classes, normalization = getattr(model, "trained_on", None) or TrainedOn(_numbered(split))
    require_labels(split.labels, len(classes), "this network's ")
    model.eval()
    # Ranks take whole batches, the same for any number of ranks: other batches would round the sums differently.
    batches = [slice(start, start + BATCH) for start in range(0, len(split), BATCH)]
    tables: dict[int, np.ndarray] = {}
    broken: list[str] = []
    for number, batch in enumerate(batches[shard(batches, strategy.shard_index, strategy.shard_count)]):
        # Layers are monitored in the first batch; in the others the losses show what is not finite.
        with communication.watchdog().waiting("an evaluation"), nullcontext() if number else monitor_layers(model, broken):
            outputs = model(paddle.to_tensor(normalize(split.images[batch], *normalization)[:, None]))
            losses = loss_function(outputs, paddle.to_tensor(split.labels[batch].astype(np.int64)))
            if strategy.reports_metrics:
                tables[batch.start] = np.column_stack([outputs.numpy(), losses.numpy()])
    model.train()
    parts = communication.gather((tables, broken))
    rows = {start: table for tables, _ in parts for start, table in tables.items()}
    table = np.concatenate([rows[start] for start in sorted(rows)]) if rows else np.zeros((0, len(classes) + 1), np.float32)
    layers = [layer for _, broken in parts for layer in broken]
    if layers or not np.isfinite(table).all():
        raise NonFiniteError("the evaluation is not finite", (layers or ["outputs or losses of some images"])[0])
    return Evaluation(split.labels, table[:, :-1], table[:, -1], classes)


def _numbered(split: Split) -> tuple:
    """Class names for a network that has none: the labels, ten at least."""
    return tuple(str(label) for label in range(max(10, int(split.labels.max(initial=0)) + 1)))
