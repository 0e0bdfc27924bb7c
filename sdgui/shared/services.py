"""The services of every panel: the store, runs, workers, settings, and the current selection."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtCore import QSettings

from sdgui.runs.background_tasks import StoreWriter
from sdgui.runs.demo import DemoData
from sdgui.runs.follower import Follower
from sdgui.runs.launcher import Launcher
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.study_programs import StudyPrograms
from sdgui.shared.basket import Basket
from sdgui.shared.time_travel import TimeTravel
from sdgui.store.store import Store
from sdgui.worker.pool import WorkerPool


@dataclass(frozen=True)
class Services:
    """The services used by all parts of the window; created once."""

    store: Store
    launcher: Launcher
    follower: Follower
    demo: DemoData
    settings: QSettings
    pool: WorkerPool  # one worker per model
    studies: StudyPrograms
    writer: StoreWriter  # panels write to the store through it
    basket: Basket  # data fixes from every panel
    hosts: Hosts  # all machines and their runs
    time_travel: TimeTravel = field(default_factory=TimeTravel)  # the step at which each run is viewed


@dataclass(frozen=True)
class Selection:
    """The selection in the tree and the table. ``run_id`` is set if a run, not only its experiment, is selected."""

    experiment_id: int | None = None
    run_id: int | None = None
    current_run_id: int | None = None  # the chosen run, otherwise the newest of the experiment
    ticked: tuple[int, ...] = ()
    study_id: int | None = None  # the selected study, or the study of the selected arm
    study_runs: tuple[int, ...] = ()  # runs of the selected study
    ticked_experiments: frozenset[int] = frozenset()  # experiments of the ticked runs
    listed: frozenset[int] | None = None  # experiments whose runs are listed in the table; None for all

    @property
    def watched(self) -> tuple[int, ...]:
        """The overlaid runs: the ticked runs and the current one; all runs of a study if there are none."""
        extra = () if self.current_run_id is None or self.current_run_id in self.ticked else (self.current_run_id,)
        return self.ticked + extra or self.study_runs
