"""The list of captions by itself: how rows are painted and sized, its keys, what it copies, and its header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QModelIndex, QPoint, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage, QKeyEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QPlainTextEdit, QStyle, QStyleOptionViewItem
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.app.start import make_application
from sdgui.panels.caption.list import delegate as painting
from sdgui.panels.caption.list.rows import CAPTION, IMAGE, SCORE, SECOND, CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import HAND, Entry, ModelCaptions
from sdgui.widgets.gallery.thumbnail_files import Thumbnail
from sdgui.widgets.style.theme import theme

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
            Entry("/p/edited.png", 2, "my HILL", HAND, captions={"a": A}),
            Entry("/p/refused.png", 3, refused="it is TORN"),
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


def cell(view: CaptionsList, row: int, column: int) -> QImage:
    image: QImage = view.viewport().grab(view.visualRect(view.captions.index(row, column))).toImage()
    return image


def colors(image: QImage) -> set[str]:
    pixels = np.frombuffer(image.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint32)
    return {QColor.fromRgb(int(pixel)).name() for pixel in np.unique(pixels)}


def test_text_is_coloured_by_the_state_of_the_image(view: CaptionsList) -> None:
    look = theme()
    view.captions.set_compares(True)
    names = {name: look.color(name).name() for name in ("text", "muted", "error", "warning", "border")}

    def inks(row: int, column: int) -> set[str]:
        return {name for name, color in names.items() if color in colors(cell(view, row, column))} - {"border"}

    assert [inks(row, CAPTION) & {"text", "muted", "error"} for row in range(4)] == [
        {"muted"}, {"text"}, {"text"}, {"error"},
    ]  # fmt: skip
    assert names["warning"] in colors(cell(view, 4, SECOND))
    assert names["border"] in colors(cell(view, 0, CAPTION)), "a line below each row"
    assert "muted" in inks(1, SCORE)
    assert inks(2, SCORE) == set(), "of what a person wrote there is no score"


def test_selected_and_hovered_rows_are_highlighted(view: CaptionsList) -> None:
    look = theme()
    plain = cell(view, 1, CAPTION)
    view.choose("/p/captioned.png")
    chosen = cell(view, 1, CAPTION)
    assert look.color("selection").name() in colors(chosen)
    assert look.color("selection").name() not in colors(plain)
    assert look.color("selection").name() not in colors(cell(view, 0, CAPTION))
    view.setFocus()
    view.activateWindow()
    assert chosen != plain


def test_hovered_rows_and_focused_cells_are_highlighted_in_every_theme(
    view: CaptionsList, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, index, look = QStyle.StateFlag, view.captions.index(1, CAPTION), theme()

    def painted(flag: QStyle.StateFlag) -> set[str]:
        image = QImage(300, 60, QImage.Format.Format_RGB32)
        image.fill(look.color("surface"))
        option = QStyleOptionViewItem()
        option.rect, option.state = image.rect(), flag
        painter = QPainter(image)
        view.delegate.paint(painter, option, index)
        painter.end()
        return colors(image)

    broken, widths = view.delegate._wrap, list[int]()
    with monkeypatch.context() as only:
        only.setattr(view.delegate, "_wrap", lambda text, width: widths.append(width) or broken(text, width))
        painted(state.State_None)
    assert widths == [300 - 2 * painting.SPACE], "a caption has the cell's width"
    raised, frame = look.color("raised").name(), look.color("accent_text").name()
    found = {flag: painted(flag) for flag in (state.State_None, state.State_MouseOver, state.State_HasFocus)}
    assert [raised in found[flag] for flag in found] == [False, True, False]
    assert [frame in found[flag] for flag in found] == [False, False, True]
    assert raised not in painted(state.State_MouseOver | state.State_Selected)
    sides, styled = list[float](), list[str]()
    monkeypatch.setattr(view.thumbnails, "set_side", sides.append)
    monkeypatch.setattr(view.delegate, "row_height", lambda: 90)
    monkeypatch.setattr(view.delegate, "restyle", lambda: styled.append("cells"))
    theme().changed.emit()
    assert (view.rowHeight(0), sides, styled) == (90, [90 * view.devicePixelRatioF()], ["cells"])


def test_an_image_cell_shows_state_and_name(view: CaptionsList, monkeypatch: pytest.MonkeyPatch) -> None:
    image = QImage(40, 20, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.red)
    clear = QImage(20, 20, QImage.Format.Format_ARGB32)
    clear.fill(QColor(0, 0, 0, 0))
    known = {
        "waiting.png": None,
        "captioned.png": Thumbnail(image, ""),
        "edited.png": Thumbnail(None, "It is torn."),
        "refused.png": Thumbnail(clear, ""),
    }
    monkeypatch.setattr(view.thumbnails, "get", lambda path: known.get(path.name))
    cells = [cell(view, row, IMAGE) for row in range(4)]
    side = cells[0].height() - painting.SPACE
    middle = QPoint(painting.SPACE // 2 + side // 2, cells[0].height() // 2)
    look = theme()
    assert cells[0].pixelColor(middle) == look.color("raised"), "it is being read"
    assert cells[1].pixelColor(middle) == QColor(Qt.GlobalColor.red)
    assert cells[3].pixelColor(middle) == QColor(Qt.GlobalColor.white), "as the model sees it"
    red = [
        QPoint(x, y)
        for x in range(cells[1].width())
        for y in range(cells[1].height())
        if cells[1].pixelColor(x, y) == QColor(Qt.GlobalColor.red)
    ]
    wide, high = (max(values) - min(values) + 1 for values in ([p.x() for p in red], [p.y() for p in red]))
    assert abs(wide - side) <= 1, "as wide as its place"
    assert abs(wide - 2 * high) <= 2, "and in its own proportions"
    assert abs((min(p.y() for p in red) + max(p.y() for p in red)) // 2 - middle.y()) <= 2
    assert look.color("muted").name() in colors(cells[2]), "a dashed frame"
    right = [one.copy(one.height(), 0, one.width() - one.height(), one.height()) for one in cells]
    assert len({bytes(one.constBits()) for one in right}) == 4, "each state has its icon"
    assert look.color("muted").name() in colors(right[0])
    assert view.delegate._scale(image, side, 1.0) is view.delegate._scale(image, side, 1.0)
    assert view.delegate._scale(image, side, 2.0).width() == 2 * side
    monkeypatch.setattr(painting, "_CACHED", 2)
    for wide in range(10, 16):
        view.delegate._scale(image, wide, 1.0)
        view.delegate._wrap("words", wide)
    assert ("words", 15) in view.delegate._lines, "what is used least goes"
    assert len(view.delegate._scaled) <= 5
    assert len(view.delegate._lines) <= 12


def test_long_captions_wrap_to_three_vertically_centred_lines(view: CaptionsList) -> None:
    lines = view.delegate._wrap("word " * 200, 200)
    assert len(lines) == painting.LINES
    assert view.rowHeight(0) >= painting.LINES * view.delegate._metrics.lineSpacing() + painting.SPACE
    for text, share in (("x", 1), ("word " * 200, 3)):
        view.captions.update([view.captions.at(0).with_text(text, HAND)])
        image = cell(view, 0, CAPTION)
        ink = theme().color("text").name()
        rows = [y for y in range(image.height()) if any(image.pixelColor(x, y).name() == ink for x in range(60))]
        middle = (rows[0] + rows[-1]) / 2
        assert abs(middle - image.height() / 2) < image.height() / 6, share
        assert rows[0] > 0


def test_text_columns_share_the_remaining_width(view: CaptionsList) -> None:
    head, model = view.horizontalHeader(), view.captions
    stretched = [column for column in range(3) if head.sectionResizeMode(column) == QHeaderView.ResizeMode.Stretch]
    assert stretched == [CAPTION]
    wide = head.sectionSize(IMAGE)
    model.set_compares(True)
    assert [column for column in range(4) if head.sectionResizeMode(column) == QHeaderView.ResizeMode.Stretch] == [
        CAPTION, SECOND,
    ]  # fmt: skip
    assert abs(head.sectionSize(CAPTION) - head.sectionSize(SECOND)) <= 1
    assert sum(head.sectionSize(column) for column in range(4)) == view.viewport().width()
    view.resize(400, 500)
    assert head.sectionSize(IMAGE) < wide
    titles = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(4)]
    assert titles == ["Image", "Caption", "Score", "Second model"]
    align = Qt.ItemDataRole.TextAlignmentRole
    right = [bool(model.headerData(column, Qt.Orientation.Horizontal, align) & Qt.AlignmentFlag.AlignRight)
             for column in range(4)]  # fmt: skip
    assert right == [False, False, True, False]
    tip = model.headerData(SECOND, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert tip.endswith("Ctrl+U accepts it")
    assert model.heading(4, Qt.ItemDataRole.DisplayRole) is None
    editable = [bool(model.flags(model.index(0, column)) & Qt.ItemFlag.ItemIsEditable) for column in range(4)]
    assert editable == [False, True, False, False]
    assert not model.setData(model.index(0, SCORE), "x")
    assert (model.rowCount(model.index(0, 0)), model.columnCount(model.index(0, 0))) == (0, 0)


def test_cells_have_accessible_texts_and_tooltips(view: CaptionsList) -> None:
    model = view.captions
    model.set_compares(True)
    speech, tip = Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole
    assert [model.index(row, CAPTION).data(speech) for row in range(4)] == [
        "waiting.png: without a caption",
        "captioned.png: captioned. a says so",
        "edited.png: edited by hand. my HILL",
        "refused.png: refused. it is TORN",
    ]
    assert [model.index(4, column).data() for column in range(4)] == [
        "differing.png",
        "a says so",
        "−0.500",
        "b says so",
    ]
    assert [model.index(4, column).data(speech) for column in (IMAGE, SECOND)] == ["differing.png", "b says so"]
    assert model.index(1, SECOND).data() == ""
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


def test_copying_gives_captions_and_files(qtbot: QtBot, view: CaptionsList) -> None:
    clipboard = QGuiApplication.clipboard()
    clipboard.setText("mine")
    view.clearSelection()
    view.copy()
    assert clipboard.text() == "mine", "nothing is chosen"
    view.choose("/p/captioned.png")
    view.copy()
    assert (clipboard.text(), clipboard.mimeData().urls()[0].toLocalFile()) == ("a says so", "/p/captioned.png")
    clipboard.clear()
    assert view.captions.mimeTypes() == ["text/uri-list", "text/plain"]


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
    view._drop_stale()
    assert kept[0][0] == "waiting.png"
    assert len(kept[0]) < 20
    view.scrollToBottom()
    qtbot.waitUntil(lambda: len(kept) == 2)
    assert kept[1][-1] == "39.png"
    assert "waiting.png" not in kept[1]
    view.captions.set_filter(lambda entry: entry.position < 2)
    view._drop_stale()
    assert kept[2] == ["waiting.png", "captioned.png"]


def test_a_new_list_announces_its_current_image(view: CaptionsList) -> None:
    told: list[str] = []
    reported: list[None] = []
    view.current_changed.connect(told.append)
    view.selection_reported.connect(lambda: reported.append(None))
    view.choose("/p/edited.png")
    assert told == ["/p/edited.png"]
    assert reported
    view.captions.remove(["/p/edited.png"])
    assert told[-1] == ""
    assert view.selected_count() == 0
