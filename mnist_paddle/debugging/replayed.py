"""What a replayed step was: images, outputs, layers, gradients, and which recorded digests it agrees with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

import numpy as np

from ..metrics import Evaluation
from ..system.files import finite

FEW = 4


@dataclass(frozen=True)
class Activation:
    """The outputs of one layer for the batch: shape, mean, standard deviation, fraction of zeros."""

    name: str
    kind: str
    shape: tuple
    mean: float
    std: float
    zeros: float


@dataclass(frozen=True)
class Compared:
    """Which digests of a step equal those recorded: kind -> whether; those that can't be compared are left out."""

    step: int
    equal: dict[str, bool]

    @property
    def differing(self) -> list[str]:
        """The kinds that differ."""
        return [kind for kind, same in self.equal.items() if not same]


@dataclass(frozen=True)
class Replay:
    """One step of a run, made again.

    `images` are float32 [n, 1, 28, 28] as the network saw them, `pixels` the same as uint8 [n, 28, 28], `indices` [n] their
    places among the training images. `evaluation` has labels, outputs and losses of the batch, before the update. `gradients` are
    arrays by parameter, before clipping; `weights` the parameters before the update.
    """

    run: str
    network: str
    dataset: str
    step: int
    total_steps: int
    epoch: float  # after the step
    rate: float
    clip_norm: float  # to which gradients are clipped; 0: not
    start: str  # a checkpoint's file name, or "" for the initial weights
    repeated: int  # steps made, this one included
    indices: np.ndarray
    images: np.ndarray
    pixels: np.ndarray
    evaluation: Evaluation
    activations: list[Activation]
    gradients: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    compared: list[Compared]
    recorded: bool  # whether the run has digests
    reasons: list[str] = field(default_factory=list)  # why digests may differ
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> Optional[bool]:
        """Whether all digests that were compared equal those recorded; None where none were."""
        return not any(compared.differing for compared in self.compared) if self.compared else None

    @cached_property
    def norms(self) -> dict[str, float]:
        """The norm of every gradient, by parameter."""
        return {name: norm(array) for name, array in self.gradients.items()}

    @property
    def gradient_norm(self) -> float:
        """The norm of all gradients together."""
        return float(np.sqrt(sum(each**2 for each in self.norms.values())))

    def worst(self, count: int) -> np.ndarray:
        """Positions of up to `count` images of the batch, those with the highest loss first; losses that are NaN before them."""
        losses = np.nan_to_num(self.evaluation.losses, nan=np.inf, posinf=np.inf)
        return np.argsort(-losses, kind="stable")[:count]

    def verdict(self) -> str:
        """Whether this is the step that the run made, as one sentence."""
        if not self.recorded:
            return "digests: this run recorded none, so nothing shows whether this is the step that it made"
        if not self.compared:
            return "digests: the run recorded none of the steps that were repeated, so nothing shows whether they are equal"
        steps = [compared.step for compared in self.compared]
        wrong = next((compared for compared in self.compared if compared.differing), None)
        if wrong is not None:
            rest = [kind for kind, same in wrong.equal.items() if same]
            equal = f"; {listed(rest)} are equal" if rest else ""
            return f"digests differ from those recorded at step {wrong.step:,}: {listed(wrong.differing)}{equal}"
        later = "" if steps[-1] >= self.step else f"; none are recorded at step {self.step:,} or soon after"
        return f"digests equal those recorded at {numbered(steps)}: {listed(list(self.compared[-1].equal))}{later}"

    def summary(self) -> dict:
        """All of it but the arrays as plain values, for JSON; None for numbers that are not finite."""
        evaluation, names = self.evaluation, self.evaluation.classes
        order = self.worst(len(self.indices))
        images = [
            {
                "index": int(self.indices[place]),
                "label": names[int(evaluation.labels[place])],
                "prediction": names[int(evaluation.predictions[place])],
                "probability": float(evaluation.probabilities[place, evaluation.predictions[place]]),
                "loss": float(evaluation.losses[place]),
            }
            for place in order
        ]
        plain = ("run", "network", "dataset", "step", "total_steps", "epoch", "rate", "clip_norm")
        content = {
            **{name: getattr(self, name) for name in plain},
            "loss": evaluation.loss,
            "accuracy": evaluation.accuracy,
            "start": self.start or "initial weights",
            "repeated": self.repeated,
            "equal": self.equal,
            "digests": [{"step": compared.step, **compared.equal} for compared in self.compared],
            "reasons": self.reasons,
            "notes": self.notes,
            "layers": [{**vars(activation), "shape": list(activation.shape)} for activation in self.activations],
            "gradients": [
                {"name": name, "shape": list(array.shape), "norm": self.norms[name], "weight_norm": norm(self.weights[name])}
                for name, array in self.gradients.items()
            ],
            "gradient_norm": self.gradient_norm,
            "images": images,
        }
        plain_values: dict = finite(content)
        return plain_values


def norm(array: np.ndarray) -> float:
    """The Euclidean norm of all numbers.

    >>> norm(np.array([[3.0], [4.0]]))
    5.0
    """
    return float(np.linalg.norm(array.astype(np.float64)))


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["images", "labels", "outputs"])
    'images, labels and outputs'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def numbered(steps: Sequence[int]) -> str:
    """Steps as a list in a sentence, of many the first and the last.

    >>> numbered([50]), numbered([50, 100]), numbered(range(50, 1050, 50))
    ('step 50', 'steps 50 and 100', '20 steps from 50 to 1,000')
    """
    if len(steps) > FEW:
        return f"{len(steps)} steps from {steps[0]:,} to {steps[-1]:,}"
    return f"step{'s' * (len(steps) > 1)} {listed([f'{step:,}' for step in steps])}"
