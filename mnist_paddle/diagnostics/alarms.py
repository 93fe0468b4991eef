"""Alarms: what is wrong with a training, by name, each with the step, the layer, the evidence and what to do about it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Callable, Optional

# kind -> what it is, and what to do
KINDS: dict[str, tuple[str, str]] = {
    "non_finite": ("a number is not finite", "try a smaller --learning_rate, --warmup_epochs 1 or --clip_norm 1"),
    "broadcast_loss": (
        "the loss mixes the examples of a batch",
        "compare each output with its own label only: make labels and outputs the same shape, and return one value per example",
    ),
    "loss_prefers_wrong": ("the loss is lower for wrong answers", "check the sign of the loss: it is minimized"),
    "loss_ignores_class": (
        "the loss of some class does not depend on the answer",
        "look for ignore_index, a class weight of 0 or a mask in the loss",
    ),
    "double_softmax": (
        "softmax is applied twice",
        "let the network end without softmax: cross entropy applies it",
    ),
    "output_activation": (
        "an activation follows the last layer",
        "let the network end with its last linear layer: the loss takes scores of any size and sign",
    ),
    "output_dropout": (
        "dropout is applied to the scores",
        "put dropout before the last layer: a score that is set to 0 is an answer",
    ),
    "hidden_softmax": (
        "softmax is applied inside the network",
        "use relu between the layers: softmax divides all units by their sum and passes small gradients",
    ),
    "linear_network": (
        "the network is linear: its layers together are one",
        "put an activation such as relu between the layers",
    ),
    "mixed_examples": (
        "the images of a batch influence each other's outputs",
        "look at reshape, transpose, and means or softmax over axis 0; the first axis is the batch",
    ),
    "unregistered_layer": (
        "layers with weights are hidden from Paddle, which neither trains nor saves them",
        "keep them in nn.LayerList or nn.Sequential instead of a list, parameters in create_parameter or add_parameter",
    ),
    "repeated_layer": (
        "one layer is used as if it were several",
        "make a new layer for each place: [layer] * 3 is one layer; fine if weights are shared on purpose",
    ),
    "loss_for_one_output": (
        "the loss does not depend on the network's output",
        "a cross entropy needs one output per class; with a single output use a regression loss such as mse_scalar",
    ),
    "gradients_not_cleared": (
        "gradients of earlier steps are added up",
        "clear the gradients after every step: optimizer.clear_grad()",
    ),
    "missing_gradient": (
        "weights that change the loss get no gradient",
        "look for detach(), numpy(), no_grad() or stop_gradient between this layer and the loss",
    ),
    "wrong_gradient": (
        "the step does not use the gradient of its batch",
        "check what happens between backward() and the optimizer's step",
    ),
    "wrong_direction": (
        "a step raises the loss",
        "subtract the gradient: a loss is minimized",
    ),
    "optimizer_state_lost": (
        "the optimizer has forgotten its moments",
        "make the optimizer once, before the loop, and leave its state alone",
    ),
    "unused_layer": ("weights do not influence the output", "use the layer in forward, or remove it"),
    "frozen_layer": (
        "weights get a gradient but do not change",
        "give the optimizer all parameters: parameters=model.parameters(); fine if the layer is frozen on purpose",
    ),
    "train_mode_in_evaluation": (
        "dropout or batch statistics are at work in evaluation",
        "call model.eval() before evaluating, and model.train() afterwards",
    ),
    "eval_mode_in_training": (
        "dropout or batch norm are off in training",
        "call model.train() before training, and again after every evaluation",
    ),
    "test_images_in_training": (
        "images that measure are also trained on",
        "remove them from the training images: accuracy measures memory otherwise",
    ),
    "different_proportions": (
        "classes are much more frequent in training than where it is measured, or less",
        "draw all parts from the same images, shuffled; or repeat the images of rare classes",
    ),
    "class_never_predicted": (
        "a class is never predicted",
        "look at its images: are there enough in training, labeled so, and does the loss count them?",
    ),
    "shuffled_labels": (
        "the labels do not belong to the images",
        "check the order in which images and labels are read, and that they are shuffled together",
    ),
    "wrong_labels": (
        "many labels are wrong",
        "look at them: mnist-paddle data --audit; correct them with --corrections",
    ),
    "different_labels": (
        "the labels that measure mean something else than those of training",
        "number the classes in the same way in all parts, from 0; read images and labels of each part in the same order",
    ),
    "inputs_not_normalized": (
        "the network's inputs are not normalized",
        "subtract the mean and divide by the standard deviation of the training images",
    ),
    "blank_images": (
        "images are empty",
        "look at the files: they may be damaged, or have been read or scaled wrongly",
    ),
    "different_inputs": (
        "the images that measure are unlike the training images",
        "prepare both in the same way: same polarity, scale and position",
    ),
    "rate_too_large": ("the learning rate is too large", "divide --learning_rate by 10, or find one: mnist-paddle find-lr"),
    "rate_too_small": ("the learning rate is too small", "multiply --learning_rate by 10, or find one: mnist-paddle find-lr"),
    "rate_decays_early": (
        "the learning rate is gone long before the end",
        "let it decay over the whole training: --schedule cosine or one_cycle",
    ),
    "tiny_weights": (
        "the initial weights are far too small",
        "use the usual scale, 1 / root of the number of inputs: leave weight_attr at its default",
    ),
    "equal_weights": (
        "the weights of a layer are all equal",
        "initialize weights at random: units with equal weights learn the same",
    ),
    "vanishing_gradients": (
        "the gradients vanish in the first layers",
        "use relu instead of sigmoid or tanh, fewer layers, batch norm (norm=batch) or shortcuts",
    ),
    "exploding_gradients": (
        "the gradients explode",
        "try usual initial weights, --clip_norm 1, a smaller --learning_rate, or norm=batch",
    ),
    "saturated_units": (
        "units are stuck at the ends of their activation",
        "normalize the inputs, use smaller initial weights or a smaller --learning_rate, or relu",
    ),
    "dead_units": (
        "units are 0 for all images",
        "use a smaller --learning_rate, biases of 0 and usual initial weights, or an activation such as leaky_relu or gelu",
    ),
    "schedule_not_followed": (
        "the optimizer's learning rate is not the schedule's",
        "step the schedule after every batch: scheduler.step(), or optimizer.set_lr(rate)",
    ),
    "augmentation_flips": (
        "the augmentation makes other classes of the images",
        "leave out mirrored and strongly turned images: a mirrored digit is no digit",
    ),
    "augmentation_too_strong": (
        "the augmentation removes most of many images",
        "move, turn and erase less: a person should still recognize every image",
    ),
    "sorted_batches": (
        "batches hold few classes",
        "shuffle the training images in every epoch",
    ),
    "batch_norm_of_one": (
        "batch norm normalizes a single image",
        "use larger batches (--batch_size, fewer --accumulate_steps), or norm=group",
    ),
    "norm_statistics": (
        "batch norm's running statistics do not fit",
        "check its momentum (Paddle's 0.9 keeps 90 % of the old value a step), and that it is in training mode in training",
    ),
    "over_regularized": (
        "regularization holds the training back",
        "use less of it: --weight_decay, dropout, --clip_norm",
    ),
    "loss_stuck": (
        "the loss does not move",
        "see that a few images can be learned: --overfit_batches 1; then check data, loss and learning rate in turn",
    ),
}


# kind -> others that explain it: after one of them it is no news
NOTHING_TO_LEARN = ("equal_weights", "inputs_not_normalized", "loss_prefers_wrong", "shuffled_labels", "sorted_batches")
SMALL_SIGNAL = ("tiny_weights", "hidden_softmax")
EXPLAINED: dict[str, tuple[str, ...]] = {
    "dead_units": (
        *(*NOTHING_TO_LEARN, *SMALL_SIGNAL, "saturated_units", "exploding_gradients", "over_regularized"),
        *("gradients_not_cleared", "mixed_examples", "wrong_gradient"),
    ),
    "saturated_units": (*NOTHING_TO_LEARN, "exploding_gradients", "gradients_not_cleared", "output_activation"),
    "vanishing_gradients": (*NOTHING_TO_LEARN, *SMALL_SIGNAL, "saturated_units", "dead_units", "over_regularized"),
    "exploding_gradients": (*NOTHING_TO_LEARN, "saturated_units", "broadcast_loss"),
    "rate_too_small": (
        *(*NOTHING_TO_LEARN, *SMALL_SIGNAL, "saturated_units", "dead_units", "vanishing_gradients", "over_regularized"),
        "rate_decays_early",
    ),
    "rate_too_large": (
        *(*NOTHING_TO_LEARN, "exploding_gradients", "gradients_not_cleared", "over_regularized", "wrong_direction"),
    ),
    "over_regularized": (*NOTHING_TO_LEARN, "exploding_gradients", "output_dropout", "augmentation_too_strong"),
    "output_activation": ("equal_weights", "double_softmax"),
    "wrong_gradient": ("gradients_not_cleared",),
    "wrong_direction": ("loss_prefers_wrong", "wrong_gradient", "gradients_not_cleared"),
    "frozen_layer": ("wrong_gradient",),
    "optimizer_state_lost": ("wrong_gradient",),
    "norm_statistics": ("equal_weights", "batch_norm_of_one", "eval_mode_in_training", "train_mode_in_evaluation"),
    "wrong_labels": ("shuffled_labels", "different_labels"),
    "different_labels": ("different_inputs",),
    "blank_images": ("inputs_not_normalized",),
    "class_never_predicted": (
        *(*NOTHING_TO_LEARN, "loss_ignores_class", "different_labels", "different_inputs", "dead_units"),
        *("different_proportions", "output_activation", "wrong_labels", "rate_too_small", "rate_too_large"),
    ),
}


@dataclass(frozen=True)
class Alarm:
    """What is wrong (one of `KINDS`), at which step and layer ("": none in particular), and the figures that show it."""

    kind: str
    step: int
    evidence: str
    layer: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind][1]

    @property
    def text(self) -> str:
        """Two lines for the log."""
        where = f" (layer {self.layer})" if self.layer else ""
        return f"alarm at step {self.step:,}: {KINDS[self.kind][0]}{where}: {self.evidence}\n  {self.remedy}"

    def as_dict(self) -> dict:
        """The fields, and the remedy, as report.json holds them."""
        return {**asdict(self), "remedy": self.remedy}


class Alarms:
    """The alarms of a run, each kind once. `log` receives their lines, `on_alarm` the alarms."""

    def __init__(
        self, log: Callable[[str], object], on_alarm: Optional[Callable[[Alarm], None]] = None, raised: Iterable[dict] = ()
    ) -> None:
        """`raised` are those of the run so far, as `as_dict` makes them."""
        self.log, self.on_alarm = log, on_alarm
        self.raised = [Alarm(**{name: each[name] for name in ("kind", "step", "evidence", "layer")}) for each in raised]

    def __contains__(self, kind: str) -> bool:
        return any(alarm.kind == kind for alarm in self.raised)

    def add(self, alarm: Optional[Alarm]) -> None:
        """Raise an alarm, unless there was one of its kind or one that explains it; None is none."""
        if alarm is None or alarm.kind in self or any(kind in self for kind in EXPLAINED.get(alarm.kind, ())):
            return
        self.raised.append(alarm)
        self.log(alarm.text)
        if self.on_alarm:
            self.on_alarm(alarm)

    def as_dicts(self) -> list[dict[str, Any]]:
        """All alarms so far, as report.json and checkpoints hold them."""
        return [alarm.as_dict() for alarm in self.raised]


def is_alarm(value: object) -> bool:
    """Whether a value read from a file is an alarm as `as_dict` makes it."""
    kinds = {"kind": str, "step": int, "evidence": str, "layer": str}
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), kind) for name, kind in kinds.items())
        and value["kind"] in KINDS
    )
