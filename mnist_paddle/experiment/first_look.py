"""What is looked at before the first step of a process: the data, how the network is put together, what it does with a batch."""

from collections.abc import Iterator
from typing import Optional

import numpy as np
import paddle

from ..data.loader import Batch
from ..diagnostics import contracts, forward, inputs, structure
from ..diagnostics.alarms import Alarm
from .setup import Setup
from .state import State, trainable

IMAGES = 64  # of a batch that the checks look at, at most
FEW = 32  # that are enough where the network has to compute them
SAMPLE = 300  # images of a part whose pixels are compared with another's


def look_at_data(setup: Setup) -> Iterator[Optional[Alarm]]:
    """The parts of the dataset, compared with the training images."""
    for kind, text in setup.doubts:
        yield Alarm(kind, 0, text)
    train = setup.dataset.train
    known, pixels = inputs.sample_of(train), sample(train.images)
    for part in ("validation", "test"):
        split = getattr(setup.dataset, part)
        yield inputs.check_alike(pixels, sample(split.images), part)
        yield inputs.check_proportions(train.labels, split.labels, part)
        yield inputs.check_part(train, split, part, known)


def look_at_structure(setup: Setup, state: State, batch: Batch) -> Iterator[Optional[Alarm]]:
    """Layers, weights and optimizer; nothing is computed."""
    model, weights, step = state.model, dict(trainable(state.model)), state.step + 1
    yield structure.check_registered(model, step)
    yield structure.check_repeated(model, step)
    yield structure.check_initial_weights(weights, step)
    yield structure.check_optimizer(weights, state.optimizer, step)
    yield structure.check_frozen(model, step)
    yield structure.check_modes(model, step)
    parts = setup.config.accumulate_steps * max(1, len(state.replicas or ()))
    yield structure.check_batch_norm(model, -(-batch.local_size // parts), step)


def look_at_outputs(
    setup: Setup, state: State, batch: Batch, in_training: Optional[paddle.Tensor] = None
) -> Iterator[Optional[Alarm]]:
    """The loss on made-up answers, and what the network does with images of a batch in evaluation mode.

    `in_training`: the outputs of a batch in training mode.
    """
    model, loss, step = state.model, setup.loss_function, state.step + 1
    images, labels = batch.images[:FEW], batch.labels[:FEW]
    given, outputs = forward.layer_inputs(model, images)
    yield contracts.check_loss(loss, outputs, labels, len(setup.dataset.classes))
    for layer, values in list(given.items())[:1]:
        if values.size == images.size:
            yield inputs.check_normalized(values, step, layer)
    yield forward.check_hidden_softmax(given, step)
    far = forward.evaluated(model, forward.bright(images))
    yield forward.check_linear(far, dict(trainable(model)), step)
    yield forward.check_output(loss, outputs, far, labels)
    yield forward.check_evaluation(model, images, outputs, step)
    if in_training is not None:
        yield forward.check_output_dropout(in_training, outputs, step)


def sample(images: np.ndarray) -> np.ndarray:
    """Some of the images, evenly spread."""
    return images[:: max(1, len(images) // SAMPLE)]
