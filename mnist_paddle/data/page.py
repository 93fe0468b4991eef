"""`mnist-paddle data --report`: one HTML file that shows a dataset. It needs no network: images are embedded PNG data."""

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..system.files import write_output
from ..system.paths import StrPath
from .dataset import Dataset
from .findings import WARNING, Finding, parts
from .formats.arrays import PARTS

MARK = '<meta name="generator" content="mnist-paddle data">'  # what tells an earlier report from a file of the user
PNG_MARK = "suspect labels of mnist-paddle data --audit"  # the same in a figure's metadata
SAMPLES, MOST_EXAMPLES, BINS = 12, 24, 32
COLORS = {"train": "#4c78a8", "validation": "#e4932f", "test": "#54a24b"}
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; font-weight: 600; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .15rem .6rem; text-align: right; vertical-align: middle; }
th:first-child, td:first-child { text-align: left; min-width: 6rem; max-width: 16rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
tr { border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
td.strip { text-align: left; width: 26rem; } img { image-rendering: pixelated; vertical-align: middle; background: #000; }
.bar { display: inline-block; height: .6rem; margin-left: .5rem; } .wide { width: 6rem; text-align: left; display: inline-block; }
figure { display: inline-block; margin: .4rem; width: 9.5rem; vertical-align: top; text-align: center; }
figcaption { font-size: .78rem; overflow-wrap: anywhere; } .warning { color: light-dark(#a33c00, #ffab7a); }
ul { padding-left: 1.2rem; } small { opacity: .75; }
"""


def check_target(path: StrPath, mark: str = MARK) -> Path:
    """The path of a file to write. Raises `UsageError` for a folder, a missing one, and a file of other origin."""
    path = Path(path)
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give the name of a file to write")
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
        if path.exists() and not _holds(path, mark):
            raise UsageError(f"{path} exists and was not written by mnist-paddle data; remove it, or give another name")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path}: the folder {path.parent} is not writable")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be written ({getattr(error, 'strerror', None) or error})") from None
    return path


def _holds(path: Path, mark: str) -> bool:
    with path.open("rb") as file:
        return mark.encode() in file.read(2**20)


def write(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises `UsageError` where that is not possible."""
    write_output(path, text.encode("utf-8", "replace"))


def page(dataset: Dataset, findings: list[Finding], suspects: Sequence = ()) -> str:
    """The HTML text. `suspects`: (part, index, label, better label, probability) of the audit, most doubtful first."""
    title = escape(f"{dataset.name} from {dataset.source or 'arrays'}")
    lines = [f'<li class="{finding.severity}">{finding.severity}: {escape(finding.text)}</li>' for finding in findings]
    body = [
        f"<h1>{title}</h1>",
        f"<ul>{''.join(lines) or '<li>nothing odd: counts, shapes, labels, no empty image, no image twice</li>'}</ul>",
        "<h2>Classes</h2>",
        _class_table(dataset),
        "<h2>Mean brightness of the images</h2>",
        _histogram(dataset),
    ]
    for finding in findings:
        if finding.examples:
            body.append(_examples(dataset, finding))
    if suspects:
        body.append(_suspects(dataset, suspects))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a class name can't load or run anything
    head = f'<meta charset="utf-8">{MARK}<meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _class_table(dataset: Dataset) -> str:
    """A row per class: its count in every part, as a number and a bar, and samples of the first part that has any."""
    present = parts(dataset)
    counts = {name: np.bincount(split.labels, minlength=len(dataset.classes)) for name, split in present.items()}
    largest = {name: max(1, int(count.max())) for name, count in counts.items()}
    rows = ["<tr><th>class</th>" + "".join(f"<th>{name}</th>" for name in present) + '<th class="strip"></th></tr>']
    for label, name in enumerate(dataset.classes):
        cells = [f"<td>{escape(str(name))}</td>"]
        for part, count in counts.items():
            width = 5.5 * count[label] / largest[part]
            bar = f'<span class="bar" style="width:{width:.2f}rem;background:{COLORS[part]}"></span>'
            cells.append(f'<td>{count[label]:,}<span class="wide">{bar}</span></td>')
        cells.append(f'<td class="strip">{_samples(present, label)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    totals = "".join(f"<td>{len(split):,}<span class='wide'></span></td>" for split in present.values())
    return f"<div class='scroll'><table>{''.join(rows)}<tr><td>all</td>{totals}<td></td></tr></table></div>"


def _samples(present: dict, label: int) -> str:
    """Images of a class, spread over the first part that has any."""
    for split in present.values():
        indices = np.flatnonzero(split.labels == label)
        if len(indices):
            chosen = indices[np.linspace(0, len(indices) - 1, min(SAMPLES, len(indices))).astype(int)]
            return _image(np.concatenate(list(split.images[chosen]), axis=1), "samples")
    return "<small>no images</small>"


def _histogram(dataset: Dataset) -> str:
    """Distribution of the mean brightness over the images, a line per part, as SVG."""
    lines, legend, width, height = [], [], 640, 160
    shares, means = {}, {}
    for name, split in parts(dataset).items():
        blocks = np.array_split(split.images, -(-len(split) // 8192))
        means[name] = np.concatenate([block.mean(axis=(1, 2)) for block in blocks])
        shares[name] = np.histogram(means[name], BINS, (0, 256))[0] / len(split)
    top = max((share.max() for share in shares.values()), default=1)
    for name, share in shares.items():
        heights = height * (1 - np.sqrt(share / top))
        points = " ".join(f"{(index + 0.5) * width / BINS:.1f},{value:.1f}" for index, value in enumerate(heights))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{COLORS[name]}" stroke-width="2"/>')
        legend.append(f'<span style="color:{COLORS[name]}">&#9632;</span> {name}: mean {means[name].mean():.1f}')
    axis = f'<path d="M0 {height}H{width}" stroke="currentColor"/><text x="0" y="{height + 16}" fill="currentColor">0</text>'
    axis += f'<text x="{width}" y="{height + 16}" text-anchor="end" fill="currentColor">255</text>'
    svg = f'<svg viewBox="0 0 {width} {height + 20}" width="{width}" style="max-width:100%">{axis}{"".join(lines)}</svg>'
    return f"{svg}<p>{' &nbsp; '.join(legend)}<br><small>height: square root of the share of images</small></p>"


def _examples(dataset: Dataset, finding: Finding) -> str:
    """The images of a finding; pairs side by side."""
    figures = []
    for example in finding.examples[:MOST_EXAMPLES]:
        places = (example,) if isinstance(example[0], str) else example
        images = [getattr(dataset, part).images[index] for part, index in places]
        gap = np.full((28, 2), 128, np.uint8)
        joined = images[0] if len(images) == 1 else np.concatenate([images[0], gap, images[1]], axis=1)
        caption = "<br>".join(escape(f"{part} {index:,}: {_name(dataset, part, index)}") for part, index in places)
        figures.append(_figure(joined, caption))
    shown = f" <small>({MOST_EXAMPLES} of {len(finding.examples):,})</small>" if len(finding.examples) > MOST_EXAMPLES else ""
    heading = f'<h2 class="{finding.severity if finding.severity == WARNING else ""}">{escape(finding.text)}{shown}</h2>'
    return heading + "".join(figures)


def _suspects(dataset: Dataset, suspects: Sequence) -> str:
    """The images whose labels the audit doubts."""
    body = []
    for part in PARTS:
        own = [suspect for suspect in map(tuple, suspects) if suspect[0] == part]
        if not own:
            continue
        shown = f" <small>(the {8 * MOST_EXAMPLES} most doubtful)</small>" if len(own) > 8 * MOST_EXAMPLES else ""
        body.append(f"<h3>{part}: {len(own):,}{shown}</h3>")
        for _, index, label, better, probability in own[: 8 * MOST_EXAMPLES]:
            names = [str(dataset.classes[number]) for number in (label, better)]
            caption = f"{index:,}: {escape(names[0])} &rarr; {escape(names[1])}<br>{100 * probability:.0f} %"
            body.append(_figure(getattr(dataset, part).images[index], caption))
    return "<h2>Labels that the audit doubts, the most doubtful first: label &rarr; what the networks see</h2>" + "".join(body)


def _name(dataset: Dataset, part: str, index: int) -> str:
    return str(dataset.classes[int(getattr(dataset, part).labels[index])])


def _figure(pixels: np.ndarray, caption: str) -> str:
    return f"<figure>{_image(pixels, '', 2)}<figcaption>{caption}</figcaption></figure>"


def _image(pixels: np.ndarray, alt: str, scale: float = 1.2) -> str:
    """Pixels uint8 [height, width] as an embedded PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    height, width = (round(size * scale) for size in pixels.shape)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{alt}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'
