"""The event log of Runs: every event but the metrics, in the order of time."""

from __future__ import annotations

from core.spec.run.events import CheckpointSaved, Evaluated, Event, Log, RunFinished, RunStarted
from sdgui.panels.runs.model import event_lines
from sdgui.runs.history import RunHistory


def test_events_are_listed_in_the_order_of_time() -> None:
    events: list[Event] = [
        RunStarted(step=0, total_steps=9, config_digest="d", device="cpu", precision="fp32", time=1.0),
        Log(level="warning", message="a row is skipped", time=2.0),
        Evaluated(step=3, values={"val/student/mean_recall": 0.5}, time=3.0),
        CheckpointSaved(step=3, name="step-00000003", best=True, time=4.0),
        Log(level="info", message="half way", time=5.0),
        RunFinished(step=9, time=6.0),
    ]
    history = RunHistory()
    history.apply(events)
    lines = event_lines(history)
    assert [moment for moment, _, _ in lines] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [sentence.split()[0] for _, _, sentence in lines] == ["Training", "a", "Validated", "Saved", "half", "Ended"]
