"""Commands on experiments and runs with a store and stand-ins: what is written, told, offered and refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import own_status
from sdgui.experiments import run_commands
from sdgui.store.changes import Changes
from sdgui.store.records import StoreUnavailableError
from tests.sdgui.experiments.commanding import Parts


def test_a_new_experiment_gets_a_free_name_and_is_selected(qtbot: QtBot, parts: Parts, tmp_path: Path) -> None:
    for _ in range(3):
        parts.experiments.add(preset_config("clip", "tiny"), "mine")
    parts.experiments.new("coca", "tiny")
    parts.wait(qtbot)
    assert [one.name for one in parts.store.experiments()][:3] == ["mine", "mine 2", "mine 3"]
    assert parts.added == [1, 2, 3, 4]
    assert [set(change.experiments) for change in parts.changes] == [{1}, {2}, {3}, {4}]
    parts.experiments.duplicate(1)
    parts.wait(qtbot)
    assert (parts.added[-1], parts.store.experiment(5).name) == (5, "mine copy")
    parts.experiments.new_from_file(tmp_path / "nothing.json")
    parts.wait(qtbot)
    assert [message.level for message in parts.messages] == ["error"]
    assert parts.messages[0].remedy is None


def test_a_failed_write_is_retried(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    number, rename, held = parts.new(), parts.store.rename_experiment, [True]

    def hold(*what: Any) -> Any:
        if held:
            raise StoreUnavailableError("The database is locked.")
        return rename(*what)

    monkeypatch.setattr(parts.store, "rename_experiment", hold)
    parts.experiments.rename(number, "new")
    parts.wait(qtbot)
    assert parts.changes, "the window shows the stored name again"
    held.clear()
    (message,) = parts.messages
    assert message.remedy is not None
    parts.changes.clear()
    message.remedy.do()
    parts.wait(qtbot)
    assert parts.store.experiment(number).name == "new"
    assert [set(change.experiments) for change in parts.changes] == [{number}]


def test_tags_and_note_belong_to_the_run_or_the_experiment(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    run = parts.ended(number)
    parts.experiments.describe(number, run.id, ["best"], "why")
    parts.experiments.describe(number, None, ["draft"], "what")
    parts.wait(qtbot)
    described, mine = parts.store.run(run.id), parts.store.experiment(number)
    assert (described.tags, described.note, mine.tags, mine.note) == (("best",), "why", ("draft",), "what")
    assert [(set(one.runs), set(one.experiments)) for one in parts.changes] == [({run.id}, set()), (set(), {number})]


def test_a_deleted_experiment_can_be_restored(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    run = parts.ended(number)
    parts.experiments.delete(number)
    parts.wait(qtbot)
    assert parts.store.experiments() == []
    (message,) = parts.messages
    assert message.text == "Moved “mine” to the bin."
    assert message.remedy is not None
    message.remedy.do()
    parts.wait(qtbot)
    assert [one.id for one in parts.store.runs()] == [run.id]
    assert [one.id for one in parts.store.experiments()] == [number]
    assert len(parts.changes) == 2


def test_a_study_is_deleted_with_its_arms_unless_it_runs(qtbot: QtBot, parts: Parts, tmp_path: Path) -> None:
    study = parts.store.add_study(tmp_path / "study", "noise")
    parts.studies.append(study.id)
    parts.experiments.delete_study(study.id)
    assert parts.messages.pop().text == "The study is running. Stop it before you delete it."
    parts.studies.clear()
    parts.experiments.delete_study(study.id)
    parts.wait(qtbot)
    assert parts.store.studies() == []
    (message,) = parts.messages
    assert message.text == "Moved “noise” to the bin; its folder is kept."
    assert message.remedy is not None
    message.remedy.do()
    parts.wait(qtbot)
    assert [one.id for one in parts.store.studies()] == [study.id]
    assert [set(change.studies) for change in parts.changes] == [{study.id}, {study.id}]


def test_running_experiments_are_not_deleted(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.store.add_run(number)
    parts.experiments.delete(number)
    parts.wait(qtbot)
    assert [(one.level, one.text.split(".")[0]) for one in parts.messages] == [
        ("warning", "A run of this experiment is training")
    ]
    assert parts.store.experiments()
    assert parts.changes == []


def test_a_launch_starts_and_a_queued_run_is_announced(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.runs.launch(number)
    parts.wait(qtbot)
    assert (parts.launcher.done, parts.started, parts.follower.polled) == ([("launch", number)], [1], [1])
    assert parts.messages == []
    parts.runs.queue(number)
    parts.wait(qtbot)
    assert (parts.launcher.done[1], parts.started, parts.follower.polled) == (("enqueue", number), [1], [1, 2])
    assert parts.messages[0].text == "Queued: starts as soon as a device is free."
    assert [set(change.runs) for change in parts.changes] == [{1}, {2}]


def test_a_refused_launch_is_reported(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    config = parts.store.experiment(number).config
    assert config is not None
    parts.runs.launch(number, override(config, ["seed=99"]))
    parts.wait(qtbot)
    assert parts.messages[-1].text == "The form could not be saved, so nothing was launched. Try again."
    parts.runs.launch(number, override(config, ["name=older"]))
    parts.wait(qtbot)
    assert parts.launcher.done == [("launch", number)], "only the name differs"
    broken = parts.store.add_experiment('{"name": "x", "optim": {"epochs": -1}}').id
    parts.runs.launch(broken)
    parts.wait(qtbot)
    assert parts.messages[-1].text.startswith("“x” cannot be launched: ")
    parts.store.delete_experiment(broken)
    told = len(parts.messages)
    parts.runs.launch(broken)
    parts.wait(qtbot)
    assert len(parts.messages) == told
    parts.launcher.refuses = True
    parts.runs.launch(number)
    parts.wait(qtbot)
    assert (parts.messages[-1].level, parts.messages[-1].text) == ("error", "It cannot be written.")
    assert parts.launcher.done == [("launch", number)]


def test_a_launch_waiting_for_the_demo_data_is_one_and_keeps_its_kind(qtbot: QtBot, parts: Parts) -> None:
    first, second = parts.new("first"), parts.new("second")
    parts.demo.complete = False
    for _ in range(2):
        parts.runs.launch(first)
    parts.runs.queue(second)
    parts.wait(qtbot)
    assert (parts.runs.is_waiting(first), parts.runs.is_waiting(second), parts.runs.is_waiting(99)) == (
        True,
        True,
        False,
    )
    assert parts.demo.made == 3
    assert parts.launcher.done == []
    parts.demo.complete = True
    parts.demo.ready.emit()
    parts.wait(qtbot)
    qtbot.waitUntil(lambda: len(parts.launcher.done) == 2)
    assert parts.launcher.done == [("launch", first), ("enqueue", second)]
    assert not parts.runs.is_waiting(first)


def test_failed_demo_data_end_the_wait(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.demo.complete = False
    parts.runs.launch(number)
    parts.wait(qtbot)
    parts.demo.failed.emit("No space left.", "details")
    assert (parts.messages[-1].text, parts.messages[-1].details) == ("No space left.", "details")
    assert not parts.runs.is_waiting(number)


def test_cancelled_demo_data_ends_the_wait(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    parts.demo.complete = False
    parts.runs.launch(number)
    parts.wait(qtbot)
    parts.demo.cancelled.emit()
    assert not parts.runs.is_waiting(number)
    assert parts.changes[-1] == Changes()


def test_pause_and_stop_signal_the_trainer_and_a_queued_run_leaves_the_queue(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    live, waits = parts.store.add_run(number), parts.store.add_run(number, queued=True)
    parts.runs.pause(live)
    parts.runs.stop(live)
    parts.runs.stop(waits)
    parts.wait(qtbot)
    assert parts.launcher.done == [("pause", live.id), ("stop", live.id), ("unqueue", waits.id)]
    assert parts.follower.polled == [waits.id]
    assert set(parts.changes[-1].runs) == {waits.id}
    parts.launcher.refuses = True
    parts.runs.pause(live)
    parts.runs.stop(live)
    assert [one.text for one in parts.messages] == [
        "The run could not be paused: It cannot be written.",
        "The run could not be stopped: It cannot be written.",
    ]


def test_a_resume_waits_for_the_trainer_to_exit(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_commands, "_EXIT_POLL_MS", 5)
    run = parts.ended(parts.new())
    run.dir.create()
    run.dir.write_status(own_status())
    parts.runs.resume(run)
    qtbot.wait(40)
    assert parts.launcher.done == []
    assert len(parts.messages) == 1, "said once"
    run.dir.status.unlink()
    qtbot.waitUntil(lambda: parts.launcher.done == [("resume", run.id)])
    qtbot.waitUntil(lambda: parts.started == [run.id])
    run.dir.write_status(own_status())
    monkeypatch.setattr(run_commands, "_EXIT_POLLS", 2)
    parts.runs.resume(run)
    qtbot.waitUntil(lambda: len(parts.launcher.done) == 2, timeout=5000)


def test_each_resume_that_waits_is_announced_and_launched_once(
    qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_commands, "_EXIT_POLL_MS", 1)
    exiting = [True]
    monkeypatch.setattr(run_commands, "process_alive", lambda _status: bool(exiting))
    runs = [parts.ended(parts.new()) for _ in range(2)]
    for run in runs:
        run.dir.create()
        run.dir.write_status(own_status())
    for run in (*runs, runs[0]):
        parts.runs.resume(run)
    assert [message.text.split(";")[0] for message in parts.messages] == 2 * [
        "The previous trainer is still shutting down"
    ]
    exiting.clear()
    qtbot.waitUntil(lambda: len(parts.launcher.done) == 2)
    parts.wait(qtbot)
    assert sorted(parts.launcher.done) == [("resume", run.id) for run in runs]


def test_a_resume_shows_the_step_it_starts_from(qtbot: QtBot, parts: Parts) -> None:
    run = parts.ended(parts.new())
    for step, state in ((40, True), (80, True), (120, False)):  # the last keeps weights alone
        checkpoint = run.dir.checkpoints / f"step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / ("state.safetensors" if state else "student.safetensors")).touch()
    parts.runs.resume(run)
    qtbot.waitUntil(lambda: len(parts.messages) == 1)
    assert (parts.messages[0].level, parts.messages[0].text) == ("info", "Resumed from the checkpoint at step 80.")
    shutil.rmtree(run.dir.checkpoints)
    parts.runs.resume(run)
    qtbot.waitUntil(lambda: len(parts.messages) == 2)
    assert parts.messages[1].level == "warning"
    assert "starts again at step 0" in parts.messages[1].text
