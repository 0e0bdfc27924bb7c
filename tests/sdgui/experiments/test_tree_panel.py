"""The panel of the tree by itself: what is chosen, ticked and folded, its menus and keys, and what a restart keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QModelIndex, QObject, QPoint, QRect, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.experiments.filter import Role
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.runs.live import RunProgress
from sdgui.shared.menus import EXPERIMENT_MENU, RUN_MENU, STUDY_MENU
from sdgui.shared.run_colors import RunColors
from sdgui.shared.services import Selection
from sdgui.store.changes import Changes
from sdgui.store.records import Progress
from sdgui.store.store import Store
from sdgui.widgets.actions import Action, Actions, MenuItem, Section
from sdgui.widgets.style.theme import SPACE, theme


class Tailer(QObject):
    progress_changed = Signal(int, object)
    state_changed = Signal(int, object)

    def progress(self, run_id: int) -> None:
        return None


class Tree:
    """A panel over a store with the experiments *first* and *second*, of two runs each, and what it told."""

    def __init__(self, home: Path) -> None:
        self.store, self.tailer, self.colors = Store.open(home), Tailer(), RunColors()
        self.settings = QSettings(str(home / "settings.ini"), QSettings.Format.IniFormat)
        self.first, self.second = (
            self.store.add_experiment(preset_config("clip", "tiny"), name).id for name in ("first", "second")
        )
        self.runs = [self._run(one) for one in (self.first, self.first, self.second, self.second)]
        self.told, self.opened = list[Selection](), list[int]()
        self.panel = self.another()
        self.panel.selected.connect(self.told.append)
        self.panel.run_opened.connect(self.opened.append)

    def another(self) -> ExperimentsPanel:
        """A panel as after a restart."""
        services = SimpleNamespace(store=self.store, tailer=self.tailer, colors=self.colors, settings=self.settings)
        panel = ExperimentsPanel(cast(Any, services))
        panel.reload()
        return panel

    def _run(self, experiment: int) -> int:
        run = self.store.add_run(experiment)
        self.store.record(run.id, Progress(RunState.DONE, 1, step=5, total_steps=10))
        return run.id

    def shown(self, index: QModelIndex) -> QModelIndex:
        return self.panel._filter.mapFromSource(index)

    def rect(self, index: QModelIndex) -> QRect:
        return self.panel.tree.visualRect(self.shown(index))

    def run(self, number: int) -> QModelIndex:
        return self.panel.model.run_index(self.runs[number])

    def add_study(self, folder: Path) -> int:
        """Both experiments are arms of one study."""
        study = self.store.add_study(folder, "mine").id
        for name, arm in (("a", self.first), ("b", self.second)):
            self.store.link_arm(study, name, arm)
        self.panel.refresh(Changes(frozenset((self.first, self.second)), studies=frozenset((study,))))
        return study


@pytest.fixture
def tree(qtbot: QtBot, tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path / "home")
    qtbot.addWidget(made.panel)
    made.panel.resize(320, 600)
    made.panel.show()
    yield made
    made.store.close()


def folded(panel: ExperimentsPanel) -> list[int]:
    model = panel.model
    shown = {one: panel._filter.mapFromSource(model.experiment_index(one)) for one in model.experiment_ids()}
    return [one for one, index in shown.items() if not panel.tree.isExpanded(index)]


def test_a_restart_keeps_what_is_ticked_chosen_and_folded(qtbot: QtBot, tree: Tree) -> None:
    tree.panel.model.set_ticked({tree.runs[0], tree.runs[2]})
    tree.panel.select_run(tree.runs[1])
    tree.panel.tree.collapse(tree.shown(tree.panel.model.experiment_index(tree.second)))
    assert folded(tree.panel) == [tree.second]
    tree.panel.save()
    again = tree.another()
    qtbot.addWidget(again)
    assert (again.selection().ticked, again.selection().run_id, folded(again)) == ((), None, [])
    again.restore()
    chosen = again.selection()
    assert chosen.ticked == (tree.runs[0], tree.runs[2])
    assert chosen.ticked_experiments == {tree.first, tree.second}
    assert (chosen.experiment_id, chosen.run_id, chosen.current_run) == (tree.first, tree.runs[1], tree.runs[1])
    assert folded(again) == [tree.second]


def test_a_restart_unfolds_what_trains_and_forgives_what_is_gone_or_unreadable(qtbot: QtBot, tree: Tree) -> None:
    tree.panel.select_experiment(tree.first)
    tree.panel.tree.collapseAll()
    tree.panel.save()
    tree.store.record(tree.runs[0], Progress(RunState.RUNNING, 2, step=1, total_steps=10))
    again = tree.another()
    qtbot.addWidget(again)
    again.restore()
    assert folded(again) == [tree.second], "that a run goes on is seen"
    assert (again.selection().experiment_id, again.selection().run_id) == (tree.first, None)
    for name, kept in (("run", 99), ("experiment", 99), ("ticked", "[{"), ("folded", '{"a": 1}')):
        tree.settings.setValue(f"tree/{name}", kept)
    third = tree.another()
    qtbot.addWidget(third)
    third.restore()
    assert (third.selection().experiment_id, third.selection().ticked, folded(third)) == (tree.second, (), [])
    tree.settings.setValue("tree/ticked", json.dumps(["x", tree.runs[3], 99]))
    third.restore()
    assert third.selection().ticked == (tree.runs[3],)


def test_what_is_chosen_is_told_once_with_the_run_that_is_watched(tree: Tree, tmp_path: Path) -> None:
    tree.panel.select_experiment(tree.first)
    tree.panel.refresh(Changes())
    (told,) = tree.told
    assert (told.experiment_id, told.run_id, told.current_run) == (tree.first, None, tree.runs[1]), "its newest"
    assert tree.colors.of(tree.runs[1]) == 1, "its own, whatever else is overlaid"
    tree.panel.select_run(tree.runs[0])
    assert (tree.told[-1].run_id, tree.told[-1].watched) == (tree.runs[0], (tree.runs[0],))
    study = tree.add_study(tmp_path / "study")
    tree.panel.select(tree.panel.model.study_index(study))
    assert (tree.told[-1].study_id, tree.told[-1].experiment_id) == (study, None)
    assert tree.told[-1].study_runs == tree.told[-1].watched == (*tree.runs[1::-1], *tree.runs[:1:-1])
    assert [tree.colors.of(run) for run in tree.runs] == [0, 0, 1, 1], "one colour an arm"
    tree.panel.toggle_tick()
    assert tree.told[-1].ticked == tuple(tree.runs)
    tree.panel.model.set_ticked({tree.runs[0]})
    assert [tree.colors.of(run) for run in tree.runs] == [0, None, None, None], "of those that are overlaid"
    tree.panel.tree.collapseAll()
    tree.panel.select_run(tree.runs[2])
    assert tree.told[-1].study_id == study
    assert tree.rect(tree.run(2)).isValid(), "what it is in is unfolded"


def test_what_is_removed_leaves_its_experiment_chosen_or_else_the_first(tree: Tree) -> None:
    tree.panel.select_run(tree.runs[1])
    tree.store.delete_run(tree.runs[1])
    tree.panel.refresh(Changes.of(run=tree.runs[1]))
    assert (tree.panel.selection().experiment_id, tree.panel.selection().run_id) == (tree.first, None)
    tree.store.delete_experiment(tree.first)
    tree.panel.refresh(Changes.of(experiment=tree.first))
    assert tree.panel.selection().experiment_id == tree.second
    tree.store.delete_experiment(tree.second)
    tree.panel.refresh(Changes.of(experiment=tree.second))
    assert tree.panel.selection() == Selection()
    tree.panel.toggle_tick()
    tree.panel.rename()
    assert tree.panel.selection() == Selection()
    assert tree.panel.tree.viewport().findChild(QLineEdit) is None


def test_enter_or_a_double_click_opens_a_run_and_folds_an_experiment(qtbot: QtBot, tree: Tree) -> None:
    view = tree.panel.tree
    view.activated.emit(tree.shown(tree.run(0)))
    assert tree.opened == [tree.runs[0]]
    experiment = tree.shown(tree.panel.model.experiment_index(tree.first))
    for unfolded in (False, True):
        view.activated.emit(experiment)
        assert view.isExpanded(experiment) is unfolded
    qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(experiment).center())
    assert tree.opened == [tree.runs[0]]


def test_a_click_at_the_tick_toggles_it_and_one_beside_it_chooses_the_run(qtbot: QtBot, tree: Tree) -> None:
    view, left, right = tree.panel.tree.viewport(), Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
    box = tree.rect(tree.run(0))
    tick = QPoint(box.left() + SPACE // 2 + 8, box.center().y())
    for ticked in ((tree.runs[0],), ()):
        qtbot.mouseClick(view, left, pos=tick)
        assert tree.panel.selection().ticked == ticked
    qtbot.mouseClick(view, right, pos=tick)
    qtbot.mouseClick(view, left, pos=tick + QPoint(8 + 5 + 4, 0))
    qtbot.mouseClick(view, left, pos=QPoint(box.right() - 4, box.center().y()))
    assert (tree.panel.selection().ticked, tree.panel.selection().run_id) == ((), tree.runs[0])
    above = tree.rect(tree.panel.model.experiment_index(tree.first))
    qtbot.mouseClick(view, left, pos=QPoint(above.left() + SPACE // 2 + 8, above.center().y()))
    assert tree.panel.selection().ticked == ()


def _note(done: list[str], what: str, _context: None) -> None:
    done.append(what)


def test_a_row_has_the_menu_of_its_kind(qtbot: QtBot, tree: Tree, tmp_path: Path) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    actions = Actions(window)
    done: list[str] = []
    kinds = {EXPERIMENT_MENU: "of experiments", RUN_MENU: "of runs", STUDY_MENU: "of studies"}
    records = [
        Action[None](kind, "x", title, "tip", partial(_note, done, kind), menus=(MenuItem(kind, Section.OPEN),))
        for kind, title in kinds.items()
    ]
    actions.register([*records, Action[None]("new", "x", "New", "tip", partial(_note, done, "new"))], None)
    view, model = tree.panel.tree, tree.panel.model
    view.customContextMenuRequested.emit(tree.rect(tree.run(0)).center())  # there are no actions yet
    assert tree.panel.findChild(QMenu) is None
    tree.panel.set_actions(actions)
    button = tree.panel.findChild(QWidget, "do_new")
    assert button is not None
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    study = tree.add_study(tmp_path / "study")
    view.expandAll()
    rows = (
        (tree.run(0), RUN_MENU),
        (model.experiment_index(tree.second), EXPERIMENT_MENU),
        (model.study_index(study), STUDY_MENU),
    )
    for index, kind in rows:
        at = tree.rect(index).center()
        view.customContextMenuRequested.emit(at)
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        assert [action.text() for action in menu.actions()] == [kinds[kind]]
        assert view.currentIndex() == tree.shown(index), "it is chosen, so that the action is about it"
        menu.actions()[0].trigger()
        menu.close()
    assert done == ["new", *(kind for _, kind in rows)]
    view.customContextMenuRequested.emit(QPoint(10, view.viewport().height() - 2))
    assert QApplication.activePopupWidget() is None, "below the last row"


def test_renaming_a_run_renames_its_experiment_and_a_study_has_no_name_to_edit(
    qtbot: QtBot, tree: Tree, tmp_path: Path
) -> None:
    asked: list[tuple[int, str]] = []
    tree.panel.model.rename_asked.connect(lambda *what: asked.append(what))
    tree.panel.select_run(tree.runs[0])
    tree.panel.rename()
    editor = tree.panel.tree.viewport().findChild(QLineEdit)
    assert editor is not None
    assert editor.text() == "first"
    assert editor.geometry().height() > editor.fontMetrics().height(), "it fills the row"
    editor.setText("best")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: asked == [(tree.first, "best")])
    study = tree.add_study(tmp_path / "study")
    tree.panel.select(tree.panel.model.study_index(study))
    tree.panel.rename()
    assert tree.panel.tree.state() != tree.panel.tree.State.EditingState


def test_the_filter_unfolds_what_it_finds_and_keeps_the_choice_or_takes_the_first(tree: Tree) -> None:
    tree.panel.select_experiment(tree.first)
    tree.panel.tree.collapseAll()
    told = len(tree.told)
    tree.panel.filter_box.setText("second")
    assert not folded(tree.panel).count(tree.second)
    assert len(tree.told) == told
    tree.panel.filter_box.clear()
    assert tree.panel.tree.currentIndex().data() == "first"
    tree.panel.filter_box.setText("second")
    tree.store.delete_experiment(tree.first)
    tree.panel.refresh(Changes.of(experiment=tree.first))
    assert tree.panel.selection().experiment_id == tree.second


def test_what_the_tailer_says_of_a_run_is_shown(tree: Tree) -> None:
    running = RunProgress(tree.runs[0], RunState.RUNNING, 3, 12, "training", 60.0, None, "")
    tree.tailer.progress_changed.emit(tree.runs[0], running)
    assert (tree.run(0).data(Role.STATE), tree.run(0).data(Role.SHARE)) == ("running", 0.25)
    assert tree.run(0).data(Role.TIME) == "1 min left"
    assert tree.panel.model.experiment_index(tree.first).data(Role.STATE) == "running"
    tree.store.record(tree.runs[0], Progress(RunState.FAILED, 2, step=4, total_steps=12, failure="no memory"))
    tree.tailer.state_changed.emit(tree.runs[0], RunState.FAILED)
    assert (tree.run(0).data(Role.STATE), tree.run(0).data(Role.SHARE)) == ("failed", None)


def test_a_popup_about_a_row_opens_below_it(tree: Tree) -> None:
    tree.panel.select_run(tree.runs[0])
    below = tree.panel.tree.viewport().mapToGlobal(tree.rect(tree.run(0)).bottomLeft())
    assert tree.panel.current_rect_bottom() == below


def test_the_chosen_row_has_a_band_from_edge_to_edge_and_an_arrow_says_whether_it_is_unfolded(tree: Tree) -> None:
    view = tree.panel.tree
    tree.panel.select_experiment(tree.first)
    chosen, other = (tree.rect(tree.panel.model.experiment_index(one)) for one in (tree.first, tree.second))

    def shown() -> QImage:
        return view.viewport().grab().toImage()

    def edges(box: QRect) -> list[QColor]:
        return [shown().pixelColor(x, box.center().y()) for x in (4, view.viewport().width() - 7)]

    assert edges(chosen) == [theme().color("selection")] * 2
    assert theme().color("selection") not in edges(other)
    assert tree.rect(tree.run(0)).left() > chosen.left()

    def arrow(box: QRect) -> QImage:
        return shown().copy(box.left() - 14, box.top(), 14, box.height())

    unfolded = arrow(other)
    view.collapse(tree.shown(tree.panel.model.experiment_index(tree.second)))
    folded = arrow(tree.rect(tree.panel.model.experiment_index(tree.second)))
    run = arrow(tree.rect(tree.run(0)))
    assert unfolded != folded
    assert len({run.pixel(x, y) for x in range(14) for y in range(run.height())}) == 1, "a run has none"
