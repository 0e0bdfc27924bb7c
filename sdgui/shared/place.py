"""What every place of the window is given and must offer; the main window knows places only through this.

Flow: ``__main__`` makes the ``Services``; the tree of experiments makes a ``Selection``; the main window hands both to
the place that is shown. A place is built when it is first needed, so that the window opens before heavy libraries load.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from PySide6.QtCore import QSettings, Signal
from PySide6.QtWidgets import QWidget

from sdgui.runs.demo import DemoData
from sdgui.runs.launcher import Launcher
from sdgui.runs.store_writer import StoreWriter
from sdgui.runs.study_programs import StudyPrograms
from sdgui.runs.tailer import Tailer
from sdgui.store.store import Store
from sdgui.widgets.actions import Actions
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
    writer: StoreWriter  # whatever a panel writes to the store goes through it


@dataclass(frozen=True)
class Selection:
    """What is chosen in the tree. ``run_id`` is set when a run, not its experiment, is chosen."""

    experiment_id: int | None = None
    run_id: int | None = None
    current_run: int | None = None  # the chosen run, else the newest of the experiment
    ticked: tuple[int, ...] = ()
    study_id: int | None = None  # the chosen study, or the one that the experiment is an arm of
    study_runs: tuple[int, ...] = ()  # of a study that is chosen itself
    ticked_experiments: frozenset[int] = frozenset()  # those of the ticked runs

    @property
    def watched(self) -> tuple[int, ...]:
        """The runs that are overlaid: the ticked ones and the current one; of a study without either, all."""
        extra = () if self.current_run is None or self.current_run in self.ticked else (self.current_run,)
        return self.ticked + extra or self.study_runs


class Place(QWidget):
    """One panel of the rail. ``message_requested`` asks the window's message bar to show a message."""

    message_requested = Signal(object)  # Message
    define_asked = Signal(object)  # RunConfig: make an experiment of it and show it
    watch_asked = Signal(int)  # run id: choose it, and watch it
    changed = Signal(object)  # Changes: what the place has written to the store

    def select(self, selection: Selection) -> None:
        """Another experiment, run or set of ticks; called for every place that is built."""

    def set_actions(self, actions: Actions) -> None:
        """Take the buttons that the place needs from the window's actions."""

    def focus_search(self) -> None:
        """Put the cursor into the place's search box."""

    def entered(self) -> None:
        """The place is now the one that is shown."""

    def left(self) -> None:
        """Another place is shown, or the window closes: nothing typed may be lost."""

    def refresh(self) -> None:
        """Names, tags or the list of runs changed in the store."""


@dataclass(frozen=True)
class PlaceSpec:
    """A place before it is built."""

    name: str
    title: str
    icon: str
    shortcut: str
    tip: str
    module: str
    panel: str

    def build(self, services: Services, parent: QWidget | None = None) -> Place:
        """Load the place's code and make it. Made in ``parent`` at once, its parts need not be styled again there."""
        panel = getattr(import_module(self.module), self.panel)(services, parent)
        if not isinstance(panel, Place):
            raise TypeError(f"{self.module}.{self.panel} is no Place")
        return panel


PLACES = (
    PlaceSpec(
        "define",
        "Define",
        "ph.sliders-horizontal",
        "Ctrl+1",
        "Define the experiment: data, model, teacher, objectives",
        "sdgui.panels.define.panel",
        "DefinePanel",
    ),
    PlaceSpec(
        "watch",
        "Watch",
        "ph.chart-line",
        "Ctrl+2",
        "Watch the runs: curves, events, samples",
        "sdgui.panels.watch.panel",
        "WatchPanel",
    ),
    PlaceSpec(
        "classify",
        "Classify",
        "ph.chart-bar",
        "Ctrl+3",
        "Classify labelled pictures: accuracy, confusion, mistakes, probes; try your own pictures",
        "sdgui.panels.classify.panel",
        "ClassifyPanel",
    ),
    PlaceSpec(
        "search",
        "Search",
        "ph.image-square",
        "Ctrl+4",
        "Search pictures by words, words by pictures, with one model or two side by side",
        "sdgui.panels.search.panel",
        "SearchPanel",
    ),
    PlaceSpec(
        "caption",
        "Caption",
        "ph.closed-captioning",
        "Ctrl+5",
        "Caption pictures; edit, compare and export the captions, or train on them",
        "sdgui.panels.caption.panel",
        "CaptionsPanel",
    ),
    PlaceSpec(
        "noise",
        "Noise",
        "ph.question",
        "Ctrl+6",
        "The pairs that a run doubts: mark them, leave them out, save cleaned data",
        "sdgui.panels.noise.panel",
        "NoisePanel",
    ),
    PlaceSpec(
        "study",
        "Study",
        "ph.flask",
        "Ctrl+7",
        "Studies: recipes trained with several seeds, compared with their spread",
        "sdgui.panels.study.panel",
        "StudyPanel",
    ),
)
