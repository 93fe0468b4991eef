"""Figures that explain without training a network: the article's balls, a valley, the broadcast labels."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..tracking.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[str, Callable[["Figure", str], None]] = {}
BALLS = (4, 1)  # black and white balls that were drawn
VALLEY = (1.0, 30.0)  # the curvatures along the valley and across
START = (-2.0, 0.9)
STEPS = 60
RATES = {"sgd": 0.06, "momentum": 0.02, "adagrad": 0.6, "adam": 0.15}  # of the better ones for this valley
COLORS = ("#4C78A8", "#E45756", "#54A24B", "#B279A2")

TEXTS = {
    "en": {
        "black": "share p of black balls in the box",
        "likelihood": "Likelihood of drawing 4 black, 1 white",
        "loss": "Its negative logarithm: the loss",
        "best": "most likely: p = {:.2f}",
        "balls": "p⁴ (1 − p)",
        "valley": "{} steps from the same point",
        "height": "Height above the minimum",
        "step": "step",
    },
    "zh": {
        "black": "盒中黑球的比例 p",
        "likelihood": "抽到 4 黑 1 白的似然",
        "loss": "似然的负对数：损失",
        "best": "最大似然：p = {:.2f}",
        "balls": "p⁴ (1 − p)",
        "valley": "从同一点出发的 {} 步",
        "height": "离最小值的高度",
        "step": "步",
    },
}


def worked(draw: Callable[["Figure", str], None]) -> Callable[["Figure", str], None]:
    """Decorator: a figure under its function's name; it is called with an empty figure and the language."""
    FIGURES[draw.__name__] = draw
    return draw


def likelihood(p: np.ndarray) -> np.ndarray:
    """The probability of the balls that were drawn, in their order, if a share p of the box is black.

    >>> likelihood(np.array([0.5])).tolist()
    [0.03125]
    """
    black, white = BALLS
    return p**black * (1 - p) ** white


@worked
def balls(figure: "Figure", language: str) -> None:
    """Maximum likelihood by black and white balls: the likelihood of a share, and its negative logarithm."""
    text, shares = TEXTS[language], np.linspace(0.005, 0.995, 397)
    best = BALLS[0] / sum(BALLS)
    panels = figure.subplots(1, 2)
    for axes, values, title in zip(panels, (likelihood(shares), -np.log(likelihood(shares))), ("likelihood", "loss")):
        axes.plot(shares, values, color=COLORS[0])
        axes.axvline(best, color=COLORS[1], lw=1, ls="--", label=text["best"].format(best))
        axes.set_title(text[title], fontsize=11, loc="left")
        axes.set_xlabel(text["black"])
        axes.legend(frameon=False)
        tidy(axes)
    panels[0].annotate(text["balls"], (0.35, likelihood(np.array([0.35]))[0]), textcoords="offset points", xytext=(-42, 12))


def path(optimizer: str, rate: float, steps: int = STEPS) -> np.ndarray:
    """The points that an optimizer of the toolkit passes in the valley (x^2 + 30 y^2) / 2: [steps + 1, 2]."""
    import paddle

    from ..optimizers import make_optimizer

    point = paddle.create_parameter([2], "float32")
    point.set_value(np.array(START, np.float32))
    curvature = paddle.to_tensor(np.array(VALLEY, np.float32))
    rule = make_optimizer(optimizer, [point], rate)
    points = [point.numpy().copy()]
    for _ in range(steps):
        (curvature * point * point / 2).sum().backward()
        rule.step()
        rule.clear_grad()
        points.append(point.numpy().copy())
    return np.array(points)


@worked
def valley(figure: "Figure", language: str) -> None:
    """The paths of SGD, Momentum, AdaGrad and Adam through a narrow valley, each at a rate that suits it."""
    text = TEXTS[language]
    panels = figure.subplots(1, 2, width_ratios=(3, 2))
    x, y = np.meshgrid(np.linspace(-2.3, 1.3, 200), np.linspace(-1.2, 1.2, 200))
    height = (VALLEY[0] * x**2 + VALLEY[1] * y**2) / 2
    panels[0].contour(x, y, height, levels=np.geomspace(0.05, 25, 10), colors="#CCCCCC", linewidths=0.8)
    for color, (name, rate) in zip(COLORS, RATES.items()):
        points = path(name, rate)
        panels[0].plot(*points.T, ".-", color=color, lw=1, ms=4, label=f"{name}  {rate:g}")
        heights = (np.array(VALLEY) * points**2).sum(axis=1) / 2
        panels[1].semilogy(np.maximum(heights, 1e-9), color=color)
    panels[0].plot(0, 0, "k+", ms=9)
    panels[0].set_title(text["valley"].format(STEPS), fontsize=11, loc="left")
    panels[0].legend(frameon=False, fontsize=9, loc="lower right")
    panels[1].set_title(text["height"], fontsize=11, loc="left")
    panels[1].set_xlabel(text["step"])
    for axes in panels:
        tidy(axes)
