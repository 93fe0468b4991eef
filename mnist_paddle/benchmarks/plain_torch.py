"""Training in plain PyTorch, the rival: run by its path, by any Python that has torch; it imports nothing of this project.

    python plain_torch.py NETWORK THREADS ADAM STEPS     ADAM: default, or fused for one kernel over all parameters

prints images/s as JSON. The data is ready in memory, normalized; a batch is a slice.
"""

import json
import sys
import time

import torch
from torch import nn

BATCH, IMAGES = 64, 9_984


class Residual(nn.Module):
    """Two 3x3 convolutions with an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(images + self.inner(images))


def stage(before: int, after: int) -> list:
    """A stage of configs/resnet.yaml: convolution, pooling, norm and ReLU, in its order, then a residual block."""
    first = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [first, nn.MaxPool2d(2), nn.BatchNorm2d(after), nn.ReLU(), Residual(after)]


def network(name: str) -> nn.Module:
    """cnn, fc or resnet."""
    if name == "fc":
        layers = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)]
    elif name == "cnn":
        layers = [
            nn.Conv2d(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(980, 10),
        ]  # fmt: skip
    else:
        layers = [*stage(1, 16), *stage(16, 32), *stage(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def rate(name: str, threads: int, adam: str, steps: int) -> float:
    """Images per second, after a warm-up of a tenth of the steps."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = network(name)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=adam == "fused")
    criterion = nn.CrossEntropyLoss()
    images, labels = torch.randn(IMAGES, 1, 28, 28), torch.randint(0, 10, (IMAGES,))

    def step(number: int) -> None:
        start = number * BATCH % IMAGES
        optimizer.zero_grad()
        loss = criterion(model(images[start : start + BATCH]), labels[start : start + BATCH])
        loss.backward()
        optimizer.step()

    for number in range(steps // 10 + 1):
        step(number)
    start = time.perf_counter()
    for number in range(steps):
        step(number)
    return BATCH * steps / (time.perf_counter() - start)


if __name__ == "__main__":
    print(json.dumps(rate(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
