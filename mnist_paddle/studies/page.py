"""What a study leaves behind: figures, a table of all runs (CSV), and a Markdown page: claims, set-up, results, verdicts."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from ..system.files import write_output
from ..tracking.libraries import default_style
from ..tracking.names import use_fonts
from ..tracking.plots import new_figure, save
from .charts import CHARTS, Sheet, size
from .language import WORDS, font_of, word
from .measures import MEASURES, Run
from .rules import HOLDS, ONLY_IF, UNKNOWN, Results, Verdict, interval, judge
from .study import NAMES, Chart, Claim, Study, Variant, load
from .worked import FIGURES, TEXTS

Found = dict[tuple[str, int], Run]  # runs by variant and seed
COLORS = 256  # of a PNG's palette: a third of the size
INDEX = "README.md"


def write(study: Study, rows: list[dict], runs: Found, folder: Path, *, language: str, facts: dict) -> list[Verdict]:
    """Write the page, the table and the figures of a study into a folder; returns the verdicts on its claims.

    `facts`: what the measurements depend on, such as processor and versions. Raises `UsageError` where no font has the letters.
    """
    font_of(language)
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(rows)
    verdicts = [judge(claim, results) for claim in study.claims]
    figures = draw(study, results, runs, folder, language)
    write_output(folder / f"{study.name}.csv", table(rows).encode("utf-8"))
    page = "\n".join(markdown(study, results, verdicts, figures, language=language, facts=facts)) + "\n"
    write_output(folder / f"{study.name}.md", page.encode("utf-8"))
    return verdicts


def table(rows: list[dict]) -> str:
    """All runs as CSV, with every digit of every measure."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: repr(value) if isinstance(value, float) else value for name, value in row.items()} for row in rows)
    return text.getvalue()


def read_table(text: str) -> list[dict]:
    """The rows of a table that `table` wrote: measures are numbers again."""
    rows = []
    for row in csv.DictReader(io.StringIO(text)):
        values: dict[str, Any] = {name: float(value) if name in MEASURES else value for name, value in row.items()}
        rows.append({**values, "seed": int(row["seed"]), "diverged": row["diverged"] == "True"})
    return rows


def draw(study: Study, results: Results, runs: Found, folder: Path, language: str) -> list[str]:
    """Draw the figures of a study; returns the names of their files."""
    names = [f"{study.name}-{number}.png" for number in range(1, len(study.charts) + 1)]
    titles = {name: variant.title[language] for name, variant in study.variants.items()}
    sheet = Sheet(language, results, runs, titles, starts(study, runs))
    for chart, name in zip(study.charts, names):
        draw_one(chart, sheet, folder / name)
    return names


def starts(study: Study, runs: Found) -> dict[str, float]:
    """The epochs that had been done when a variant began with another's weights; a resumed run counts on by itself."""
    begun = {}
    for name, variant in study.variants.items():
        if variant.start is not None and variant.start.how == "init_from":
            steps, epochs, _ = runs[variant.start.variant, 0].series["train", "loss"]
            begun[name] = float(epochs[-1] / steps[-1] * variant.start.step)
    return begun


@default_style
def draw_one(chart: Chart, sheet: Sheet, path: Path) -> None:
    """Draw one figure into a file."""
    use_fonts([*WORDS[sheet.language].values(), *TEXTS[sheet.language].values(), *sheet.titles.values()])
    figure = new_figure(*size(chart.kind, len(chart.arguments.get("variants") or sheet.titles)))
    if chart.kind in CHARTS:
        CHARTS[chart.kind](figure, sheet, **chart.arguments)
    else:
        FIGURES[chart.kind](figure, sheet.language)
    buffer, small = io.BytesIO(), io.BytesIO()
    save(figure, buffer)
    Image.open(buffer).convert("RGB").quantize(COLORS).save(small, format="png", optimize=True)
    write_output(path, small.getvalue())


def markdown(study: Study, results: Results, verdicts: list[Verdict], figures: list, *, language: str, facts: dict) -> list[str]:
    """The lines of a study's page."""
    lines = [f"# {study.title[language]}", "", *paragraph(study.intro[language])]
    if study.claims:
        lines += [f"## {word('claims', language)}", ""]
        for claim, verdict in zip(study.claims, verdicts):
            lines += [f"> {claim.text[language]}", "", f"**{sentence(claim, verdict, language)}**", ""]
            lines += [*(f"- {line}" for line in evidence(claim, verdict, language)), ""]
    else:
        lines += [f"## {word('difference', language, first_title(study, language))}", ""]
        lines += [*differences(study, results, language), ""]
    for chart, name in zip(study.charts, figures):
        lines += [f"![{chart.title[language]}]({name})", "", *paragraph(chart.title[language])]
    lines += [f"## {word('results', language)}", "", *means(study, results, language), ""]
    lines += [f"## {word('setup', language)}", "", *setup(study, language), "", *paragraph(study.notes[language])]
    lines += [f"## {word('measured', language)}", "", *conditions(study, facts, language)]
    return lines


def paragraph(text: str) -> list[str]:
    """A text and an empty line; nothing for no text."""
    return [text.strip(), ""] if text.strip() else []


def sentence(claim: Claim, verdict: Verdict, language: str) -> str:
    """The verdict as a line of its own."""
    return f"{word('verdict', language)}: {kind(claim, verdict, language)}"


def kind(claim: Claim, verdict: Verdict, language: str) -> str:
    """The kind of a verdict in words, with the conditions that hold where others do not or are unknown."""
    text = word(verdict.kind, language)
    held = [one.title[language] for one, answer in zip(claim.conditions, verdict.answers) if answer.holds]
    if verdict.kind == UNKNOWN and held:
        return f"{text} ({word(HOLDS, language)}: {', '.join(held)})"
    return f"{text} {', '.join(held)}" if verdict.kind == ONLY_IF else text


def evidence(claim: Claim, verdict: Verdict, language: str) -> list[str]:
    """A line for every condition: when, the figures, and the answer."""
    answers = {True: word("holds", language), False: word("does not hold", language), None: word("cannot tell", language)}
    lines = []
    for condition, answer in zip(claim.conditions, verdict.answers):
        what = condition.arguments.get("measure")
        named = f"{MEASURES[what].title[language]}, " if what else ""
        when = f"{condition.title[language]}: " if condition.title[language] else ""
        lines.append(f"{when}{named}{answer.evidence}: {answers[answer.holds]} (`{condition.rule}`)")
    return lines


def means(study: Study, results: Results, language: str) -> list[str]:
    """The table of means with their intervals."""
    head = word("mean", language, study.seeds) if study.seeds > 1 else word("single", language)
    titles = [word("variant", language), *(MEASURES[name].title[language] for name in study.measures)]
    lines = [f"{head}:", "", row(titles), row(["---"] * len(titles))]
    for name, variant in study.variants.items():
        cells = [variant.title[language]]
        for measure in study.measures:
            mean = results.mean(name, measure)
            cells.append(MEASURES[measure].show(mean.mean) if mean.low == mean.high else interval(mean, measure))
        lines.append(row(cells))
    for name, variant in study.variants.items():
        diverged = sum(map(bool, results.of(name, "diverged").values()))
        if diverged:
            lines += ["", f"{variant.title[language]}: {word('diverged', language, diverged, study.seeds)}"]
    return lines


def differences(study: Study, results: Results, language: str) -> list[str]:
    """The paired comparison of every variant with the first one: what a study without claims shows."""
    first, *others = study.variants
    measure = next((name for name in study.measures if name.endswith(("accuracy", "error", "loss"))), study.measures[0])
    titles = [word("variant", language), MEASURES[measure].title[language], word("verdict", language)]
    lines = [row(titles), row(["---"] * 3)]
    for name in others:
        difference = results.difference(name, first, measure)
        sign = 1 if MEASURES[measure].higher else -1
        low, high = sorted((sign * difference.low, sign * difference.high))
        verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
        shown = interval(difference, measure, difference=True)
        lines.append(row([study.variants[name].title[language], shown, word(verdict, language)]))
    return lines


def first_title(study: Study, language: str) -> str:
    """The title of the variant that the others are compared with."""
    return next(iter(study.variants.values())).title[language]


def setup(study: Study, language: str) -> list[str]:
    """The settings: those that all variants share, and those of each."""
    lines = [f"{word('base', language)}: {settings_text(study.base, language)}", ""]
    lines += [row([word("variant", language), "", word("settings", language)]), row(["---"] * 3)]
    for name, variant in study.variants.items():
        lines.append(row([variant.title[language], f"`{name}`", changes(variant, language)]))
    return lines


def changes(variant: Variant, language: str) -> str:
    """What distinguishes a variant."""
    parts = [settings_text(variant.changes, language)] if variant.changes else []
    if variant.ranks > 1:
        parts.append(word("ranks", language, variant.ranks))
    if variant.start:
        parts.append(word(variant.start.how, language, variant.start.variant, variant.start.step))
    return ", ".join(parts)


def settings_text(settings: dict, language: str) -> str:
    """Settings as code."""
    shown = {name: value for name, value in settings.items() if name != "plugins"}
    if not shown:
        return word("no effect", language)
    return ", ".join(f"`{name}: {value if isinstance(value, str) else json.dumps(value)}`" for name, value in shown.items())


def conditions(study: Study, facts: dict, language: str) -> list[str]:
    """The command, and what the figures depend on."""
    lines = ["```bash", facts["command"], "```", ""]
    lines.append(", ".join(str(facts[name]) for name in ("processor", "versions", "date") if facts.get(name)) + ".")
    lines.append(f"[{study.name}.csv]({study.name}.csv)")
    return lines


def row(cells: list) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def found_pages(folder: Path, studies: dict[str, Study], verdicts: dict[str, list[Verdict]]) -> list[Study]:
    """`studies` and those of the article whose pages are in the folder, in the article's order.

    The verdicts of the latter, which follow from their tables, are added to `verdicts`. A table of other variants is left out.
    """
    for name in NAMES:
        table = folder / f"{name}.csv"
        if name in studies or not table.is_file() or not (folder / f"{name}.md").is_file():
            continue
        known = load(name)
        try:
            results = Results(read_table(table.read_text(encoding="utf-8")))
            if {row["variant"] for row in results.rows} != set(known.variants):
                continue
            verdicts[name] = [judge(claim, results) for claim in known.claims]
        except (OSError, ValueError, LookupError):
            continue
        studies = {**studies, name: known}
    order = [*NAMES, *studies]
    return sorted(studies.values(), key=lambda study: order.index(study.name))


def index(studies: list[Study], verdicts: dict[str, list[Verdict]], language: str) -> str:
    """The page that lists studies with their claims and verdicts."""
    head = row([word(name, language) for name in ("study", "claim", "verdict")])
    lines = [f"# {word('index', language)}", "", head, row(["---"] * 3)]
    for study in studies:
        for number, (claim, verdict) in enumerate(zip(study.claims, verdicts[study.name])):
            title = f"[{study.title[language]}]({study.name}.md)" if number == 0 else ""
            lines.append(row([title, " ".join(claim.text[language].split()), kind(claim, verdict, language)]))
        if not study.claims:
            lines.append(row([f"[{study.title[language]}]({study.name}.md)", "", ""]))
    return "\n".join(lines) + "\n"
