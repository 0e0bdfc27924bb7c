"""What two people do to one registry meets in the window: changes arrive, and what both edit is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.store.queue import Slots
from sdgui.store.records import THIS_COMPUTER, Progress, StoreError
from sdgui.store.registry.address import parse_address
from sdgui.store.store import Store
from tests.postgres import PostgresServer
from tests.sdgui.conftest import leave, program


@pytest.fixture
def shared(qtbot: QtBot, tmp_path: Path, postgres: PostgresServer) -> Iterator[tuple[MainWindow, Store]]:
    """A window on a registry, and a colleague's store on it."""
    address = parse_address(postgres.new_database())
    make_application()
    services = make_services(tmp_path / "ann", program("fake_trainer.py"), registry=address)
    bob = Store.open(tmp_path / "bob", address)
    bob.user = "bob@lab"
    window = MainWindow(services)
    window.show()
    services.follower.start()
    qtbot.waitUntil(lambda: bool(window.panels))
    yield window, bob
    leave(window, qtbot)
    bob.close()
    services.store.close()


def test_a_colleagues_changes_arrive_and_their_runs_are_not_acted_on(
    shared: tuple[MainWindow, Store], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, bob = shared
    model = window.experiments.model
    experiment = bob.add_experiment(preset_config("clip", "tiny"), "bob's")
    qtbot.waitUntil(lambda: model.experiment_name(experiment.id) == "bob's")
    monkeypatch.setattr(bob, "_folder_text", lambda folder: f"elsewhere::{folder}")
    run = bob.add_run(experiment.id)
    bob.record(run.id, Progress(RunState.RUNNING, 1, step=3, total_steps=10))
    follower = window.services.follower
    qtbot.waitUntil(lambda: (found := follower.progress(run.id)) is not None and found.step == 3)
    assert follower.state(run.id) is RunState.RUNNING, "as the registry says; its folder is on another computer"
    bob.rename_experiment(experiment.id, "bob's best")
    qtbot.waitUntil(lambda: model.experiment_name(experiment.id) == "bob's best")

    # A colleague's run is not acted on, although its path exists on this computer too.
    monkeypatch.undo()
    beside = bob.add_run(experiment.id, queued=True)  # on this computer, in Bob's own home
    monkeypatch.setattr(bob, "_folder_text", lambda _folder: f"elsewhere::{tmp_path / 'theirs'}")
    run = bob.add_run(experiment.id)
    bob.record(run.id, Progress(RunState.RUNNING, 1, step=3, total_steps=10))
    RunDir(tmp_path / "theirs").create()
    before = sorted((tmp_path / "theirs").rglob("*"))
    launcher, store = window.services.launcher, window.services.store
    qtbot.waitUntil(lambda: model.run(run.id) is not None and model.run(beside.id) is not None)

    for act in (launcher.stop, launcher.pause, launcher.resume):
        with pytest.raises(UserError, match="Only bob@lab can do this, in the window on elsewhere"):
            act(run.id)
    for write in (store.unqueue, store.enqueue, lambda run_id: store.request_place(run_id, THIS_COMPUTER)):
        with pytest.raises(StoreError, match="Only bob@lab can do this"):
            write(beside.id)
    assert store.take_next({"": Slots(at_once=5)}) is None, "Bob's own window starts what he queued"
    assert window.run_commands.alive() == [], "closing this window asks about its own runs alone"
    assert sorted((tmp_path / "theirs").rglob("*")) == before, "nothing was written into a colleague's folder"

    window.experiments.select_run(run.id)
    qtbot.waitUntil(lambda: window.target.run is not None and window.target.run.id == run.id)
    for name, reason in (("stop", "Only bob@lab"), ("pause", "Only bob@lab"), ("open_folder", "is on elsewhere")):
        assert not window.window_actions[name].isEnabled()
        assert reason in window.window_actions[name].toolTip()
