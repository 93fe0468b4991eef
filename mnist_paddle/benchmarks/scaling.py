"""A model of the speed of N ranks: the cost of a step, the cost of exchanging gradients, and the prediction for more ranks.

The exchange is a ring all-reduce (Patarasuk and Yuan 2009). N ranks pass N-ths of the gradients around twice: 2 (N - 1) messages
one after the other, each of S / N bytes:

    seconds(N, S) = 2 (N - 1) (latency + S / N / bandwidth)

A step of N ranks then takes as long as the same batch per rank on a single rank, plus the exchange. To be cautious, no part of
the exchange is assumed to overlap with the backward pass.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Network:
    """What connects the ranks: the latency of a message in seconds, and the bandwidth in bytes per second."""

    latency: float
    bandwidth: float

    def exchange(self, ranks: ArrayLike, size: float) -> np.ndarray:
        """Seconds of a ring all-reduce of `size` bytes over `ranks` (a number or an array of numbers)."""
        ranks = np.asarray(ranks, float)
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


@dataclass(frozen=True)
class Compute:
    """What a step costs on one rank: seconds whatever its batch, and seconds per image."""

    step: float
    image: float

    def seconds(self, batch: ArrayLike) -> np.ndarray:
        """Seconds of a step over `batch` images, input included."""
        return self.step + self.image * np.asarray(batch, float)


def fit_network(ranks: int, sizes: ArrayLike, seconds: ArrayLike) -> Network:
    """Latency and bandwidth from all-reduces of several sizes in bytes, by least squares of relative errors."""
    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    columns = 2 * (ranks - 1) * np.stack([np.ones_like(sizes), sizes / ranks], axis=1)
    (latency, per_byte), *_ = np.linalg.lstsq(columns / seconds[:, None], np.ones_like(seconds), rcond=None)
    return Network(max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15))


def fit_compute(batches: ArrayLike, seconds: ArrayLike) -> Compute:
    """Seconds per step and per image from steps of several batch sizes, by least squares of relative errors."""
    batches, seconds = np.asarray(batches, float), np.asarray(seconds, float)
    columns = np.stack([np.ones_like(batches), batches], axis=1)
    (step, image), *_ = np.linalg.lstsq(columns / seconds[:, None], np.ones_like(seconds), rcond=None)
    return Compute(max(float(step), 0.0), max(float(image), 1e-12))


@dataclass(frozen=True)
class CostModel:
    """The costs of training on several ranks with gradients of `size` bytes. `batch` is per rank in what follows."""

    compute: Compute
    network: Network
    size: float

    def efficiency(self, ranks: ArrayLike, batch: ArrayLike) -> np.ndarray:
        """The fraction of its time that a rank computes: the speed of N ranks over N times that of one."""
        alone = self.compute.seconds(batch)
        return alone / (alone + self.network.exchange(ranks, self.size))

    def throughput(self, ranks: ArrayLike, batch: ArrayLike) -> np.ndarray:
        """Images per second of all ranks together."""
        return np.asarray(ranks) * batch / (self.compute.seconds(batch) + self.network.exchange(ranks, self.size))

    def smallest_batch(self, ranks: ArrayLike, target: float = 0.8) -> np.ndarray:
        """The fewest images per rank with an efficiency of at least `target`: int64."""
        needed = self.network.exchange(ranks, self.size) * target / (1 - target)  # seconds of computing
        images = np.round((needed - self.compute.step) / self.compute.image, 6)  # rounding errors must not push it up
        return np.maximum(np.ceil(images), 1).astype(np.int64)
