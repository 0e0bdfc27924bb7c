"""Trainers as programs of their own: started, paused, stopped in view, queued; they outlive the window."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pytestqt.qtbot import QtBot

from core.spec.children import environment
from core.spec.config import read_config
from core.spec.errors import UserError
from core.spec.run.events import EventReader, EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.starting import start_trainer
from core.spec.run.status import RunState, RunStatus, own_status, process_alive
from sdgui.runs.launcher import Launcher
from sdgui.store.records import Experiment, Progress, Run, StoreError
from sdgui.store.store import Store
from tests.sdgui.runs.conftest import MakeLauncher

Command = Callable[..., list[str]]
WAIT_MS = 15000


def running(run: Run) -> bool:
    return any(isinstance(event, Metrics) for event in EventReader(run.dir.events).read_all())


def finished(run: Run) -> str:
    ends = [event for event in EventReader(run.dir.events).read_all() if isinstance(event, RunFinished)]
    return ends[-1].outcome if ends else ""


def test_waiting_for_a_trainer_holds_no_launcher(make_launcher: MakeLauncher, experiment: Experiment) -> None:
    """The thread that waits would delete the launcher's timers, which crashes Qt's event loop."""
    launcher = make_launcher("--steps", "500")
    before = sys.getrefcount(launcher)
    launcher.launch(experiment.id)
    assert sys.getrefcount(launcher) == before


def test_a_launch_freezes_the_config_and_reports(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "5")
    run = launcher.launch(experiment.id)
    assert run.state is RunState.STARTING
    assert read_config(run.dir.config) == experiment.config
    begun = run.dir.read_status()
    assert begun is not None
    assert sys.platform == "win32" or os.getsid(begun.pid) == begun.pid != os.getsid(0), "a session of its own"
    qtbot.waitUntil(lambda: not psutil.pid_exists(begun.pid), timeout=WAIT_MS)  # no zombie stays
    assert finished(run) == "done"
    assert run.dir.stdout.read_text().strip() == "begins"
    status = run.dir.read_status()
    assert status is not None
    assert status.step == 5, "the trainer's own status stands"
    assert not process_alive(status)


def test_the_first_status_names_the_process_and_never_overwrites(store: Store, experiment: Experiment) -> None:
    run = store.add_run(experiment.id)
    run.dir.create()
    run.dir.write_status(RunStatus(pid=1, started=1.0, heartbeat=1.0, doing="the previous trainer's"))
    process = start_trainer([sys.executable, "-c", "import time; time.sleep(60)"], run.dir)
    status = run.dir.read_status()
    assert status is not None
    assert (status.pid, status.doing) == (process.pid, "starting")
    assert process_alive(status)
    process.kill()
    process.wait()
    writer = (
        "import sys; from core.spec.run.folder import RunDir; "
        "from core.spec.run.status import own_status; run = RunDir(sys.argv[1]);"
        "run.write_status(own_status(step=77)); print('written', flush=True)"
    )
    start_trainer([sys.executable, "-c", writer, str(run.folder)], run.dir).wait()
    status = run.dir.read_status()
    assert status is not None
    assert status.step == 77, "whoever is first, in the end the trainer's own status stands"


def test_a_trainer_that_dies_before_its_first_event_is_noticed(
    store: Store, experiment: Experiment, qtbot: QtBot
) -> None:
    launcher = Launcher(store, command=[sys.executable, "-c", "import sys; sys.exit('no such data')"])
    run = launcher.launch(experiment.id)
    status = run.dir.read_status()
    assert status is not None
    qtbot.waitUntil(lambda: not process_alive(status), timeout=WAIT_MS)
    assert run.dir.stderr_end() == "no such data"
    launcher.close()


def test_a_launch_that_fails_leaves_nothing_behind(
    store: Store, experiment: Experiment, qtbot: QtBot, tmp_path: Path
) -> None:
    launcher = Launcher(store, command=[str(tmp_path / "no-such-program")])
    with pytest.raises(UserError, match="no-such-program"):
        launcher.launch(experiment.id)
    store.runs_folder.rmdir()
    store.runs_folder.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write"):
        launcher.launch(experiment.id)
    assert store.runs() == []
    store.runs_folder.unlink()
    launcher.close()


@pytest.mark.parametrize(
    ("owner", "method", "call"), [(Store, "assign_devices", "launch"), (Launcher, "_prepare", "enqueue")]
)
def test_a_locked_database_discards_the_run(
    owner: type, method: str, call: str, make_launcher: MakeLauncher, experiment: Experiment, store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def locked(*_: object) -> None:
        raise StoreError("The database is locked.")

    monkeypatch.setattr(owner, method, locked)
    with pytest.raises(StoreError, match="locked"):
        getattr(make_launcher(), call)(experiment.id)
    assert store.runs() == []


def test_a_config_with_a_problem_is_not_launched(make_launcher: MakeLauncher, store: Store) -> None:
    broken = store.add_experiment('{"name": "x", "optim": {"epochs": -1}}')
    with pytest.raises(StoreError, match=r"optim\.epochs"):
        make_launcher().launch(broken.id)


def test_the_queue_runs_one_after_another(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "3")
    started: list[int] = []
    launcher.launched.connect(started.append)
    first, second = launcher.enqueue(experiment.id), launcher.enqueue(experiment.id)
    assert read_config(second.dir.config) == experiment.config, "frozen when it was queued"
    store.edit_experiment(experiment.id, experiment.config_json.replace('"seed": 0', '"seed": 9'))
    qtbot.waitUntil(lambda: finished(first) == "done", timeout=WAIT_MS)
    assert started == [first.id], "the first one is alive until the store hears of its end"
    store.record(first.id, Progress(state=RunState.DONE, offset=1, ending="done"))
    qtbot.waitUntil(lambda: finished(second) == "done", timeout=WAIT_MS)
    assert started == [first.id, second.id]
    assert store.queue() == []


def test_a_run_removed_from_the_queue_is_gone(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store
) -> None:
    store.add_run(experiment.id)  # alive, as far as the store knows, so that the queue waits
    launcher = make_launcher()
    run = launcher.enqueue(experiment.id)
    assert run.dir.config.is_file()
    assert [item.id for item in store.queue()] == [run.id]
    launcher.unqueue(run.id)
    assert not run.folder.exists()
    assert run.id not in {item.id for item in store.runs()}
    assert store.queue() == []


@pytest.mark.parametrize("events", [True, False])
def test_an_imported_run_removed_from_the_queue_keeps_its_folder(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store, tmp_path: Path, events: bool
) -> None:
    assert experiment.config is not None
    store.add_run(experiment.id)  # alive, as far as the store knows, so that the queue waits
    far = RunDir(tmp_path / "elsewhere")
    far.create()
    far.config.write_text(experiment.config.to_json(), encoding="utf-8")
    (far.path / "notes.txt").write_text("mine")
    if events:
        writer = EventWriter(far.events)
        writer.write(RunStarted(step=0, total_steps=5, config_digest=experiment.config.digest()))
        writer.close()
    run = store.import_run(far.path)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=run.offset))
    launcher = make_launcher()
    launcher.enqueue_run(run.id)
    launcher.unqueue(run.id)
    assert (far.path / "notes.txt").read_text() == "mine"
    assert far.config.is_file()
    assert run.id in {item.id for item in store.runs()}, "it is listed as before"
    assert store.queue() == []


def test_a_trained_run_stays_when_it_leaves_the_queue(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store
) -> None:
    assert experiment.config is not None
    store.add_run(experiment.id)
    ours = RunDir(store.runs_folder / "clip-20260101-abc")
    ours.create()
    ours.config.write_text(experiment.config.to_json(), encoding="utf-8")
    (ours.checkpoints / "step-00000001").mkdir()
    run = store.import_run(ours.path)  # as after the database was rebuilt: nothing says that it was launched
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=0))
    launcher = make_launcher()
    launcher.enqueue_run(run.id)
    launcher.unqueue(run.id)
    assert (ours.checkpoints / "step-00000001").is_dir()
    assert run.id in {item.id for item in store.runs()}


def test_a_queued_run_that_cannot_start_is_reported_and_the_next_one_starts(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "2")
    said: list[tuple[int, str]] = []
    launcher.launch_failed.connect(lambda run_id, message: said.append((run_id, message)))
    bad, good = launcher.enqueue(experiment.id), launcher.enqueue(experiment.id)
    bad.dir.stdout.mkdir()
    qtbot.waitUntil(lambda: finished(good) == "done", timeout=WAIT_MS)
    assert [run_id for run_id, _ in said] == [bad.id]
    assert "cannot be written" in said[0][1]
    assert store.run(bad.id).state is RunState.FAILED
    assert store.run(bad.id).failure == said[0][1]


def test_a_queued_run_started_by_another_program_is_not_started_again(
    make_launcher: MakeLauncher, experiment: Experiment, store: Store, qtbot: QtBot
) -> None:
    run = store.add_run(experiment.id)
    run.dir.create()
    run.dir.config.write_text(experiment.config_json)
    store.record(run.id, Progress(state=RunState.PAUSED, offset=1, ending="paused"))
    store.enqueue(run.id)
    run.dir.write_status(own_status(step=7))  # resumed from a terminal meanwhile
    launcher = make_launcher("--steps", "3")
    started: list[int] = []
    launcher.launched.connect(started.append)
    qtbot.waitUntil(lambda: store.queue() == [], timeout=WAIT_MS)
    qtbot.wait(300)
    assert started == []
    status = run.dir.read_status()
    assert status is not None
    assert (status.pid, status.step) == (os.getpid(), 7), "its own status stands"


def test_a_core_package_in_the_current_folder_is_not_mistaken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('not ours')")
    code = "import core.spec.run.folder; print('ours')"
    for _ in range(2):
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == "ours"
        monkeypatch.delenv("PYTHONPATH", raising=False)


def test_a_launch_does_not_write_a_folder_linked_outside(
    make_launcher: MakeLauncher, store: Store, run: Run, tmp_path: Path
) -> None:
    launcher = make_launcher("--steps", "2")
    run.dir.stdout.touch()
    run.dir.events.touch()
    store.record(run.id, Progress(state=RunState.PAUSED, offset=0, ending="paused"))
    for name in ("stdout.log", "events.jsonl", "checkpoints"):
        path = run.folder / name
        path.rename(tmp_path / name)
        path.symlink_to(tmp_path / name)
        size = (tmp_path / name).stat().st_size
        with pytest.raises(UserError, match=rf"{name} is a link out of its run folder"):
            launcher.resume(run.id)
        assert (tmp_path / name).stat().st_size == size
        path.unlink()
        (tmp_path / name).rename(path)
