"""What Home reads of a run's events, and what becomes of a folder of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, Event, EventWriter, Metrics, RunFinished, RunStarted, Sample
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.panels.home.model import MAX_FAILED, MAX_POINTS, RunPreview, list_runs, spans
from sdgui.store.records import Progress, Run
from sdgui.store.store import Store

START = RunStarted(step=0, total_steps=9, config_digest="")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    store.close()


def write(folder: Path, *events: Event) -> None:
    with closing(EventWriter(RunDir(folder).events)) as writer:
        for event in events:
            writer.write(event)


def make_run(store: Store, folder: Path, *events: Event) -> Run:
    run = RunDir(folder)
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json())
    write(folder, START, *events)
    return store.import_run(folder)


def losses(*steps: int) -> list[Event]:
    return [Metrics(step=step, values={"train/loss": float(step), "train/grad_norm": 1.0}) for step in steps]


def test_a_summary_follows_the_loss_then_the_ranking_metric(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    preview = RunPreview(make_run(store, folder, *losses(1, 2, 3, 4)))
    assert preview.read()
    assert (preview.metric, preview.curve) == ("train/loss", (1.0, 2.0, 3.0, 4.0))
    assert not preview.read(), "nothing is new"
    write(folder, replace(START, step=2), *losses(3))  # resumed: what came after step 2 is void
    assert preview.read()
    assert preview.curve == (1.0, 2.0, 3.0)
    recalls = [
        Evaluated(step=step, values={"val/student/mean_recall": step / 100, "val/teacher/mean_recall": step / 10})
        for step in range(3, 8)
    ]
    write(folder, *recalls[:-1])
    preview.read()
    assert preview.metric == "train/loss", "a few validations make no curve"
    write(folder, recalls[-1], *losses(*range(8, 1000)))
    preview.read()
    assert (preview.metric, preview.curve[-1]) == ("val/teacher/mean_recall", 0.7)
    assert len(preview._curves["train/loss"]) <= MAX_POINTS


def test_totals_of_steps_without_the_teacher_are_not_drawn(store: Store, tmp_path: Path) -> None:
    alone = {"train/loss": 2.0, "train/contrastive": 2.0}
    taught = {**alone, "train/loss": 5.0, "train/distill_logits": 3.0}
    steps = [Metrics(step=step, values=alone if step % 3 else taught) for step in range(1, 10)]
    preview = RunPreview(make_run(store, tmp_path / "run", *steps))
    preview.read()
    assert preview.curve == (2.0, 2.0, 5.0, 5.0, 5.0)


def test_a_long_curve_is_thinned_evenly_without_non_finite_values(store: Store, tmp_path: Path) -> None:
    lost = [Metrics(step=0, values={"train/loss": value}) for value in (float("nan"), float("inf"))]
    preview = RunPreview(make_run(store, tmp_path / "run", *lost, *losses(*range(1, 1001))))
    preview.read()
    apart = {later - earlier for earlier, later in pairwise(preview.curve)}
    assert (apart, preview.curve[-1]) == ({8.0}, 1000.0)
    assert MAX_POINTS // 2 <= len(preview.curve) <= MAX_POINTS


def test_sparklines_of_one_metric_share_a_scale(store: Store, tmp_path: Path) -> None:
    def preview(name: str, *events: Event) -> RunPreview:
        read = RunPreview(make_run(store, tmp_path / name, *events))
        read.read()
        return read

    recalls = [
        [Evaluated(step=step, values={f"val/{who}/mean_recall": share + step / 100}) for step in range(5)]
        for who, share in (("student", 0.1), ("teacher", 0.6))
    ]
    previews = {1: preview("low", *recalls[0]), 2: preview("high", *recalls[1]), 3: preview("loss", *losses(1, 2))}
    assert spans(previews) == {1: (0.1, 0.64), 2: (0.1, 0.64), 3: (1.0, 2.0)}
    assert [each.title for each in previews.values()] == ["Mean recall, student", "Mean recall, teacher", "Total loss"]


def test_samples_pair_captions_and_images_for_any_events(store: Store, tmp_path: Path) -> None:
    entries = [{"caption": f"c{n}", "hits": [{"image": f"/p/{n}.png", "score": 0.5}]} for n in range(6)]
    broken: list[object] = [{"caption": 7, "hits": []}, {"hits": [{"image": 3}]}, "x", {"hits": "y"}]
    folder = tmp_path / "run"
    run = make_run(store, folder, Sample(step=1, what="retrieval", content={"student": [], "teacher": entries}))
    preview = RunPreview(run)
    preview.read()
    assert [(str(image.path), image.caption) for image in preview.images] == [
        (f"/p/{n}.png", f"c{n}") for n in range(4)
    ]
    for content in ({"teacher": broken}, {"teacher": "zz"}, {"teacher": {"a": 1}}, {}):
        write(folder, Sample(step=2, what="retrieval", content=content))
        preview.read()
        assert preview.images == ()
    run.dir.events.unlink()
    assert not preview.read()


def test_runs_are_listed_by_outcome(store: Store, tmp_path: Path) -> None:
    assert not list_runs(store, ()).has_runs
    done_runs = [make_run(store, tmp_path / f"{n}", RunFinished(step=9, time=float(n))) for n in (2, 1, 3)]
    failed = make_run(store, tmp_path / "broken")
    store.mark_failed(failed.id, "No such file.")
    paused = make_run(store, tmp_path / "paused", RunFinished(step=9, time=1.0, outcome="paused"))
    listed = list_runs(store, ())
    assert [run.id for run in listed.paused] == [paused.id]
    assert [run.id for run in listed.done] == [done_runs[2].id, done_runs[0].id, done_runs[1].id], (
        "what ended last comes first"
    )
    assert [(run.id, run.state) for run in listed.failed] == [(failed.id, RunState.FAILED)]
    assert listed.has_runs
    assert list_runs(store, {failed.id}).failed == ()
    store.delete_experiment(done_runs[0].experiment_id)
    assert list_runs(store, ()).done == (), "of an experiment in the bin none is listed"


def test_the_newest_unseen_failures_are_listed(store: Store) -> None:
    experiment = store.add_experiment(preset_config("clip", "tiny"))
    runs = [store.add_run(experiment.id).id for _ in range(MAX_FAILED + 3)]
    for number, run_id in enumerate(runs):
        state = RunState.INTERRUPTED if number % 2 else RunState.FAILED
        store.record(run_id, Progress(state, 1, finished=float(number)))
    newest = runs[::-1]
    assert [run.id for run in list_runs(store, ()).failed] == newest[:MAX_FAILED]
    assert [run.id for run in list_runs(store, [9998, 9999]).failed] == newest[:MAX_FAILED], "of runs of long ago"
    assert [run.id for run in list_runs(store, newest[:2]).failed] == newest[2 : 2 + MAX_FAILED]
