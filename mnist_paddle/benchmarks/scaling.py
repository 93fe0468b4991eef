"""How fast N ranks are: what a step costs, what the exchange of gradients costs, and what follows for more ranks than there are.

The exchange is a ring all-reduce (Patarasuk and Yuan 2009). N ranks pass N-ths of the gradients around twice, 2 (N - 1) messages
one after the other, each of S / N bytes:

    seconds(N, S) = 2 (N - 1) (latency + S / N / bandwidth)

A step of N ranks then lasts the computing of one rank's share, as long as on a single rank, and the exchange. That no part of
the exchange hides behind the backward pass is the cautious assumption.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Network:
    """What connects the ranks: seconds a message takes to set off, bytes a second that it then runs at."""

    latency: float
    bandwidth: float

    def exchange(self, ranks, size: float):
        """Seconds of a ring all-reduce of `size` bytes over `ranks` (a number or an array of numbers)."""
        ranks = np.asarray(ranks, float)
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


@dataclass(frozen=True)
class Compute:
    """What a step costs on one rank: seconds whatever its batch, and seconds for every image in it."""

    step: float
    image: float

    def seconds(self, batch):
        """Seconds of a step over `batch` images, its input included."""
        return self.step + self.image * np.asarray(batch, float)


def fit_network(ranks: int, sizes, seconds) -> Network:
    """Latency and bandwidth from all-reduces of several sizes in bytes, by least squares of relative errors."""
    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    columns = 2 * (ranks - 1) * np.stack([np.ones_like(sizes), sizes / ranks], axis=1)
    (latency, per_byte), *_ = np.linalg.lstsq(columns / seconds[:, None], np.ones_like(seconds), rcond=None)
    return Network(max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15))


def fit_compute(batches, seconds) -> Compute:
    """Seconds a step and seconds an image from steps of several batch sizes, by least squares of relative errors."""
    batches, seconds = np.asarray(batches, float), np.asarray(seconds, float)
    columns = np.stack([np.ones_like(batches), batches], axis=1)
    (step, image), *_ = np.linalg.lstsq(columns / seconds[:, None], np.ones_like(seconds), rcond=None)
    return Compute(max(float(step), 0.0), max(float(image), 1e-12))


def efficiency(compute: Compute, network: Network, size: float, ranks, batch):
    """The share of its time that a rank computes: images a second of N ranks over N times those of one, at `batch` a rank."""
    alone = compute.seconds(batch)
    return alone / (alone + network.exchange(ranks, size))


def throughput(compute: Compute, network: Network, size: float, ranks, batch):
    """Images a second of `ranks` together, at `batch` a rank."""
    return np.asarray(ranks) * batch / (compute.seconds(batch) + network.exchange(ranks, size))


def smallest_batch(compute: Compute, network: Network, size: float, ranks, wanted: float = 0.8) -> np.ndarray:
    """The images a rank under which the efficiency falls below `wanted`: int64, 1 where it never does."""
    needed = network.exchange(ranks, size) * wanted / (1 - wanted)  # seconds of computing
    images = np.round((needed - compute.step) / compute.image, 6)  # a whole number is to stay one, whatever the last digit
    return np.maximum(np.ceil(images), 1).astype(np.int64)
