"""The result of a bug bench as tables, from its JSON and from nothing else."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Optional

from .bench import NAMED, SILENT, false_alarms, mean, named_everywhere

Rows = list[list[str]]
RECIPE = "recipe "


def tables(result: dict[str, Any]) -> list[Rows]:
    """The tables of what a result has."""
    made = [bugs_table(result)] if result["bugs"] else []
    return [*made, silent_table(result)] if result["good"] or result["recipes"] else made


def bugs_table(result: dict[str, Any]) -> Rows:
    """A row per bug: what is wrong, what it was named by, and what it costs."""
    lines = [["bug", "what is wrong", "named", "by", "test accuracy", "without the bug"]]
    for name, by_seed in result["bugs"].items():
        facts = result["facts"][name]
        named = sum(each["judgment"] == NAMED for each in by_seed)
        good = mean(each["accuracy"] for each in result["good"].get(facts["base"], []))
        faulty = mean(each["accuracy"] for each in by_seed)
        lines.append([f"`{name}`", facts["what"], f"{named} of {len(by_seed)}", raised(by_seed), percent(faulty), percent(good)])
    return lines


def silent_table(result: dict[str, Any]) -> Rows:
    """A row per good training and recipe: in how many seeds it stayed silent."""
    lines = [["training", "epochs", "silent", "false alarms", "verdict", "test accuracy"]]
    for name, by_seed in silent_trainings(result).items():
        silent = sum(each["judgment"] == SILENT for each in by_seed)
        epochs = str(result["epochs"].get(name.removeprefix(RECIPE), "")) if name.startswith(RECIPE) else ""
        accuracy = percent(mean(each["accuracy"] for each in by_seed))
        verdicts = counted(([each["verdict"]] for each in by_seed if each["verdict"]), len(by_seed))
        alarms = counted(([alarm["kind"] for alarm in each["alarms"]] for each in by_seed), len(by_seed))
        lines.append([name, epochs, f"{silent} of {len(by_seed)}", alarms, verdicts, accuracy])
    return lines


def silent_trainings(result: dict[str, Any]) -> dict[str, list[dict]]:
    """The good trainings and the recipes, some of which have one name."""
    return {**result["good"], **{RECIPE + name: by_seed for name, by_seed in result["recipes"].items()}}


def raised(by_seed: list[dict]) -> str:
    """The kinds that were raised, and whether a run ended in an error that none of them told."""
    text = counted((each["kinds"] for each in by_seed), len(by_seed))
    return ", ".join(filter(None, [text, "an error" * any(each["error"] and not each["kinds"] for each in by_seed)]))


def counted(kinds: Iterable[list[str]], seeds: int) -> str:
    """Kinds, the most frequent first, with the number of seeds where it was not in all.

    >>> counted([["a", "b"], ["b"]], 2)
    'b, a (1)'
    """
    counts = Counter(kind for each in kinds for kind in each)
    return ", ".join(kind if count == seeds else f"{kind} ({count})" for kind, count in counts.most_common())


def percent(value: Optional[float]) -> str:
    """An accuracy for a table; "diverged" where there is none."""
    return "diverged" if value is None else f"{value:.1f} %"


def summary(result: dict[str, Any]) -> str:
    """The sentence above the tables."""
    silent = silent_trainings(result)
    runs = sum(map(len, silent.values()))
    text = f"{named_everywhere(result['bugs'])} of {len(result['bugs'])} bugs named" if result["bugs"] else ""
    false = false_alarms(silent)
    alarms = f"{false} false alarm{'s' * (false != 1)} in {runs} good trainings" if runs else ""
    return "; ".join(filter(None, [text, alarms]))
