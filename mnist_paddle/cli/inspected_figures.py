"""The figures of `inspect`, and the embedding for VisualDL."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ..diagnostics import maps
from ..errors import UsageError
from ..experiment.commands import curves_command
from ..system.files import write_output
from ..tracking import inspect_plots
from ..tracking.curves import embedding_record
from ..tracking.names import drawable
from . import entry
from .inspected import MOST, Inspected

SHOWN = 8  # images in a row of Grad-CAM and occlusion: one row recognized, one mistaken
MOST_FEATURES = 64  # of an embedding in VisualDL, which sends all of them to the browser


def draw(subject: Inspected, image: int, folder: Path) -> None:
    """Write all figures into a folder, with a note for each that this network can't have."""
    make_folder(folder)
    for name, figure in FIGURES.items():
        png = io.BytesIO()
        try:
            figure(subject, image, png)
        except UsageError as error:
            entry.tell(f"note: no {name}: {error}")
            continue
        write_output(folder / name, png.getvalue())
        entry.tell(f"written: {folder / name}")


def make_folder(folder: Path) -> None:
    """Make a folder for output. Raises `UsageError` where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: can't make this folder ({error.strerror or error})") from None


def label_of(subject: Inspected) -> str:
    """What stands in small type below a figure."""
    return f"{subject.title} on {subject.dataset}, {subject.part}"


def examples(subject: Inspected, image: int) -> tuple[np.ndarray, list[str]]:
    """The images that maps are drawn of, and their captions: the one followed and others recognized, then the worst mistakes.

    Those recognized are the first of each class, so that a row shows different classes.
    """
    seen = subject.evaluation
    right = np.flatnonzero(seen.predictions == seen.labels)
    _, first = np.unique(seen.labels[right], return_index=True)
    recognized = [index for index in sorted(right[first]) if index != image][: SHOWN - 1]
    wrong = [index for index in seen.worst(SHOWN + 1) if index != image][:SHOWN]
    chosen = np.array([image, *recognized, *wrong], np.int64)
    return chosen, subject.evaluate(chosen).captions(np.arange(len(chosen)), drawable(subject.trained_on.classes))


def draw_filters(subject: Inspected, image: int, png: io.BytesIO) -> None:
    """filters.png."""
    layer, filters = maps.first_filters(subject.model)
    inspect_plots.draw_filters(maps.require_finite(filters, "filters"), png, layer=layer, name=label_of(subject))


def draw_feature_maps(subject: Inspected, image: int, png: io.BytesIO) -> None:
    """feature_maps.png."""
    found = {name: array[0] for name, array in maps.feature_maps(subject.model, subject.images([image])).items()}
    for array in found.values():
        maps.require_finite(array, "feature maps")
    label = drawable(subject.trained_on.classes)[int(subject.split.labels[image])]
    caption = f"image {image} (label {label})"
    inspect_plots.draw_feature_maps(subject.split.images[image], found, png, caption=caption, name=label_of(subject))


def draw_grad_cam(subject: Inspected, image: int, png: io.BytesIO) -> None:
    """gradcam.png."""
    chosen, captions = examples(subject, image)
    layer, heat = maps.grad_cam(subject.model, subject.images(chosen))
    inspect_plots.draw_grad_cam(subject.split.images[chosen], heat, captions, png, layer=layer, name=label_of(subject))


def draw_occlusion(subject: Inspected, image: int, png: io.BytesIO) -> None:
    """occlusion.png."""
    chosen, captions = examples(subject, image)
    seen = subject.evaluate(chosen)
    losses = maps.occlusion_map(subject.model, subject.images(chosen), seen.predictions)
    unit = "fall of the output" if seen.is_regression else "probability lost, percentage points"
    losses = losses if seen.is_regression else 100 * losses
    inspect_plots.draw_occlusion(subject.split.images[chosen], losses, captions, png, unit=unit, name=label_of(subject))


def draw_embedding(subject: Inspected, image: int, png: io.BytesIO) -> None:
    """embedding.png."""
    features, seen = features_of(subject), subject.evaluation
    points, shares = maps.pca(features)
    wrong, classes = seen.predictions != seen.labels, subject.trained_on.classes
    labels = seen.labels.astype(np.int64)
    inspect_plots.draw_embedding(points, labels, wrong, png, classes=classes, shares=shares, name=label_of(subject))


FIGURES: dict[str, Callable[[Inspected, int, io.BytesIO], None]] = {
    "filters.png": draw_filters,
    "feature_maps.png": draw_feature_maps,
    "gradcam.png": draw_grad_cam,
    "occlusion.png": draw_occlusion,
    "embedding.png": draw_embedding,
}


def features_of(subject: Inspected) -> np.ndarray:
    """The embedding of the first 2,000 images."""
    return maps.embedding(subject.model, subject.images(slice(0, MOST)))


def write_embedding(subject: Inspected, figures: Optional[str]) -> None:
    """Write the embedding for VisualDL into the folder `embedding` of the run, or of `figures` for a network without a run.

    It is a folder of its own, for VisualDL shows one file of records per folder; a second call replaces it.
    """
    base = subject.folder if subject.folder is not None else Path(figures or ".")
    try:
        features = features_of(subject)
    except UsageError as error:
        entry.tell(f"note: no embedding: {error}")
        return
    if features.shape[1] > MOST_FEATURES:
        features = maps.pca(features, MOST_FEATURES)[0]
    seen, classes = subject.evaluation, subject.trained_on.classes
    columns = {"label": names(classes, seen.labels), "predicted": names(classes, seen.predictions)}
    record = embedding_record("embedding", features, columns)
    path = base / "embedding" / "vdlrecords.embedding.log"
    make_folder(path.parent)
    write_output(path, record)
    entry.tell(f"written: {path}, {len(features):,} images for VisualDL's High Dimensional tab")
    if served := curves_command(base, "high-dimensional", relative=True):
        entry.tell(f"to see it: {served[0]}\nthen open {served[1]}")


def names(classes: Sequence[str], labels: Any) -> list[str]:
    """The names of labels."""
    return [classes[int(label)] for label in labels]
