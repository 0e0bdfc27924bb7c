"""Probes: tried on images, saved, loaded and applied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import method_title
from tests.sdgui.panels.classify.classifying import OpenClassify, a_measure, a_result, asked, classify


def test_images_are_tried_by_the_probe_and_among_names_as_they_are_typed(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    panel.view.tabs.setCurrentWidget(panel.view.trying)
    panel.view.trying.drop.take_paths([folder / "images" / "0-1.png", folder / "images" / "2-1.png"])
    table = panel.view.trying.by_probe
    qtbot.waitUntil(lambda: [row["class"] for row in table.rows()] == ["cat", "tiger"], timeout=20000)
    qtbot.waitUntil(lambda: panel.view.trying.gallery.model.item(1).caption == "cat", timeout=20000)
    assert panel.view.trying.by_names.rows() == []
    panel.view.trying.names.setFocus()
    qtbot.keyClicks(panel.view.trying.names, "cat, ")
    panel.view.trying.names.insertPlainText("Große Katze, 🐯")  # which QTest cannot type
    names = panel.view.trying.by_names
    qtbot.waitUntil(lambda: [row["class"] for row in names.rows()] == ["cat", "Große Katze", "🐯"], timeout=20000)
    last = asked(folder, "classify_try")[-1]
    assert last["classes"] == ["cat", "Große Katze", "🐯"]
    assert last["probe"]


def test_without_a_result_typed_names_are_enough_to_try_a_image(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify("")
    panel.view.tabs.setCurrentWidget(panel.view.trying)
    panel.view.trying.names.setPlainText("cat\nSmith, John")
    panel.view.trying.drop.take_paths([folder / "images" / "0-1.png"])
    names = panel.view.trying.by_names
    qtbot.waitUntil(lambda: [row["class"] for row in names.rows()] == ["cat", "Smith, John"], timeout=20000)


def test_a_probe_is_saved_after_a_question_loaded_and_applied(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    probe = panel.probe()
    assert probe is not None
    file = folder / "colours.safetensors"
    panel.probes.save(probe, file)
    qtbot.waitUntil(lambda: "Saved the probe as" in panel.view.bar.text, timeout=20000)
    assert file.exists()
    done: list[bool] = []
    panel.probes.confirm_replacing([file], lambda: done.append(True))
    box = panel.findChild(QMessageBox, "replace")
    assert "colours.safetensors already exists" in box.text()
    box.button(QMessageBox.StandardButton.Cancel).click()
    assert not done
    panel.load_probe(file)
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 2, timeout=20000)
    assert method_title(panel.view.results.results()[0].measure) == "Probe colours"
    panel.probes.apply(probe, folder / "images", folder / "out.csv")
    qtbot.waitUntil(lambda: "23 images classified" in panel.view.bar.text, timeout=20000)
    assert "1 could not be read" in panel.view.bar.text


def test_answers_to_a_question_that_was_changed_are_dropped(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    answers: dict[tuple[str, ...], Callable[[dict[str, Any]], None]] = {}
    monkeypatch.setattr(panel.session, "try_images", lambda *given: answers.update({tuple(given[4]): given[5]}))
    path = str(folder / "images" / "0-1.png")
    panel.view.trying.add([path])
    panel.view.trying.names.setPlainText("fox")
    qtbot.waitUntil(lambda: set(answers) == {(), ("fox",)})
    for name, done in (("old", answers[()]), ("fox", answers["fox",])):
        one = {"image": path, "probe": None, "zero_shot": [{"class": name, "probability": 1.0}], "error": ""}
        done({"images": [one]})
        assert [row["class"] for row in panel.view.trying.by_names.rows()] == ([] if name == "old" else ["fox"])


def test_a_json_file_beside_a_new_probe_is_asked_about_too(
    qtbot: QtBot, open_classify: OpenClassify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify()
    classify(qtbot, panel)
    mine = tmp_path / "mine.json"
    mine.write_text("precious")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_more: (str(tmp_path / "mine"), ""))
    panel.view.results.save_probe.click()
    box = panel.findChild(QMessageBox, "replace")
    assert box is not None
    assert "mine.json already exists" in box.text()
    box.reject()
    qtbot.wait(100)
    assert mine.read_text() == "precious"
    assert not (tmp_path / "mine.safetensors").exists()


def test_the_current_image_is_tried_again_by_another_probe(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_classify("")
    tried: list[object] = []
    monkeypatch.setattr(panel.session, "try_images", lambda *given: tried.append(given[2].method))
    panel.view.results.add(a_result())
    panel._probe_changed()
    qtbot.wait(10)
    assert tried == [], "there is no image"
    panel.view.trying.add([str(folder / "images" / "0-1.png")])
    qtbot.waitUntil(lambda: tried[:1] == ["image"])
    tried.clear()
    panel.view.results.add(a_result(a_measure("fused")))
    qtbot.waitUntil(lambda: "fused" in tried)
