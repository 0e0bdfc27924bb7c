"""Home in the window: from an empty home to the first curve, and what its cards lead to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.main_window import MainWindow
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.home.panel import HomePanel
from sdgui.panels.runs.panel import RunsPanel
from sdgui.runs import models
from tests.sdgui.conftest import settle
from tests.sdgui.driving import OpenWindow, press


def page_parent(window: MainWindow) -> HomePanel:
    panel = window.panels["home"]
    assert isinstance(panel, HomePanel)
    return panel


def curve(window: MainWindow) -> int:
    """Points of the first run's loss in Runs."""
    panel, runs = window.panels.get("runs"), window.services.store.runs()
    if not isinstance(panel, RunsPanel) or not panel.isVisible() or not runs:
        return 0
    return len(panel.tabs.view.grid.points(str(runs[0].id), "train/loss")[0])


def test_from_an_empty_home_to_the_first_curve_by_keys_and_one_click(qtbot: QtBot, open_window: OpenWindow) -> None:
    window = open_window("--steps", "5")
    qtbot.waitUntil(lambda: QApplication.focusWidget() is page_parent(window).view.empty.cards.buttons["demo"])
    for key in (Qt.Key.Key_Tab, Qt.Key.Key_Tab, Qt.Key.Key_Space):
        press(qtbot, window, key, Qt.KeyboardModifier.NoModifier)
    qtbot.waitUntil(lambda: window.panel_name == "define" and bool(window.services.store.experiments()))
    settle(window)
    launch = window.panels["define"].findChild(QPushButton, "do_launch")
    assert isinstance(launch, QPushButton)
    assert launch.isVisible()
    qtbot.mouseClick(launch, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: curve(window) == 5)


def test_from_an_empty_home_to_a_caption_in_two_clicks(
    qtbot: QtBot, open_window: OpenWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = tmp_path / "models" / "captioner"
    captioner.mkdir(parents=True)
    (captioner / "open_clip_config.json").write_text('{"model_cfg": {"multimodal_cfg": {}}}')
    monkeypatch.setattr(models, "_INCLUDED", captioner.parent)
    window = open_window(worker="fake_captioner.py")
    data = window.services.demo.folder
    data.mkdir()
    for split in ("train", "val", "test"):
        (data / f"{split}.csv").write_text("filepath,title\nblue.png,blue\n")
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.blue)
    assert image.save(str(data / "blue.png"))
    card = page_parent(window).view.empty.cards.buttons["caption"]
    qtbot.waitUntil(card.isVisible)
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    panel = window.panels["caption"]
    assert isinstance(panel, CaptionsPanel)
    qtbot.waitUntil(lambda: any(button.isVisible() for button in panel.view.examples.buttons))
    choice = panel.view.tools.pickers["a"].choice()
    assert choice is not None
    assert choice.model == str(captioner)
    qtbot.mouseClick(panel.view.examples.buttons[0], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: [entry.state for entry in panel.model.entries()] == ["captioned"])
    assert panel.model.entries()[0].path == str(data / "blue.png")


def test_cards_open_the_run_its_settings_and_search(qtbot: QtBot, open_window: OpenWindow, tmp_path: Path) -> None:
    window = open_window()
    store = window.services.store
    config = preset_config("clip", "tiny")
    folder = RunDir(tmp_path / "run")
    folder.create()
    folder.config.write_text(config.to_json())
    folder.events.write_text(
        '{"v": 1, "kind": "run_started", "time": 1, "step": 0, "total_steps": 2, "config_digest": ""}\n'
        '{"v": 1, "kind": "run_finished", "time": 2, "step": 2, "outcome": "done"}\n'
    )
    done_run = store.import_run(folder.path)
    broken_experiment = store.add_experiment(config, "broken").id
    failed = store.add_run(broken_experiment)
    store.mark_failed(failed.id, "/data/x.csv does not exist.\nChoose another table.")
    window.reload()
    view = page_parent(window).view
    qtbot.waitUntil(lambda: set(view.done) == {done_run.id} and set(view.failed) == {failed.id})
    assert view.failed[failed.id].reason.text() == "/data/x.csv does not exist. Choose another table."
    view.failed[failed.id].edit_requested.emit(broken_experiment)
    define = window.panels["define"]
    assert isinstance(define, DefinePanel)
    assert (window.panel_name, define.head.title.text()) == ("define", "broken")
    window.show_panel("home")
    qtbot.keyClick(view.done[done_run.id], Qt.Key.Key_Return)
    assert (window.panel_name, window.selection.run_id) == ("runs", done_run.id)
    window.show_panel("home")
    view.failed[failed.id].dismissed.emit(failed.id)
    qtbot.waitUntil(lambda: not view.failed)
    window.experiments.select_experiment(broken_experiment)
    shutil.rmtree(folder.path)
    qtbot.waitUntil(lambda: view.done[done_run.id].line.text().startswith("Folder missing"))
    view.done[done_run.id].search_requested.emit(done_run.id)
    assert window.panel_name == "search"
    assert window.selection.experiment_id == broken_experiment, "what is selected in the tree stays"
    window.show_panel("home")
    window.refresh()
    assert not view.failed, "what was dismissed stays so"
