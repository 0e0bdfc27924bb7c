"""What lists and headers say of a run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.spec.presets import PRESETS, preset_config
from core.spec.run.status import RunState
from sdgui.runs.live import RunProgress
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.shared.run_texts import (
    best_text,
    best_tip,
    experiment_line,
    share,
    state_line,
    step_text,
    stop_text,
    study_line,
    tags_text,
    time_text,
)
from sdgui.store.records import BestPoint, Experiment, Run
from sdgui.widgets.formats import duration


def test_a_duration_counts_every_session_or_is_omitted() -> None:
    once = Run(1, 1, "k", Path("r"), "d", 0.0, RunState.DONE, launched=990.0, started=1000.0, finished=1120.0)
    assert time_text(once, None) == "2 min"
    resumed = replace(once, launched=9000.0, finished=9300.0)
    assert time_text(resumed, None) == ""
    assert time_text(resumed, None, worked=7500.0) == "2 h 5 min"
    assert time_text(replace(once, launched=None), None) == ""
    assert time_text(replace(once, finished=None), None) == ""


RUN = Run(1, 1, "k1", Path("r"), "d", 0.0, RunState.INTERRUPTED, step=30, total_steps=50)


def going(**more: Any) -> RunProgress:
    fields: dict[str, Any] = {
        "state": RunState.RUNNING,
        "step": 240,
        "total_steps": 600,
        "doing": "training",
        "seconds_left": 930.0,
        "best": None,
        "failure": "",
    }
    return RunProgress(1, **(fields | more))


def test_progress_shows_as_much_as_is_known() -> None:
    assert [step_text(*of) for of in ((0, 0), (7, 0), (240, 600), (600, 600), (700, 600))] == [
        "",
        "step 7",
        "step 240 of 600 · 40 %",
        "600 steps",
        "600 steps",
    ]
    assert [share(*of) for of in ((1, 0), (599, 600), (700, 600))] == [0, 99, 100]


def test_a_line_has_the_state_and_the_activity_of_a_live_run() -> None:
    assert state_line(RUN, None) == "Interrupted · step 30 of 50 · 60 %"
    assert state_line(RUN, going()) == "Running · step 240 of 600 · 40 %"
    assert state_line(RUN, going(doing="saving")) == "Saving · step 240 of 600 · 40 %"
    assert state_line(RUN, going(state=RunState.PAUSED, doing="saving")).startswith("Paused")
    assert time_text(RUN, going()) == "15 min 30 s left"
    assert time_text(RUN, going(seconds_left=None)) == ""


def test_a_finished_run_shows_its_duration_though_it_was_followed() -> None:
    ended = going(state=RunState.DONE, doing="", step=600, seconds_left=0.0)
    assert time_text(RUN, ended, worked=120.0) == "2 min"
    assert time_text(RUN, ended) == ""
    assert state_line(RUN, ended) == "Done · 600 steps"


def test_the_best_point_names_its_network() -> None:
    assert (best_text(None), best_tip(None)) == ("", "Not validated yet.")
    teacher = BestPoint("val/teacher/mean_recall", 0.5, 1200)
    assert best_tip(teacher) == f"Best mean recall: {best_text(teacher)} by the teacher at step 1\u2009200."
    assert "by the student" in best_tip(BestPoint("val/mean_recall", 0.5, 3))


def test_titles_tags_and_stages_of_stopping() -> None:
    assert tags_text(("a", "b c")) == "#a #b c"
    current_time = time.time()
    texts = [
        stop_text(None if stage is None else Stopping(1, stage, deadline))
        for stage, deadline in (
            (None, None),
            (StopStage.ENDED, None),
            (StopStage.PAUSING, None),
            (StopStage.ASKED, None),
            (StopStage.TERMINATED, current_time - 5),
            (StopStage.KILLED, None),
        )
    ]
    assert texts == [
        ("Stop", ""),
        ("Stop", ""),
        ("Stop", "Pausing after this step …"),
        ("End now", "Stopping; will be terminated."),
        ("Kill", f"Terminating; will be killed in {duration(0.0)}."),
        ("Kill", "Killed; waiting for the process to end."),
    ]
    for stage in (StopStage.ASKED, StopStage.KILLED):
        elsewhere = "Asked to stop. It runs on far; if it does not stop, end it there."
        assert stop_text(Stopping(1, stage, current_time, host="far")) == ("Stop", elsewhere)


def test_second_lines_of_experiments_and_studies() -> None:
    mine = Experiment(1, "mine", "", preset_config("clip", "tiny"), "", 0.0, 0.0)
    title = PRESETS["clip"].title
    assert [experiment_line(mine, runs) for runs in (0, 1, 2)] == [
        f"{title} · no run yet", f"{title} · 1 run", f"{title} · 2 runs"
    ]  # fmt: skip
    changed = replace(mine, config=preset_config("clip", "tiny").model_copy(update={"preset": "of a later version"}))
    assert experiment_line(changed, 1) == "of a later version · 1 run"
    assert experiment_line(replace(mine, config=None), 1) == "Config cannot be used"
    assert [study_line(*of) for of in ((0, 0), (1, 1), (2, 0), (1, 3))] == [
        "Study · no runs yet", "Study · 1 arm · 1 run", "Study · 2 arms · 0 runs", "Study · 1 arm · 3 runs"
    ]  # fmt: skip
