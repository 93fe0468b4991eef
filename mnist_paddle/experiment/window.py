"""The training figures between two points of the curves, and since the last evaluation: a part of State."""

import numpy as np

from ..diagnostics.finite import NonFiniteError
from ..distributed import communication
from ..metrics import predict


class Window:
    """Loss and accuracy over the steps since the last point of the curves, and over those since the last evaluation.

    Both are counted over all ranks. Adding a step keeps its tensors and asks for no number: `float(loss)` in every step would
    make a GPU wait for the processor. `numbers` is the window between two points as JSON can hold it; a window made from it
    continues as if nothing had been.
    """

    def __init__(self, first: int = 0, losses=(), right: int = 0, count: int = 0, epoch=(0.0, 0, 0)):
        self.first = first  # the steps done before the window began
        self.losses, self.right, self.count = list(losses), right, count  # loss sums per step; examples right and in all
        self.epoch = list(epoch)  # since the last evaluation: sum of the losses, examples right, examples
        self.start = (0.0, 0)  # seconds of training and images when it began; speed is not saved
        self._added = []

    def add(self, outputs, labels, losses) -> None:
        """One step of this rank: outputs [m, k], labels [m], losses [m], as Paddle tensors."""
        self._added.append((outputs, labels, losses))

    def settle(self) -> None:
        """Turn what was added into numbers over all ranks. Raises `NonFiniteError` where a loss is not finite."""
        if not self._added:
            return
        with communication.watchdog().waiting("the sum of the training metrics"):
            added = [(outputs.numpy(), labels.numpy(), losses.numpy()) for outputs, labels, losses in self._added]
        sums = communication.total(np.array([losses.astype(np.float64).sum() for _, _, losses in added]))
        if not np.isfinite(sums).all():
            step = self.first + len(self.losses) + int(np.argmin(np.isfinite(sums))) + 1
            raise NonFiniteError("the loss is not finite", step=step)
        hits = sum(int((predict(outputs) == labels).sum()) for outputs, labels, _ in added)
        right, count = communication.total(np.array([hits, sum(len(labels) for _, labels, _ in added)], np.float64))
        self.losses += sums.tolist()
        self.right += int(right)
        self.count += int(count)
        self.epoch = [self.epoch[0] + float(sums.sum()), self.epoch[1] + int(right), self.epoch[2] + int(count)]
        self._added = []

    @property
    def steps(self) -> int:
        """Steps since the last point of the curves."""
        return len(self.losses) + len(self._added)

    def speed(self, seconds: float, images: int) -> float:
        """Images a second since the last point, of so many seconds of training and images in all."""
        return (images - self.start[1]) / max(seconds - self.start[0], 1e-9)

    def close(self) -> dict:
        """Mean loss and accuracy in percent since the last point; the next step begins a new one."""
        self.settle()
        figures = {"loss": float(np.sum(self.losses) / self.count), "accuracy": 100 * self.right / self.count}
        self.first, self.losses, self.right, self.count = self.first + len(self.losses), [], 0, 0
        return figures

    def close_epoch(self) -> dict:
        """Mean loss and accuracy in percent over all steps since the last evaluation; the next step begins a new epoch."""
        self.settle()
        loss, right, count = self.epoch
        self.epoch = [0.0, 0, 0]
        return {"loss": loss / count, "accuracy": 100 * right / count} if count else {}

    def numbers(self) -> dict:
        """What makes this window again: keyword arguments of `Window`."""
        self.settle()
        return {"first": self.first, "losses": self.losses, "right": self.right, "count": self.count, "epoch": self.epoch}
