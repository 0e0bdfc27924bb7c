"""Stand-ins for what commands on experiments and runs work with, over a store; and both kinds of commands on them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.run_commands import RunCommands
from sdgui.runs.background_tasks import StoreWriter
from sdgui.shared.time_travel import TimeTravel
from sdgui.store.changes import Changes
from sdgui.store.records import THIS_COMPUTER, Progress, Run
from sdgui.store.store import Store
from sdgui.widgets.message import Message


class Launcher(QObject):
    launched = Signal(int)
    launch_failed = Signal(int, str)
    stopping = Signal(int, object)

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.done, self.refuses = store, list[tuple[str, int]](), False

    def _note(self, what: str, number: int) -> None:
        if self.refuses:
            raise UserError("It cannot be written.")
        self.done.append((what, number))

    def launch(self, experiment: int, _chain: object, _place: object) -> Run:
        self._note("launch", experiment)
        return self.store.add_run(experiment)

    def enqueue(self, experiment: int, _chain: object, _place: object) -> Run:
        self._note("enqueue", experiment)
        return self.store.add_run(experiment, queued=True)

    def unqueue(self, run: int) -> None:
        self._note("unqueue", run)

    def pause(self, run: int) -> None:
        self._note("pause", run)

    def stop(self, run: int) -> None:
        self._note("stop", run)

    def resume(self, run: int) -> Run:
        self._note("resume", run)
        return self.store.run(run)


class Demo(QObject):
    ready = Signal()
    failed = Signal(str, str)
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.complete, self.made, self.covering = True, 0, True

    def covers(self, _config: object) -> bool:
        return self.covering

    def make(self) -> None:
        self.made += 1


class Follower:
    def __init__(self) -> None:
        self.polled, self.states = list[int](), dict[int, RunState]()

    def poll_now(self, run: int = 0) -> None:
        self.polled.append(run)

    def state(self, run: int) -> RunState | None:
        return self.states.get(run)


class Hosts:
    """Machines that are asked about data, and answer when the test says so."""

    def __init__(self) -> None:
        self.place, self.asked = THIS_COMPUTER, list[tuple[Any, ...]]()

    def check_data(self, *what: Any) -> None:
        self.asked.append(what)


class Parts:
    """Both kinds of commands, and what they told."""

    def __init__(self, home: Path) -> None:
        self.store = Store.open(home)
        self.launcher, self.demo, self.follower, self.writer = Launcher(self.store), Demo(), Follower(), StoreWriter()
        self.studies = list[int]()  # those that run
        self.hosts, self.pool, self.time_travel = Hosts(), object(), TimeTravel()
        services = SimpleNamespace(
            **{name: value for name, value in vars(self).items() if name != "studies"},
            studies=SimpleNamespace(alive=lambda: self.studies),
            settings=SimpleNamespace(value=lambda *_: None),
        )
        self.experiments, self.runs = ExperimentCommands(cast(Any, services)), RunCommands(cast(Any, services))
        self.messages, self.changes = list[Message](), list[Changes]()
        self.added, self.started = list[int](), list[int]()
        self.data_refused = list[tuple[int, dict[str, str]]]()
        self.experiments.added.connect(self.added.append)
        self.runs.started.connect(self.started.append)
        self.runs.data_refused.connect(lambda *what: self.data_refused.append(what))
        for one in (self.experiments, self.runs):
            one.message_requested.connect(self.messages.append)
            one.changed.connect(self.changes.append)

    def wait(self, qtbot: QtBot) -> None:
        qtbot.waitUntil(lambda: not self.writer.pending)

    def new(self, name: str = "mine") -> int:
        return self.store.add_experiment(preset_config("clip", "tiny"), name).id

    def ended(self, experiment: int) -> Run:
        run = self.store.add_run(experiment)
        self.store.record(run.id, Progress(RunState.PAUSED, 0, ending="paused"))
        return self.store.run(run.id)
