"""Continue, fork and fine-tune in the window: the experiment that is prepared, and the parent in the table of runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, RunStarted
from core.spec.run.status import RunState
from sdgui.store.summary import summarise
from tests.sdgui.experiments.commanding import Parts


def test_an_experiment_starts_from_the_selected_or_the_last_checkpoint(qtbot: QtBot, parts: Parts) -> None:
    store, experiment = parts.store, parts.new()
    run = store.add_run(experiment)
    run.dir.create()
    run.dir.config.write_text(preset_config("clip", "tiny").to_json())
    for step in (4, 8):
        folder = run.dir.checkpoints / f"step-{step:08d}"
        folder.mkdir()
        (folder / "checkpoint.json").write_text("{}")
    parts.experiments.start_from(run, "fork")
    parts.time_travel.go(run.folder, 4)
    parts.experiments.start_from(run, "fine-tune")
    parts.wait(qtbot)
    forked, tuned = (store.experiment(number).config for number in parts.added[-2:])
    assert forked is not None
    assert tuned is not None
    assert (forked.towers.pretrained, forked.towers.start) == (f"{run.folder}@step-00000008", "state")
    assert (tuned.towers.pretrained, tuned.towers.start) == (f"{run.folder}@step-00000004", "weights")
    names = [store.experiment(number).name for number in parts.added[-2:]]
    name = store.experiment(experiment).name
    assert names == [f"{name}, forked", f"{name}, fine-tuned"]


def test_the_parent_is_recorded_with_the_run(parts: Parts, tmp_path: Path) -> None:
    run = parts.store.add_run(parts.new())
    parent = {"run": "one", "folder": "/runs/one", "step": 4, "kind": "fork"}
    with closing(EventWriter(tmp_path / "events.jsonl")) as writer:
        writer.write(RunStarted(step=4, total_steps=9, config_digest="d", parent=parent))
        writer.write(RunStarted(step=6, total_steps=9, config_digest="d"))
    summary, offset = summarise(tmp_path / "events.jsonl")
    parts.store.record(run.id, summary.progress(offset, RunState.RUNNING))
    assert parts.store.run(run.id).parent == "fork of one at step 4"
