"""Metrics at a step: each run folder is read once, and then only what was appended."""

from __future__ import annotations

import shutil
import time

import pytest

from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, Event, EventReader, EventWriter, Metrics, RunStarted
from core.spec.run.status import RunState
from sdgui.store.records import BestPoint, Progress, Run
from sdgui.store.run_table import step_values
from sdgui.store.run_table.fields import fact
from sdgui.store.run_table.parser import parse
from sdgui.store.run_table.queries import RunQuery, SortKey
from sdgui.store.run_table.step_values import FillResult
from sdgui.store.store import Store
from sdgui.store.summary import summarise

RECALL = "val/teacher/image_to_text_R@1"
START = RunStarted(step=0, total_steps=30, config_digest="x")


def evaluated(step: int, value: float) -> Evaluated:
    return Evaluated(step=step, values={RECALL: value, "val/student/image_to_text_R@1": value - 0.1})


def append(store: Store, run: Run, *events: Event, rewritten: bool = False) -> None:
    """Append events, and record them as the follower does."""
    run.folder.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(run.dir.events)
    for event in events:
        writer.write(event)
    writer.close()
    summary, offset = summarise(run.dir.events)
    store.record(run.id, summary.progress(offset, RunState.RUNNING), rewritten)


def grown(store: Store, *values: float) -> Run:
    """A run that was evaluated at steps 10, 20 and so on."""
    run = store.add_run(store.add_experiment(preset_config("sd-clip", "tiny")).id)
    losses = [Metrics(step=step, values={"train/loss": 1 / step}) for step in range(1, 10 * len(values) + 1)]
    append(store, run, START, *losses, *(evaluated(10 * at, value) for at, value in enumerate(values, 1)))
    return run


def at(store: Store, name: str, *runs: Run) -> list[float | None]:
    field = store.catalogue().field(name)
    cells = store.run_cells([run.id for run in runs], [field])
    return [cells[run.id][0] for run in runs]


def listed(store: Store, text: str) -> set[int]:
    return set(store.run_ids(RunQuery(parse(text, store.catalogue()))))


def test_runs_are_compared_at_a_step(store: Store) -> None:
    high, low, short = grown(store, 0.2, 0.62, 0.5), grown(store, 0.3, 0.4, 0.9), grown(store, 0.7)
    pairs = {(RECALL, 25), ("val/student/image_to_text_R@1", 25), ("train/loss", 20)}
    assert store.fill_step_values(pairs) == FillResult(2, 0)
    assert at(store, f"at({RECALL}, 25)", high, low, short) == [0.62, 0.4, None], "one run has not reached step 25"
    assert at(store, "at(train/loss, 20)", high) == [0.05]
    assert listed(store, f"at({RECALL}, 25) > 50%") == {high.id}
    assert listed(store, "at(val/R@1, 25) >= 0.4") == {high.id, low.id}, "a short name is the best of both networks"
    assert listed(store, f"at({RECALL}, 25) = none") == {short.id}
    field = store.catalogue().field(f"at({RECALL}, 25)")
    assert store.run_ids(RunQuery(sort=(SortKey(field, descending=True),))) == [high.id, low.id, short.id]
    groups = store.run_groups(RunQuery(group_by=(field,)), [field])
    assert {group.keys: (group.count, *[mean.mean for mean in group.means.values()]) for group in groups} == {
        (12,): (1, pytest.approx(0.62)),
        (8,): (1, pytest.approx(0.4)),
        (None,): (1,),
    }, "bands of 5 %"
    banded = RunQuery(group_by=(field,), sort=(SortKey(fact("created")),))
    assert {group.keys: store.run_ids(banded, group) for group in groups}[(8,)] == [low.id]
    assert store.fill_step_values(pairs) == FillResult(0, 0), "nothing is read twice"
    near = [grown(store, 0.1, value, 0.2) for value in (0.43, 0.44, 0.449)]
    store.fill_step_values(pairs)
    in_band = {group.keys: group.count for group in store.run_groups(RunQuery(group_by=(field,)), [field])}
    assert in_band == {(12,): 1, (8,): 1 + len(near), (None,): 1}, "from 40 up to 45 %"


def test_a_resumed_run_is_read_further(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = grown(store, 0.2)
    pair = {(RECALL, 20)}
    assert store.fill_step_values(pair) == FillResult(0, 0), "it has not reached step 20"
    append(store, run, evaluated(20, 0.5), evaluated(30, 0.6))
    assert store.fill_step_values(pair) == FillResult(1, 0)
    from_where = []
    read = EventReader.read
    monkeypatch.setattr(EventReader, "read", lambda self, *limit: from_where.append(self.offset) or read(self, *limit))
    append(store, run, *(Metrics(step=step, values={"train/loss": 0.0}) for step in range(31, 40)))
    from_where.clear()
    assert store.fill_step_values(pair) == FillResult(0, 0)
    assert from_where
    assert min(from_where) > 0, "from the last offset on"
    append(store, run, RunStarted(step=10, total_steps=40, config_digest="x"), evaluated(20, 0.55), evaluated(30, 0.7))
    assert store.fill_step_values(pair) == FillResult(0, 0)
    assert at(store, f"at({RECALL}, 20)", run) == [0.55], "points after the resumed step are discarded"


def test_unreadable_runs_are_skipped(file_store: Store) -> None:
    gone, kept = grown(file_store, 0.3, 0.4), grown(file_store, 0.5, 0.6)
    shutil.rmtree(gone.folder)
    assert file_store.fill_step_values({(RECALL, 10)}) == FillResult(1, 0)
    assert at(file_store, f"at({RECALL}, 10)", gone, kept) == [None, 0.5]
    until = time.monotonic() - 1
    assert file_store.fill_step_values({(RECALL, 20)}, lambda: time.monotonic() < until) == FillResult(0, 2)
    kept.dir.events.unlink()
    append(file_store, kept, START, evaluated(10, 0.9), rewritten=True)
    file_store.fill_step_values({(RECALL, 10)})
    assert at(file_store, f"at({RECALL}, 10)", kept) == [0.9], "the events file was replaced"


def test_a_run_deleted_while_others_are_read_is_skipped(file_store: Store) -> None:
    gone, kept = grown(file_store, 0.3), grown(file_store, 0.5)

    def deleted() -> bool:
        file_store.delete_run(gone.id, permanently=True)
        return True

    assert file_store.fill_step_values({(RECALL, 10)}, deleted).unread == 0
    assert at(file_store, f"at({RECALL}, 10)", kept) == [0.5]


def test_the_steps_at_which_most_runs_were_best_are_offered(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = file_store.add_experiment(preset_config("sd-clip", "tiny")).id
    for step in (40, 30, 10, 20, 0, 30, 0, 0, 40):
        best = BestPoint("val/teacher/mean_recall", 0.5, step)
        file_store.record(file_store.add_run(experiment).id, Progress(RunState.RUNNING, 1, best=best))
    assert file_store.steps_of_evaluations() == [10, 20, 30, 40]
    with monkeypatch.context() as patch:
        patch.setattr(step_values, "_SUGGESTED_STEPS", 3)
        assert file_store.steps_of_evaluations() == [10, 30, 40]
    monkeypatch.setattr(step_values, "_SUGGESTING_RUNS", 3)
    assert file_store.steps_of_evaluations() == [20, 30, 40], "of the newest runs that were evaluated"


def test_old_steps_are_evicted(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_values, "MAX_PAIRS", 10)
    run = grown(file_store, 0.5, 0.6)
    file_store.fill_step_values({("train/loss", step) for step in range(1, 11)})
    assert at(file_store, "at(train/loss, 4)", run) == [0.25]
    file_store.fill_step_values({(RECALL, 10)})
    assert at(file_store, f"at({RECALL}, 10)", run) == [0.5]
    assert at(file_store, "at(train/loss, 4)", run) == [None]
    assert file_store.steps_of_evaluations() == []
