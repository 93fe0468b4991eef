"""Compute arrays.npz, the reference for Paddle's results: python tests/reference/make.py

Requires PyTorch and scikit-learn (made with 2.13 and 1.9), imports neither paddle nor the package, and takes half a minute. Where
Paddle's definition differs from PyTorch's, Paddle's documented formula is written out here, with a comment.
"""

from pathlib import Path
from unittest import mock

import cases
import networks
import numpy as np
import torch
import torch.nn.functional as F
from cases import key
from sklearn import metrics
from torch.optim import lr_scheduler

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def losses():
    """Values and gradients of every loss."""
    labels = torch.tensor(cases.LABELS)
    for name, arguments in cases.LOSSES:
        scores = torch.tensor(cases.ONE_OUTPUT if name == "mse_scalar" else cases.SCORES, requires_grad=True)
        values = loss(name, scores, labels, **arguments)
        values.sum().backward()
        yield key("loss", name, arguments, "values"), values.detach().numpy()
        yield key("loss", name, arguments, "gradients"), scores.grad.numpy()


def loss(name, scores, labels, epsilon=0.0, gamma=0.0):
    """One value per example."""
    if name == "mse_scalar":
        return F.mse_loss(scores[:, 0], labels.double(), reduction="none")
    if name == "mse":
        return F.mse_loss(scores, F.one_hot(labels, 10).double(), reduction="none").mean(dim=1)
    if name == "focal":
        # In odds, to keep the precision of 1 - p where p is nearly 1.
        others = scores.masked_fill(F.one_hot(labels, 10).bool(), -torch.inf).logsumexp(dim=1)
        odds = others - scores.gather(1, labels[:, None])[:, 0]
        return torch.exp(gamma * F.logsigmoid(odds)) * F.softplus(odds, threshold=800)
    return F.cross_entropy(scores, labels, reduction="none", label_smoothing=epsilon)


def activations():
    """Values and derivatives of every activation."""
    for name, function in networks.ACTIVATIONS.items():
        points = torch.tensor(cases.POINTS, requires_grad=True)
        values = function(points)
        values.sum().backward()
        yield key("activation", name, "values"), values.detach().numpy()
        yield key("activation", name, "derivatives"), points.grad.numpy()


def by_hand(name, weights, rate, memory, momentum=0.0, rho=0.95, beta1=0.9, beta2=0.999, epsilon=1e-6, decay=0.0):
    """A step of the optimizers that PyTorch lacks or defines otherwise, by the formulas in Paddle's documentation."""
    memory["step"] = step = memory.get("step", 0) + 1
    for number, weight in enumerate(weights):
        first, second = memory.get(number, (torch.zeros_like(weight), torch.zeros_like(weight)))
        gradient = weight.grad if name == "lamb" else weight.grad + decay * weight.data
        if name == "rmsprop":  # epsilon inside the root, the rate inside the momentum
            second = rho * second + (1 - rho) * gradient**2
            first = momentum * first + rate * gradient / torch.sqrt(second + epsilon)
            weight.data -= first
        elif name == "adamax":  # epsilon added to the fading largest gradient
            first = beta1 * first + (1 - beta1) * gradient
            second = torch.maximum(gradient.abs(), beta2 * second + epsilon)
            weight.data -= rate / (1 - beta1**step) * first / second
        else:  # lamb: algorithm 2 of You et al. 2019, the trust ratio at any decay
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient**2
            direction = first / (1 - beta1**step) / (torch.sqrt(second / (1 - beta2**step)) + epsilon) + decay * weight.data
            weight.data -= rate * weight.data.norm() / direction.norm() * direction
        memory[number] = first, second


def torchs(name, weights, decay, momentum=0.9, nesterov=False, rho=0.95, beta1=0.9, beta2=0.999, epsilon=None):
    """PyTorch's optimizer, with the toolkit's defaults."""
    shared = {"lr": 0.0, "weight_decay": decay}
    if name in ("sgd", "momentum"):
        return torch.optim.SGD(weights, **shared, momentum=momentum if name == "momentum" else 0.0, nesterov=nesterov)
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        return kind(weights, **shared, betas=(beta1, beta2), eps=epsilon or 1e-8)
    if name == "adagrad":
        return torch.optim.Adagrad(weights, **shared, eps=epsilon or 1e-6)
    return torch.optim.Adadelta(weights, **shared, rho=rho, eps=epsilon or 1e-6)


class Muon:
    """PyTorch's Muon and AdamW, with the toolkit's defaults, for weights of Paddle's shapes.

    Paddle's fully connected weights are [in, out]; PyTorch's Muon takes [out, in], and two dimensions of a convolution. It
    orthogonalizes in bfloat16, here in float64, with coefficients that Paddle's addmm holds in float32.
    """

    def __init__(self, weights, decay, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw", **moments):
        self.weights = [weight for weight in weights if weight.ndim > 1]
        self.matrices = [self.as_matrix(weight.detach()).clone().requires_grad_() for weight in self.weights]
        coefficients = tuple(map(float, np.float32([3.4445, -4.7750, 2.0315])))
        named = {"lr": 0.0, "weight_decay": decay, "momentum": momentum, "nesterov": nesterov, "adjust_lr_fn": adjust_lr_fn}
        self.muon = torch.optim.Muon(self.matrices, **named, ns_coefficients=coefficients)
        self.adamw = torchs("adamw", [weight for weight in weights if weight.ndim == 1], decay, **moments)
        self.param_groups = self.muon.param_groups

    @staticmethod
    def as_matrix(tensor):
        """[in, out] -> [out, in]; [out, in, k, k] -> [out, in * k * k]."""
        return tensor.T if tensor.ndim == 2 else tensor.flatten(1)

    def step(self):
        """One step of both, with the rate of `param_groups`."""
        for matrix, weight in zip(self.matrices, self.weights):
            matrix.grad = self.as_matrix(weight.grad)
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            self.muon.step()
        self.adamw.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self.adamw.step()
        for matrix, weight in zip(self.matrices, self.weights):
            self.as_matrix(weight.data).copy_(matrix.detach())


def optimizers():
    """50 steps of every optimizer on least squares; the weights after every fifth."""
    for name, arguments, decay, clip, factor in cases.OPTIMIZERS:
        weights = [torch.tensor(array, requires_grad=True) for array in cases.START]
        step = stepper(name, weights, decay, **arguments)
        kept = []
        for number, rate in enumerate(cases.rates(factor)):
            error = torch.tensor(cases.INPUTS) @ weights[0] + weights[1] - torch.tensor(cases.TARGETS)
            (error**2).sum(dim=1).mean().backward()
            if clip:  # PyTorch's clip_grad_norm_ adds 1e-6 to the norm
                norm = torch.sqrt(sum((weight.grad**2).sum() for weight in weights))
                for weight in weights:
                    weight.grad *= clip / max(norm, clip)
            step(rate)
            if number % 5 == 4:
                kept.append(np.concatenate([weight.detach().numpy().ravel() for weight in weights]))
        yield key("optimizer", name, arguments, decay, clip), np.array(kept)


def stepper(name, weights, decay, **arguments):
    """A function of the rate that makes one step and clears the gradients."""
    memory = {}
    if name == "adamax":
        arguments.setdefault("epsilon", 1e-8)
    if name == "muon":
        optimizer = Muon(weights, decay, **arguments)
    else:
        optimizer = None if name in ("rmsprop", "adamax", "lamb") else torchs(name, weights, decay, **arguments)

    def step(rate):
        if optimizer:
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.step()
        else:
            by_hand(name, weights, rate, memory, decay=decay, **arguments)
        for weight in weights:
            weight.grad = None

    return step


def schedules():
    """Rates of every schedule, from PyTorch's schedulers, after PyTorch's linear warm-up."""
    for name, arguments, warmup in cases.SCHEDULES:
        length = cases.TOTAL - warmup
        factors = schedule(name, length, **arguments)
        rise = (
            rate_of(lambda optimizer, w=warmup: lr_scheduler.LinearLR(optimizer, 1 / (w + 1), 1.0, w), warmup) if warmup else []
        )
        yield key("schedule", name, arguments, warmup), np.array([factors[0] * factor for factor in rise] + factors)


def rate_of(make, steps, base=1.0):
    """The rates that a scheduler sets over so many steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def schedule(name, length, factor=0.1, drops=2, final=0.0, power=1.0, peak=0.3, start=0.04):
    """The factors of a schedule over `length` steps."""
    places = [-(-length * (drop + 1) // (drops + 1)) for drop in range(drops)]
    # PyTorch counts the last step as the end and the step before pct_start * steps as the peak; here they are one later.
    cycle = {"max_lr": 1.0, "total_steps": length + 1, "pct_start": (peak * length + 1) / (length + 1)}
    made = {
        "constant": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 1.0),
        "step": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, places, factor),
        "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, final ** (1 / length)),
        "polynomial": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, length, power),
        "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, length, final),
        "one_cycle": lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, **cycle, div_factor=1 / start, final_div_factor=start / (final or 1e-12), cycle_momentum=False
        ),
    }
    found = rate_of(made[name], length)
    return [final + (1 - final) * rate for rate in found] if name == "polynomial" else found  # PyTorch's ends at 0


def models():
    """Outputs and gradients of every network, with weights drawn from seeds."""
    for name, arguments in cases.MODELS:
        network = networks.Network(name, **arguments)
        outputs = network(torch.tensor(cases.IMAGES))
        labels = torch.tensor(cases.DIGITS)
        loss("mse_scalar" if outputs.shape[1] == 1 else "cross_entropy", outputs, labels).mean().backward()
        yield key("model", name, arguments, "outputs"), outputs.detach().numpy()
        for number, weight in enumerate(network.weights):
            yield key("model", name, arguments, "gradient", number), cases.digest(weight.grad.numpy())


def batch_norm():
    """Running statistics after three batches, and what evaluation then makes of the first; the variance is Paddle's, biased."""
    mean, variance = torch.zeros(4), torch.ones(4)
    for images in torch.tensor(cases.BATCHES):
        mean = 0.9 * mean + 0.1 * images.mean(dim=(0, 2, 3))
        variance = 0.9 * variance + 0.1 * images.var(dim=(0, 2, 3), correction=0)
    evaluated = F.batch_norm(torch.tensor(cases.BATCHES[0]), mean, variance, eps=1e-5)
    yield "batch norm mean", mean.numpy()
    yield "batch norm variance", variance.numpy()
    yield "batch norm outputs", cases.digest(evaluated.numpy())


def scores():
    """scikit-learn's figures of a classification."""
    yield "metrics confusion", metrics.confusion_matrix(cases.TRUE, cases.PREDICTED, labels=range(10))
    figures = metrics.precision_recall_fscore_support(cases.TRUE, cases.PREDICTED, labels=range(10), zero_division=0)
    yield "metrics classes", np.array(figures)
    yield "metrics accuracy", np.array(metrics.accuracy_score(cases.TRUE, cases.PREDICTED))


def training():
    """200 steps of a small network: every loss, and the weights at the end."""
    for name, arguments, base in cases.TRAININGS:
        network = networks.Network(cases.TRAINED[0], **cases.TRAINED[1])
        network(torch.tensor(cases.TRAINING_IMAGES))  # draws the weights
        step, found = stepper(name, network.weights, 0.0, **arguments), []
        for number in range(cases.TRAINING_STEPS):
            chosen = cases.batch(number)
            outputs = network(torch.tensor(cases.TRAINING_IMAGES[chosen]))
            value = F.cross_entropy(outputs, torch.tensor(cases.TRAINING_LABELS[chosen]))
            value.backward()
            step(base * cases.falling(number))
            found.append(value.item())
        yield key("training", name, "losses"), np.array(found)
        for number, weight in enumerate(network.weights):
            yield key("training", name, "weight", number), cases.digest(weight.detach().numpy())


def main():
    """Write every array into one compressed file beside this script."""
    arrays = {}
    for topic in (losses, activations, optimizers, schedules, models, batch_norm, scores, training):
        arrays.update(topic())
    path = Path(__file__).with_name("arrays.npz")
    np.savez_compressed(path, **arrays)
    print(f"{len(arrays)} arrays, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
