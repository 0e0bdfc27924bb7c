"""Nothing in the window is deaf: what a user presses, chooses or types, and what one part tells another, is heard."""

from __future__ import annotations

import inspect
from typing import Any

import pyqtgraph as pg
import pytest
from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSplitter,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from core.spec.files import write_whole
from core.spec.machines.connection import ConnectionState
from core.spec.run.events import Metrics
from core.spec.run.status import RunState
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.app.main_window import MainWindow
from sdgui.app.status import Status
from sdgui.experiments.tree_model import ExperimentModel
from sdgui.panels.classify.tabs.point_plot import PointPlot
from sdgui.panels.classify.travel import ClassifyTravel
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.home.panel import HomePanel
from sdgui.panels.machines.panel import MachinesPanel
from sdgui.panels.registry import PANELS
from sdgui.panels.runs.compare.board import SamplesBoard
from sdgui.panels.runs.feed import CurveFeed
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.canvas import PlotCanvas
from sdgui.panels.runs.relations.scatter import Scatter
from sdgui.panels.runs.remote_strip import RemoteStrip
from sdgui.panels.runs.retention.plot import RetentionPlot
from sdgui.panels.runs.retention.tab import RetentionTab
from sdgui.panels.runs.tabs import RunTabs
from sdgui.panels.search.following import RunFollowing
from sdgui.panels.search.tabs.evaluation import RecallCurve
from sdgui.panels.search.tabs.map_canvas import MapCanvas
from sdgui.panels.search.travel import SearchTravel
from sdgui.panels.study.panel import StudyPanel
from sdgui.runs.live import RunProgress
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.shared.experiment_header import PlaceButton
from sdgui.shared.fixing.dialog import BasketDialog
from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.store.records import Place, Progress, Run
from tests.sdgui.conftest import OpenWindow, settle
from tests.sdgui.driving import trainable
from tests.sdgui.layout_checks import unplaced
from tests.sdgui.signal_receivers import deaf_to, everything, receivers, unheard_controls, unheard_signals, where

# Controls that are read when the button beside them is pressed, and tell nobody before; the log only shows.
READ_WHEN_ASKED = """
    AlertsDialog.collapsed AlertsDialog.command AlertsDialog.conditions AlertsDialog.desktop AlertsDialog.ended
    AlertsDialog.failed AlertsDialog.stalled AlertsDialog.stalled_minutes AlertsDialog.url MetricAtStep.metrics
    ClassifySource.method ClassifySource.train_label CurvesTab.draws DescribeSheet.note
    ExportDialog.precision ExportDialog.replace BasketView.seeds IndexSheet.remove_missing
    IndexSheet.index_folder IndexSheet.new_folder IndexSheet.old_folder
    BulkEditSheet.add BulkEditSheet.append BulkEditSheet.note
    OptionsRow._k OptionsRow._layer OptionsRow._standardise OptionsRow._text SweepBar.steps SweepBar.trials
    TabsView.log
"""

# Buttons that open a menu of their own making.
OPENERS = """
    ColumnEditor.list_button DataPicker._browse_button DataView.more_button PathEditor._browse_button PlotToolbar.export
    SearchBar.history_button TableBar.group TableBar.views
"""

HEADINGS = {"Recent", "Saved", "None yet", "Add machines in Machines (Ctrl+4)"}  # entries that only say something

# What mouse and keys do in lists, tables and tabs, and in lines that are heard for more than one thing.
EARS = {
    "ActivityDialog.list": "currentItemChanged",
    "MetricAtStep.edit": "returnPressed",
    "CaptionsBar.compare": "toggled",
    "ClassTable.filter_box": "textChanged returnPressed",
    "ClassTable.view": "activated",
    "ClassifyView.tabs": "currentChanged",
    "CleanView.table": "doubleClicked",
    "DataView.tabs": "currentChanged",
    "Differences.list": "itemActivated itemClicked",
    "EvaluationPane.table": "activated",
    "ExperimentsPanel.tree": "activated clicked",
    "FailureDialog/QDialogButtonBox": "rejected",
    "FiguresPage.values": "activated",
    "Gallery.view": "doubleClicked",
    "LoggedSamples.names": "currentTextChanged",
    "ModelPopover.list": "clicked",
    "PlotGrid.legend": "itemEntered itemClicked itemDoubleClicked currentItemChanged",
    "PresetChooser.list": "itemDoubleClicked currentItemChanged",
    "PresetChooser.sizes": "idClicked",
    "PromptEditor.templates": "textChanged",
    "QueuePage.table": "activated",
    "ReplaceBar.replacement": "textChanged returnPressed",
    "ReplaceBar.find_box": "textChanged returnPressed",
    "SearchBar.line": "textEdited textChanged returnPressed",
    "SearchView.tabs": "currentChanged",
    "StudyView.network": "activated",
    "StudyView.runs": "itemActivated",
    "TableBar.filter": "textEdited textChanged",
}

# Offered to whoever takes the part elsewhere, to `sdgui.app.start`, and to tests.
NOBODYS = {
    "MainWindow.panels_imported", "PlotCanvas.redrawn",
    "ViewsPreview.drawn",
}  # fmt: skip

# Parts over others, popovers, and stand-ins: who made them moves them.
PLACE_THEMSELVES = """
    ClassifyView/QPushButton ClassifyView/QWidget DataView._no_views DropTarget._veil MainWindow/QMenuBar
    MapPage._popup PlotCanvas._empty
    PlotCanvas._note PlotCanvas._readout SearchView.filter_popover SearchView.more_popover SourceBar.popover
    StudyView.network TabsView.time
    ClassifyView/_Veil CleanPanel/_Veil DataPanel/_Veil ExperimentsPanel/_Veil HomePanel/_Veil
"""

_HOVERED = (PlotCanvas, Scatter, RetentionPlot, PointPlot, RecallCurve, MapCanvas)  # say what is under the mouse

# What services tell, by ``service.signal``, and whose methods are told.
NEWS = {
    "follower.state_changed": (
        (HomePanel, "_schedule_update"), (Status, "_schedule_update"), (MachinesPanel, "_schedule_update"),
        (MainWindow, "_on_state_changed"), (RunsPanel, "_on_progressed"), (RunTabs, "_on_state_changed"),
        (ModelChip, "_schedule_refresh"), (RunFollowing, "_on_run_changed"), (BasketDialog, "_read_pairs"),
        (ExperimentModel, "refresh_run"),
    ),
    "follower.progress_changed": (
        (HomePanel, "_on_progressed"), (Status, "_schedule_update"), (MachinesPanel, "_schedule_update"),
        (RunsPanel, "_on_progressed"), (RunTabs, "_on_progressed"), (ModelChip, "_schedule_refresh"),
        (RunFollowing, "_on_run_changed"), (ExperimentModel, "update_run"),
    ),
    "follower.curves_loaded": (
        (CurveFeed, "_on_loaded"), (RunTabs, "_on_history_changed"), (SamplesBoard, "_reload_if_shown"),
        (RetentionTab, "_on_history_changed"),
    ),
    "follower.curves_changed": (
        (CurveFeed, "_on_changed"), (RunTabs, "_on_history_changed"), (RetentionTab, "_on_history_changed"),
    ),
    "launcher.queue_changed": (
        (HomePanel, "_schedule_update"), (Status, "_schedule_update"), (MachinesPanel, "_schedule_update"),
    ),
    "launcher.stopping": ((RunTabs, "_show_header"),),
    "studies.changed": ((Status, "_schedule_update"), (StudyPanel, "_on_changed")),
    "time_travel.moved": (
        (RunTabs, "_on_travelled"), (SearchTravel, "_follow_other_panel"), (ClassifyTravel, "_follow_other_panel"),
    ),
    "basket.changed": ((Status, "_show_basket"), (BasketDialog, "refresh")),
    "hosts.state_changed": ((RemoteStrip, "_on_state_changed"), (MachinesPanel, "_schedule_update")),
    "hosts.place_changed": ((PlaceButton, "_show"),),
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Which of the methods in NEWS were called, as ``Class.method``."""
    names: set[str] = set()

    def noting(real: Any, name: str) -> Any:
        taken = len([one for one in inspect.signature(real).parameters.values() if one.kind != one.VAR_POSITIONAL]) - 1

        def noted(self: Any, *what: Any) -> Any:
            names.add(name)
            return real(self, *what[:taken])

        noted.__name__ = real.__name__  # by its name Qt knows it for a method, which ends with its object
        return noted

    for kind, method in {one for group in NEWS.values() for one in group}:
        monkeypatch.setattr(kind, method, noting(getattr(kind, method), f"{kind.__name__}.{method}"))
    return names


@pytest.fixture
def whole(qtbot: QtBot, told: set[str], open_window: OpenWindow) -> tuple[QObject, ...]:
    """The window with every panel and dialog open, over runs that train, ended and failed, one with curves."""
    window = open_window()
    store, follower = window.services.store, window.services.follower
    window.experiment_commands.add(trainable("sd-clip"), "one")
    settle(window)
    for state in (RunState.RUNNING, RunState.FAILED, RunState.DONE):
        run = store.add_run(store.experiments()[0].id)
        run.dir.create()
        write_whole(run.dir.config, trainable("sd-clip").to_json().encode())
        store.record(run.id, Progress(state=state, offset=1))
    window.reload()
    for spec in PANELS:
        window.show_panel(spec.name)
    runs, define = window.show_panel("runs"), window.panels["define"]
    assert isinstance(runs, RunsPanel)
    assert isinstance(define, DefinePanel)
    window.experiments.select_run(run.id)
    assert runs.tabs.view.grid is not None  # made now, not a turn later
    points = [Metrics(step=step, values={"train/loss": 1.0, "val/top1": 1.0}) for step in range(3)]
    follower.curves_changed.emit(run.id, follower.show(run.id).apply(points))
    define.form.finish()
    define.preset_bar.open_chooser()
    runs.view.table.choose_columns(QPoint())
    runs.commands._open_sheet({run.id: []}, [])
    _open_dialogs(window, run.id)
    settle(window)
    return window, *(one for one in vars(window.services).values() if isinstance(one, QObject))


def _open_dialogs(window: MainWindow, run_id: int) -> None:
    dialogs = window.dialogs
    dialogs.open_shortcuts()
    dialogs.open_basket()
    dialogs.open_export(window.services.store.run(run_id).dir, "one")
    FailureDialog("It failed.", "", window)


def untold(window: MainWindow, run: Run, told: set[str]) -> dict[str, set[str]]:
    """By signal of a service whose methods were not called as it told its news."""
    progress = RunProgress(run.id, run.state, 3, 9, "", None, None, "")
    host = next(iter(window.services.hosts.listing())).name
    news: dict[str, tuple[object, ...]] = {
        "follower.state_changed": (run.id, run.state), "follower.progress_changed": (run.id, progress),
        "follower.curves_loaded": (run.id,), "follower.curves_changed": (run.id, frozenset({"log"})),
        "launcher.queue_changed": (), "launcher.stopping": (run.id, Stopping(run.id, StopStage.ASKED, None)),
        "studies.changed": (1,),
        "time_travel.moved": (run.folder, 1), "basket.changed": (0,), "hosts.state_changed": (host, ConnectionState()),
        "hosts.place_changed": (Place(),),
    }  # fmt: skip
    deaf = {}
    for signal, what in news.items():
        service, name = signal.split(".")
        told.clear()
        getattr(getattr(window.services, service), name).emit(*what)
        if missed := {f"{kind.__name__}.{method}" for kind, method in NEWS[signal]} - told:
            deaf[signal] = missed
    return deaf


def opened_menus(found: list[QObject], monkeypatch: pytest.MonkeyPatch) -> list[QMenu]:
    """The menus of buttons, and those that open by a right click or by one of OPENERS; none is empty."""
    opened: list[QMenu] = []
    monkeypatch.setattr(QMenu, "popup", lambda menu, *_at: opened.append(menu))
    for each in found:
        if not isValid(each):
            continue
        if isinstance(each, QWidget) and each.contextMenuPolicy() == Qt.ContextMenuPolicy.CustomContextMenu:
            each.customContextMenuRequested.emit(each.rect().center())
        elif isinstance(each, PlotCanvas):
            each.menu_requested.emit(QPoint(9, 9))
        elif isinstance(each, QAbstractButton) and where(each) in OPENERS.split():
            each.setEnabled(True)
            before = len(opened)
            each.click()
            assert len(opened) > before, where(each)
        elif isinstance(each, (QPushButton, QToolButton)) and (menu := each.menu()) is not None:
            menu.aboutToShow.emit()
            assert menu.actions(), where(each)
            opened.append(menu)
    return opened


def test_every_control_signal_and_menu_entry_is_connected(
    whole: tuple[QObject, ...], told: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = whole[0]
    assert isinstance(window, MainWindow)
    found = everything(*whole)
    kinds = {type(one).__name__ for one in found}
    assert kinds >= {"PlotCard", "LiveCard", "DoneCard", "FailedCard", "ModelPopover", "ExportDialog", "BasketDialog"}
    assert unheard_controls(found) == set(READ_WHEN_ASKED.split()), (
        "connect it; or list it if it is read when a button is pressed"
    )
    assert deaf_to(found, EARS) == set()
    assert unheard_signals(found) == NOBODYS, "connect it; or list it if no place needs it"
    assert untold(window, window.services.store.runs()[0], told) == {}
    assert unplaced(found) <= set(PLACE_THEMSELVES.split()), "put it into a layout"
    scenes = [plot.scene() for one in found if isinstance(one, _HOVERED) for plot in one.findChildren(pg.PlotWidget)]
    assert len(scenes) >= len(_HOVERED)
    assert all(receivers(scene, "sigMouseMoved") for scene in scenes)
    boxes = [one._box for one in found if isinstance(one, (PlotCanvas, MapCanvas))]
    assert unheard_signals(boxes) == set()
    menus = opened_menus(found, monkeypatch)
    assert len(menus) > 25
    entries = [one for menu in menus for one in everything(menu) if isinstance(one, QAction)]
    said = {one.partition("/")[2].removeprefix("QAction").strip() for one in unheard_controls(entries)}
    assert said == HEADINGS


class _Part(QWidget):
    told = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.button, self.line, self.box = QPushButton("Do it", self), QLineEdit(self), QComboBox(self)
        self.box.setEditable(True)  # its line is Qt's
        self.split: QSplitter
        self.tabs: QTabWidget
        self.inner: QLabel
        self.page: QLabel


def test_unconnected_signals_are_found(qtbot: QtBot) -> None:
    part = _Part()
    qtbot.addWidget(part)
    assert unheard_controls(everything(part)) == {"_Part.button", "_Part.line", "_Part.box"}
    part.button.toggled.connect(part.close)
    part.line.editingFinished.connect(part.close)
    assert unheard_controls(everything(part)) == {"_Part.box"}
    assert receivers(part, "told") == 0
    part.told.connect(part.close)
    part.told.connect(part.line.clear)
    assert receivers(part, "told") == 2


def test_unplaced_widgets_are_found(qtbot: QtBot) -> None:
    part = _Part()
    qtbot.addWidget(part)
    row = QHBoxLayout()
    QVBoxLayout(part).addLayout(row)
    row.addWidget(part.line)
    part.split = QSplitter(part)
    part.inner = QLabel("in it", part.split)
    part.tabs = QTabWidget(part)
    part.page = QLabel("no tab", part.tabs)
    part.tabs.addTab(QLabel("a tab"), "one")
    assert unplaced(everything(part)) == {"_Part.button", "_Part.box", "_Part.split", "_Part.tabs", "_Part.page"}
