"""The list of captions by itself: how rows are painted and sized, its keys, what it copies, and its header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QModelIndex, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.app.start import make_application
from sdgui.panels.caption.list.rows import CAPTION, IMAGE, SECOND_CAPTION, CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import HAND_WRITTEN, Entry, ModelCaptions

A, B = (ModelCaptions(key, (Candidate(f"{key} says so", -1.0, -0.5),)) for key in ("a", "b"))
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def view(qtbot: QtBot, tmp_path: Path) -> Iterator[CaptionsList]:
    """Five images: waiting, captioned, edited, refused, and with models that differ."""
    make_application()
    model = CaptionsModel()
    model.add(
        [
            Entry("/p/waiting.png", 0),
            Entry("/p/captioned.png", 1).with_captions("a", A),
            Entry("/p/edited.png", 2, "my HILL", HAND_WRITTEN, captions={"a": A}),
            Entry("/p/refused.png", 3, error="it is TORN"),
            Entry("/p/differing.png", 4).with_captions("a", A).with_captions("b", B),
        ]
    )
    made = CaptionsList(model, tmp_path)
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    made.activateWindow()
    yield made
    made.close_threads()


def test_cells_have_accessible_texts_and_tooltips(view: CaptionsList) -> None:
    model = view.captions
    model.set_compares(True)
    speech, tip = Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole
    assert [model.index(row, CAPTION).data(speech) for row in range(4)] == [
        "waiting.png: without a caption",
        "captioned.png: captioned. a says so",
        "edited.png: edited by hand. my HILL",
        "refused.png: failed. it is TORN",
    ]
    assert [model.index(4, column).data() for column in range(4)] == [
        "differing.png",
        "a says so",
        "−0.500",
        "b says so",
    ]
    assert [model.index(4, column).data(speech) for column in (IMAGE, SECOND_CAPTION)] == ["differing.png", "b says so"]
    assert model.index(1, SECOND_CAPTION).data() == ""
    assert model.index(0, IMAGE).data(tip) == "/p/waiting.png"
    assert [model.index(row, CAPTION).data(tip) for row in (1, 3)] == ["a says so", "it is TORN"]
    assert model.index(0, CAPTION).data(Qt.ItemDataRole.DecorationRole) is None


def test_keys_preview_edit_open_the_menu_and_type(qtbot: QtBot, view: CaptionsList) -> None:
    menus: list[QPoint] = []
    view.menu_requested.connect(menus.append)
    asked: list[tuple[str, str]] = []
    view.captions.edit_requested.connect(lambda path, text: asked.append((path, text)))
    view.setCurrentIndex(QModelIndex())
    view.edit_current()
    view.preview_current()
    assert view.findChild(QPlainTextEdit) is None
    assert view._preview is None, "nothing is current"
    view.choose("/p/nowhere.png")
    assert view.current_path() == ""
    view.choose("/p/captioned.png")
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Menu)
    assert view.viewport().rect().contains(view.viewport().mapFromGlobal(menus[0]))
    assert view.rowAt(view.viewport().mapFromGlobal(menus[0]).y()) == 1
    view.customContextMenuRequested.emit(QPoint(5, 6))
    assert view.viewport().mapFromGlobal(menus[1]) == QPoint(5, 6)
    qtbot.keyClick(view, Qt.Key.Key_Q, CTRL)
    qtbot.keyClick(view, Qt.Key.Key_Q, ALT)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert view.findChild(QPlainTextEdit) is None
    assert view.current_path() == "/p/edited.png"
    qtbot.keyClick(view, Qt.Key.Key_Return)
    editor = view.findChild(QPlainTextEdit)
    assert editor.toPlainText() == "my HILL"
    assert editor.textCursor().selectedText() == "my HILL", "typing replaces it"
    assert editor.tabChangesFocus()
    assert editor.geometry() == view.visualRect(view.captions.index(2, CAPTION))
    qtbot.keyClicks(editor, "two")
    qtbot.keyClick(editor, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert asked == [("/p/edited.png", "two")], "a caption is one line"
    view.edit_current()
    editor = view.findChildren(QPlainTextEdit)[-1]
    enter = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Enter, Qt.KeyboardModifier.NoModifier)
    assert view.delegate.eventFilter(editor, enter), "no line break is typed"
    view.setCurrentIndex(view.captions.index(0, IMAGE))
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Space)
    preview = view._preview
    assert preview is not None
    assert preview.isVisible()
    preview.stepped.emit(-1)
    assert view.current_path() == "/p/waiting.png", "there is none before"
    for _ in range(9):
        preview.stepped.emit(1)
    assert view.current_path() == "/p/differing.png", "nor after the last"
    assert preview is view._preview
    preview.close()


def test_loaded_images_are_painted_and_those_out_of_view_are_released(
    qtbot: QtBot, view: CaptionsList, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated, kept = list[tuple[int, int]](), list[list[str]]()
    monkeypatch.setattr(view, "update", lambda index: updated.append((index.row(), index.column())))
    view.thumbnails.ready.emit("/p/edited.png")
    view.thumbnails.ready.emit("/p/gone.png")
    qtbot.waitUntil(lambda: (2, IMAGE) in updated)
    assert {column for _, column in updated} == {IMAGE}
    assert all(row >= 0 for row, _ in updated)
    assert view._arrived_paths == set()
    view.captions.add_paths(f"/p/{number}.png" for number in range(40))
    monkeypatch.setattr(view.thumbnails, "keep_only", lambda paths: kept.append([path.name for path in paths]))
    view._drop_hidden()
    assert kept[0][0] == "waiting.png"
    assert len(kept[0]) < 20
    view.scrollToBottom()
    qtbot.waitUntil(lambda: len(kept) == 2)
    assert kept[1][-1] == "39.png"
    assert "waiting.png" not in kept[1]
    view.captions.set_filter(lambda entry: entry.position < 2)
    view._drop_hidden()
    assert kept[2] == ["waiting.png", "captioned.png"]
