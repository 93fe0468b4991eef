"""Inputs and cases, in pure NumPy, that make.py computes with PyTorch and test_reference.py with Paddle.

Random numbers come from `RandomState`, whose stream NumPy guarantees, so both sides use the same numbers. Optimizer constants are
binary fractions where results must agree to the last digits: Paddle stores them in float32.
"""

import numpy as np


def normal(seed: int, *shape, scale=1.0) -> np.ndarray:
    """Normally distributed float64 numbers."""
    return np.random.RandomState(seed).normal(0.0, scale, shape)


# Losses: the label's score far above the others, far below them, and in between.
LABELS = np.arange(24) % 10
LEADS = np.array([-900.0, -300, -90, -66, -64, -62, -40, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 30, 40, 62, 66, 90, 900])
SCORES = normal(0, 24, 10, scale=2.0)
SCORES[np.arange(24), LABELS] += LEADS
ONE_OUTPUT = normal(1, 24, 1, scale=4.0)
LOSSES = [
    ("mse_scalar", {}),
    ("mse", {}),
    ("cross_entropy", {}),
    *[("label_smoothing", {"epsilon": epsilon}) for epsilon in (0.0, 0.125, 1.0)],
    *[("focal", {"gamma": gamma}) for gamma in (0.0, 0.0625, 0.5, 1.0, 2.0, 5.0)],
]

POINTS = np.concatenate([np.linspace(-8, 8, 33) + 0.01, [-40.0, 40.0]])

# Optimizers: least squares in a [3, 4] weight and a [4] bias, with changing learning rates.
STEPS = 50
INPUTS, TARGETS = normal(2, 16, 3), normal(3, 16, 4)
START = normal(4, 3, 4), normal(5, 4)
MOMENTS = {"beta1": 0.875, "beta2": 1 - 2**-10, "epsilon": 2**-20}
# (name, arguments, weight decay, clip norm, factor of the rates); {}: the defaults, whose constants are rounded to float32
OPTIMIZERS = [
    ("sgd", {}, 0.0, 0.0, 1.0),
    ("sgd", {}, 2**-4, 0.0, 1.0),
    ("sgd", {}, 0.0, 0.25, 1.0),
    ("momentum", {"momentum": 0.875}, 0.0, 0.0, 0.25),
    ("momentum", {"momentum": 0.875, "nesterov": True}, 2**-4, 0.0, 0.25),
    ("momentum", {}, 0.0, 0.0, 0.25),
    ("adagrad", {"epsilon": 2**-10}, 0.0, 0.0, 4.0),
    ("adagrad", {}, 2**-4, 0.0, 4.0),
    ("adadelta", {"rho": 0.875, "epsilon": 2**-10}, 0.0, 0.0, 16.0),
    ("adadelta", {}, 2**-4, 0.0, 16.0),
    ("rmsprop", {"rho": 0.875, "epsilon": 2**-6, "momentum": 0.5}, 0.0, 0.0, 0.25),
    ("rmsprop", {"rho": 0.875, "epsilon": 2**-6}, 2**-4, 0.0, 0.25),
    ("rmsprop", {}, 0.0, 0.0, 0.25),
    *[
        (name, arguments, decay, 0.0, 1.0)
        for name in ("adam", "adamw", "adamax", "lamb")
        for arguments, decay in ((MOMENTS, 0.0), (MOMENTS, 2**-4), ({**MOMENTS, "epsilon": 2**-4}, 0.0), ({}, 2**-4))
    ],
    ("muon", {**MOMENTS, "momentum": 0.875}, 0.0, 0.0, 1.0),
    ("muon", {**MOMENTS, "momentum": 0.875, "nesterov": False}, 2**-4, 0.25, 1.0),
    ("muon", {**MOMENTS, "momentum": 0.875, "adjust_lr_fn": "original"}, 2**-4, 0.0, 0.25),
    ("muon", {}, 2**-4, 0.0, 1.0),
]


def rates(factor: float) -> np.ndarray:
    """Binary fractions that rise and fall."""
    return factor * 2.0 ** -np.array([4, 5, 6, 5, 3])[np.arange(STEPS) % 5]


# Schedules: (name, arguments, warm-up steps) over 24 steps.
TOTAL = 24
SCHEDULES = [
    ("constant", {}, 0),
    ("constant", {}, 4),
    ("step", {"factor": 0.5, "drops": 2}, 0),
    ("step", {"factor": 0.1, "drops": 3}, 4),
    ("exponential", {"final": 0.01}, 0),
    ("exponential", {"final": 0.5}, 4),
    ("polynomial", {"final": 0.1, "power": 1.0}, 0),
    ("polynomial", {"final": 0.0, "power": 2.5}, 4),
    ("cosine", {"final": 0.0}, 0),
    ("cosine", {"final": 0.125}, 4),
    ("one_cycle", {"peak": 0.25, "start": 0.04, "final": 1e-4}, 0),
    ("one_cycle", {"peak": 0.5, "start": 0.1, "final": 0.05}, 4),
]

# Networks, small ones: (name, arguments).
IMAGES = normal(6, 6, 1, 28, 28)
DIGITS = np.array([3, 1, 4, 1, 5, 9])
SMALL_CNN = {"channels": [3, 5], "kernel": 5}
MODELS = [
    ("linear", {}),
    ("linear", {"outputs": 1}),
    *[("fc", {"widths": [12, 8], "norm": norm}) for norm in ("none", "batch", "group")],
    ("fc", {"widths": [9], "activation": "sigmoid", "outputs": 1}),
    *[
        ("cnn", {**SMALL_CNN, "activation": activation})
        for activation in ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "silu", "identity")
    ],
    *[("cnn", {"channels": [4, 6], "kernel": 3, "hidden": 7, "norm": norm}) for norm in ("none", "batch", "group")],
    ("lenet", {}),
    ("lenet", {"activation": "relu"}),
    *[("rnn", {"cell": cell, "hidden": 8, "layers": layers}) for cell in ("lstm", "gru") for layers in (1, 2)],
    *[("resnet", {"channels": [4, 6], "norm": norm}) for norm in ("none", "batch", "group")],
    ("resnet", {"channels": [4, 6], "blocks": 2, "norm": "none", "activation": "silu"}),
]


def parameters(shapes) -> list[np.ndarray]:
    """Weights of these shapes, of the size that keeps signals alive; biases and norms' weights too are not 0 and 1."""
    made = []
    for number, shape in enumerate(shapes):
        fan_in = np.prod(shape[1:] if len(shape) == 4 else shape[:1])
        made.append(normal(100 + number, *shape, scale=1.0 if len(shape) == 1 else fan_in**-0.5))
    return made


def digest(array) -> np.ndarray:
    """A small array itself; of a large one 32 of its numbers and 8 random sums of all of them, which any error changes."""
    flat = np.asarray(array, np.float64).ravel()
    if flat.size <= 64:
        return flat
    sums = np.random.RandomState(flat.size).normal(size=(8, flat.size)) @ flat
    return np.concatenate([flat[:: -(-flat.size // 32)], sums])


# Batch norm: three batches, then an evaluation of the first.
BATCHES = normal(7, 3, 5, 4, 6, 6, scale=3.0) + 2.0

# Metrics: predictions that are right about half of the time; no label and no prediction is an 8, no label is a 7.
TRUE = np.random.RandomState(8).randint(0, 7, 300)
TRUE[-20:] = 9
PREDICTED = np.where(np.random.RandomState(9).uniform(size=300) < 0.5, TRUE, np.random.RandomState(10).randint(0, 8, 300))

# A training: 200 steps over 64 images of ten patterns, batches of 8 in turn, a rate that falls as half a cosine.
TRAINING_STEPS = 200
TRAINING_LABELS = np.random.RandomState(11).randint(0, 10, 64)
TRAINING_IMAGES = normal(12, 10, 1, 28, 28)[TRAINING_LABELS] + normal(13, 64, 1, 28, 28)
TRAINED = ("cnn", {"channels": [3, 4], "kernel": 5})
TRAININGS = [("momentum", {"momentum": 0.875}, 2**-9), ("adam", MOMENTS, 2**-8), ("muon", MOMENTS, 2**-8)]


def batch(step: int) -> np.ndarray:
    """The numbers of the images of a step's batch."""
    return (np.arange(8) + 8 * step) % 64


def falling(step: int) -> float:
    """The factor of the rate."""
    return 0.5 * (1.0 + np.cos(np.pi * step / TRAINING_STEPS))


def key(*parts) -> str:
    """The name of an array in the stored file."""
    return " ".join(map(str, parts)).replace("/", "_")
