"""Tables as text: a column per run where there are few, a row per run where there are many."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..metrics import accuracy_interval, pad, shorten
from ..metrics import display_width as wide
from .comparison import Pair, Run

FEW = 4  # runs that have a column each
WIDTH = 100  # columns of a terminal; wider tables are divided
LONGEST = 32


def grid(rows: Sequence[str], columns: Mapping[str, Sequence[str]], width: int = WIDTH) -> list[str]:
    """Lines of a table: `rows` names them, `columns` holds the cells by heading. Columns that do not fit begin a new block.

    >>> grid(["seed", "epochs"], {"a": ["0", "10"], "long name": ["1", "-"]})
    ['          a   long name', 'seed      0           1', 'epochs   10           -']
    """
    side = max((wide(row) for row in rows), default=0)
    blocks: list[list[tuple]] = [[]]
    used = side
    for head, cells in columns.items():
        size = 3 + max(wide(text) for text in (head, *cells))
        if blocks[-1] and used + size > width:
            blocks, used = [*blocks, []], side
        blocks[-1].append((size, head, cells))
        used += size
    lines = []
    for number, block in enumerate(blocks):
        lines += [""] * (number > 0)
        lines.append(" " * side + "".join(pad(head, size, ">") for size, head, _ in block))
        for place, row in enumerate(rows):
            lines.append(pad(row, side) + "".join(pad(cells[place], size, ">") for size, _, cells in block))
    return [line.rstrip() for line in lines]


def by_run(runs: Sequence[Run], facts: Mapping[str, Sequence[str]]) -> list[str]:
    """A table of facts, name -> a text for each run: with the runs as columns where they are few, else as rows."""
    names = [shorten(run.name, LONGEST) for run in runs]
    if len(set(names)) < len(names):
        names = [run.name for run in runs]
    if len(runs) > FEW:
        return grid(names, facts)
    return grid(list(facts), {name: [cells[place] for cells in facts.values()] for place, name in enumerate(names)})


def settings_table(runs: Sequence[Run], settings: Mapping[str, Sequence]) -> list[str]:
    """The settings that differ, each with its value in every run."""
    if not settings:
        return ["the settings that affect results are the same"]
    return by_run(runs, {name: [shorten(setting_text(value), LONGEST) for value in row] for name, row in settings.items()})


def setting_text(value: Any) -> str:
    """A setting as a flag would have it; - for none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(setting_text, value))}]"
    return "-" if value is None else str(value)


def results_table(runs: Sequence[Run], part: str) -> list[str]:
    """Figures of every run; the accuracy with its 95 % interval, and what is not known as -."""
    counts = [len(run.evaluation.labels) for run in runs]
    intervals = [accuracy_interval(run.evaluation.accuracy, count) for run, count in zip(runs, counts)]
    unit = "accuracy" if part == "all" else f"{part} accuracy"
    facts = {
        "parameters": [number(run.results["parameters"]) for run in runs],
        "epochs": [number(run.results["epochs"], ".4g") for run in runs],
        "steps": [number(run.results["steps"]) + " (unfinished)" * (not run.finished) for run in runs],
        f"{unit}, %": [f"{run.evaluation.accuracy:.2f}" for run in runs],
        "95 % interval": [f"{low:.2f} to {high:.2f}" for low, high in intervals],
        "loss": [f"{run.evaluation.loss:.4g}" for run in runs],
        "training, s": [number(run.results["train_seconds"], ",.1f") for run in runs],
        "images/s": [number(run.results["images_per_second"]) for run in runs],
        "memory, MB": [number(run.results["peak_memory_mb"]) for run in runs],
    }
    return by_run(runs, {name: cells for name, cells in facts.items() if set(cells) != {"-"}})


def number(value: Optional[float], form: str = ",.0f") -> str:
    """A number, or - where it is not known."""
    return "-" if value is None else f"{value:{form}}"


def pair_lines(pairs: Sequence[Pair]) -> list[str]:
    """The verdicts: a line for one pair, a table for several."""
    if len(pairs) == 1:
        (pair,) = pairs
        verdict = {"cannot tell": f"cannot tell which is better, {pair.first} or {pair.second}"}
        told = verdict.get(pair.verdict, f"{pair.second} is {pair.verdict} than {pair.first}")
        counts = f"only {pair.second} recognized {pair.only_second:,} images, only {pair.first} {pair.only_first:,}"
        p = probability(pair.p) if pair.p < 0.0001 else f"= {probability(pair.p)}"
        return [f"{told}: {counts}; p {p} (McNemar, exact)"]
    facts = {
        "verdict": [pair.verdict for pair in pairs],
        "only this": [f"{pair.only_second:,}" for pair in pairs],
        "only the first": [f"{pair.only_first:,}" for pair in pairs],
        "p": [probability(pair.corrected) for pair in pairs],
    }
    head = f"against {pairs[0].first}: images that only this run or only the first recognized; p of McNemar's exact test,"
    return [head, f"with Holm's correction for {len(pairs)} tests", "", *grid([pair.second for pair in pairs], facts)]


def probability(p: float) -> str:
    """A p.

    >>> probability(0.0312), probability(1e-9)
    ('0.031', '< 0.0001')
    """
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"
