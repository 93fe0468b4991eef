"""What is measured of a run: every measure is a function of a `Run`, in a table by name."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Callable, NamedTuple, Union

import numpy as np

from ..config import make_config
from ..tracking.plots import read_metrics

LAST = 0.25  # the share of a run's points that its end is judged by


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its report, whether it diverged, and the images of an epoch and classes of its data."""

    folder: Path
    report: dict
    settings: dict
    diverged: bool = False

    @cached_property
    def series(self) -> dict:
        """{(split, name): (steps, epochs, values)} of its curves."""
        return read_metrics(self.folder / "metrics.jsonl")

    def values(self, split: str, name: str) -> np.ndarray:
        """The values of a curve, float64 [n]; empty where there is none."""
        return self.series.get((split, name), np.empty((3, 0)))[2]

    def end(self, name: str) -> float:
        """The mean of a training curve over the last quarter of its points; NaN without any."""
        values = self.values("train", name)
        return float(values[-max(1, round(LAST * len(values))) :].mean()) if len(values) else float("nan")


class Measure(NamedTuple):
    """A measure: what it is called in each language, its function, how a value is written, and whether more is better."""

    title: dict[str, str]
    of: Callable[[Run], float]
    form: str = ".2f"
    unit: str = ""
    higher: bool = True

    def show(self, value: float) -> str:
        """A value with its unit.

        >>> MEASURES["test_accuracy"].show(98.765)
        '98.77 %'
        """
        return f"{value:{self.form}}{self.unit}"


def chance(run: Run) -> float:
    """The accuracy of guessing, in percent: what a run that diverged is counted as."""
    return 100 / len(run.report.get("classes") or range(10))


def accuracy(name: str) -> Callable[[Run], float]:
    """An accuracy of the report in percent, or that of guessing where the run diverged."""
    return lambda run: chance(run) if run.diverged else float(run.report[name])


def fluctuation(values: Union[np.ndarray, Sequence[float]]) -> float:
    """How much a curve jumps from point to point, in percent of its level: of the second half of its points.

    The standard deviation of the differences between neighbors, over the square root of two (that of independent points around
    a smooth line), over the mean.

    >>> round(fluctuation([9, 9, 9, 3.0, 1.0, 3.0]), 1)  # of 3, 1, 3: differences -2 and 2, deviation 2, mean 2.333
    60.6
    """
    half = np.asarray(values[len(values) // 2 :], float)
    return float(100 * np.diff(half).std() / np.sqrt(2) / half.mean()) if len(half) > 2 else float("nan")


def multiply_adds_of(run: Run) -> float:
    """Millions of multiplications with an addition for one image."""
    from ..diagnostics.cost import multiply_adds
    from ..experiment.network import build_model

    config = make_config(run.settings)
    return multiply_adds(build_model(config.model, config.model_arguments(), len(run.report["classes"]))) / 1e6


def curve_digest(run: Run) -> str:
    """A text that changes with any bit of any training loss."""
    steps, _, values = run.series.get(("train", "loss"), np.empty((3, 0)))
    return hashlib.sha256(struct.pack(f"<{2 * len(steps)}d", *steps, *values)).hexdigest()[:12]


MEASURES: dict[str, Measure] = {
    "test_accuracy": Measure({"en": "test accuracy", "zh": "测试准确率"}, accuracy("test_accuracy"), unit=" %"),
    "test_error": Measure(
        {"en": "test error", "zh": "测试错误率"}, lambda run: 100 - accuracy("test_accuracy")(run), unit=" %", higher=False
    ),
    "validation_accuracy": Measure({"en": "validation accuracy", "zh": "验证准确率"}, accuracy("validation_accuracy"), unit=" %"),
    "training_accuracy": Measure(
        {"en": "training accuracy at the end", "zh": "训练末期的训练准确率"},
        lambda run: chance(run) if run.diverged else run.end("accuracy"),
        unit=" %",
    ),
    "gap": Measure(
        {"en": "training minus validation accuracy", "zh": "训练准确率减验证准确率"},
        lambda run: float("nan") if run.diverged else run.end("accuracy") - float(run.values("validation", "accuracy")[-1]),
        unit=" %",
        higher=False,
    ),
    "test_loss": Measure(
        {"en": "test loss", "zh": "测试损失"},
        lambda run: float("inf") if run.diverged else float(run.report["test_loss"]),
        form=".4f",
        higher=False,
    ),
    "training_loss": Measure(
        {"en": "training loss at the end", "zh": "训练末期的训练损失"},
        lambda run: float("inf") if run.diverged else run.end("loss"),
        form=".4f",
        higher=False,
    ),
    "fluctuation": Measure(
        {"en": "fluctuation of the training loss", "zh": "训练损失的波动"},
        lambda run: float("nan") if run.diverged else fluctuation(run.values("train", "loss")),
        form=".1f",
        unit=" %",
        higher=False,
    ),
    "train_seconds": Measure(
        {"en": "training time", "zh": "训练时间"},
        lambda run: float(run.report["train_seconds"]),
        form=".1f",
        unit=" s",
        higher=False,
    ),
    "images_per_second": Measure(
        {"en": "images/s", "zh": "图片/秒"}, lambda run: float(run.report["images_per_second"]), form=",.0f"
    ),
    "steps": Measure({"en": "steps", "zh": "步数"}, lambda run: float(run.report["steps"]), form=",.0f", higher=False),
    "parameters": Measure(
        {"en": "parameters", "zh": "参数个数"}, lambda run: float(run.report["parameters"]), form=",.0f", higher=False
    ),
    "multiply_adds": Measure(
        {"en": "million multiply-adds an image", "zh": "每张图片的乘加次数（百万）"}, multiply_adds_of, form=".3f", higher=False
    ),
}
