"""The Classify panel as a whole: messages, cancelling, failing workers, settings, the empty state."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt
from PySide6.QtGui import QDragEnterEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.panels.classify.demo import DemoStep
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.shared.export.images import export_table
from tests.sdgui.panels.classify.classifying import OpenClassify, asked, choose, make_run


def test_unsupported_data_invalid_answers_and_cancelling_are_reported(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify("")
    button = panel.view.source.classify_button
    assert not button.isEnabled()
    assert "Choose labelled images" in button.toolTip()
    panel.view.source.run_requested.emit()
    assert "Choose labelled images" in panel.view.bar.text
    choose(qtbot, panel, folder / "bare.csv")
    assert "has no labels" in panel.view.bar.text
    assert not button.isEnabled()
    assert "has no labels" in button.toolTip()
    choose(qtbot, panel, folder / "broken.csv")
    panel.view.source.classify_button.click()
    qtbot.waitUntil(lambda: "has no value in any row" in panel.view.bar.text, timeout=20000)
    assert panel.view.strip.isHidden()
    assert panel.view.source.classify_button.isEnabled()
    assert panel.view.empty.isVisible()

    # An invalid answer
    choose(qtbot, panel, folder / "garbage.csv")
    panel.view.source.classify_button.click()
    qtbot.waitUntil(lambda: "answer cannot be read" in panel.view.bar.text)
    assert panel.view.strip.isHidden()
    assert panel.view.source.classify_button.isEnabled()
    assert panel.view.bar._action.text() == "Try again"

    # Opening is cancelled.
    choose(qtbot, panel, folder / "slow.csv")
    panel.view.source.classify_button.click()
    qtbot.waitUntil(lambda: "Encoding images" in panel.view.strip.text, timeout=20000)
    assert not panel.view.source.classify_button.isEnabled()
    assert not panel.view.results.load_probe.isEnabled(), "loading a probe evaluates it"
    assert panel.view.empty.accessibleName() == "Classifying"
    assert panel.view.empty._button.isHidden(), "nothing else can be started"
    panel.export.run(export_table, [], folder / "images.csv")
    qtbot.waitUntil(lambda: not panel.export.task.running)
    assert panel.view.export_strip.isHidden()
    assert not panel.view.strip.isHidden()
    panel.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "Features encoded so far are kept" in panel.view.bar.text, timeout=20000)
    assert panel.view.empty.accessibleName() == "Nothing classified yet"
    assert panel.view.strip.isHidden()
    assert panel.view.source.classify_button.isEnabled()


def demo_config(home: Path) -> RunConfig:
    """A config that trains on the demo's images, whose tables are empty."""
    demo = home / "demo-data"
    demo.mkdir()
    for name in ("demo.json", "unseen.csv", "train.csv"):
        (demo / name).write_text("{}", encoding="utf-8")
    return override(preset_config("sd-clip", "tiny"), [f"data.train={demo / 'train.csv'}"])


def check_demo_is_classified(qtbot: QtBot, panel: ClassifyPanel, folder: Path, home: Path, train: str) -> None:
    panel.refresh()
    qtbot.waitUntil(lambda: panel._demo.button == "Classify the demo's groups")
    panel.view.empty.activated.emit()
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 1, timeout=20000)
    request = asked(folder, "classify_open")[0]
    assert (request["data"], request["label"]) == (str(home / "demo-data" / "unseen.csv"), "group")
    assert request["train"] == train


def test_the_empty_panel_offers_the_next_step_of_the_demo(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, home: Path
) -> None:
    panel = open_classify("")
    qtbot.waitUntil(lambda: panel._demo.make)
    config = demo_config(home)
    window = panel.window()
    assert isinstance(window, MainWindow)
    make_run(window, config)
    check_demo_is_classified(qtbot, panel, folder, home, train="")


def test_the_demo_is_classified_with_the_included_model_before_a_run_has_a_checkpoint(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, home: Path
) -> None:
    panel = open_classify("")
    config = demo_config(home)
    panel._services.store.add_experiment(config, "demo")
    panel.view.source.model.choose_default()
    check_demo_is_classified(qtbot, panel, folder, home, train=str(home / "demo-data" / "train.csv"))


def test_without_a_model_or_a_checkpoint_the_panel_offers_the_demo(
    open_classify: OpenClassify, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    services, source, done = panel._services, panel.view.source, list[str]()
    fresh = services.store.add_run(services.store.add_experiment(preset_config("clip", "tiny"), "fresh").id)
    fresh.dir.create()
    panel.use_run(fresh.id)
    assert panel.view.bar.text == "fresh · run 1 cannot be used here. This run has not saved a checkpoint yet."
    monkeypatch.setattr(source.model, "open", lambda: done.append("models"))
    panel.ask_model()
    panel.set_actions(cast(Any, {"demo": SimpleNamespace(trigger=lambda: done.append("demo"))}))
    panel._show_next_step(DemoStep("Try the demo", make=True))
    assert panel.view.empty._button.text() == "Try the demo"
    panel.view.empty._button.click()
    panel._show_next_step(DemoStep())
    panel.view.empty.activated.emit()
    assert done == ["models", "demo"]
    monkeypatch.setattr(source.model, "choice", lambda: None)
    assert source.problem().startswith("Choose a model first")
    assert source.evaluations() == []
    panel.view.try_refused.emit([("/a/film.mp4", "it is a video")])
    assert panel.view.bar.text == "Not added: /a/film.mp4: it is a video."
    services.settings.setValue("classify/model", json.dumps({"model": "/gone@best"}))
    monkeypatch.setattr(source.model, "restore", lambda: done.append("last"))
    source.restore()
    kept = {"model": "/gone@best", "network": "", "title": "gone", "run_id": None}
    services.settings.setValue("classify/model", json.dumps(kept))
    monkeypatch.setattr(source.model, "set_choice", lambda _choice: False)
    source.restore()
    assert done[2:] == ["last", "last"], "what was used elsewhere, where the panel's own is gone"
    nothing = QMimeData()
    drag = QDragEnterEvent(
        QPoint(5, 5), Qt.DropAction.CopyAction, nothing, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(panel.view, drag)
    assert not drag.isAccepted(), "there is no file"
