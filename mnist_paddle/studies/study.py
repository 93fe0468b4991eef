"""A study as data: a YAML file with variants of one training, what is measured, and claims with the rule that judges them.

Texts are one string, or one per language: {en: ..., zh: ...}. `grid` makes a variant of every combination of settings.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..config import Config
from ..errors import UsageError
from ..registry import Argument, unknown
from ..settings import file
from ..settings.advice import ALIASES
from ..system.paths import expand
from .charts import CHARTS
from .language import LANGUAGES
from .measures import MEASURES
from .rules import RULES
from .worked import FIGURES

ARTICLE = Path(__file__).with_name("article")  # the studies of this package
NAMES = (  # in the order of the article
    *("baseline", "data", "network", "loss", "double_softmax", "learning_rate"),
    *("optimizer", "parallel", "regularization", "resume", "best"),
)
MOST_RUNS = 2000
KEYS = {"title", "intro", "base", "seeds", "variants", "grid", "measures", "claims", "charts", "notes", "quick"}
VARIANT_KEYS = {"title", "settings", "ranks", "start"}
DEFAULT_MEASURES = ["validation_accuracy", "test_accuracy", "train_seconds"]


@dataclass(frozen=True)
class Start:
    """Where a variant's run starts: `how` is resume or init_from, at a step of the run of another variant with its seed."""

    how: str
    variant: str
    step: int


@dataclass(frozen=True)
class Variant:
    """A way to train: settings of a Config, on how many ranks, and where it starts."""

    name: str
    title: Mapping[str, str]
    settings: dict
    changes: dict  # those of the settings that are not the study's base
    ranks: int = 1
    start: Optional[Start] = None

    def config(self, seed: int, **settings: Any) -> Config:
        """The Config of its run by a seed."""
        return Config(**{**self.settings, "seed": seed, **settings})


@dataclass(frozen=True)
class Condition:
    """What a rule is asked: the rule's name, its arguments, and the circumstances it is asked under."""

    rule: str
    arguments: dict
    title: Mapping[str, str]


@dataclass(frozen=True)
class Claim:
    """A sentence that holds if all its conditions do."""

    text: Mapping[str, str]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Chart:
    """A figure: its kind, a function of `CHARTS` or `FIGURES`, that function's arguments, and a caption."""

    kind: str
    arguments: dict
    title: Mapping[str, str]


@dataclass(frozen=True)
class Study:
    """A question, the variants that are trained to answer it, and what they are judged by."""

    name: str
    title: Mapping[str, str]
    intro: Mapping[str, str]
    base: dict
    variants: dict[str, Variant]
    seeds: int
    measures: tuple[str, ...]
    claims: tuple[Claim, ...]
    charts: tuple[Chart, ...]
    notes: Mapping[str, str] = field(default_factory=dict)

    def runs(self) -> list[tuple[Variant, int]]:
        """Every variant with every seed; a variant that starts from another comes after it."""
        first = [variant for variant in self.variants.values() if variant.start is None]
        later = [variant for variant in self.variants.values() if variant.start is not None]
        return [(variant, seed) for variant in [*first, *later] for seed in range(self.seeds)]


def find(name: str) -> Path:
    """The file of a study: one of the article by its name, or one of the user by its path. Raises `UsageError`."""
    if name.endswith((".yaml", ".yml")):
        return Path(expand(name, "study"))
    path = ARTICLE / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"{unknown('study', name, NAMES)}; a study of your own is a file: study my_study.yaml")
    return path


def load(name: str, *, quick: bool = False, seeds: Optional[int] = None) -> Study:
    """A study of the article by its name, or one of the user by the path of its YAML file.

    `quick` takes the smaller form that the file describes, `seeds` replaces the number of seeds.
    Raises `UsageError`, one line with the file and the place, for what is wrong with it.
    """
    path = find(name)
    content = read_file(path)
    try:
        return make_study(path.stem, content, quick=quick, seeds=seeds)
    except UsageError as error:
        raise UsageError(f"{path if path.parent != ARTICLE else name}: {error}") from None


def read_file(path: Path) -> dict:
    """The content of a study's file."""
    return {key.value: file.value_of(node, str(path), lines=True) for key, node in file.read(str(path))}


def make_study(name: str, content: dict, *, quick: bool = False, seeds: Optional[int] = None) -> Study:
    """A study from the content of its file. Raises `UsageError`."""
    check_keys(content, KEYS, "the study")
    smaller = as_mapping(content.get("quick", {}), "quick") if quick else {}
    check_keys(smaller, {"base", "seeds", "variants"}, "quick")
    base = canonical({**as_mapping(content.get("base", {}), "base"), **as_mapping(smaller.get("base", {}), "quick: base")})
    variants = make_variants(content, base, as_mapping(smaller.get("variants", {}), "quick: variants"))
    count = seeds or smaller.get("seeds", content.get("seeds", 3))
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100:
        raise UsageError(f"seeds must be an integer from 1 to 100; it is {count}")
    if len(variants) * count > MOST_RUNS:
        raise UsageError(f"{len(variants)} variants by {count} seeds are more than {MOST_RUNS:,} runs")
    measures = as_list(content.get("measures", DEFAULT_MEASURES), "measures")
    for measure in measures:
        require("measure", measure, MEASURES)
    return Study(
        name,
        as_text(content.get("title", name), "title"),
        as_text(content.get("intro", ""), "intro"),
        base,
        variants,
        count,
        tuple(measures),
        tuple(make_claim(claim, variants) for claim in as_list(content.get("claims", []), "claims")),
        tuple(make_chart(chart, variants) for chart in as_list(content.get("charts", []), "charts")),
        as_text(content.get("notes", ""), "notes"),
    )


def make_variants(content: dict, base: dict, smaller: dict) -> dict[str, Variant]:
    """The variants that a file lists, or those of its grid."""
    if ("grid" in content) == ("variants" in content):
        raise UsageError("give either variants: or grid:")
    entries = grid(as_mapping(content["grid"], "grid")) if "grid" in content else as_mapping(content["variants"], "variants")
    variants: dict[str, Variant] = {}
    for name, entry in entries.items():
        entry = as_mapping(entry, f"variant {name}")
        check_keys(entry, VARIANT_KEYS, f"variant {name}")
        changes = canonical(as_mapping(entry.get("settings", {}), f"variant {name}: settings"))
        changes |= canonical(as_mapping(smaller.get(name, {}), f"quick: variant {name}"))
        ranks = entry.get("ranks", 1)
        if not isinstance(ranks, int) or isinstance(ranks, bool) or not 1 <= ranks <= 64:
            raise UsageError(f"variant {name}: ranks must be an integer from 1 to 64; it is {ranks}")
        title = as_text(entry.get("title", str(name)), f"variant {name}: title")
        start = make_start(entry["start"], name) if "start" in entry else None
        variants[str(name)] = variant = Variant(str(name), title, {**base, **changes}, changes, ranks, start)
        try:
            variant.config(0)
        except UsageError as error:
            raise UsageError(f"variant {name}: {error}") from None
    if unexpected := smaller.keys() - variants.keys():
        raise UsageError(f"quick: {unknown('variant', str(min(unexpected)), variants)}")
    for variant in variants.values():
        if variant.start is not None:
            require("variant", variant.start.variant, variants)
            if variants[variant.start.variant].start is not None:
                raise UsageError(f"variant {variant.name}: starts from {variant.start.variant}, which starts from another itself")
    return variants


def grid(settings: dict) -> dict[str, dict]:
    """A variant of every combination: {"lr": [0.1, 0.01]} -> {"lr=0.1": {"settings": {"lr": 0.1}}, ...}."""
    lists = {name: as_list(values, f"grid: {name}") for name, values in settings.items()}
    if not lists or not all(lists.values()):
        raise UsageError("grid: give settings with a list of values each, such as learning_rate: [0.01, 0.1]")
    combinations = [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
    return {
        ", ".join(f"{name}={value}" for name, value in combination.items()): {"settings": combination}
        for combination in combinations
    }


def make_start(entry: Any, name: str) -> Start:
    """{resume: VARIANT, step: N} or {init_from: VARIANT, step: N}."""
    entry = as_mapping(entry, f"variant {name}: start")
    how = [word for word in ("resume", "init_from") if word in entry]
    if len(how) != 1 or set(entry) != {how[0], "step"} or not isinstance(entry["step"], int) or entry["step"] < 1:
        raise UsageError(f"variant {name}: start is {{resume: VARIANT, step: N}} or {{init_from: VARIANT, step: N}}")
    return Start(how[0], str(entry[how[0]]), entry["step"])


def make_claim(entry: Any, variants: dict) -> Claim:
    """A claim with one condition, or with a list of them."""
    entry = as_mapping(entry, "a claim")
    text = as_text(entry.get("claim", ""), "claim")
    shared = {name: value for name, value in entry.items() if name not in ("claim", "conditions")}
    conditions = as_list(entry.get("conditions", [{}]), "conditions")
    return Claim(text, tuple(make_condition({**shared, **as_mapping(one, "a condition")}, variants) for one in conditions))


def make_condition(entry: dict, variants: dict) -> Condition:
    """A rule with its arguments, whose names, variants and measures are checked."""
    arguments = dict(entry)
    title, rule = as_text(arguments.pop("when", ""), "when"), str(arguments.pop("rule", "greater"))
    require("rule", rule, RULES)
    check_arguments(arguments, RULES.entries()[rule].arguments, f"rule {rule}", variants)
    return Condition(rule, arguments, title)


def make_chart(entry: Any, variants: dict) -> Chart:
    """A chart with its arguments."""
    arguments = dict(as_mapping(entry, "a chart"))
    kind, title = str(arguments.pop("kind", "")), as_text(arguments.pop("title", ""), "title")
    require("chart", kind, {**CHARTS, **FIGURES})
    if kind in CHARTS:
        check_arguments(arguments, CHARTS.entries()[kind].arguments, f"chart {kind}", variants)
    elif arguments:
        raise UsageError(f"chart {kind}: takes no {min(arguments)}")
    return Chart(kind, arguments, title)


def check_arguments(arguments: dict, known: Mapping[str, Argument], where: str, variants: dict) -> None:
    """Raise `UsageError` for missing or unknown arguments, and for variants and measures that there are not."""
    check_keys(arguments, known, where)
    if missing := [name for name, argument in known.items() if argument.required and name not in arguments]:
        raise UsageError(f"{where} needs {' and '.join(missing)}")
    for key in ("first", "second", "variant", "variants"):
        value = arguments.get(key, [])
        for name in value if isinstance(value, list) and value else [value] * (key in arguments):
            require("variant", name if isinstance(name, (str, int, float)) else str(name), variants)
    for name in ("measure", "against"):
        if name in arguments:
            require("measure", arguments[name], MEASURES)


# Reading values


def check_keys(entry: Mapping, known: Iterable, where: str) -> None:
    """Raise `UsageError` for a key that is none of those known."""
    if unexpected := set(entry) - set(known):
        raise UsageError(f"{where}: {unknown('key', str(min(unexpected, key=str)), sorted(known))}")


def require(kind: str, name: Any, table: Iterable) -> None:
    """Raise `UsageError` for a name that is not in a table."""
    if name not in table:
        raise UsageError(unknown(kind, str(name), list(table)))


def canonical(settings: dict) -> dict:
    """Settings by their full names."""
    return {ALIASES.get(name, name): value for name, value in settings.items()}


def as_mapping(value: Any, where: str) -> dict:
    """A mapping, or a `UsageError`."""
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be a mapping, such as {{model: cnn}}; it is {str(value)[:40]!r}")
    return value


def as_list(value: Any, where: str) -> list:
    """A list, or a `UsageError`."""
    if not isinstance(value, list):
        raise UsageError(f"{where} must be a list, such as [a, b]; it is {str(value)[:40]!r}")
    return value


def as_text(value: Any, where: str) -> dict[str, str]:
    """A text in every language: one string for all of them, or one for each."""
    if isinstance(value, dict):
        if set(value) != set(LANGUAGES) or not all(isinstance(text, str) for text in value.values()):
            raise UsageError(f"{where} must be a text, or {{en: ..., zh: ...}}")
        return value
    if isinstance(value, (list, tuple)):
        raise UsageError(f"{where} must be a text; it is {str(value)[:40]!r}")
    return {language: str(value) for language in LANGUAGES}
