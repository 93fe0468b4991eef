"""Brightness: blank, nearly black and inverted images, gray ground, and parts that were made differently."""

from typing import Optional

import numpy as np

from .dataset import Dataset
from .findings import WARNING, Finding, examples, parts

DARK_LIMIT, LIGHT_LIMIT, GRAY_LIMIT = 64, 128, 24  # of 255: brightest pixel of an image, median of its border (twice)
MIXED = 0.02  # share of images of the other polarity that makes it a finding
DRIFT = 0.5  # difference of two parts' mean brightness, in standard deviations over images


def blank(dataset: Dataset) -> list[Finding]:
    """Images of one brightness."""
    findings = []
    for name, split in parts(dataset).items():
        flat = split.images.reshape(len(split), -1)
        blank = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
        if len(blank):
            text = f"{len(blank):,} empty or constant images, the first at index {blank[0]:,}"
            findings.append(Finding(WARNING, text, examples(name, blank), name))
    return findings


def brightness(dataset: Dataset, sample: Optional[int] = None) -> list[Finding]:
    """Images that are nearly black, dark on light, or on gray; parts of visibly different brightness.

    `sample`: how many images of a part are looked at; None: all.
    """
    findings, means = [], {}
    for name, split in parts(dataset).items():
        step = 1 if sample is None else max(1, len(split) // sample)
        images = split.images[::step]
        flat = images.reshape(len(images), -1)
        inked = flat.max(axis=1) > flat.min(axis=1)  # blank images have a finding of their own
        if not inked.any():
            continue
        means[name] = flat.mean(axis=1)[inked]
        border = np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)
        findings += _darkness(name, flat.max(axis=1), inked, step)
        findings += _polarity(name, np.median(border, axis=1), inked, step)
    return findings + _drift(means)


def _darkness(name: str, brightest: np.ndarray, inked: np.ndarray, step: int) -> list[Finding]:
    dark = np.flatnonzero(inked & (brightest < DARK_LIMIT))
    if len(dark) <= MIXED * inked.sum():
        return []
    if len(dark) > 0.9 * inked.sum():
        text = f"nearly black, no pixel above {brightest[dark].max()} of 255; was the file's scale 0 to 1?"
    else:
        text = f"{_share(dark, inked)} images are nearly black (no pixel above {DARK_LIMIT - 1} of 255)"
    return [Finding(WARNING, text, examples(name, dark * step), name)]


def _polarity(name: str, border: np.ndarray, inked: np.ndarray, step: int) -> list[Finding]:
    """The ground is judged by the median of the border: it is black in MNIST and, clothes touching it aside, in Fashion-MNIST."""
    light = np.flatnonzero(inked & (border >= LIGHT_LIMIT))
    gray = np.flatnonzero(inked & (border >= GRAY_LIMIT) & (border < LIGHT_LIMIT))
    share = len(light) / inked.sum()
    if share > 1 - MIXED:
        text = "dark on light (the border is bright); the networks expect white on black"
        return [Finding(WARNING, text, examples(name, light * step), name)]
    if share > MIXED:
        text = f"mixed polarity: {_share(light, inked)} images are dark on light, the others light on dark"
        return [Finding(WARNING, text, examples(name, light * step), name)]
    if len(gray) > 0.5 * inked.sum():
        text = f"gray ground, median border {np.median(border[gray]):.0f} of 255 in {_share(gray, inked)} images"
        return [Finding(WARNING, text, examples(name, gray * step), name)]
    return []


def _share(indices: np.ndarray, inked: np.ndarray) -> str:
    return f"{100 * len(indices) / inked.sum():.0f} % of the"


def _drift(means: dict) -> list[Finding]:
    """Parts that are visibly brighter or darker than the training part, by more than chance."""
    findings, train = [], means.get("train")
    for name, values in means.items():
        if name == "train" or train is None or min(len(train), len(values)) < 30:
            continue
        difference = values.mean() - train.mean()
        spread = max(np.sqrt((values.var() + train.var()) / 2), 1e-9)
        error = np.sqrt(values.var() / len(values) + train.var() / len(train)) + 1e-9
        if abs(difference) > DRIFT * spread and abs(difference) > 5 * error:
            text = f"mean brightness {values.mean():.1f}, in train {train.mean():.1f}: were they made in the same way?"
            findings.append(Finding(WARNING, text, part=name))
    return findings
