"""The history of a run: the same however the log is cut; snapshots that never change."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    EventReader,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
    encode,
)
from sdgui.runs.history import RunHistory
from sdgui.store.summary import MAX_METRICS, RunSummary


def metrics(step: int, value: float, time: float = 0.0) -> Metrics:
    return Metrics(step=step, values={"train/loss": value}, time=time)


def started(step: int, time: float = 0.0) -> RunStarted:
    return RunStarted(step=step, total_steps=100, config_digest="d", device="cpu", time=time)


values = st.dictionaries(st.sampled_from(["train/loss", "train/lr", "diag/x"]), st.floats(width=32), max_size=3)
steps = st.integers(0, 40)
when = st.floats(0, 1e6)  # fixed: the same bytes at every run
events = st.lists(
    st.one_of(
        st.builds(Metrics, step=steps, values=values, time=when),
        st.builds(Evaluated, step=steps, values=values, time=when),
        st.builds(started, steps, when),
        st.builds(CheckpointSaved, time=when, step=steps, name=st.text(max_size=4), best=st.booleans()),
        st.builds(Sample, time=when, step=steps, what=st.just("retrieval"), content=st.just({"a": [1, "é"]})),
        st.builds(Log, time=when, level=st.just("info"), message=st.text(max_size=12)),
        st.builds(RunFinished, time=when, step=steps, outcome=st.sampled_from(["done", "paused"])),
        st.builds(RunFailed, time=when, step=steps, error=st.just("E"), message=st.text(max_size=5)),
    ),
    max_size=40,
)


def everything(history: RunHistory) -> str:
    curves = {name: [part.tolist() for part in vars(history.curve(name)).values()] for name in sorted(history.names)}
    lists = (history.logs, history.samples, history.checkpoints, history.evaluated, history.starts)
    return repr((curves, lists, history.terminal))


@settings(max_examples=20, deadline=None)
@given(events=events, data=st.data())
def test_a_log_growing_by_any_bytes_gives_the_same_history(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], data: st.DataObject
) -> None:
    content = b"".join(encode(event) for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    whole, pieces = RunHistory(), RunHistory()
    path.write_bytes(content)
    whole.apply(EventReader(path).read_all())
    path.unlink()
    reader = EventReader(path)
    written = 0
    for cut in [*cuts, len(content)]:
        with path.open("ab") as file:
            file.write(content[written:cut])
        written = cut
        pieces.apply(reader.read_all())
    assert everything(pieces) == everything(whole)


def test_steps_logged_in_any_order_are_drawn_in_order() -> None:
    history = RunHistory()
    history.apply([metrics(1, 1.0), metrics(5, 5.0)])
    before = history.curve("train/loss")
    history.apply([metrics(3, 3.0), metrics(2, 2.0), metrics(6, 6.0)])
    assert history.curve("train/loss").steps.tolist() == history.curve("train/loss").values.tolist() == [1, 2, 3, 5, 6]
    assert before.steps.tolist() == [1, 5], "what was handed out never changes"


def test_a_start_voids_later_points_until_they_are_repeated() -> None:
    history = RunHistory()
    history.apply([started(0), *(metrics(step, step / 10) for step in range(1, 8))])
    changed = history.apply([started(4), metrics(5, 9.0)])
    assert "train/loss" in changed
    assert history.curve("train/loss").steps.tolist() == [1, 2, 3, 4, 5]
    assert history.curve("train/loss").values[-1] == 9.0
    there = [Sample(step=step, what="captions", content={}, time=1.0) for step in (3, 4, 5)]
    saved = [CheckpointSaved(step=step, name=f"step-{step}", time=1.0) for step in (3, 4, 5)]
    judged = [Evaluated(step=step, values={"val/loss": 1.0}, time=1.0) for step in (3, 4, 5)]
    history.apply([*there, *saved, *judged])
    assert {"samples", "checkpoints", "evaluated"} <= history.apply([started(4)])
    assert (history.samples, history.checkpoints) == (tuple(there[:2]), tuple(saved[:2]))
    assert [row.step for row in history.evaluated] == [3, 4]


def test_pauses_do_not_count_as_training_time() -> None:
    history = RunHistory()
    history.apply([started(0, time=100.0), metrics(1, 1, 103.0), metrics(2, 1, 106.0)])
    history.apply([started(1, time=9000.0), metrics(2, 1, 9002.0)])
    assert history.curve("train/loss").seconds.tolist() == [3.0, 5.0]


def test_snapshots_never_change() -> None:
    history = RunHistory()
    history.apply([started(0), *(metrics(step, 1.0) for step in range(1, 301))])
    before = history.curve("train/loss")
    kept = before.values.copy()
    history.apply([started(100), *(metrics(step, 2.0) for step in range(101, 900))])
    assert np.array_equal(before.values, kept)
    assert history.curve("train/loss").steps.tolist() == list(range(1, 900))
    with pytest.raises(ValueError, match="read-only"):
        before.values[0] = 5.0


def test_a_reader_in_another_thread_always_sees_complete_points() -> None:
    history = RunHistory()
    stop = threading.Event()
    torn: list[str] = []

    def read() -> None:
        while not stop.is_set():
            curve = history.curve("train/loss")
            if not (curve.steps.size == curve.values.size == curve.seconds.size):
                torn.append("sizes")
            if not np.array_equal(curve.steps * 2, curve.values) or np.any(np.diff(curve.steps) <= 0):
                torn.append("values")

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(6):
        history.apply([started(50)])
        for first in range(51, 2000, 50):
            history.apply([metrics(step, 2.0 * step) for step in range(first, first + 50)])
            time.sleep(0)
    stop.set()
    thread.join()
    assert torn == []


def test_a_start_replaces_the_terminal_event() -> None:
    history = RunHistory()
    history.apply([started(0)])
    failure = RunFailed(step=3, error="E", message="m", time=5.0)
    history.apply([failure])
    assert history.terminal == failure
    history.apply([started(0)])
    assert history.terminal is None
    assert len(history.starts) == 2


@pytest.mark.parametrize(
    "content",
    [
        {"student": 5},
        {"student": ["a"]},
        {"student": [{"caption": "a", "hits": 7}]},
        {"student": [{"caption": "a", "hits": [{"image": None}]}]},
        {"student": [{"caption": "a", "hits": [{"image": "x", "score": "high"}]}]},
    ],
)
def test_a_sample_of_another_shape_is_reported_and_not_shown(content: dict[str, object]) -> None:
    history = RunHistory()
    good = Sample(step=2, what="retrieval", content={"teacher": [{"hits": [{"image": "x", "score": 1}]}]}, time=7.0)
    changed = history.apply([good, Sample(step=3, what="retrieval", content=content, time=8.0)])
    assert changed == {"samples", "log"}
    assert history.samples == (good,)
    assert [log.message for log in history.logs] == ["The sample of step 3 has another shape and is not shown."]


def test_the_number_of_metrics_is_bounded() -> None:
    history, summary = RunHistory(), RunSummary()
    for part in range(3):
        names = {f"m{part}-{number}": 1.0 for number in range(MAX_METRICS // 2)}
        event = Metrics(step=part, values={**names, "train/loss": 1.0}, time=1.0)
        history.apply([event])
        summary.apply([event])
    assert len(history.names) == len(summary.metrics) == MAX_METRICS
    assert history.curve("train/loss").steps.tolist() == [0.0, 1.0, 2.0], "what is known goes on"


def test_a_warning_has_the_time_of_the_event_before_it() -> None:
    history = RunHistory()
    history.apply([started(0, time=100.0), Log(level="info", message="x", time=107.0)])
    history.warn("a line was unreadable")
    assert history.logs[-1].time == 107.0


def test_the_total_loss_is_drawn_only_at_steps_of_equal_terms() -> None:
    def total(step: int, loss: float, *terms: str) -> Metrics:
        return Metrics(step=step, values={"train/loss": loss, **{f"train/{term}": 1.0 for term in terms}}, time=0.0)

    history = RunHistory()
    history.apply([started(0), total(1, 4.0, "contrastive"), total(2, 3.0, "contrastive")])
    taught = [total(step, 5.0, "contrastive", "distill_logits") for step in (3, 6, 9)]
    alone = [total(step, 2.0, "contrastive") for step in (4, 5, 7, 8)]
    history.apply(sorted(taught + alone, key=lambda one: one.step))
    curve = history.curve("train/loss")
    assert list(zip(curve.steps, curve.values, strict=True)) == [(1, 4), (2, 3), (3, 5), (6, 5), (9, 5)], "no sawtooth"
    term = history.curve("train/contrastive")
    assert len(term.steps) == 9, "its terms are drawn at each step"
    history.apply([started(9), *(total(step, 1.0, "contrastive") for step in (10, 11))])
    again = history.curve("train/loss")
    assert again.values[-2:].tolist() == [1.0, 1.0], "another start may have another config"
