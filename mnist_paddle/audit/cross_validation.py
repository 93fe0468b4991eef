"""Probabilities for every image from networks that were not trained on it: k-fold cross-validation with an ordinary network."""

from contextlib import closing
from dataclasses import dataclass
from typing import Callable

import numpy as np
import paddle

from ..data.dataset import MNIST_PIXELS, Split
from ..data.loader import Loader
from ..errors import RunError, UsageError
from ..experiment.network import build_model, outputs_of
from ..losses import load_loss
from ..metrics import probabilities as softmax
from ..optimizers import make_optimizer
from ..schedules import make_schedule
from ..system.global_state import fresh_global_state


@dataclass(frozen=True)
class Recipe:
    """How each of the networks is trained. Augmentation keeps it from learning wrong labels by heart."""

    model: str = "cnn"
    model_args: tuple = (("channels", (8, 16)), ("norm", "batch"))
    learning_rate: float = 0.01
    batch_size: int = 128
    epochs: int = 4
    augment: str = "affine"
    seed: int = 0


RECIPE = Recipe()


def fold_numbers(labels: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """A fold for every image, int64 [n], such that each class is spread over all folds; pure function of the seed.

    >>> np.bincount(fold_numbers(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2)).tolist()
    [4, 4]
    """
    order = np.random.default_rng((seed, 2)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % folds
    return numbers


@fresh_global_state()
def cross_validate(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    folds: int = 5,
    *,
    recipe: Recipe = RECIPE,
    log: Callable = print,
) -> np.ndarray:
    """Probabilities float64 [n, classes] of images uint8 [n, 28, 28], each from the network of a fold without it.

    Raises `UsageError` where there are too few images for so many folds.
    """
    if folds < 2 or len(labels) < 2 * folds:
        raise UsageError(f"{len(labels):,} images can't be divided into {folds} folds; use 2 to {max(2, len(labels) // 2)}")
    numbers, probabilities = fold_numbers(labels, folds, recipe.seed), np.zeros((len(labels), classes))
    for fold in range(folds):
        outside = numbers == fold
        model = train_one(Split(images[~outside], labels[~outside]), classes, recipe, fold)
        probabilities[outside] = softmax(outputs_of(model, images[outside], MNIST_PIXELS))
        if not np.isfinite(probabilities[outside]).all():
            raise RunError(f"the network of fold {fold + 1} has infinite or NaN outputs; its labels can't be judged")
        right = 100 * (probabilities[outside].argmax(axis=1) == labels[outside]).mean()
        log(f"fold {fold + 1} of {folds}: {right:.2f} % of {outside.sum():,} labels as predicted")
    return probabilities


def train_one(split: Split, classes: int, recipe: Recipe, fold: int) -> paddle.nn.Layer:
    """A network trained on a split by the recipe."""
    paddle.seed(recipe.seed * 1009 + fold)
    model = build_model(recipe.model, dict(recipe.model_args), classes)
    loader = Loader(split, recipe.batch_size, seed=recipe.seed * 1009 + fold, augment=recipe.augment)
    steps = loader.steps_per_epoch
    schedule = make_schedule("one_cycle", {}, base=recipe.learning_rate, epoch_steps=steps, epochs=recipe.epochs)
    optimizer = make_optimizer("adam", model.parameters(), recipe.learning_rate)
    loss_function = load_loss("cross_entropy", {})
    with closing(loader.batches(0, schedule.total_steps)) as batches:
        for batch in batches:
            optimizer.clear_grad()
            optimizer.set_lr(schedule.rate(batch.step))
            loss_function(model(batch.images), batch.labels).mean().backward()
            optimizer.step()
    return model
