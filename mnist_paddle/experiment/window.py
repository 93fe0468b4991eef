"""The training figures between two points of the curves, and since the last evaluation: a part of State."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..diagnostics.finite import NonFiniteError
from ..distributed import communication
from ..metrics import predict

if TYPE_CHECKING:
    import paddle


MOST, MOST_NUMBERS = 8, 2**22  # sums that are kept, and numbers in them


class Sums(NamedTuple):
    """What this rank computed in some steps, numbered from 0: outputs [m, k] and labels [m], as arrays."""

    steps: range
    outputs: np.ndarray
    labels: np.ndarray


def kept(sums: list[Sums]) -> list[Sums]:
    """The last few, as many as fit into some megabytes; one at least.

    >>> [one.steps.start for one in kept([Sums(range(i, i + 1), np.zeros((2**20, 1)), np.zeros(2**20)) for i in range(9)])]
    [5, 6, 7, 8]
    """
    most = next((n for n in range(MOST, 1, -1) if sum(one.outputs.size for one in sums[-n:]) <= MOST_NUMBERS), 1)
    return sums[-most:]


class Window:
    """Loss and accuracy over the steps since the last point of the curves, and since the last evaluation.

    Both are over all ranks. Adding a step only keeps its tensors: `float(loss)` in every step would make the processor wait for
    the GPU. `numbers` is the window as JSON can hold it; a window made from it continues exactly.
    """

    def __init__(
        self,
        *,
        first: int = 0,
        losses: Iterable[float] = (),
        right: int = 0,
        count: int = 0,
        epoch: Iterable[float] = (0.0, 0, 0),
        classes: int = 10,
    ) -> None:
        self.classes = classes
        self.first = first  # the steps done before the window began
        self.losses, self.right, self.count = list(losses), right, count  # loss sums per step; examples right, examples
        self.epoch = list(epoch)  # since the last evaluation: sum of the losses, examples right, examples
        self.start = (0.0, 0)  # seconds of training and images at its start; speed is not saved
        self._added: list[tuple] = []
        self.recent: list[Sums] = []  # what was summed last, the newest at the end; it is not saved

    def add(self, outputs: "paddle.Tensor", labels: "paddle.Tensor", losses: "paddle.Tensor") -> None:
        """One step of this rank: outputs [m, k], labels [m], losses [m], as Paddle tensors."""
        self._added.append((outputs, labels, losses))

    def settle(self) -> None:
        """Sum what was added over all ranks. Raises `NonFiniteError` if a loss is not finite."""
        if not self._added:
            return
        with communication.watchdog().waiting("the sum of the training metrics"):
            outputs, labels, losses = ([tensor.numpy() for tensor in tensors] for tensors in zip(*self._added))
        sums = communication.total(np.array([array.sum(dtype=np.float64) for array in losses]))
        if not np.isfinite(sums).all():
            step = self.first + len(self.losses) + int(np.argmin(np.isfinite(sums))) + 1
            raise NonFiniteError("the loss is not finite", step=step)
        all_outputs, all_labels = np.concatenate(outputs), np.concatenate(labels)
        start = self.first + len(self.losses)
        self.recent = kept([*self.recent, Sums(range(start, start + len(losses)), all_outputs, all_labels)])
        hits = np.count_nonzero(predict(all_outputs, self.classes) == all_labels)
        right, count = communication.total(np.array([hits, len(all_labels)], np.float64))
        self.losses += sums.tolist()
        self.right += int(right)
        self.count += int(count)
        self.epoch = [self.epoch[0] + float(sums.sum()), self.epoch[1] + int(right), self.epoch[2] + int(count)]
        self._added = []

    @property
    def last(self) -> tuple:
        """Outputs [m, k], labels [m] and losses [m] of the last step, until they are summed."""
        outputs, labels, losses = self._added[-1]
        return outputs, labels, losses

    @property
    def steps(self) -> int:
        """Steps since the last point of the curves."""
        return len(self.losses) + len(self._added)

    def speed(self, seconds: float, images: int) -> float:
        """Images a second since the last point, from the total seconds of training and images."""
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
        """Keyword arguments that make this window again."""
        self.settle()
        return {"first": self.first, "losses": self.losses, "right": self.right, "count": self.count, "epoch": self.epoch}
