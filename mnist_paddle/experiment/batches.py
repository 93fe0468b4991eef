"""What a step is made of: its random numbers, a replica's shard of this rank's batch, micro-batches."""

from typing import Optional

import paddle

from ..data.loader import Batch
from ..distributed.strategy import Strategy


def random_seed(seed: int, step: int) -> int:
    """The seed of a step's random numbers, such as dropout's: they follow from (seed, step, shard); no generator is saved."""
    return (seed * 1_000_003 + step) * 1_009


def replica_shards(batch: Batch, strategy: Strategy) -> list[Optional[Batch]]:
    """What each replica of this rank trains on, None for one without images.

    The shards of R replicas on each of N ranks are those of N * R ranks. A rank without images trains on one blank image.
    """
    if not batch.local_size:
        return [batch, *[None] * (strategy.replicas - 1)]
    first, count = strategy.shard_index * strategy.replicas, strategy.shard_count * strategy.replicas
    start = batch.global_size * strategy.shard_index // strategy.shard_count
    cuts = [batch.global_size * (first + number) // count - start for number in range(strategy.replicas + 1)]
    return [
        batch._replace(images=batch.images[low:high], labels=batch.labels[low:high]) if low < high else None
        for low, high in zip(cuts, cuts[1:])
    ]


def split_batch(batch: Batch, parts: int) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
    """Images and labels of a batch in up to `parts` micro-batches, whose sizes differ by at most one.

    A batch with fewer images than ranks leaves some ranks without one: they train on a blank image of weight 0.
    """
    count = batch.local_size
    if count == 0:
        return [(paddle.zeros([1, *batch.images.shape[1:]], batch.images.dtype), paddle.zeros([1], batch.labels.dtype))]
    parts = max(1, min(parts, count))
    if parts == 1:
        return [(batch.images, batch.labels)]
    cuts = [count * number // parts for number in range(parts + 1)]
    return [(batch.images[start:stop], batch.labels[start:stop]) for start, stop in zip(cuts, cuts[1:])]
