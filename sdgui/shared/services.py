"""The services of every panel: the store, runs, workers, settings, and the current selection."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtCore import QSettings

from sdgui.runs.background_tasks import StoreWriter
from sdgui.runs.demo import DemoData
from sdgui.runs.launcher import Launcher
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.study_programs import StudyPrograms
from sdgui.runs.tailer import Tailer
from sdgui.shared.basket import Basket
from sdgui.shared.time_travel import TimeTravel
from sdgui.store.store import Store
from sdgui.worker.pool import WorkerPool


@dataclass(frozen=True)
class Services:
    """What the parts of the window work with; made once."""

    store: Store
    launcher: Launcher
    tailer: Tailer
    demo: DemoData
    settings: QSettings
    pool: WorkerPool  # a worker a model
    studies: StudyPrograms
    writer: StoreWriter  # panels write to the store through it
    basket: Basket  # fixes of data, from every panel
    hosts: Hosts  # this computer and others, and the runs there
    time_travel: TimeTravel = field(default_factory=TimeTravel)  # the step at which each run is looked at


@dataclass(frozen=True)
class Selection:
    """The selection in the tree and the table. ``run_id`` is set if a run, not only its experiment, is selected."""

    experiment_id: int | None = None
    run_id: int | None = None
    current_run: int | None = None  # the chosen run, else the newest of the experiment
    ticked: tuple[int, ...] = ()
    study_id: int | None = None  # the selected study, or the one that the experiment is an arm of
    study_runs: tuple[int, ...] = ()  # of a study that is chosen itself
    ticked_experiments: frozenset[int] = frozenset()  # those of the ticked runs
    listed: frozenset[int] | None = None  # the experiments whose runs the table lists; None: all

    @property
    def watched(self) -> tuple[int, ...]:
        """The runs that are overlaid: the ticked ones and the current one; of a study without either, all."""
        extra = () if self.current_run is None or self.current_run in self.ticked else (self.current_run,)
        return self.ticked + extra or self.study_runs
