"""The figures of a run as bytes, as the process that draws them returns them."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Callable

import numpy as np

from ..system.paths import StrPath
from . import inspect_plots, plots
from .vdl import record


def curves_png(metrics: StrPath, name: str) -> bytes:
    """The training curves of a metrics.jsonl; `name` of the run."""
    return _png(partial(plots.draw_curves, metrics), name)


def confusion_png(confusion: np.ndarray, classes: Sequence[str], name: str) -> bytes:
    """The confusion matrix [k, k]; `classes` are names by label."""
    return _png(partial(plots.draw_confusion, confusion, classes=classes), name)


def mistakes_png(images: np.ndarray, captions: Sequence[str], name: str) -> bytes:
    """Captioned images uint8 [n, 28, 28]."""
    return _png(partial(plots.draw_mistakes, images, captions), name)


def images_record(tag: str, step: int, images: np.ndarray, captions: Sequence[str]) -> bytes:
    """Captioned images as one picture, as a record of VisualDL."""
    return record("image", tag, {"image_array": plots.image_grid(images, captions), "step": step})


def feature_maps_record(tag: str, step: int, image: np.ndarray, maps: Sequence[Sequence]) -> bytes:
    """What one image uint8 [28, 28] becomes, as a record of VisualDL: pairs of a layer and its maps [c, h, w]."""
    picture = inspect_plots.feature_map_picture(image, {str(pair[0]): pair[1] for pair in maps})
    return record("image", tag, {"image_array": picture, "step": step})


def _png(draw: Callable[..., None], name: str) -> bytes:
    buffer = io.BytesIO()
    draw(png=buffer, name=name)
    return buffer.getvalue()


JOBS = {job.__name__: job for job in (curves_png, confusion_png, mistakes_png, images_record, feature_maps_record)}


def import_libraries() -> None:
    """Import what the figures need, which takes most of the time of the first one."""
    plots.new_figure(1, 1)
