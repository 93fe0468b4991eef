"""The gradients of a step in one call of the compiled kernel, where it computes the whole network and the loss."""

from typing import Optional

import paddle

from ..data.loader import Batch
from ..kernels.classifier import Classifier
from ..kernels.convolution import library_for
from ..layers import Network
from ..losses import is_cross_entropy
from .batches import split_batch
from .setup import Loss
from .state import State


def compiled_gradients(
    state: State, model: paddle.nn.Layer, loss_function: Loss, batch: Batch, *, weight: float, parts: int
) -> Optional[tuple[paddle.Tensor, paddle.Tensor]]:
    """Outputs [m, k] and losses [m] of a batch in up to `parts` micro-batches; the gradients replace those of the last step.

    None where Paddle has to compute them, such as to say what is wrong. Nothing here draws random numbers.
    """
    classifier = classifier_for(state, model, loss_function, batch)
    if classifier is None:
        return None
    results: list[tuple] = []
    for images, labels in split_batch(batch, parts):
        result = classifier.gradients(images, labels, weight, add=bool(results))
        if result is None:
            return None
        results.append(result)
    outputs, losses = results[0] if len(results) == 1 else map(paddle.concat, zip(*results))
    return outputs, losses


def classifier_for(state: State, model: paddle.nn.Layer, loss_function: Loss, batch: Batch) -> Optional[Classifier]:
    """What trains this network; None for other networks and losses, for several ranks or replicas, and for watched layers."""
    # Whoever gives a network in Python can give its parameters hooks at any time.
    alone = state.strategy.world_size == 1 and state.replicas is None and not state.own_model
    if not alone or model is not state.model or not isinstance(model, Network) or not is_cross_entropy(loss_function):
        return None
    chain = model.chain()
    library = chain and library_for(model.kernels, batch.images, chain[0][0].weight)
    if not chain or not library:
        return None
    if state.classifier is None or state.classifier.library is not library:
        state.classifier = Classifier(library, chain)
    return state.classifier
