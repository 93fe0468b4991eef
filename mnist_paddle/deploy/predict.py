"""Predictions of a trained network for pictures of any kind.

>>> from mnist_paddle import predict
>>> predict("runs/mine", "photo.jpg").label                                            # doctest: +SKIP
'7'
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy as np

from ..data.pictures import split_digits, to_digit
from ..errors import RunError, UsageError
from ..experiment import load
from ..experiment.network import outputs_of
from ..metrics import probabilities
from ..system.paths import StrPath
from .forms import form_of
from .inputs import Input, from_object


@dataclass(frozen=True)
class Prediction:
    """The prediction for one picture: class name and probability, the runner-up and its probability.

    Without ink in the picture, all of them are None. A network with one output has no probabilities and no runner-up, but
    `output`, the number that it gave. `digits`: how many were seen in the picture, of which the tallest was read; None where
    none were looked for. `image`: what the network saw, uint8 [28, 28].
    """

    name: str
    label: Optional[str]
    probability: Optional[float]
    runner_up: Optional[str]
    runner_up_probability: Optional[float]
    digits: Optional[int]
    output: Optional[float] = None
    image: np.ndarray = field(repr=False, compare=False, default_factory=lambda: np.zeros((28, 28), np.uint8))


class Recognizer:
    """A trained network that predicts pictures: `Recognizer("runs/mine")("photo.jpg")`.

    `form` is how pictures are brought to 28x28, see `data.pictures`; None: as the images that the network was trained on.
    """

    def __init__(self, run: StrPath, form: Optional[str] = None) -> None:
        trained = load.load_trained(run)
        self.model, self.classes, self.normalization = trained.model, trained.classes, (trained.mean, trained.std)
        self.form = form or form_of(trained.settings, trained.from_pictures)

    def __call__(self, picture: Any) -> Prediction:
        """The prediction for one picture: a path, a Pillow image or an array. Raises `UsageError` for what is none."""
        return self.predict([from_object(picture)])[0]

    def predict(self, inputs: Iterable, split: bool = False) -> list:
        """The predictions for any number of `Input`. `split`: one for every digit of a picture, in reading order."""
        seen = [(image, name, digits) for item in inputs for image, name, digits in self.see(item, split)]
        outputs: Iterable = self.outputs(np.stack([image for image, *_ in seen])) if seen else []
        return [self.interpret(row, *item) for row, item in zip(outputs, seen)]

    def see(self, item: Input, split: bool = False) -> list:
        """What the network sees of an input: (image uint8 [28, 28], name, number of digits) of each digit."""
        if item.is_image:
            return [(item.gray, item.name, None)]
        if split:
            digits = split_digits(item.gray)
            if digits:
                return [(image, f"{item.name}[{number}]", 1) for number, image in enumerate(digits, 1)]
        digit = to_digit(item.gray, self.form)
        blank = int(digit.image.max()) - int(digit.image.min()) < 8
        return [(digit.image, item.name, 0 if blank else digit.count)]

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """The network's outputs for images uint8 [n, 28, 28]: float32 [n, outputs]. Raises `RunError` if one is not finite."""
        outputs: np.ndarray = outputs_of(self.model, images, self.normalization)
        if not np.isfinite(outputs).all():
            raise RunError("the network's outputs are not finite: its weights are damaged; train it again")
        return outputs

    def interpret(self, row: np.ndarray, image: np.ndarray, name: str, digits: Optional[int]) -> Prediction:
        """The prediction that a row of outputs stands for."""
        if digits == 0:
            return Prediction(name, None, None, None, None, 0, image=image)
        if len(row) == 1:
            nearest = int(np.clip(np.rint(row[0]), 0, len(self.classes) - 1))
            return Prediction(name, self.classes[nearest], None, None, None, digits, float(row[0]), image)
        shares = probabilities(row[None])[0]
        first, second = np.argsort(-shares, kind="stable")[:2].tolist()
        names = self.classes[first], self.classes[second]
        return Prediction(name, names[0], float(shares[first]), names[1], float(shares[second]), digits, image=image)


def predict(run: Union[StrPath, Recognizer], picture: Any) -> Prediction:
    """Predict one picture: `run` is a run folder, a checkpoint or a `Recognizer`; `picture` a path, a Pillow image or an array.

    Raises `UsageError` for a run or a picture that can't be read. For many pictures make one `Recognizer`.
    """
    if isinstance(picture, (list, tuple)):
        raise UsageError("predict takes one picture; for several, make a Recognizer(run) and call it with each")
    recognizer = run if isinstance(run, Recognizer) else Recognizer(run)
    return recognizer(picture)
