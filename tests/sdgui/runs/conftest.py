"""A store in a folder of its own, and the trainer in miniature that tests start."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.runs.follower import Follower
from sdgui.runs.launcher import Launcher
from sdgui.store.records import Experiment, Run
from sdgui.store.store import Store

FAKE_TRAINER = Path(__file__).parent.parent / "fake_trainer.py"
Command = Callable[..., list[str]]
MakeLauncher = Callable[..., Launcher]


@pytest.fixture(scope="session")
def trainer() -> ModuleType:
    """The miniature's own numbers."""
    spec = importlib.util.spec_from_file_location("fake_trainer", FAKE_TRAINER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    for run in store.runs() + store.runs(deleted=True):
        end(run.dir)
    store.close()


@pytest.fixture
def experiment(store: Store) -> Experiment:
    return store.add_experiment(preset_config("clip", "tiny"))


@pytest.fixture
def command() -> Command:
    def make(*options: str) -> list[str]:
        return [sys.executable, str(FAKE_TRAINER), *options]

    return make


@pytest.fixture(autouse=True)
def launchers_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher's threads outlive its test: what they tell would reach objects that are gone."""
    made: list[Launcher] = []
    init = Launcher.__init__

    def remembered(self: Launcher, *arguments: Any, **settings: Any) -> None:
        init(self, *arguments, **settings)
        made.append(self)

    monkeypatch.setattr(Launcher, "__init__", remembered)
    yield
    for launcher in made:
        if isValid(launcher):
            launcher.close()


@pytest.fixture
def make_launcher(qtbot: QtBot, store: Store, command: Command) -> MakeLauncher:
    def make(*options: str, **settings: float) -> Launcher:
        patience = {"asked_seconds": 20.0, "terminated_seconds": 20.0} | settings
        return Launcher(store, command=command(*options), **patience)

    return make


def end(folder: RunDir) -> None:
    """No trainer outlives its test."""
    status = folder.read_status()
    if status is None or status.pid == os.getpid():
        return
    try:
        process = psutil.Process(status.pid)
        if abs(process.create_time() - status.started) < 2.0:
            process.kill()
            process.wait(5)
    except psutil.NoSuchProcess:
        return


@pytest.fixture
def follower(store: Store, qtbot: QtBot) -> Iterator[Follower]:
    follower = Follower(store, poll_seconds=0.02)
    yield follower
    follower.close()


@pytest.fixture
def run(store: Store, experiment: Experiment) -> Run:
    """A run with a folder and nothing in it."""
    run = store.add_run(experiment.id)
    run.dir.create()
    assert experiment.config is not None
    run.dir.config.write_text(experiment.config.to_json())
    return run
