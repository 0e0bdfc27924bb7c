"""What the launcher refuses or cannot do: each with its sentence, and nothing half done is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.installed import NotInstalled
from core.spec.presets import preset_config
from core.spec.run.code import CodeError, CodeNotAllowed, allow, copied_files
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, own_status
from sdgui.runs import launcher as launcher_module
from sdgui.runs import launcher as launching
from sdgui.runs.chains import chain_of
from sdgui.runs.launcher import Launcher
from sdgui.store.records import Experiment, Place, Progress, Run, StoreError
from sdgui.store.store import Store
from tests.sdgui.runs.conftest import MakeLauncher


def paused(store: Store, experiment: Experiment) -> Run:
    run = store.add_run(experiment.id)
    run.dir.create()
    assert experiment.config is not None
    run.dir.config.write_text(experiment.config.to_json())
    store.record(run.id, Progress(state=RunState.PAUSED, offset=0))
    return store.run(run.id)


def test_a_run_without_its_config_is_not_resumed(
    make_launcher: MakeLauncher, store: Store, experiment: Experiment
) -> None:
    run = paused(store, experiment)
    run.dir.config.unlink()
    with pytest.raises(UserError, match=r"no longer has a config\.json"):
        make_launcher().resume(run.id)
    assert store.run(run.id).state is RunState.PAUSED


def test_a_run_that_cannot_be_resumed_is_marked_failed(store: Store, experiment: Experiment, tmp_path: Path) -> None:
    launcher, run = Launcher(store, command=[str(tmp_path / "no-such-program")]), paused(store, experiment)
    launched = list[int]()
    launcher.launched.connect(launched.append)
    with pytest.raises(UserError, match="was not found; reinstall sdgui"):
        launcher.resume(run.id)
    run = store.run(run.id)
    assert run.state is RunState.FAILED
    assert "no-such-program" in run.failure
    assert run.folder.is_dir(), "what it trained stays"
    assert launched == []
    launcher.close()


def test_a_live_run_is_neither_resumed_nor_counted_as_paused(
    make_launcher: MakeLauncher, store: Store, experiment: Experiment
) -> None:
    run = paused(store, experiment)
    run.dir.write_status(own_status())
    with pytest.raises(UserError, match="already running; stop or pause it first"):
        make_launcher().resume(run.id)
    assert store.run(run.id).state is RunState.PAUSED


def test_a_config_changed_meanwhile_is_not_launched(
    make_launcher: MakeLauncher, store: Store, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, add = make_launcher(), store.add_run
    assert experiment.config is not None
    changed = override(experiment.config, ["seed=99"])

    def add_and_change(*what: Any, **more: Any) -> Run:
        run = add(*what, **more)
        store.edit_experiment(experiment.id, changed)
        return run

    monkeypatch.setattr(store, "add_run", add_and_change)
    for way in (launcher.launch, launcher.enqueue):
        store.edit_experiment(experiment.id, experiment.config)
        with pytest.raises(UserError, match="was changed while it was being launched"):
            way(experiment.id)
    assert store.runs() == []
    assert list(store.runs_folder.iterdir()) == []


@pytest.mark.parametrize("failing", ["write", "request_place"])
def test_a_chain_that_cannot_be_listed_leaves_no_folder(
    store: Store, monkeypatch: pytest.MonkeyPatch, command: Any, failing: str
) -> None:
    experiment = store.add_experiment(preset_config("blip", "tiny"), "two stages")
    assert experiment.config is not None
    launcher, write = Launcher(store, command()), launcher_module.write_chain

    def refuse(*_: object) -> None:
        raise StoreError("The database is locked by another program.")

    def half(folder: Path, chain: Any) -> Path:
        write(folder, chain)
        raise OSError(28, "No space left on device")

    if failing == "write":
        monkeypatch.setattr(launcher_module, "write_chain", half)
    else:
        monkeypatch.setattr(store, failing, refuse)
    text = "No space left" if failing == "write" else "locked by another"
    with pytest.raises(UserError, match=text):
        launcher.launch(experiment.id, chain_of(experiment.config, "tiny"))
    assert list(store.runs_folder.glob("*")) == []
    launcher.close()


def test_the_queue_announces_moves_and_the_limit_is_at_least_one(
    qtbot: QtBot, make_launcher: MakeLauncher, store: Store, experiment: Experiment
) -> None:
    launcher = make_launcher("--steps", "1")
    launcher.set_limit(0)
    assert launcher.limit == 1
    busy = store.add_run(experiment.id)
    for move in (
        lambda: launcher.enqueue(experiment.id),
        lambda: launcher.enqueue_run(paused(store, experiment).id),
        lambda: launcher.unqueue(store.queue()[-1].id),
    ):
        with qtbot.waitSignal(launcher.queue_changed):
            move()
    assert len(store.queue()) == 1
    store.record(busy.id, Progress(state=RunState.DONE, offset=0))


def test_without_the_trainer_nothing_trains_locally(
    qtbot: QtBot,
    store: Store,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def need(extra: str) -> None:
        raise NotInstalled(f"There is no {extra}.")

    monkeypatch.setattr(launcher_module, "need", need)
    remote = Reached()
    launcher = Launcher(store, remote=remote)
    launcher.launch(experiment.id, place=Place("far"))
    qtbot.waitUntil(lambda: len(remote.started) == 1)
    run = paused(store, experiment)
    for way in (launcher.launch, launcher.enqueue, lambda _: launcher.resume(run.id)):
        with pytest.raises(UserError, match=r"Or choose another machine with the button next to Launch\."):
            way(experiment.id)
    assert store.run(run.id).state is RunState.PAUSED
    assert len(store.runs()) == 2
    with qtbot.waitSignal(launcher.launch_failed) as failed:  # that other window did not know
        launcher.enqueue_run(run.id)
    assert failed.args == [run.id, "There is no train. Or choose another machine with the button next to Launch."]


class Reached:
    """Another machine, which takes what it is told to take."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal, self.started = refusal, list[tuple[int, str]]()

    def start(self, run: Run, config: str) -> None:
        if self.refusal:
            raise UserError(self.refusal)
        self.started.append((run.id, config))


def test_a_run_of_another_machine_is_handed_over_or_marked_failed(
    qtbot: QtBot, store: Store, experiment: Experiment, command: Any
) -> None:
    taken, full = Reached(), Reached("There is no room.")
    launcher = Launcher(store, command(), remote=taken)
    with qtbot.waitSignal(launcher.launched) as launched:
        run = launcher.launch(experiment.id, place=Place("far"))
    qtbot.waitUntil(lambda: bool(taken.started))
    assert launched.args == [run.id]
    assert experiment.config is not None
    assert taken.started == [(run.id, experiment.config.to_json())]
    launcher.close()
    launcher = Launcher(store, command(), remote=full)
    with qtbot.waitSignal(launcher.launch_failed) as failed:
        run = launcher.launch(experiment.id, place=Place("far"))
    assert failed.args == [run.id, "There is no room."]
    assert (store.run(run.id).state, store.run(run.id).failure) == (RunState.FAILED, "There is no room.")
    launcher.close()
    alone, before = Launcher(store, command()), len(store.runs())
    with pytest.raises(UserError, match="The machine far is not in the list of machines; choose this computer"):
        alone.launch(experiment.id, place=Place("far"))
    assert len(store.runs()) == before
    alone.close()


def test_a_closed_launcher_starts_nothing_more(
    qtbot: QtBot, make_launcher: MakeLauncher, store: Store, experiment: Experiment
) -> None:
    launcher = make_launcher("--steps", "1")
    launcher.close()
    run = launcher.enqueue(experiment.id)
    with qtbot.waitSignal(launcher.queue_changed):
        launcher.check_queue()
    assert not launcher._timer.isActive()
    assert launcher.chains.poller.ending.is_set()
    assert launcher._starter.pending == 0
    assert [one.id for one in store.queue()] == [run.id]


WAIT_MS = 15000


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A config with a loss in a file."""
    file = tmp_path / "losses.py"
    file.write_text("def loss(student): return student.text.sum()\n")
    return override(preset_config("clip", "tiny"), [f"objectives.custom={json.dumps({f'{file}:loss': {}})}"])


def test_a_launch_copies_the_code_and_trains_with_the_copy(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    start = launching.start_trainer
    monkeypatch.setattr(
        launching, "start_trainer", lambda command, *rest: started.append(command) or start(command, *rest)
    )
    run = make_launcher("--steps", "2").launch(store.add_experiment(config).id)
    (kept,) = copied_files(run.dir).values()
    assert (run.folder / "code" / kept.file).read_bytes() == (tmp_path / "losses.py").read_bytes()
    assert started[0][-2:] == ["--code", "kept"]


def test_an_imported_run_resumes_once_its_code_is_allowed(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path, user_folders: Path, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "2")
    first = launcher.launch(store.add_experiment(config).id)
    qtbot.waitUntil(lambda: any("run_finished" in line for line in _lines(first.dir)), timeout=WAIT_MS)
    foreign = RunDir(shutil.copytree(first.folder, tmp_path / "foreign"))
    foreign.status.unlink()  # its trainer may not be gone yet
    (user_folders / "sdgui" / "allowed-code.txt").unlink()
    run = store.import_run(foreign.path)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=run.offset))
    with pytest.raises(CodeNotAllowed) as refused:
        launcher.resume(run.id)
    allow(refused.value.files)
    launcher.resume(run.id)
    (tmp_path / "losses.py").write_text("another = 1\n")
    with pytest.raises(CodeError, match=r"losses\.py changed since .* began"):
        launching.check_code_unchanged(config, foreign)


def test_an_imported_run_without_copies_runs_no_file_that_its_config_names(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path
) -> None:
    foreign = RunDir(tmp_path / "foreign")
    foreign.create()
    foreign.config.write_text(config.to_json(), encoding="utf-8")
    run = store.import_run(foreign.path)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=run.offset))
    with pytest.raises(CodeError, match=r"has no copy of it"):
        make_launcher().resume(run.id)


def _lines(run: RunDir) -> list[str]:
    return run.events.read_text().splitlines() if run.events.exists() else []
