"""How pictures are brought to 28x28 for a network: as the images that it was trained on."""

import os
from typing import Optional

from ..system.paths import StrPath


def form_of(settings: dict, from_pictures: Optional[bool] = None) -> str:
    """The form of `data.pictures` that fits a run's settings.

    MNIST's digits were cut out and centered, clothes fill their image, and the user's own folder of pictures was read by "auto".
    Other data are taken to be in MNIST's form. `from_pictures`: whether the run's data were a folder or an archive of pictures,
    which its checkpoint records, as they may have moved; None, of earlier versions: looked up.
    """
    if settings["dataset"] == "fashion_mnist":
        return "whole"
    data_dir = settings.get("data_dir")
    if settings["dataset"] == "custom" and (_has_folders(data_dir) if from_pictures is None and data_dir else from_pictures):
        return "auto"
    return "mnist"


def _has_folders(path: StrPath) -> bool:
    """Whether a path is a folder with folders, as class folders are; False if it is gone."""
    try:
        return any(entry.is_dir() and not entry.name.startswith(".") for entry in os.scandir(path))
    except OSError:
        return False
