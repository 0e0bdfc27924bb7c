"""Texts about experiments and runs in lists, headers and the status bar: short, with units."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.spec.presets import PRESETS
from core.spec.run.status import RunState
from sdgui.runs.live import RunProgress
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.store.records import BestPoint, Experiment, Run
from sdgui.widgets.formats import count, count_with_unit, duration, percent_done, value


def step_text(step: int, total: int) -> str:
    """A text such as ``step 240 of 600 · 40 %``, with whatever is known."""
    if total <= 0:
        return f"step {count(step)}" if step else ""
    if step >= total:
        return f"{count(total)} steps"
    return f"step {count(step)} of {count(total)} · {percent_done(step, total)} %"


def state_line(run: Run, progress: RunProgress | None) -> str:
    """The second line of a run: its state, activity and progress."""
    if progress is None:
        return _join(str(run.state).capitalize(), step_text(run.step, run.total_steps))
    state = str(progress.state).capitalize()
    if progress.state == RunState.RUNNING and progress.doing and progress.doing != "training":
        state = progress.doing.capitalize()
    missing = "folder missing" if progress.folder_missing else ""
    return _join(state, missing, step_text(progress.step, progress.total_steps))


def time_text(run: Run, progress: RunProgress | None) -> str:
    """Time left of a live run; otherwise the time of training."""
    if progress is not None and progress.state.alive:
        return f"{duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    return duration(run.training_seconds) if run.training_seconds else ""


def best_text(best: BestPoint | None) -> str:
    return value(best.value, "%") if best is not None else ""


def mean_text(points: Sequence[BestPoint]) -> str:
    """The mean over the seeds of a study's arm, as text."""
    if len(points) < 2:
        return best_text(next(iter(points), None))
    return f"mean {value(sum(point.value for point in points) / len(points), '%')}"


def best_tip(best: BestPoint | None) -> str:
    """A sentence about the best point."""
    if best is None:
        return "Not validated yet."
    network = "teacher" if "/teacher/" in best.metric else "student"
    return f"Best mean recall: {value(best.value, '%')} by the {network} at step {count(best.step)}."


def experiment_line(experiment: Experiment, runs: int) -> str:
    """The second line of an experiment."""
    if experiment.config is None:
        logged = _join("Logged by scripts", count_with_unit(runs, "run"))
        return logged if experiment.logged_project else "Config cannot be used"
    preset = PRESETS.get(experiment.config.preset)
    runs_text = count_with_unit(runs, "run") if runs else "no run yet"
    return _join(preset.title if preset else experiment.config.preset, runs_text)


def study_line(arms: int, runs: int) -> str:
    """The second line of a study."""
    if not arms:
        return "Study · no runs yet"
    return _join("Study", count_with_unit(arms, "arm"), count_with_unit(runs, "run"))


def tags_text(tags: tuple[str, ...]) -> str:
    return " ".join(f"#{tag}" for tag in tags)


def when(seconds: float) -> str:
    """A time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def resume_text(step: int | None) -> str:
    """A message about a resumed run. ``step``: step of its checkpoint, None if there is none."""
    if step is None:
        return "No checkpoint was saved before the run ended, so the run starts again at step 0."
    return f"Resumed from the checkpoint at step {count(step)}."


def _join(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def stop_text(stopping: Stopping | None) -> tuple[str, str]:
    """The label of the button that ends the run sooner, and a sentence on the next stage."""
    if stopping is None or stopping.stage == StopStage.ENDED:
        return "Stop", ""
    if stopping.stage == StopStage.PAUSING:
        return "Stop", "Pausing after this step…"
    if stopping.host:
        return "Stop", f"Asked to stop. If it does not stop, end it on {stopping.host}."
    in_seconds = "" if stopping.deadline is None else f" in {duration(max(0.0, stopping.deadline - time.time()))}"
    if stopping.stage == StopStage.ASKED:
        return "End now", f"Stopping; will be terminated{in_seconds}."
    if stopping.stage == StopStage.TERMINATED:
        return "Kill", f"Terminating; will be killed{in_seconds}."
    return "Kill", "Killed; waiting for the process to end."
