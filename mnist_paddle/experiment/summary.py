"""What a run reports at its end: report.json and the summary on the terminal."""

from typing import Optional

from ..config import Config
from ..distributed import communication
from ..metrics import Evaluation, accuracy_text
from ..system.device import versions
from ..system.usage import peak_memory
from .commands import curves_command, evaluate_command, more_command, real_command
from .endings import how_to_resume
from .setup import Setup
from .state import State


def make_report(
    setup: Setup, state: State, evaluation: Evaluation, total_seconds: float, *, verdict: Optional[dict] = None
) -> dict:
    """What report.json holds, from the evaluation of the test set: percent, nats, seconds, MB of 2**20 bytes.

    `total_seconds` are those since the process began, or since the call of `fit` in Python.
    """
    memory = peak_memory()
    return {
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_interval": list(evaluation.interval),
        "test_loss": evaluation.loss,
        "validation_accuracy": state.best_accuracy if state.best_accuracy >= 0 else None,
        "best_step": state.best_step,
        "evaluations": state.evaluations,
        "epochs": setup.schedule.epoch(state.step),
        "steps": state.step,
        "parameters": state.parameters,
        "train_seconds": round(state.seconds, 3),
        "total_seconds": round(total_seconds, 3),
        "images_per_second": round(state.images / max(state.seconds, 1e-9), 1),
        "peak_memory_mb": None if memory is None else round(memory, 1),
        "world_size": communication.world_size(),
        "device": setup.device,
        "dataset": setup.dataset.name,
        "classes": list(setup.dataset.classes),
        "source": setup.dataset.source,
        "alarms": state.alarms,
        "verdict": verdict,
        "versions": versions(),
    }


def limits_reached(config: Config, state: State) -> dict:
    """The settings that stopped the run and would stop it again at once, with values that let it continue."""
    reached = config.target_accuracy is not None and state.best_accuracy >= config.target_accuracy
    stale = config.patience and state.stale >= config.patience
    return {**({"target_accuracy": None} if reached else {}), **({"patience": 0} if stale else {})}


def summary(setup: Setup, state: State, report: dict) -> str:
    """The last lines of the log: accuracy, time, the run folder, commands to continue with."""
    if setup.config.dry_run:
        return "dry run: every part worked, and the run folder is removed again; without --dry_run it trains"
    accuracy = accuracy_text(report["test_accuracy"], len(setup.dataset.test))
    chosen = f"step {report['best_step']:,}"
    if report["validation_accuracy"] is not None:
        chosen += f", best of {report['evaluations']} on validation with {report['validation_accuracy']:.2f} %"
    epochs = f"{report['epochs']:g} epoch{'s' * (report['epochs'] != 1)}"
    speed = f"{report['images_per_second']:,.0f} images/s on {report['device']}"
    return f"""
test accuracy  {accuracy}, loss {report["test_loss"]:.4f} (weights of {chosen})
{verdict_line(report)}training       {epochs}, {report["steps"]:,} steps in {clock(report["train_seconds"])}, {speed}
whole run      {clock(report["total_seconds"])} from the start of the process to this line
run folder     {setup.folder.path}

next
{next_steps(setup, state)}"""


def verdict_line(report: dict) -> str:
    """The verdict on the training and the number of alarms, as lines of the summary."""
    lines = []
    if verdict := report.get("verdict"):
        lines.append(f"verdict        {verdict['kind']}: {verdict['text']}")
    if kinds := [alarm["kind"].replace("_", " ") for alarm in report.get("alarms", [])]:
        lines.append(f"alarms         {', '.join(kinds)}; see above, or alarms in report.json")
    return "".join(f"{line}\n" for line in lines)


def clock(seconds: float) -> str:
    """A duration: seconds with a tenth, or minutes from a minute on.

    >>> clock(9.96), clock(59.97), clock(3661)
    ('10.0 s', '1:00 min', '61:01 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min"


def next_steps(setup: Setup, state: State) -> str:
    """Commands to continue with, one per line."""
    folder, settings = setup.folder.path, setup.settings
    pictures = folder / "plots"
    lines = []
    if seen := curves_command(folder):
        lines += [f"curves       {seen[0]}", f"             then open {seen[1]}; or look at {pictures / 'curves.png'}"]
    else:
        lines.append(f"curves       {pictures / 'curves.png'}")
    lines.append(f"mistakes     {pictures / 'mistakes.png'}")
    if state.own_model:  # no command can build it again
        return "\n".join(f"  {line}" for line in [*lines, f"resume       {how_to_resume(setup, state)}"])
    lines.append(f"in detail    {evaluate_command(folder, settings)}")
    if settings["overfit_batches"]:  # what was to be seen is seen: more of it says nothing
        lines.append(f"train on all {real_command(folder, settings)}")
    elif state.step == setup.schedule.total_steps:
        lines.append(f"fine-tune    {more_command(folder, settings)}")
    else:
        lines.append(f"resume       {how_to_resume(setup, state, **limits_reached(setup.config, state))}")
    return "\n".join(f"  {line}" for line in lines)
