"""What is doubtful in a dataset: parts, classes, brightness, duplicates. One line each, with examples to look at."""

from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..system.console import Log
from .brightness import blank, brightness
from .dataset import Dataset, few
from .duplicates import near_pairs, same_images
from .findings import NOTE, WARNING, Finding, parts, readable
from .formats.arrays import PARTS

SAMPLE = 2000  # images of a part whose brightness is looked at before a training; `thorough` looks at all
MOST_LINES = 5  # of one severity that a training prints
# Shares of a part above which duplicates are doubtful. Fashion-MNIST's test part has 0.1 % near-duplicates in training.
LEAKED, REPEATED, FEW_PAIRS = 0.005, 0.1, 2
RARE, VERY_RARE = 5, 50  # how many times as large the largest class is: a note, a warning
FEW = 30  # images in the largest class below which its size is chance


def check(dataset: Dataset, thorough: bool = False) -> list[Finding]:
    """What is doubtful in the arrays, warnings first; an empty list if nothing is.

    `thorough` looks at the brightness of all images instead of a sample, and for near-duplicates across the parts, which takes
    a few seconds on MNIST (without it: 0.06 s).
    """
    findings = [*_classes(dataset), *blank(dataset), *_duplicates(dataset)]
    if thorough:
        findings += _near_duplicates(dataset)
    findings += brightness(dataset, None if thorough else SAMPLE)
    return sorted(_merged(findings), key=lambda finding: finding.severity != WARNING)


def _merged(findings: list[Finding]) -> list[Finding]:
    """One line for what is true of several parts: "train, test: dark on light"."""
    groups: dict[tuple, list] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.what, bool(finding.part)), []).append(finding)
    return [
        replace(
            group[0], part=", ".join(filter(None, (each.part for each in group))), examples=sum((e.examples for e in group), ())
        )
        for group in groups.values()
    ]


def everything(dataset: Dataset, thorough: bool = False) -> list[Finding]:
    """What the reader found doubtful, what `check` finds, and the reader's notes, warnings first."""
    read = [Finding(WARNING, text) for text in dataset.findings]
    noted = [Finding(NOTE, text) for text in dataset.notes]
    return sorted([*read, *check(dataset, thorough), *noted], key=lambda finding: finding.severity != WARNING)


def announce(dataset: Dataset, log: Log, strict: bool = False, *, test_only: bool = False) -> list[Finding]:
    """Print notes and warnings to `log`, a few lines of each; returns all. Raises `UsageError` for a warning if `strict`
    (--strict_data).

    `test_only`: the dataset has no other part, which is no finding.
    """
    findings = everything(dataset)
    if test_only:
        findings = [finding for finding in findings if finding.part in ("", "test")]
    remedy = f"look at them: {_command(dataset)}"
    for severity in (NOTE, WARNING):
        texts = [finding.text for finding in findings if finding.severity == severity]
        if strict and severity == WARNING and texts:
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
            raise UsageError(f"--strict_data: {texts[0]}{more}; {remedy}, or leave --strict_data out")
        for text in texts[:MOST_LINES]:
            log(f"{severity}: {text}")
        if len(texts) > MOST_LINES:
            log(f"{severity}: and {len(texts) - MOST_LINES} more; {remedy}")
    return findings


def _command(dataset: Dataset) -> str:
    """The command that shows a dataset."""
    import shlex

    if not dataset.settings:
        return "mnist-paddle data"
    flags = {name: value for name, value in dataset.settings.items() if value is not None and value != "mnist"}
    return " ".join(["mnist-paddle data", *(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items())])


# Parts and classes


def _classes(dataset: Dataset) -> list[Finding]:
    """Empty parts, classes without images, one class only, strong imbalance, other proportions in the test part."""
    findings = []
    counts = {name: np.bincount(getattr(dataset, name).labels, minlength=len(dataset.classes)) for name in PARTS}
    for name, count in counts.items():
        if not count.sum():
            findings.append(Finding(NOTE if name == "validation" else WARNING, "no images", part=name))
        elif (count > 0).sum() == 1:
            only = readable(dataset.classes[int(count.argmax())])
            findings.append(Finding(WARNING, f"all {count.sum():,} images are of class {only}", part=name))
        elif not count.all():
            findings.append(_missing(dataset, name, count))
    present = counts["train"][counts["train"] > 0]
    if len(present) > 1 and present.max() >= FEW and (times := present.max() / present.min()) >= RARE:
        large, small = (readable(dataset.classes[int(index)]) for index in _extremes(counts["train"]))
        text = f"class {large} has {present.max():,} images, class {small} {present.min():,} ({times:.0f} times fewer)"
        findings.append(Finding(WARNING if times >= VERY_RARE else NOTE, text, part="train"))
    return [*findings, *_proportions(counts)]


def _missing(dataset: Dataset, name: str, count: np.ndarray) -> Finding:
    """Classes without images; harmless only where a part is too small for all classes."""
    names = [dataset.classes[index] for index in np.flatnonzero(count == 0)]
    small = name != "train" and count.sum() < 5 * len(count)
    return Finding(NOTE if small else WARNING, f"no image of class {few([readable(name) for name in names], 10)}", part=name)


def _extremes(count: np.ndarray) -> tuple:
    """The labels of the largest class and of the smallest one that has images."""
    return count.argmax(), np.where(count > 0, count, count.max() + 1).argmin()


def _proportions(counts: dict) -> list[Finding]:
    """Classes of other proportions than in training: half the sum of absolute differences above 0.3 is doubtful."""
    findings = []
    train = counts["train"]
    for name in PARTS[1:]:
        if train.sum() and counts[name].sum() >= 5 * len(train):
            distance = np.abs(train / train.sum() - counts[name] / counts[name].sum()).sum() / 2
            if distance > 0.3:
                findings.append(
                    Finding(WARNING, f"other class proportions than train ({100 * distance:.0f} % differ)", part=name)
                )
    return findings


# Duplicates


def _duplicates(dataset: Dataset) -> list[Finding]:
    """Images that occur more than once: within a part, across parts, under different labels."""
    pairs = same_images({name: split.images for name, split in parts(dataset).items()})
    conflicts = [pair for pair in pairs if _label(dataset, pair[0]) != _label(dataset, pair[1])]
    findings = []
    if conflicts:
        first = _described(dataset, conflicts[0])
        findings.append(
            Finding(WARNING, f"{len(conflicts):,} images occur again under another label, the first: {first}", tuple(conflicts))
        )
    for name, split in parts(dataset).items():
        within = [pair for pair in pairs if pair[1][0] == name == pair[0][0]]
        if within:
            severity = WARNING if len(within) > REPEATED * len(split) else NOTE
            findings.append(Finding(severity, f"{len(within):,} duplicate images", tuple(within), name))
        for before in PARTS[: PARTS.index(name)]:
            across = [pair for pair in pairs if pair[1][0] == name and pair[0][0] == before]
            if across:
                severity = WARNING if len(across) > max(FEW_PAIRS, LEAKED * len(split)) else NOTE
                kind = "test_images_in_training" if severity == WARNING and before == "train" else ""
                findings.append(Finding(severity, f"{len(across):,} images are also in {before}", tuple(across), name, kind))
    return findings


def _near_duplicates(dataset: Dataset) -> list[Finding]:
    """Images that are shifted, noisy or otherwise slightly changed copies of one in another part."""
    findings, present = [], parts(dataset)
    for before, name in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if before in present and name in present:
            near, looked = near_pairs(present[before].images, present[name].images)
            pairs = tuple(((before, i), (name, j)) for i, j in near)
            if pairs:
                severity = WARNING if len(pairs) > max(FEW_PAIRS, LEAKED * looked) else NOTE
                of = "" if looked == len(present[name]) else f" of {looked:,} looked at"
                text = f"{len(pairs):,} images{of} are near-duplicates of images in {before} (shifted, noisy, augmented?)"
                findings.append(Finding(severity, text, pairs, name))
    return findings


def _label(dataset: Dataset, place: tuple) -> int:
    return int(getattr(dataset, place[0]).labels[place[1]])


def _described(dataset: Dataset, pair: tuple) -> str:
    return " and ".join(f"{part} {index:,} ({readable(dataset.classes[_label(dataset, (part, index))])})" for part, index in pair)
