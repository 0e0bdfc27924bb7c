"""The panel of the tree by itself: what is chosen, ticked and collapsed, its menus and keys; what a restart keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QModelIndex, QObject, QRect, QSettings, Qt, Signal
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.shared.services import Selection
from sdgui.store.changes import Changes
from sdgui.store.records import Progress
from sdgui.store.store import Store
from tests.sdgui.store.folders import link_arm


class Follower(QObject):
    progress_changed = Signal(int, object)
    state_changed = Signal(int, object)

    def progress(self, run_id: int) -> None:
        return None


class Tree:
    """A panel over a store with the experiments *first* and *second*, of two runs each, and what it told."""

    def __init__(self, home: Path) -> None:
        self.store, self.follower = Store.open(home), Follower()
        self.settings = QSettings(str(home / "settings.ini"), QSettings.Format.IniFormat)
        self.first, self.second = (
            self.store.add_experiment(preset_config("clip", "tiny"), name).id for name in ("first", "second")
        )
        self.runs = [self._run(one) for one in (self.first, self.first, self.second, self.second)]
        self.told, self.opened = list[Selection](), list[bool]()
        self.panel = self.another()
        self.panel.selected.connect(self.told.append)
        self.panel.opened.connect(lambda: self.opened.append(True))

    def another(self) -> ExperimentsPanel:
        """A panel as after a restart."""
        services = SimpleNamespace(store=self.store, follower=self.follower, settings=self.settings)
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

    def add_study(self, folder: Path) -> int:
        """Both experiments are arms of one study."""
        study = self.store.add_study(folder, "mine").id
        for name, arm in (("a", self.first), ("b", self.second)):
            link_arm(self.store, study, name, arm)
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


def test_a_restart_keeps_ticks_selection_and_collapsed_rows(qtbot: QtBot, tree: Tree, tmp_path: Path) -> None:
    study = tree.add_study(tmp_path / "study")
    tree.panel.set_ticked((tree.runs[0], tree.runs[2], 99))
    tree.panel.select_run(tree.runs[1])
    tree.panel.select(tree.panel.model.study_index(study))
    tree.panel.tree.collapseAll()
    for selected, listed in (
        (tree.panel.model.experiment_index(tree.first), {tree.first}),
        (tree.panel.model.study_index(study), {tree.first, tree.second}),
        (tree.panel.model.all_index(), None),
    ):
        tree.panel.select(selected)
        tree.panel.select_run(tree.runs[1])
        tree.panel.tree.collapseAll()
        before = tree.panel.selection()
        tree.panel.save()
        again = tree.another()
        qtbot.addWidget(again)
        again.restore()
        assert again.selection() == before
        assert (before.ticked, before.ticked_experiments) == ((tree.runs[0], tree.runs[2]), {tree.first, tree.second})
        assert (before.experiment_id, before.run_id, before.listed) == (tree.first, tree.runs[1], listed)
        is_open = again.tree.isExpanded(again._filter.mapFromSource(again.model.study_index(study)))
        assert is_open is (listed == {tree.first}), "a selected arm is in sight"


def test_a_restart_expands_active_rows_and_ignores_missing_or_unreadable_ones(
    qtbot: QtBot, tree: Tree, tmp_path: Path
) -> None:
    study = tree.add_study(tmp_path / "study")
    tree.panel.select(tree.panel.model.study_index(study))
    tree.panel.tree.collapseAll()
    tree.panel.save()
    tree.store.record(tree.runs[0], Progress(RunState.RUNNING, 2, step=1, total_steps=10))
    again = tree.another()
    qtbot.addWidget(again)
    again.restore()
    assert again.tree.isExpanded(again._filter.mapFromSource(again.model.study_index(study)))
    for name, kept in (("run", 99), ("row", '["experiment", 99]'), ("ticked", "[{"), ("folded", '{"a": 1}')):
        tree.settings.setValue(f"tree/{name}", kept)
    third = tree.another()
    qtbot.addWidget(third)
    third.restore()
    assert (third.selection().study_id, third.selection().ticked) == (study, ())
    for name, kept in (("row", '{"a"'), ("ticked", json.dumps(["x", tree.runs[3], 99]))):
        tree.settings.setValue(f"tree/{name}", kept)
    third.restore()
    assert third.selection().ticked == (tree.runs[3],)


def test_a_selection_is_announced_once_with_its_run(tree: Tree, tmp_path: Path) -> None:
    tree.panel.select_experiment(tree.first)
    tree.panel.refresh(Changes())
    (told,) = tree.told
    assert (told.experiment_id, told.run_id, told.current_run_id) == (tree.first, None, tree.runs[1]), "its newest"
    tree.panel.select_run(tree.runs[2])
    assert len(tree.told) == 2, "with its experiment"
    assert (tree.told[-1].experiment_id, tree.told[-1].watched) == (tree.second, (tree.runs[2],))
    tree.panel.set_ticked(tree.runs[:2])
    assert tree.told[-1].watched == (*tree.runs[:2], tree.runs[2])
    tree.panel.set_ticked(())
    study = tree.add_study(tmp_path / "study")
    tree.panel.select(tree.panel.model.study_index(study))
    told = tree.told[-1]
    assert (told.study_id, told.experiment_id, told.listed) == (study, None, {tree.first, tree.second})
    assert told.study_runs == told.watched == (*tree.runs[1::-1], *tree.runs[:1:-1])
    tree.panel.select_run(tree.runs[2])
    told = tree.told[-1]
    assert tree.panel.selected_ids() == (None, study), "the row lists the run, so it stays selected"
    assert (told.study_id, told.experiment_id, told.watched) == (study, tree.second, (tree.runs[2],))


def test_removing_a_row_selects_its_experiment_or_the_first(tree: Tree) -> None:
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
    tree.panel.rename()
    assert tree.panel.selection() == Selection()
    assert tree.panel.tree.viewport().findChild(QLineEdit) is None


def test_an_experiment_is_renamed_in_place_and_a_study_has_no_name_to_edit(
    qtbot: QtBot, tree: Tree, tmp_path: Path
) -> None:
    asked: list[tuple[int, str]] = []
    tree.panel.model.rename_requested.connect(lambda *what: asked.append(what))
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


def test_the_filter_keeps_the_selection_or_takes_the_first(tree: Tree) -> None:
    tree.panel.select_experiment(tree.first)
    tree.panel.tree.collapseAll()
    told = len(tree.told)
    tree.panel.filter_box.setText("second")
    assert len(tree.told) == told
    tree.panel.filter_box.clear()
    assert tree.panel.tree.currentIndex().data() == "first"
    tree.panel.filter_box.setText("second")
    tree.store.delete_experiment(tree.first)
    tree.panel.refresh(Changes.of(experiment=tree.first))
    assert tree.panel.selection().experiment_id == tree.second
