"""The summary of a run does not depend on how its events are split, resumed or read again."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.spec.run.events import (
    Evaluated,
    Event,
    EventReader,
    EventWriter,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    encode,
)
from core.spec.run.metric_names import higher_is_better, ranks_runs
from core.spec.run.status import RunState, RunStatus, own_status
from sdgui.store.records import BestPoint
from sdgui.store.summary import START_SECONDS, STARTING, RunSummary, run_state, summarise, void_limits


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Segments of a run: each resumes at an earlier step, and ends with an event or a kill."""
    events: list[Event] = []
    reached, now = 0, 1000.0
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, reached))
        events.append(RunStarted(step=first, total_steps=50, config_digest="d", time=now))
        reached = first
        for _ in range(draw(st.integers(0, 12))):
            reached += draw(st.integers(1, 2))
            now += 1.0
            value = draw(st.sampled_from([0.5, -1.0, 2.0, 7.25, math.nan, math.inf]))
            events.append(Metrics(step=reached, values={"train/loss": value, "train/lr": 0.1}, time=now))
            if draw(st.booleans()):
                values = {"val/student/mean_recall": abs(value) / 8, "val/teacher/mean_recall": 0.25}
                events.append(Evaluated(step=reached, values=values, time=now))
        if draw(st.booleans()):
            events.append(RunFinished(step=reached, outcome=draw(st.sampled_from(["paused", "stopped"])), time=now))
    return events


def plain(events: list[Event]) -> dict[str, list[tuple[int, float]]]:
    """The valid points of each metric, computed by a plain loop."""
    points: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if isinstance(event, RunStarted):
            points = {name: [p for p in found if p[0] <= event.step] for name, found in points.items()}
        elif isinstance(event, (Metrics, Evaluated)):
            for name, value in event.values.items():
                points.setdefault(name, []).append((event.step, value))
    return {name: found for name, found in points.items() if found}


def as_text(summary: RunSummary) -> str:
    """A text that can be compared despite nan."""
    return repr((sorted(summary.metrics.items()), summary.step, summary.best, summary.ending, summary.finished))


@settings(max_examples=20, deadline=None)
@given(events=logs())
def test_a_summary_matches_a_plain_loop(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.write_bytes(b"".join(encode(event) for event in events))
    summary, offset = summarise(path)
    assert offset == path.stat().st_size
    expected = plain(events)
    assert set(summary.metrics) == set(expected)
    for name, points in expected.items():
        found = summary.metrics[name]
        assert (found.last_step, repr(found.last)) == (points[-1][0], repr(float(points[-1][1])))
        finite = [value for _, value in points if math.isfinite(value)]
        if finite:
            assert found.best == (max(finite) if higher_is_better(name) else min(finite))
            assert (found.best_step, found.best) in points
        else:
            assert math.isnan(found.best)
    recalls = [p for name, points in expected.items() if ranks_runs(name) for p in points if math.isfinite(p[1])]
    assert (summary.best.value if summary.best else None) == max((value for _, value in recalls), default=None)


@settings(max_examples=20, deadline=None)
@given(events=logs(), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_incremental_summaries_agree_or_report_that_they_are_stale(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.write_bytes(b"".join(encode(event) for event in events))
    folded = RunSummary()
    edges = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    for left, right in itertools.pairwise(edges):
        folded.apply(EventReader(path).read_all()[left:right])
    whole, _ = summarise(path)
    assert folded.stale or as_text(folded) == as_text(whole)


def test_a_later_start_voids_limits() -> None:
    assert void_limits([]) == [math.inf]
    assert void_limits([0, 10, 5, 8]) == [0, 5, 5, 8, math.inf]


def test_a_missing_file_has_no_summary(tmp_path: Path) -> None:
    summary, offset = summarise(tmp_path / "events.jsonl")
    assert (summary.step, offset, summary.terminal) == (0, 0, None)


def test_the_earlier_of_two_equal_points_is_the_best() -> None:
    summary = RunSummary()
    summary.apply(Evaluated(step=step, values={"val/student/mean_recall": 0.5}) for step in (3, 6))
    assert summary.best == BestPoint("val/student/mean_recall", 0.5, 3)


def test_a_failure_is_kept_until_the_run_resumes(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.write(RunStarted(step=0, total_steps=5, config_digest=""))
    writer.write(RunFailed(step=2, error="DataError", message="No such image."))
    assert summarise(tmp_path / "events.jsonl")[0].failure == "No such image."
    writer.write(RunStarted(step=0, total_steps=5, config_digest=""))
    writer.close()
    assert summarise(tmp_path / "events.jsonl")[0].failure == ""


def test_the_time_between_two_segments_is_not_worked() -> None:
    """A kill after 70 s, a resume a day later, 30 s of training, and the end after another 5 s."""
    day = 86400.0
    events: list[Event] = [
        RunStarted(step=0, total_steps=9, config_digest="", time=day),
        Metrics(step=1, values={"train/loss": 1.0}, time=day + 70),
        RunStarted(step=1, total_steps=9, config_digest="", time=2 * day),
        Metrics(step=2, values={"train/loss": 0.5}, time=2 * day + 30),
        RunFinished(step=9, outcome="done", time=2 * day + 35),
    ]
    summary = RunSummary()
    for event in events:
        summary.apply([event])
    assert (summary.training_seconds, summary.last_event) == (105.0, 2 * day + 35)
    assert summary.progress(0, RunState.DONE).training_seconds == 105.0


def test_states_of_a_launch() -> None:
    now = own_status().heartbeat
    mine = own_status()
    gone = RunStatus(pid=2**22 + 12345, started=1.0, heartbeat=now)
    paused = RunFinished(step=4, outcome="paused", time=mine.started - 100)
    assert run_state(None, None, now, now) is RunState.STARTING
    assert run_state(None, None, now - START_SECONDS - 1, now) is RunState.INTERRUPTED
    assert run_state(None, mine, None, now) is RunState.RUNNING
    assert run_state(None, RunStatus(**(vars(mine) | {"doing": STARTING})), None, now) is RunState.STARTING
    assert run_state(None, gone, None, now) is RunState.INTERRUPTED
    assert run_state(None, mine, None, now + 3600) is RunState.LOST_CONTACT
    assert run_state(paused, gone, None, now) is RunState.PAUSED
    assert run_state(paused, mine, None, now) is RunState.RUNNING, "resumed by another program"
    assert run_state(paused, None, paused.time - 50, now) is RunState.PAUSED
    assert run_state(paused, None, now, now) is RunState.STARTING, "resumed by this window, a moment ago"
    late = RunFinished(step=4, outcome="done", time=mine.started + 100)
    assert run_state(late, mine, mine.started, now) is RunState.DONE, "the trainer is still exiting"
