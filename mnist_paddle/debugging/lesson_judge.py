"""What proves a lesson solved: ten tests of what a script does, whatever its text. Each raises `Wrong` for what is still wrong.

The scripts train on images of their own choice; what they have learned is measured here, on others.
"""

from typing import Any, Callable

import numpy as np
import paddle
from paddle import nn

from .lesson_measures import (
    first_loss,
    follow_loss,
    initial_weights,
    is_number,
    is_probability,
    moved,
    run,
    saved,
    softmax,
    statistics,
    unchanged_weights,
)
from .lesson_script import Script, Wrong, before_every_step, held_out, outputs_of


def broadcast(script: Script) -> None:
    """Lesson 1: the loss is the mean of n squared differences, not of n * n."""
    calls = follow_loss(script)
    model = script.train(epochs=4)
    outputs, labels, loss = first_loss(calls)
    if outputs.size != labels.size:
        raise Wrong("outputs", shape=list(outputs.shape), expected=[labels.size, 1])
    expected = float(((outputs.ravel() - labels.ravel()) ** 2).mean())
    if not np.isclose(loss, expected, rtol=1e-3):
        raise Wrong("loss", loss=loss, expected=expected, count=labels.size)
    images, digits = script.held_out()
    error = float(((outputs_of(model, images).ravel() - digits) ** 2).mean())
    if not error < 6.5:
        raise Wrong("error", error=error)


def double_softmax(script: Script) -> None:
    """Lesson 2: the loss is the negative logarithm of the label's probability, under one softmax."""
    calls = follow_loss(script)
    model = script.train(epochs=4)
    outputs, labels, loss = first_loss(calls)
    given = outputs if is_probability(outputs) else softmax(outputs)
    expected = float(-np.log(given[np.arange(len(labels)), labels.ravel().astype(int)]).mean())
    if not np.isclose(loss, expected, rtol=1e-3, atol=1e-4):
        raise Wrong("loss", loss=loss, expected=expected)
    script.require_accuracy(model, 88)


def kept_gradients(script: Script) -> None:
    """Lesson 3: the gradient that a step uses is the sum of those computed since the step before."""
    added: dict[int, np.ndarray] = {}

    def note(place: int) -> Callable[[paddle.Tensor], None]:
        def hook(gradient: paddle.Tensor) -> None:
            added[place] = added.get(place, 0) + gradient.numpy()

        return hook

    def attach(model: nn.Layer, _: tuple) -> None:
        for place, weights in enumerate(model.parameters()):
            weights.register_hook(note(place))

    def compare(_: Any) -> None:
        for place, gradient in added.items():
            used = script.models[-1].parameters()[place].grad
            if used is None or not np.allclose(used.numpy(), gradient, rtol=1e-3, atol=1e-5 + 1e-3 * abs(gradient).max()):
                steps["differing"] += 1
                break
        steps["all"] += 1
        added.clear()

    steps = {"all": 0, "differing": 0}
    script.follow("make_model", attach)
    with before_every_step(compare):
        model = script.train(epochs=4)
    if not steps["all"]:
        raise Wrong("no_steps")
    if steps["differing"]:
        raise Wrong("kept", **steps)
    script.require_accuracy(model, 85)


def no_gradient(script: Script) -> None:
    """Lesson 4: the loss has a gradient with respect to every weight, and all are trained."""
    before = initial_weights(script)
    model = script.train(epochs=4)
    unchanged = unchanged_weights(model, before)
    images, labels = script.held_out()
    model.clear_gradients()
    nn.functional.cross_entropy(model(images), paddle.to_tensor(labels.astype("int64"))).backward()
    without = [name for name, weights in model.named_parameters() if weights.grad is None or not weights.grad.abs().sum().item()]
    if without:
        raise Wrong("without", names=", ".join(without))
    if unchanged:
        raise Wrong("unchanged_weights", names=", ".join(unchanged))
    script.require_accuracy(model, 90)


def unregistered(script: Script) -> None:
    """Lesson 5: the state of the network has all it needs to compute the same again, and the optimizer trains all of it."""
    before = initial_weights(script)
    model = script.train(epochs=6)
    unchanged = unchanged_weights(model, before)
    loaded = script.call("make_model", seed=1)
    loaded.set_state_dict(model.state_dict())
    images, _ = script.held_out()
    difference = float(abs(outputs_of(model, images) - outputs_of(loaded, images)).max())
    if not difference < 1e-4:
        raise Wrong("loaded", accuracy=script.accuracy(model), loaded=script.accuracy(loaded))
    if unchanged:
        raise Wrong("unchanged_weights", names=", ".join(unchanged))
    script.require_accuracy(model, 90)


def wrong_mode(script: Script) -> None:
    """Lesson 6: dropout is on in training steps and off in every evaluation, whose result is the accuracy."""
    seen: set[tuple[str, bool]] = set()
    inside, calls = [False], [0]
    original, evaluate = nn.Dropout.forward, script.module.evaluate

    def forward(layer: nn.Dropout, values: paddle.Tensor) -> paddle.Tensor:
        seen.add(("evaluation" if inside[0] else "training", layer.training))
        return original(layer, values)

    def evaluating(*arguments: Any, **named: Any) -> Any:
        inside[0] = True
        calls[0] += 1
        try:
            return evaluate(*arguments, **named)
        finally:
            inside[0] = False

    script.replace("evaluate", evaluating)
    nn.Dropout.forward = forward
    try:
        model = script.train(epochs=3)
    finally:
        nn.Dropout.forward = original
    if ("training", True) not in seen and ("training", False) not in seen:
        raise Wrong("no_dropout")
    if not calls[0]:
        raise Wrong("no_evaluation")
    if not any(place == "evaluation" for place, _ in seen):
        raise Wrong("no_network")
    if ("evaluation", True) in seen:
        raise Wrong("training_mode")
    if ("training", False) in seen:
        raise Wrong("evaluation_mode")
    accuracy = script.require_accuracy(model, 85)
    images, labels = script.held_out()
    model.eval()
    returned = evaluate(model, images, paddle.to_tensor(labels.astype("int64")))
    if not is_number(returned) or abs(float(returned) - accuracy) > 0.11:
        raise Wrong("evaluate", returned=returned, accuracy=accuracy)


def other_pixels(script: Script) -> None:
    """Lesson 7: the network sees pixels of the same kind in training and in `predict`, which is right for new images."""
    inputs: list[np.ndarray] = []
    script.follow("make_model", lambda model, _: model.register_forward_pre_hook(lambda layer, given: inputs.append(given[0])))
    model = script.train(epochs=6)
    trained = statistics(inputs[0])
    inputs.clear()
    split = held_out()
    model.eval()
    predicted = np.asarray(script.call("predict", model, split.images)).ravel()
    if predicted.shape != split.labels.shape:
        raise Wrong("digits", shape=list(predicted.shape), count=len(split))
    if not inputs:
        raise Wrong("no_network")
    now = statistics(inputs[0])
    if not np.allclose(trained, now, atol=0.15 * max(trained[1], 1e-9)):
        raise Wrong("pixels", mean=trained[0], spread=trained[1], new_mean=now[0], new_spread=now[1])
    accuracy = float(100 * (predicted == split.labels).mean())
    if not accuracy >= 88:
        raise Wrong("accuracy", accuracy=accuracy, least=88)


def large_rate(script: Script) -> None:
    """Lesson 8: the rate is neither so large that the weights are thrown away nor so small that little is learned."""
    rates: list[float] = []
    before = initial_weights(script)
    with before_every_step(lambda optimizer: rates.append(float(optimizer.get_lr()))):
        model = script.train(epochs=4)
    if not rates:
        raise Wrong("no_steps")
    accuracy, distance = script.accuracy(model), moved(model, before[0])
    values = {"rate": max(rates), "accuracy": accuracy, "distance": 100 * distance}
    # Good rates move the weights by 0.1 to 0.8 of their size; 2.0 and more by a multiple of it, or to NaN.
    if not accuracy >= 88 and distance < 0.5:
        raise Wrong("small", **values)
    if not accuracy >= 88:
        raise Wrong("large", **values)


def no_decay(script: Script) -> None:
    """Lesson 9: the rate falls from 1.0 at the first step to 0.01 at the last, however many epochs there are."""
    for epochs in (2, 4):
        rates: list[float] = []
        script.models.clear()
        with before_every_step(lambda optimizer, rates=rates: rates.append(float(optimizer.get_lr()))):  # type: ignore[misc]
            model = script.train(epochs=epochs)
        if len(rates) < 8:
            raise Wrong("no_steps")
        values = {"first": rates[0], "last": rates[-1], "steps": len(rates), "epochs": epochs}
        if rates[0] == rates[-1] == max(rates):
            raise Wrong("constant", **values)
        if not 0.8 <= rates[0] <= 1.01:
            raise Wrong("first", **values)
        if rates[-1] > 0.05:
            raise Wrong("last", **values)
        early = sum(rate > 1.5 * rates[-1] for rate in rates)
        if early < 0.75 * len(rates):
            raise Wrong("early", reached=early, **values)
        if max(np.diff(rates)) > 1e-9 or max(-np.diff(rates)) > 0.2:
            raise Wrong("leaps", **values)
    script.require_accuracy(model, 88)


def forgetful_resume(script: Script) -> None:
    """Lesson 10: a training that was stopped and resumed makes the steps of one that was not."""
    straight, _ = run(script, epochs=3)
    stopped, checkpoint = run(script, epochs=1)
    resumed, _ = run(script, epochs=3, checkpoint=saved(checkpoint))
    if len(straight) < 60 or not np.mean(straight[-40:]) < 0.6:
        raise Wrong("untrained", loss=float(np.mean(straight[-40:])) if straight else float("nan"), steps=len(straight))
    if len(stopped) + len(resumed) != len(straight):
        raise Wrong("count", straight=len(straight), stopped=len(stopped), resumed=len(resumed))
    close = np.isclose([*stopped, *resumed], straight, rtol=1e-3, atol=1e-4)
    if not close.all():
        step = int(np.argmin(close))
        raise Wrong("differs", step=step, resumed=[*stopped, *resumed][step], straight=straight[step], stop=len(stopped))


TESTS: dict[int, Callable[[Script], None]] = dict(
    enumerate(
        [
            *(broadcast, double_softmax, kept_gradients, no_gradient, unregistered),
            *(wrong_mode, other_pixels, large_rate, no_decay, forgetful_resume),
        ],
        start=1,
    )
)
