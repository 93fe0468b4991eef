"""Training and loading in plain Paddle, as its documentation shows: run by its path, for importing mnist_paddle makes it faster.

    python plain_paddle.py train NETWORK STEPS
    python plain_paddle.py loader documented|fastest STEPS

prints images/s as JSON.
"""

import gzip
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
import paddle
from paddle import nn

BATCH = 64


class Residual(nn.Layer):
    """Two 3x3 convolutions with an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2D(channels, channels, 3, padding=1, bias_attr=False), nn.BatchNorm2D(channels), nn.ReLU(),
            nn.Conv2D(channels, channels, 3, padding=1, bias_attr=False), nn.BatchNorm2D(channels),
        )  # fmt: skip

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return nn.functional.relu(images + self.inner(images))


def stage(before: int, after: int) -> list:
    """A stage of configs/resnet.yaml: convolution, pooling, norm and ReLU, in its order, then a residual block."""
    first = nn.Conv2D(before, after, 3, padding=1, bias_attr=False)
    return [first, nn.MaxPool2D(2, 2), nn.BatchNorm2D(after), nn.ReLU(), Residual(after)]


def network(name: str) -> nn.Layer:
    """cnn, fc or resnet."""
    if name == "fc":
        layers = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)]
    elif name == "cnn":
        layers = [
            nn.Conv2D(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2, 2),
            nn.Conv2D(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2D(2, 2),
            nn.Flatten(), nn.Linear(980, 10),
        ]  # fmt: skip
    else:
        layers = [*stage(1, 16), *stage(16, 32), *stage(32, 64), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def train(name: str, steps: int) -> float:
    """Adam on batches of 64 that are ready in memory: images/s."""
    paddle.seed(0)
    model = network(name)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    criterion = nn.CrossEntropyLoss()
    generator = np.random.default_rng(0)
    images = paddle.to_tensor(generator.normal(size=(156, BATCH, 1, 28, 28)).astype("float32"))
    labels = paddle.to_tensor(generator.integers(0, 10, (156, BATCH)))
    batches = list(zip(images, labels))  # not the same one again and again, which it would learn until gradients are denormals
    count = iter(range(10**9))

    def step() -> None:
        x, y = batches[next(count) % len(batches)]
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()

    return speed(step, steps)


def loader(form: str, steps: int) -> float:
    """paddle.vision.datasets.MNIST through paddle.io.DataLoader on one core, normalized, shuffled: images/s.

    As documented, with ToTensor and Normalize; or, `fastest`, without PIL and with NumPy arithmetic.
    """
    from paddle.vision.transforms import Compose, Normalize, ToTensor

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def arithmetic(image: np.ndarray) -> np.ndarray:
        return ((image.astype("float32") - 33.3) / 78.6).reshape(1, 28, 28)

    fast = form == "fastest"
    transform = arithmetic if fast else Compose([ToTensor(), Normalize([0.1307], [0.3081])])
    generator, count = np.random.default_rng(0), 20_000
    pixels = struct.pack(">IIII", 2051, count, 28, 28) + generator.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
    labels = struct.pack(">II", 2049, count) + generator.integers(0, 10, count, np.uint8).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("images.gz", "labels.gz")]
        for path, content in zip(paths, (pixels, labels)):
            Path(path).write_bytes(gzip.compress(content, 1))
        backend = "cv2" if fast else "pil"
        data = paddle.vision.datasets.MNIST(*paths, transform=transform, download=False, backend=backend)
        batches = iter(paddle.io.DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=0))
        return speed(lambda: next(batches), min(steps, 250))


def speed(step: Callable[[], object], steps: int) -> float:
    """Images per second of a function that processes one batch, after a warm-up of a tenth of the steps."""
    for _ in range(steps // 10 + 1):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return BATCH * steps / (time.perf_counter() - start)


if __name__ == "__main__":
    print(json.dumps({"train": train, "loader": loader}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
