"""How much of the cores' arithmetic training reaches: its floating-point operations over the peak of a matrix product."""

from functools import partial

from ..system.console import Log
from .processes import in_turns, worker
from .training import STEPS, ratios, with_range


def convolution(side: int, before: int, after: int, kernel: int, first: bool = False) -> int:
    """FLOPs an image for training a convolution whose output is side x side, from `before` to `after` channels.

    A product of n numbers counts 2 n: n multiplications and n additions. An output pixel of one channel is a product of
    before x kernel x kernel numbers. The gradient of the weights and that of the inputs take as many each; the first layer of
    a network has no gradient of its inputs. Bias, pooling and ReLU are not counted.

    >>> convolution(14, 20, 20, 5)
    11760000
    """
    return (2 if first else 3) * 2 * side * side * after * before * kernel * kernel


def linear(before: int, after: int, first: bool = False) -> int:
    """FLOPs an image for training a linear layer, counted as those of a convolution.

    >>> linear(980, 10)
    58800
    """
    return convolution(1, before, after, 1, first)


# The course's CNN with padding: 13.4 MFLOP an image, of them 11.8 in the second convolution.
CNN = convolution(28, 1, 20, 5, first=True) + convolution(14, 20, 20, 5) + linear(20 * 7 * 7, 10)


def measure(repeats: int, log: Log) -> dict:
    """By round: images/s of training the course's CNN, and GFLOP/s of large matrix products by NumPy and by Paddle."""
    measurements = {
        "training": partial(worker, "train", "cnn", "auto", str(STEPS["cnn"])),
        "numpy": partial(worker, "product", "numpy"),
        "paddle": partial(worker, "product", "paddle"),
    }
    return {"flops": CNN, "rounds": in_turns(measurements, repeats, log)}


def shares(result: dict) -> list[float]:
    """Percent of the round's faster product, by round."""
    rounds = result["rounds"]
    arithmetic = [100 * result["flops"] * rate / 1e9 for rate in rounds["training"]]
    return ratios(arithmetic, [max(pair) for pair in zip(rounds["numpy"], rounds["paddle"])])


def table(result: dict) -> list[list[str]]:
    """Training and the products, in GFLOP/s, and the share."""
    rounds, flops = result["rounds"], result["flops"]
    return [
        ["course CNN, batch 64", "median of the rounds"],
        ["training, images/s", with_range(rounds["training"], ",.0f")],
        ["arithmetic of an image", f"{flops / 1e6:.1f} MFLOP"],
        ["training, GFLOP/s", with_range([rate * flops / 1e9 for rate in rounds["training"]], ".1f")],
        ["matrix product on all cores, NumPy, GFLOP/s", with_range(rounds["numpy"], ".0f")],
        ["matrix product on all cores, Paddle, GFLOP/s", with_range(rounds["paddle"], ".0f")],
        ["training over the faster product", with_range(shares(result), ".1f") + " %"],
    ]
