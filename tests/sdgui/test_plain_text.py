"""Names, notes, captions and paths that look like HTML: shown as they are written, everywhere in the window."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QAbstractItemModel, QModelIndex, Qt
from PySide6.QtGui import QImage, QTextDocument
from PySide6.QtGui import Qt as QtText
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QLabel,
    QMenu,
    QMessageBox,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

import sdgui
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.panels.classify.panel import ClassifyPanel
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.runs.plots.legend import PlotLegend
from sdgui.panels.search.model import Part
from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.search.query.chips import Chip
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.gallery.gallery import GalleryItem
from sdgui.widgets.message import Message
from sdgui.widgets.plain_text import PlainLabel, make_plain, plain_tip
from tests.sdgui.conftest import leave, program

HOSTILE = '<img src="file:///etc/hostname"> <b>x</b>'
FILE = '<img src="x.png"> <b>x</b>'  # a file's name has no slash but the one of its closing tag
MARKS = ("<img src=", "&lt;img src=", "&lt;img\xa0src=")


def harmless(text: str, form: Qt.TextFormat = Qt.TextFormat.AutoText) -> bool:
    """Whether a label or tooltip shows what is hostile in ``text`` as it is written."""
    rich = form == Qt.TextFormat.RichText or (form == Qt.TextFormat.AutoText and QtText.mightBeRichText(text))
    if not rich:
        return True
    document = QTextDocument()
    document.setHtml(text)
    return "\ufffc" not in document.toPlainText() and "<img src=" in document.toPlainText().replace("\xa0", " ")


def indexes(model: QAbstractItemModel, parent: QModelIndex) -> Iterator[QModelIndex]:
    for row in range(min(model.rowCount(parent), 50)):
        column = 0
        while (index := model.index(row, column, parent)).isValid():
            yield index
            column += 1
        if (first := model.index(row, 0, parent)).isValid():
            yield from indexes(model, first)


def item_texts(model: QAbstractItemModel) -> Iterator[str]:
    tip = Qt.ItemDataRole.ToolTipRole
    for index in indexes(model, QModelIndex()):
        yield str(index.data(tip) or "")
    columns = max((index.column() + 1 for index in indexes(model, QModelIndex())), default=1)
    for section in range(columns):
        yield str(model.headerData(section, Qt.Orientation.Horizontal, tip) or "")


def texts_of(widget: QWidget) -> Iterator[tuple[str, Qt.TextFormat]]:
    """Everything of one widget that Qt may take for HTML."""
    auto = Qt.TextFormat.AutoText
    yield widget.toolTip(), auto
    if isinstance(widget, QLabel):
        yield widget.text(), widget.textFormat()
    if isinstance(widget, QTabBar):
        for number in range(widget.count()):
            yield widget.tabToolTip(number), auto
    if isinstance(widget, QMenu) and widget.toolTipsVisible():
        for action in widget.actions():
            yield action.toolTip(), auto
    if isinstance(widget, (QAbstractItemView, QComboBox)) and widget.model() is not None:
        for text in item_texts(widget.model()):
            yield text, auto


def hostile_texts(root: QWidget) -> list[tuple[str, str]]:
    """What is hostile below ``root``, with the class of the widget; fails when any of it is taken for HTML."""
    found = []
    for widget in (root, *root.findChildren(QWidget)):
        for text, form in texts_of(widget):
            if any(mark in text for mark in MARKS):
                found.append((type(widget).__name__, text))
                assert harmless(text, form), f"{type(widget).__name__} {widget.objectName()!r}: {text[:200]}"
    return found


@pytest.fixture
def window(qtbot: QtBot, home: Path, tmp_path: Path) -> Iterator[MainWindow]:
    """With an experiment, runs, a study, tags and notes that all look like HTML."""
    make_application()
    (tmp_path / "work").mkdir()
    worker = program("fake_classify_worker.py", str(tmp_path / "work"), HOSTILE)
    services = make_services(home, program("fake_trainer.py"), worker, program("fake_demo.py"))
    store = services.store
    experiment = store.add_experiment(preset_config("sd-clip", "tiny"), HOSTILE)
    store.set_experiment_note(experiment.id, HOSTILE)
    store.tag_experiment(experiment.id, [HOSTILE])
    run = store.import_run(a_run(tmp_path / f"{FILE}.d"), experiment.id)
    store.set_run_note(run.id, HOSTILE)
    store.tag_run(run.id, [HOSTILE])
    store.mark_failed(run.id, HOSTILE)
    store.add_study(tmp_path / "study", HOSTILE)
    made = MainWindow(services)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(lambda: made.isActiveWindow() and bool(made.panels))
    made.experiments.select_run(run.id)
    yield made
    leave(made, qtbot)
    store.close()


def a_run(folder: Path) -> Path:
    run = RunDir(folder)
    run.create()
    run.config.write_text(preset_config("sd-clip", "tiny").to_json())
    lines: list[dict[str, Any]] = [
        {"kind": "run_started", "step": 0, "total_steps": 4},
        {"kind": "metrics", "step": 1, "values": {f"train/{FILE}": 1.0}},
        {"kind": "log", "level": "warning", "message": HOSTILE},
        {"kind": "run_failed", "type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE},
    ]
    run.events.write_text("".join(json.dumps({"v": 1, "time": 1.0, **line}) + "\n" for line in lines))
    checkpoint = run.checkpoints / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text('{"model": {}}')
    for network in ("student", "teacher"):
        (checkpoint / f"{network}.safetensors").write_bytes(b"")
    return folder


def source_image(folder: Path) -> Path:
    """An image in a folder of that name: with the slash, the name of the file is hostile as a path too."""
    path = folder / f"{FILE}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.red)
    assert image.save(str(path), "PNG")
    return path


def test_tree_header_messages_and_runs(qtbot: QtBot, window: MainWindow) -> None:
    window.show_message(Message("error", HOSTILE, HOSTILE))
    window.strip.start(HOSTILE)
    run = window.current_run()
    assert run is not None
    window._ask_before_closing([run])
    FailureDialog(HOSTILE, HOSTILE, window).show()
    found = hostile_texts(window)
    assert {"ExperimentTree", "ElidedLabel", "PlainLabel"} <= {name for name, _ in found}
    box = window.findChild(QMessageBox, "closing")
    assert box is not None
    assert HOSTILE in box.informativeText()
    box.button(QMessageBox.StandardButton.Cancel).click()

    runs_panel = window.show_panel("runs")
    assert isinstance(runs_panel, RunsPanel)
    window.services.follower.start()
    qtbot.waitUntil(lambda: runs_panel.tabs.view.log.model().rowCount() > 0)
    names = {name for name, _ in hostile_texts(window)}
    assert {"EventLog", "ExperimentTree", "PlainLabel"} <= names
    legend = PlotLegend(runs_panel)
    legend.set_entry("a", HOSTILE, 0)
    assert hostile_texts(legend)


def test_classify(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    place = window.show_panel("classify")
    assert isinstance(place, ClassifyPanel)
    data = tmp_path / "work" / f"{FILE}.csv"
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text("filepath,title,kind\n")
    place.view.source.data.set_source(str(data))
    qtbot.waitUntil(lambda: place.view.source.data.facts() is not None)
    place.view.source.set_method("image")
    place.view.source.classify_button.click()
    qtbot.waitUntil(lambda: bool(place.view.results.results()))
    place.view.matrix.ask_cell(0, 1)
    qtbot.waitUntil(lambda: place.view.matrix.gallery.model.rowCount() > 0)
    place.view.tabs.setCurrentWidget(place.view.trying)
    place.view.trying.add([str(source_image(tmp_path / "images"))])
    found = {name for name, _ in hostile_texts(window)}
    assert {"_Grid", "QListWidget", "ElidedLabel", "PlainLabel"} <= found


def test_search_and_captions(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    place = window.show_panel("search")
    assert isinstance(place, SearchPanel)
    path = source_image(tmp_path / "images")
    place.view.sides[0].gallery.set_items([GalleryItem(path, HOSTILE, 0.5, 1, detail=HOSTILE)])
    assert {"_Grid"} <= {name for name, _ in hostile_texts(place.view.sides[0].gallery)}
    chips = [Chip(Part(words=HOSTILE), place), Chip(Part(image=str(path)), place)]
    place.view.source.pickers[0].set_choice(ModelChoice(HOSTILE, "student", HOSTILE, None))
    captions = window.show_panel("caption")
    assert isinstance(captions, CaptionsPanel)
    qtbot.waitUntil(lambda: captions._held_paths is None)
    captions.view.tools.pickers["a"]._entry = None  # nothing captions it
    captions.add_paths([str(path)])
    captions.view.list.choose(str(path))
    names = {name for name, _ in hostile_texts(window)}
    assert "CaptionsList" in names
    for chip in chips:
        assert hostile_texts(chip)


@pytest.mark.parametrize("text", [HOSTILE, f"line\n{HOSTILE}", "a < b & c > d", "1 &lt; 2", "plain", ""])
def test_a_tooltip_shows_text_literally(text: str) -> None:
    tip = plain_tip(text)
    document = QTextDocument()
    document.setHtml(tip) if QtText.mightBeRichText(tip) else document.setPlainText(tip)
    assert document.toPlainText().replace("\xa0", " ") == text


def test_labels_and_boxes_are_plain_before_they_are_shown(qtbot: QtBot) -> None:
    label = PlainLabel(HOSTILE, wordWrap=True)
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == HOSTILE
    box = QMessageBox(QMessageBox.Icon.Question, "title", HOSTILE)
    qtbot.addWidget(box)
    box.setInformativeText(HOSTILE)
    make_plain(box)
    assert len([one for one in box.findChildren(QLabel) if one.text() == HOSTILE]) == 2
    assert len(hostile_texts(box)) == 2


# No text of others may come in by a new widget: what is not written in the code goes through `plain_text`.

_RICH = {"plain_text.py", "readout.py", "map.py", "histogram.py"}  # these escape what is not theirs
_COPIED = ("toolTip", "tabToolTip", "tooltip", "plain_tip")  # tips that went through already, and those of actions


def _literal(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _literal(node.body) and _literal(node.orelse)
    if isinstance(node, ast.BinOp):
        return _literal(node.left) and _literal(node.right)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", getattr(node.func, "id", "")) in _COPIED
    return isinstance(node, ast.Constant)


def _wrong(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "QLabel":
        return True
    if name in ("setToolTip", "setTabToolTip"):
        return not _literal(call.args[-1])
    if name == "showText":
        return not _literal(call.args[1])
    roles = [number for number, one in enumerate(call.args) if getattr(one, "attr", "") == "ToolTipRole"]
    if name in ("setItemData", "setData", "_set") and roles:
        beside = roles[0] + 1 if roles[0] + 1 < len(call.args) else roles[0] - 1
        return not _literal(call.args[beside])
    return False


def test_labels_and_tooltips_in_the_code_go_through_plain_text() -> None:
    wrong = []
    for file in Path(sdgui.__file__).parent.rglob("*.py"):
        if file.name in _RICH:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _wrong(node):
                wrong.append(f"{file.name}:{node.lineno}: {ast.unparse(node)[:120]}")
    assert wrong == [], "make labels with PlainLabel, and put what is not written here through plain_tip"
