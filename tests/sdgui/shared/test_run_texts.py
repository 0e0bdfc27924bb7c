"""What lists and headers say of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.spec.run.status import RunState
from sdgui.shared.run_texts import short_time, time_text
from sdgui.store.records import Run


def test_how_long_a_run_took_counts_every_sitting_or_is_not_said() -> None:
    once = Run(1, 1, "k", Path("r"), "d", 0.0, RunState.DONE, launched=990.0, started=1000.0, finished=1120.0)
    assert time_text(once, None) == "2 min"
    resumed = replace(once, launched=9000.0, finished=9300.0)
    assert (time_text(resumed, None), short_time(resumed, None)) == ("", "")
    assert time_text(resumed, None, worked=7500.0) == "2 h 5 min"
    assert time_text(replace(once, launched=None), None) == ""
    assert time_text(replace(once, finished=None), None) == ""
