"""Probes: saved, loaded, applied and tried on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.model import method_title
from sdgui.panels.classify.probes import Probes
from sdgui.widgets.message import Message
from tests.sdgui.panels.classify.classifying import OpenClassify, an_evaluation, asked, classify


class Session:
    """Notes what it is asked; the test answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def save(self, *given: Any) -> None:
        self.calls.append(given)

    apply = save


class Parts:
    def __init__(self, window: QWidget) -> None:
        self.session, self.messages, self.busy = Session(), list[Message](), list[str]()
        self.probes = Probes(cast(Any, self.session), self.messages.append, self.busy.append, window)


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    return window


@pytest.fixture
def parts(window: QWidget) -> Parts:
    return Parts(window)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[tuple[Any, ...]]]:
    """What dialogs answer, in order, and what they were opened with."""
    answers, opened = list[str](), list[tuple[Any, ...]]()

    def file(*given: Any, **_more: Any) -> tuple[str, str]:
        opened.append(given[1:])
        return answers.pop(0), ""

    def folder(*given: Any) -> str:
        opened.append(given[1:])
        return answers.pop(0)

    for name, answer in (("getSaveFileName", file), ("getOpenFileName", file), ("getExistingDirectory", folder)):
        monkeypatch.setattr(QFileDialog, name, answer)
    return answers, opened


Typed = tuple[list[str], list[tuple[Any, ...]]]
PROBE = an_evaluation(model="/runs/mine@best")


def test_a_probe_is_saved_with_its_suffix(parts: Parts, typed: Typed, tmp_path: Path) -> None:
    for name in ("b.safetensors", "b.json", "c.json", "d.safetensors"):
        (tmp_path / name).touch()
    typed[0].extend(["", *(str(tmp_path / name) for name in ("a", "b.safetensors", "c", "c.safetensors", "d"))])
    for _ in range(6):
        parts.probes.ask_save(PROBE)
    refused = [message.text for message in parts.messages]
    assert refused == [f"{tmp_path / name} already exists; choose another name." for name in (
        "c.json", "c.json", "d.safetensors"
    )], "the dialog asked about another file"  # fmt: skip
    parts.messages.clear()
    assert typed[1][0][1] == "probe-mine.safetensors"
    assert [given[:2] for given in parts.session.calls] == [
        (PROBE, str(tmp_path / "a.safetensors")), (PROBE, str(tmp_path / "b.safetensors"))
    ]  # fmt: skip
    parts.session.calls[0][2]({"path": str(tmp_path / "a.safetensors"), "json": str(tmp_path / "a.json")})
    assert parts.messages[0].text == (
        f"Saved the probe as {tmp_path}/a.safetensors and its description as a.json in the same folder."
    )


def test_a_probe_is_loaded_by_either_of_its_files(parts: Parts, typed: Typed) -> None:
    taken: list[Path] = []
    typed[0].extend(["", "/a/b.json"])
    for _ in range(2):
        parts.probes.ask_load(taken.append)
    assert taken == [Path("/a/b.safetensors")]


def test_a_folder_is_classified_into_a_table_beside_it(
    parts: Parts, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "images"
    typed[0].extend(["", str(folder), "", str(folder), str(tmp_path / "out"), str(folder), str(tmp_path / "out.tsv")])
    typed[0].extend([str(folder), str(tmp_path / "mine")])
    (tmp_path / "mine.csv").touch()
    for _ in range(5):
        parts.probes.ask_apply(PROBE)
    assert parts.messages.pop().text == f"{tmp_path / 'mine.csv'} already exists; choose another name."
    assert typed[1][2][1] == str(tmp_path / "images-classes.csv")
    assert [given[1:3] for given in parts.session.calls] == [
        ([str(folder)], str(tmp_path / "out.csv")), ([str(folder)], str(tmp_path / "out.tsv"))
    ]  # fmt: skip
    assert parts.busy == ["Classifying images"] * 2
    answer: dict[str, Any] = {
        "path": str(tmp_path / "out.csv"), "images": 1200, "unreadable_count": 0, "unreadable": [],
        "classes": [{"class": "cat", "images": 1200}],
    }  # fmt: skip
    done = parts.session.calls[0][3]
    done(answer)
    bad = {"unreadable_count": 2, "unreadable": [{"where": "a.png", "reason": "cut off"}]}
    done(answer | bad)
    fine, some = parts.messages
    assert (fine.level, fine.text) == (
        "info", f"1,200 images classified; the results are in {tmp_path}/out.csv."
    )  # fmt: skip
    assert fine.details == "cat: 1,200"
    assert (some.level, some.text.removeprefix(fine.text)) == (
        "warning", " 2 files could not be read; see the details."
    )  # fmt: skip
    assert some.details == "cat: 1,200\na.png: cut off"
    assert parts.busy[2:] == ["", ""]
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    assert fine.remedy is not None
    fine.remedy.do()
    assert opened == [QUrl.fromLocalFile(str(tmp_path))]


def test_images_are_classified_by_typed_names_and_by_a_probe_that_is_saved_loaded_and_applied(
    qtbot: QtBot, open_classify: OpenClassify, folder: Path
) -> None:
    panel = open_classify()
    panel.view.tabs.setCurrentWidget(panel.view.trying)
    panel.view.trying.names.setPlainText("cat\nSmith, John")
    panel.view.trying.drop.accept_paths([folder / "images" / "0-1.png"])
    names = panel.view.trying.by_names
    qtbot.waitUntil(lambda: [row["class"] for row in names.model.rows] == ["cat", "Smith, John"], timeout=20000)
    panel.view.trying.clear_button.click()
    panel.view.trying.names.clear()
    classify(qtbot, panel)
    panel.view.tabs.setCurrentWidget(panel.view.trying)
    panel.view.trying.drop.accept_paths([folder / "images" / "0-1.png", folder / "images" / "2-1.png"])
    table = panel.view.trying.by_probe
    qtbot.waitUntil(lambda: [row["class"] for row in table.model.rows] == ["cat", "tiger"], timeout=20000)
    qtbot.waitUntil(lambda: panel.view.trying.gallery.model.item(1).caption == "cat", timeout=20000)
    assert panel.view.trying.by_names.model.rows == []
    panel.view.trying.names.setFocus()
    qtbot.keyClicks(panel.view.trying.names, "cat, ")
    panel.view.trying.names.insertPlainText("Große Katze, 🐯")  # which QTest cannot type
    qtbot.waitUntil(lambda: [row["class"] for row in names.model.rows] == ["cat", "Große Katze", "🐯"], timeout=20000)
    last = asked(folder, "classify_try")[-1]
    assert last["classes"] == ["cat", "Große Katze", "🐯"]
    assert last["probe"]

    probe = panel.probe()
    assert probe is not None
    file = folder / "colours.safetensors"
    panel.probes.save(probe, file)
    qtbot.waitUntil(lambda: "Saved the probe as" in panel.view.bar.text, timeout=20000)
    assert file.exists()
    panel.load_probe(file)
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == 2, timeout=20000)
    assert method_title(panel.view.results.results()[0].evaluation) == "Probe colours"
    panel.probes.apply(probe, folder / "images", folder / "out.csv")
    qtbot.waitUntil(lambda: "23 images classified" in panel.view.bar.text, timeout=20000)
    assert "1 file could not be read" in panel.view.bar.text
