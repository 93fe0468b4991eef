"""The runs of studies: trained by the ordinary trainer, kept in one folder, and used again by every study that needs them."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

from ..config import Config, settings_of
from ..data.dataset import Dataset, load_dataset
from ..diagnostics.finite import NonFiniteError
from ..errors import RunError, UsageError
from ..experiment import checkpoint
from ..experiment.checkpoints import numbered_name
from ..experiment.head_start import HeadStart, data_settings
from ..settings import file
from ..system.console import Log, silent
from ..system.files import to_json, write_atomically
from ..system.paths import StrPath
from ..tracking.drawing import NoDrawing
from ..trainer import fit
from ..version import __version__
from .measures import MEASURES, Run, curve_digest
from .study import Study, Variant

DIVERGED, REPORT, LAST = "diverged.json", "report.json", f"last{checkpoint.SUFFIX}"


class SharedStart(HeadStart):
    """What runs of one process share: the dataset, which is read once."""

    def __init__(self) -> None:
        self.drawing = NoDrawing()
        self._datasets: dict[str, Dataset] = {}

    @property
    def began(self) -> float:  # type: ignore[override]
        """A run begins when it is asked."""
        return time.perf_counter()

    def dataset(self, config: Config, log: Log) -> Optional[Dataset]:
        """The dataset that the settings name, read once."""
        settings = data_settings(config)
        key = json.dumps(settings)
        if key not in self._datasets:
            self._datasets = {key: load_dataset(**settings, log=log)}
        return self._datasets[key]


class Runs:
    """A folder of runs, each in a folder named by a digest of its settings."""

    def __init__(self, folder: StrPath) -> None:
        self.folder = Path(folder)
        self._start = SharedStart()

    def place(self, variant: Variant, seed: int, study: Study) -> Path:
        """The folder of a run: equal trainings share one, whatever study they belong to."""
        facts: dict[str, Any] = {"settings": settings_of(variant.config(seed)), "ranks": variant.ranks, "version": __version__}
        if variant.start:
            source = self.place(study.variants[variant.start.variant], seed, study).name
            facts["start"] = [variant.start.how, source, variant.start.step]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{variant.settings.get('model', 'quick')}-{digest}"

    def finished(self, folder: Path) -> bool:
        """Whether a run has ended, well or not."""
        return any((folder / name).exists() for name in (REPORT, DIVERGED))

    def obtain(self, variant: Variant, seed: int, study: Study) -> Run:
        """The run of a variant and a seed: the one that is there, else trained now. A run that was stopped is resumed."""
        folder = self.place(variant, seed, study)
        if not self.finished(folder):
            self.train(variant, seed, study, folder)
        settings = settings_of(variant.config(seed))
        if (folder / DIVERGED).exists():
            return Run(folder, read_json(folder / DIVERGED), settings, diverged=True)
        return Run(folder, read_json(folder / REPORT), settings)

    def train(self, variant: Variant, seed: int, study: Study, folder: Path) -> None:
        """Train a variant into its folder."""
        changes: dict[str, Any] = {"output_dir": str(folder)}
        if variant.start:
            source = self.place(study.variants[variant.start.variant], seed, study)
            numbered = source / f"{numbered_name(variant.start.step)}{checkpoint.SUFFIX}"
            if not numbered.exists():
                raise UsageError(
                    f"variant {variant.name}: {source} has no checkpoint of step {variant.start.step}; give "
                    f"{variant.start.variant} settings such as checkpoint_every: {variant.start.step}, keep: 10"
                )
            if variant.start.how == "resume":
                copy_run(source, numbered, folder)
            else:
                changes["init_from"] = str(numbered)
        changes["resume"] = (folder / LAST).exists()
        config = variant.config(seed, **changes)
        if variant.ranks > 1:
            launch(config, variant.ranks, folder)
            return
        try:
            fit(config, log=silent, head_start=self._start)
        except RunError as error:
            if not isinstance(error.__cause__, NonFiniteError):
                raise
            write_diverged(folder, config, str(error))


def copy_run(source: Path, numbered: Path, folder: Path) -> None:
    """A copy of a run as it was when a numbered checkpoint was written; the run itself stays as it is."""
    if (folder / LAST).exists():
        return
    staging = folder.with_name(f".{folder.name}")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(source, staging, ignore=shutil.ignore_patterns(REPORT, "*.safetensors", "plots", ".lock"))
    shutil.copy2(numbered, staging / LAST)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)


def launch(config: Config, ranks: int, folder: Path) -> None:
    """Train on several ranks, by `mnist-paddle launch`. Raises `RunError` with its last line where that fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = folder.with_name(f".{folder.name}.yaml")
    content = {name: value for name, value in settings_of(config).items() if name != "plugins"}
    write_atomically(settings, file.dump(content).encode())
    flags = ["--config", str(settings), "--output_dir", str(folder), *(["--resume"] if config.resume else [])]
    flags += [word for name in config.plugins for word in ("--plugins", name)]
    command = [sys.executable, "-m", "mnist_paddle", "launch", "--nproc", str(ranks), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    settings.unlink()
    if done.returncode:
        raise RunError(f"{ranks} ranks in {folder}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


def write_diverged(folder: Path, config: Config, message: str) -> None:
    """Keep the fact that a run diverged, in place of a report."""
    progress = checkpoint.load(folder / LAST)[1]
    content = {"message": message, "classes": progress.get("classes", []), "settings": settings_of(config)}
    content |= {"parameters": 0, "train_seconds": progress["seconds"], "images_per_second": 0.0, "steps": progress["step"]}
    write_atomically(folder / DIVERGED, (to_json(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict:
    """A JSON file that a run wrote. Raises `UsageError` for a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; remove the folder, and the run is trained again") from None


def carry_out(study: Study, runs: Runs, log: Log) -> tuple[list[dict], dict]:
    """Train what is missing. Returns a row of measures per run, and the runs by (variant, seed).

    The same measures are taken of every run, whatever the study shows, so that a table can be judged again.
    """
    rows, found, names = [], {}, needed(study)
    for number, (variant, seed) in enumerate(study.runs(), start=1):
        known = runs.finished(runs.place(variant, seed, study))
        run = found[variant.name, seed] = runs.obtain(variant, seed, study)
        rows.append({"variant": variant.name, "seed": seed, **measure(run, names)})
        accuracy = "diverged" if run.diverged else f"{run.report['test_accuracy']:.2f} %"
        time = "done before" if known else f"{run.report['train_seconds']:.1f} s"
        log(f"{study.name} {number}/{len(study.runs())}: {variant.name}, seed {seed}: {accuracy}, {time}")
    return rows, found


def needed(study: Study) -> list[str]:
    """The measures that the study shows or judges by, in the order of the table."""
    asked = set(study.measures) | {"test_accuracy"}
    conditions = [condition.arguments for claim in study.claims for condition in claim.conditions]
    for arguments in [*conditions, *(chart.arguments for chart in study.charts)]:
        asked |= {arguments[name] for name in ("measure", "against") if name in arguments}
        if any(isinstance(arguments.get(name), list) for name in ("first", "second")):
            asked.add("validation_accuracy")  # by which the best of several variants is chosen
    return [name for name in MEASURES if name in asked]


def measure(run: Run, names: list[str]) -> dict[str, Any]:
    """The measures of a run, a digest of its training losses, and whether it diverged."""
    return {**{name: MEASURES[name].of(run) for name in names}, "curve": curve_digest(run), "diverged": run.diverged}
