"""The Data panel's messages, menus, keys and choices: what is said, offered, kept and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import QFileDialog, QMenu
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.panels.data.layout import FIGURES, GROUPS, IMAGES, VIEWS
from sdgui.panels.data.model import NO_VALUE
from sdgui.panels.data.panel import DataPanel
from tests.sdgui.panels.data.conftest import Asked, captions, checked, choose, facts, opened, part


@pytest.fixture
def menus(monkeypatch: pytest.MonkeyPatch) -> list[QMenu]:
    opened_menus: list[QMenu] = []
    monkeypatch.setattr(QMenu, "popup", lambda menu, *_args: opened_menus.append(menu))
    return opened_menus


def entry(menu: QMenu, text: str) -> QAction:
    return next(action for action in menu.actions() if text in action.text().replace("&", ""))


def on(panel: DataPanel) -> list[bool]:
    view = panel.view
    return [
        widget.isEnabled()
        for widget in (view.filter_box, view.label, view.value, view.subset, view.save_button, view.more_button)
    ]


def test_values_of_a_label_are_offered_and_shown(qtbot: QtBot, panel: DataPanel, requests: Asked) -> None:
    view = panel.view
    opened(qtbot, panel, "/one.csv", "a", "b", "c")

    view.tabs.setCurrentIndex(FIGURES)
    choose(view.label, view.label.findData("split"))
    assert [view.value.itemText(row) for row in range(view.value.count())] == ["Any value", "train", "val"]
    assert view.value.isEnabled()
    assert captions(panel) == ["a a", "a b", "a c"], "a label alone filters nothing"
    choose(view.value, 2)
    qtbot.waitUntil(lambda: captions(panel) == ["a b"])
    assert view.counts.text() == "1 of 3"
    choose(view.label, 0)
    assert (view.value.count(), view.value.isEnabled()) == (1, False)
    qtbot.waitUntil(lambda: len(captions(panel)) == 3)
    view.figures.value_chosen.emit("split", "train")
    assert captions(panel) == ["a a", "a c"]
    assert view.tabs.currentIndex() == IMAGES
    assert (view.label.currentText(), view.value.currentText()) == ("split", "train")
    view.figures.value_chosen.emit("kind", NO_VALUE)
    assert captions(panel) == [], "a value that is offered to be looked at, though no image has it"
    assert view.value.currentText() == NO_VALUE
    choose(view.subset, view.subset.findData("excluded"))
    choose(view.label, 0)
    qtbot.waitUntil(lambda: view.counts.text() == "0 of 3")
    view.tabs.setCurrentIndex(GROUPS)
    view.filter_box.setText("hat")
    panel.focus_search()
    assert (view.tabs.currentIndex(), view.filter_box.selectedText()) == (IMAGES, "hat")


def test_gallery_keys_exclude_and_include(qtbot: QtBot, panel: DataPanel, requests: Asked) -> None:
    view = panel.view
    opened(qtbot, panel, "/one.csv", "a", "b")
    grid = view.gallery.view
    view.gallery.set_selected([0])
    qtbot.keyClick(grid, Qt.Key.Key_X, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(grid, Qt.Key.Key_Z)
    assert panel.rows.excluded == set(), "other keys are the list's own"
    key_press = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_X, Qt.KeyboardModifier.NoModifier)
    assert view.eventFilter(grid, key_press), "the list does not look for an x"
    assert panel.rows.excluded == {0}
    qtbot.keyClick(grid, Qt.Key.Key_X)
    assert panel.rows.excluded == set(), "once more takes it in again"
    qtbot.keyClick(grid, Qt.Key.Key_Delete)
    assert panel.rows.excluded == {0}
    assert view.counts.text() == "1 excluded"
    choose(view.subset, view.subset.findData("excluded"))
    qtbot.waitUntil(lambda: captions(panel) == ["a a"])
    qtbot.keyClick(grid, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert panel.rows.excluded == set()
    assert captions(panel) == [], "what is taken in again is none of the excluded"
    panel.work.wait()


def test_the_menu_offers_and_runs_the_possible_actions(
    qtbot: QtBot, panel: DataPanel, requests: Asked, menus: list[QMenu], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, heard = panel.view, list[Any]()
    view.open_more()
    assert not any(action.isEnabled() for action in menus[-1].actions())
    panel.show_source("/one.csv")
    panel.work.part.emit(part("a", "b"))
    panel.work.opened.emit(facts("/one.csv", 2))
    qtbot.waitUntil(lambda: panel.facts is not None and not panel._parts)
    view.more_button.click()
    assert [action.isEnabled() for action in menus[-1].actions()] == [True, True, True, False, False, True, True]
    view.gallery.set_selected([1])
    view.more_button.click()
    menu = menus[-1]
    assert all(action.isEnabled() for action in menu.actions())
    panel.source_requested.connect(lambda *request: heard.append(request))
    monkeypatch.setattr(view.source, "hold_out", lambda: heard.append("held out"))
    entry(menu, "Hold out").trigger()
    entry(menu, "Search these").trigger()
    entry(menu, "Add excluded images").trigger()
    assert view.bar.message is None, "nothing is excluded"
    entry(menu, "Exclude the selection").trigger()
    assert panel.rows.excluded == {1}
    entry(menu, "Add excluded images").trigger()
    assert view.bar.text == "1 image is in the basket as excluded."
    panel.exclude([0])
    panel.add_to_basket()
    assert view.bar.text == "2 images are in the basket as excluded."
    entry(menu, "Undo").trigger()
    assert panel.rows.excluded == {1}
    panel.new_experiment_requested.connect(lambda config: heard.append(config.data.train))
    entry(menu, "Use in a new").trigger()
    assert heard == ["held out", ("search", "/one.csv"), "/one.csv"]
    titles: list[str] = []

    def choose(_over: Any, title: str, start: str, kind: str) -> tuple[str, str]:
        titles.append(Path(start).name)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    view.save_button.click()
    entry(menu, "Save the selection").trigger()
    assert titles == ["one-kept.csv", "one-selection.csv"]
    assert [request[0] for request in requests] == ["open"], "no file was chosen"
    panel.work.wait()


def test_a_table_is_replaced_only_after_confirmation_in_the_dialog(
    qtbot: QtBot, panel: DataPanel, requests: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(qtbot, panel, "/one.csv", "a")
    (tmp_path / "mine.csv").touch()
    for typed in ("mine", "mine.csv", "MINE.CSV", "other.csv"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, typed=typed: (str(tmp_path / typed), ""))
        panel.ask_where()
    saved = [(request[2].name, request[5]) for request in requests if request[0] == "save"]
    assert saved == [("mine.csv", False), ("mine.csv", True), ("MINE.CSV", False), ("other.csv", False)]
    panel.work.saved.emit({"path": "/kept.csv", "images": 1, "captions": 2})
    assert panel.view.bar.text == "1 image with 2 captions saved as /kept.csv."
    assert not panel.view.strip.isVisible()


def test_another_split_is_compared_with(
    qtbot: QtBot, panel: DataPanel, requests: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(qtbot, panel, "/data/one.csv", "a", "b")
    starts: list[str] = []
    for file in ("", "/data/held.csv"):
        monkeypatch.setattr(
            QFileDialog, "getOpenFileName", lambda _o, _t, start, _k, file=file: (starts.append(start), (file, ""))[1]
        )
        panel.view.groups.compare_button.click()
    assert starts == ["/data", "/data"]
    assert [request for request in requests if request[0] == "check"] == [
        ("check", "/data/one.csv", {"held": "/data/held.csv"}, "")
    ]
    assert "held (held.csv)" in panel.view.groups.empty.accessibleDescription()
    panel.work.checked.emit(checked("/data/one.csv", exact=[[0, 1]], exact_groups=1, near_groups=2, leak_count=4))
    assert panel.view.tabs.tabText(GROUPS).endswith("(7)")
    panel.view.subset.setCurrentIndex(panel.view.subset.findData("duplicates"))
    panel.show_rows()
    assert len(panel.gallery_rows.numbers) == 2


def test_views_use_the_config_that_trains_on_the_data(
    qtbot: QtBot, panel: DataPanel, requests: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, view = panel._services, panel.view
    for name, train in (("old", "/one.csv"), ("new", "/one.csv"), ("other", "/two.csv")):
        config = preset_config("sd-clip" if name == "new" else "clip", "tiny")
        data = config.data.model_copy(update={"train": train})
        services.store.add_experiment(config.model_copy(update={"data": data, "name": name}), name)
    opened(qtbot, panel, "/one.csv", "a", "b")
    page = view.views
    previews: list[tuple[str | None, list[int]]] = []
    monkeypatch.setattr(
        page.preview,
        "show_config",
        lambda config, rows: previews.append((None if config is None else config.data.train, list(rows))),
    )
    assert [page.configs.itemText(row) for row in range(3)] == ["other", "new", "old"]
    assert page.configs.currentText() == "new", "the newest that trains on them"
    view.gallery.set_selected([1])
    view.tabs.setCurrentIndex(VIEWS)
    assert previews[-1] == ("/one.csv", [1])
    count = len(previews)
    view.tabs.setCurrentIndex(IMAGES)
    view.gallery.select_all()
    assert len(previews) == count, "nothing is drawn for who does not look"
    view.tabs.setCurrentIndex(VIEWS)
    assert previews[-1] == ("/one.csv", [0, 1])
    assert page.use.isEnabled()
    page.form.set_values({"views.student.crop_min": 2.0})
    assert page.run_config("/one.csv") is None
    assert previews[-1] == (None, [0, 1])
    assert not page.use.isEnabled()
    page.configs.setCurrentIndex(0)
    page.configs.activated.emit(0)
    assert page.use.isEnabled(), "another config takes the place of what was wrong"
    panel.open("/two.csv")
    panel.refresh()
    assert page.configs.currentText() == "other"
    panel._show_views()
    assert previews[-1] == (None, []), "of what is being opened there are no views yet"
    assert not page.use.isEnabled()
