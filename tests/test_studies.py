"""Studies: their files, the rules that judge, the runs that are used again, the pages; `mnist-paddle study`."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits, write_npz

from mnist_paddle import UsageError
from mnist_paddle.diagnostics.cost import multiply_adds
from mnist_paddle.models import MODELS
from mnist_paddle.settings import file
from mnist_paddle.studies import page, study
from mnist_paddle.studies.charts import CHARTS
from mnist_paddle.studies.language import LANGUAGES, WORDS, font_of
from mnist_paddle.studies.measures import MEASURES, curve_digest, fluctuation
from mnist_paddle.studies.rules import RULES, Results, judge, verdict
from mnist_paddle.studies.worked import FIGURES, TEXTS, likelihood, path

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(autouse=True)
def own_tables(clean_tables):
    """No test finds a plugin that another one has loaded."""


def rows(**columns):
    """Rows of results: measure columns as {variant: [value of seed 0, ...]}."""
    names = next(iter(columns.values()))
    return [
        {"variant": name, "seed": seed, **{measure: values[name][seed] for measure, values in columns.items()}}
        for name in names
        for seed in range(len(names[name]))
    ]


def answer(rule, results, **arguments):
    return RULES[rule](Results(results), **arguments).holds


# The rules: each is given results that make it say yes, and results that flip it


@pytest.mark.parametrize(
    ("a", "b", "margin", "expected"),
    [
        ([98.0, 98.2, 98.1], [97.0, 97.1, 97.2], 0.0, True),
        ([97.0, 97.1, 97.2], [98.0, 98.2, 98.1], 0.0, False),
        ([98.0, 97.0, 98.5], [97.5, 97.6, 97.4], 0.0, None),  # the seeds disagree
        ([98.0, 98.2, 98.1], [97.0, 97.1, 97.2], 2.0, False),  # better, but not by so much
        ([98.0], [97.0], 0.0, None),  # never by a single run
        ([math.nan, 98.0, 98.1], [97.0, 97.1, 97.2], 0.0, None),
    ],
)
def test_greater_goes_by_the_interval_of_the_paired_differences(a, b, margin, expected):
    results = rows(test_accuracy={"a": a, "b": b})
    assert answer("greater", results, measure="test_accuracy", first="a", second="b", margin=margin) is expected


def test_a_difference_that_every_seed_shows_counts_though_the_seeds_themselves_differ_more():
    results = rows(test_accuracy={"a": [90.1, 95.1, 99.1], "b": [90.0, 95.0, 99.0]})
    assert answer("greater", results, measure="test_accuracy", first="a", second="b") is True


@pytest.mark.parametrize(("speeds", "expected"), [([200, 220, 210], True), ([120, 125, 118], False), ([100, 400, 190], None)])
def test_greater_by_a_factor(speeds, expected):
    results = rows(images_per_second={"a": speeds, "b": [100, 100, 100]})
    holds = answer("greater", results, measure="images_per_second", first="a", second="b", ratio=True, margin=1.5)
    assert holds is expected


def test_of_several_variants_the_one_with_the_best_validation_accuracy_is_compared():
    accuracy = {"slow": [80.0, 81.0], "fast": [90.0, 90.1], "other": [85.0, 85.1]}
    results = rows(test_accuracy=accuracy, validation_accuracy=accuracy)
    assert answer("greater", results, measure="test_accuracy", first=["slow", "fast"], second="other") is True
    swapped = {**accuracy, "slow": [90.0, 90.1], "fast": [80.0, 81.0]}  # the test accuracy must not choose
    results = rows(test_accuracy=accuracy, validation_accuracy=swapped)
    assert answer("greater", results, measure="test_accuracy", first=["slow", "fast"], second="other") is not True


@pytest.mark.parametrize(("a", "expected"), [([97.0, 97.1, 97.0], True), ([99.0, 99.1, 99.0], False), ([97.0, 98.5, 96.0], None)])
def test_equal_wants_the_whole_interval_within_the_margin(a, expected):
    results = rows(test_accuracy={"a": a, "b": [97.05, 97.0, 97.1]})
    assert answer("equal", results, measure="test_accuracy", first="a", second="b", margin=0.5) is expected


@pytest.mark.parametrize(("losses", "expected"), [([8.3, 8.4, 8.35], True), ([7.0, 7.1, 7.0], False), ([8.0, 9.0, 7.5], None)])
def test_near_a_known_value(losses, expected):
    results = rows(training_loss={"a": losses})
    assert answer("near", results, measure="training_loss", first="a", value=8.36, margin=0.25) is expected


@pytest.mark.parametrize(("losses", "expected"), [([1.5, 1.51, 1.5], True), ([1.2, 1.21, 1.2], False), ([1.4, 1.6, 1.45], None)])
def test_above_a_known_value(losses, expected):
    assert answer("above", rows(training_loss={"a": losses}), measure="training_loss", first="a", value=1.4612) is expected


def test_identical_means_every_bit_of_every_seed():
    assert answer("identical", rows(curve={"a": ["x", "y"], "b": ["x", "y"]}), first="a", second="b") is True
    assert answer("identical", rows(curve={"a": ["x", "y"], "b": ["x", "z"]}), first="a", second="b") is False


@pytest.mark.parametrize(
    ("middle", "high", "expected"),
    [
        ([1.0, 1.1, 1.0], [5.0, 5.2, 5.1], True),
        ([5.0, 5.2, 5.1], [1.0, 1.1, 1.0], False),
        ([1.0, 1.1, 1.0], [1.05, 1.0, 1.1], None),
    ],
)
def test_interior_is_the_u_shape(middle, high, expected):
    results = rows(test_error={"low": [9.0, 9.1, 9.0], "middle": middle, "high": high})
    assert answer("interior", results, measure="test_error", variants=["low", "middle", "high"]) is expected


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([True, True], "holds"),
        ([False], "does not hold"),
        ([True, False, None], "holds only if"),
        ([True, None], "cannot tell"),
        ([None, False], "cannot tell"),
    ],
)
def test_the_verdict_follows_from_the_answers(answers, kind):
    assert verdict(answers) == kind


# The files


@pytest.mark.parametrize("name", [path.stem for path in study.ARTICLE.glob("*.yaml")])
@pytest.mark.parametrize("quick", [False, True])
def test_every_study_of_the_article_can_be_trained(name, quick):
    loaded = study.load(name, quick=quick)
    assert loaded.claims
    assert loaded.charts
    for claim in loaded.claims:
        assert set(claim.text) == set(LANGUAGES)
        assert all(claim.text.values())
        # "Holds only if" names its conditions.
        assert (
            len(claim.conditions) == 1
            or claim.conditions[0].rule in ("identical", "above")
            or all(condition.title["en"] and condition.title["zh"] for condition in claim.conditions)
        )


def test_every_file_is_a_study_in_the_order_of_the_article():
    assert set(study.NAMES) == {path.stem for path in study.ARTICLE.glob("*.yaml")}
    assert (study.NAMES[0], study.NAMES[-1]) == ("baseline", "best")


def test_words_and_texts_exist_in_every_language():
    assert set(WORDS) == set(TEXTS) == set(LANGUAGES)
    assert all(table.keys() == WORDS["en"].keys() for table in WORDS.values())
    assert all(table.keys() == TEXTS["en"].keys() for table in TEXTS.values())
    assert all(set(measure.title) == set(LANGUAGES) for measure in MEASURES.values())


def made(**changes):
    content = {"variants": {"a": {}, "b": {"settings": {"lr": 0.1}}}, "base": {"model": "linear"}, **changes}
    return study.make_study("mine", content)


def test_a_grid_has_a_variant_of_every_combination():
    content = {"grid": {"lr": [0.1, 0.01], "model": ["linear", "fc"]}, "seeds": 2}
    loaded = study.make_study("mine", content)
    assert list(loaded.variants) == ["lr=0.1, model=linear", "lr=0.1, model=fc", "lr=0.01, model=linear", "lr=0.01, model=fc"]
    assert loaded.variants["lr=0.01, model=fc"].config(1).learning_rate == 0.01
    assert len(loaded.runs()) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"varaints": {}}, "the study: there is no key 'varaints'; did you mean 'variants'"),
        ({"variants": {"a": {"settings": {"lr": -1}}}}, "variant a: --learning_rate must be at least 0; it is -1"),
        ({"variants": {"a": {"settings": {"modle": "fc"}}}}, "variant a: there is no setting 'modle'"),
        ({"variants": {"a": {"seting": {}}}}, "variant a: there is no key 'seting'"),
        ({"variants": []}, "variants must be a mapping"),
        ({"grid": {"lr": [1]}}, "either variants: or grid:"),
        ({"seeds": 0}, "seeds must be an integer from 1 to 100; it is 0"),
        ({"seeds": "many"}, "seeds must be an integer"),
        ({"measures": ["accuracy"]}, "there is no measure 'accuracy'"),
        ({"claims": [{"rule": "bigger"}]}, "there is no rule 'bigger'"),
        ({"claims": [{"rule": "greater", "measure": "test_loss", "first": "a"}]}, "rule greater needs second"),
        ({"claims": [{"measure": "test_loss", "first": "a", "second": "c"}]}, "there is no variant 'c'"),
        ({"claims": [{"measure": "los", "first": "a", "second": "b"}]}, "there is no measure 'los'"),
        ({"claims": [{"measure": "test_loss", "first": "a", "second": "b", "margn": 1}]}, "there is no key 'margn'"),
        ({"charts": [{"kind": "pie"}]}, "there is no chart 'pie'"),
        ({"charts": [{"kind": "dots"}]}, "chart dots needs measure"),
        ({"title": ["a"]}, "title must be a text"),
        ({"title": {"en": "a"}}, "title must be a text, or {en: ..., zh: ...}"),
        ({"variants": {"a": {"ranks": 0}}}, "ranks must be an integer from 1 to 64"),
        ({"variants": {"a": {"start": {"resume": "b"}}}}, "start is {resume: VARIANT, step: N}"),
        ({"variants": {"a": {"start": {"resume": "b", "step": 5}}}}, "there is no variant 'b'"),
        ({"quick": {"variants": {"c": {}}}}, None),
    ],
)
def test_what_is_wrong_with_a_study_is_one_line_that_names_the_place(changes, message):
    if message is None:
        with pytest.raises(UsageError, match="there is no variant 'c'"):
            study.make_study("mine", {"variants": {"a": {}}, **changes}, quick=True)
        return
    with pytest.raises(UsageError) as error:
        made(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# Measures


def test_multiply_adds_are_those_worked_by_hand():
    assert multiply_adds(MODELS["linear"]()) == 7840
    assert multiply_adds(MODELS["fc"](widths=[100, 100])) == 78400 + 10000 + 1000
    # 28 * 28 * 20 * 25, then 14 * 14 * 20 * 20 * 25, then 980 * 10.
    assert multiply_adds(MODELS["cnn"]()) == 392_000 + 1_960_000 + 9_800
    assert multiply_adds(MODELS["rnn"](hidden=8)) == 28 * (4 * 8 * 28 + 4 * 8 * 8) + 80


def test_fluctuation_does_not_depend_on_the_scale_or_on_a_slow_trend():
    generator = np.random.default_rng(0)
    noisy = 1 + 0.1 * generator.standard_normal(4000)
    assert fluctuation(noisy) == pytest.approx(10, rel=0.1)
    assert fluctuation(7 * noisy) == pytest.approx(fluctuation(noisy))
    assert fluctuation(noisy + np.linspace(0.1, -0.1, 4000)) == pytest.approx(10, rel=0.15)


def test_the_likelihood_of_the_balls_is_greatest_at_their_share():
    shares = np.linspace(0.01, 0.99, 99)
    assert shares[likelihood(shares).argmax()] == pytest.approx(0.8)


def test_the_paths_in_the_valley_are_those_of_the_toolkits_optimizers():
    points = path("sgd", 0.05, steps=3)
    by_hand = [np.array([-2.0, 0.9])]
    for _ in range(3):
        by_hand.append(by_hand[-1] - 0.05 * np.array([1.0, 30.0]) * by_hand[-1])
    assert points == pytest.approx(np.array(by_hand), rel=1e-5)


# Runs and pages


FAST = {"learning_rate": 0.01, "checkpoint_every": 10, "keep": 5}
MINE = {
    "title": "Mine",
    "base": {"dataset": "custom", "model": "linear", "epochs": 1, "batch_size": 16, "log_every": 5},
    "seeds": 2,
    "variants": {
        "slow": {"title": "slow | careful", "settings": {"learning_rate": 1e-5}},
        "fast": {"settings": FAST},
        "resumed": {
            "settings": {"learning_rate": 0.01, "checkpoint_every": 10, "keep": 5},
            "start": {"resume": "fast", "step": 10},
        },
        "again": {"settings": {"learning_rate": 0.01}, "start": {"init_from": "fast", "step": 10}},
        "lost": {"settings": {"optimizer": "sgd", "learning_rate": 1e30, "loss": "mse"}},
    },
    "claims": [
        {"claim": "Fast is better.", "measure": "test_accuracy", "first": "fast", "second": "slow"},
        {"claim": "Resuming loses nothing.", "rule": "identical", "first": "resumed", "second": "fast"},
    ],
    "charts": [
        {"kind": "curves"},
        {"kind": "dots", "measure": "test_accuracy"},
        {"kind": "sweep", "measure": "test_error", "setting": "learning_rate"},
        {"kind": "scatter", "measure": "test_accuracy", "against": "parameters", "variants": ["slow", "fast"]},
        {"kind": "waterfall", "variants": ["slow", "fast"]},
        {"kind": "balls"},
        {"kind": "valley"},
    ],
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A study of one's own with a variant of every kind, carried out; its folder holds the file, the runs and the page."""
    from mnist_paddle.studies.runs import Runs, carry_out

    folder = tmp_path_factory.mktemp("study")
    data = write_npz(folder / "digits.npz", make_digits(480), make_digits(80, seed=1))
    content = {**MINE, "base": {**MINE["base"], "data_dir": str(data)}}
    (folder / "mine.yaml").write_text(file.dump(content))
    loaded, lines = study.load(str(folder / "mine.yaml")), []
    measured, found = carry_out(loaded, Runs(folder / "runs"), lines.append)
    page.write(loaded, measured, found, folder / "pages", language="en", facts={"command": "mnist-paddle study mine.yaml"})
    return loaded, measured, found, folder, lines


def test_a_study_of_ones_own_makes_a_page_a_table_and_figures(mine):
    loaded, measured, _, folder, _ = mine
    text = (folder / "pages" / "mine.md").read_text()
    assert "**Verdict: holds**" in text
    assert "slow \\| careful" in text
    assert "2 of 2 runs diverged" in text
    for number in range(1, len(loaded.charts) + 1):
        assert f"(mine-{number}.png)" in text
        assert (folder / "pages" / f"mine-{number}.png").stat().st_size > 3000
    read = page.read_table((folder / "pages" / "mine.csv").read_text())
    assert len(read) == len(measured) == 10
    assert [judge(claim, Results(read)).kind for claim in loaded.claims] == ["holds", "holds"]


def test_a_resumed_variant_equals_the_uninterrupted_one_and_leaves_it_as_it_was(mine):
    _, _, found, _, _ = mine
    for seed in range(2):
        assert curve_digest(found["resumed", seed]) == curve_digest(found["fast", seed])
        assert found["resumed", seed].folder != found["fast", seed].folder
        assert found["fast", seed].report["steps"] == found["resumed", seed].report["steps"]


def test_finished_runs_are_used_again_and_a_stopped_one_is_resumed(mine):
    from mnist_paddle.studies.runs import Runs, carry_out

    loaded, measured, found, folder, lines = mine
    assert all("done before" not in line for line in lines)
    stopped = found["slow", 0].folder
    (stopped / "report.json").unlink()
    again = []
    repeated, _ = carry_out(loaded, Runs(folder / "runs"), again.append)
    assert sum("done before" in line for line in again) == len(again) - 1
    assert [row["curve"] for row in repeated] == [row["curve"] for row in measured]
    assert json.loads((stopped / "report.json").read_text())["steps"] == found["slow", 0].report["steps"]


def test_a_run_that_diverged_counts_as_guessing(mine):
    _, measured, _, _, _ = mine
    lost = [row for row in measured if row["variant"] == "lost"]
    assert [row["diverged"] for row in lost] == [True, True]
    assert [row["test_accuracy"] for row in lost] == [10.0, 10.0]


def test_a_language_without_a_font_is_refused(monkeypatch):
    monkeypatch.setattr("mnist_paddle.studies.language.fonts_for", lambda text: ())
    with pytest.raises(UsageError, match="no font here has the letters; install one, such as Noto Sans CJK"):
        font_of("zh")


def test_english_needs_no_font_but_the_one_that_is_always_there():
    assert font_of("en") == "DejaVu Sans"


# The command


def test_usage_errors_come_before_paddle(run_script):
    done = run_script("study", "basline")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no study 'basline'; did you mean 'baseline'" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run_script("study", "/nowhere/mine.yaml")
    assert done.returncode == 2
    assert "there is no such settings file" in done.stderr


def test_the_list_names_every_study(run_script):
    done = run_script("study", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(study.NAMES)


# The committed pages


def committed():
    return [(language, name) for language, folder in PAGES.items() for name in study.NAMES if (folder / f"{name}.md").exists()]


PAGES = {"en": DOCS / "studies", "zh": DOCS / "zh" / "studies"}


@pytest.mark.parametrize(("language", "name"), committed())
def test_a_committed_page_says_what_its_rules_find_in_its_table(language, name):
    folder, loaded = PAGES[language], study.load(name)
    results = Results(page.read_table((folder / f"{name}.csv").read_text(encoding="utf-8")))
    verdicts = [judge(claim, results) for claim in loaded.claims]
    text = (folder / f"{name}.md").read_text(encoding="utf-8")
    for claim, judged in zip(loaded.claims, verdicts):
        assert f"> {claim.text[language]}\n\n**{page.sentence(claim, judged, language)}**" in text
        assert all(line in text for line in page.evidence(claim, judged, language))
    assert "\n".join(page.means(loaded, results, language)) in text
    seeds = {row["seed"] for row in results.rows}
    assert seeds == set(range(loaded.seeds))


@pytest.mark.parametrize("language", PAGES)
def test_the_committed_index_lists_every_study(language):
    folder, verdicts = PAGES[language], {}
    listed = page.found_pages(folder, {}, verdicts)
    assert [one.name for one in listed] == list(study.NAMES)
    assert (folder / page.INDEX).read_text(encoding="utf-8") == page.index(listed, verdicts, language)


def test_an_index_leaves_out_tables_of_other_studies(tmp_path):
    for name, content in (("loss", "variant,seed\nunknown,0\n"), ("data", "\x00")):
        (tmp_path / f"{name}.csv").write_text(content)
        (tmp_path / f"{name}.md").write_text("")
    assert page.found_pages(tmp_path, {}, {}) == []


@pytest.mark.parametrize("block", re.findall(r"(?ms)^```yaml\n(.*?)^```", (DOCS / "experiments.md").read_text(encoding="utf-8")))
def test_the_studies_in_the_documentation_can_be_trained(block, tmp_path):
    (tmp_path / "my_study.yaml").write_text(block)
    assert study.load(str(tmp_path / "my_study.yaml")).runs()


def test_the_documentation_names_every_rule_measure_and_chart():
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    assert [name for name in [*RULES, *MEASURES, *CHARTS, *FIGURES] if f"`{name}`" not in text] == []
