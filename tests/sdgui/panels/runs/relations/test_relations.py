"""Columns as axes, the scatter and parallel coordinates: what is brushed is what the filter finds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.runs.compare.settings import CompareTab, Comparison
from sdgui.panels.runs.relations.axes import axis_of
from sdgui.panels.runs.relations.scatter import Scatter
from sdgui.panels.runs.relations.tabs import ParallelTab, ScatterTab
from sdgui.panels.runs.table.run_table import RunTable
from sdgui.store.run_table.fields import Kind, metric, setting
from sdgui.store.store import Store
from sdgui.widgets.relations.parallel import ParallelCoordinates
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.runs.table.tabling import settle
from tests.sdgui.store.run_table.listing import TEACHER

RATE, RECALL = setting("optim.learning_rate"), metric(TEACHER)


def test_an_axis_has_positions_categories_and_a_log_scale() -> None:
    rates = axis_of(RATE, [1e-4, 1e-2, None, 1.0])
    assert rates is not None
    assert rates.log
    assert rates.positions() == pytest.approx([0, 0.5, math.nan, 1], nan_ok=True)
    assert rates.value_at(0.5) == pytest.approx(1e-2)
    recalls = axis_of(RECALL, [0.25, 0.5, 0.3])
    assert recalls is not None
    assert (recalls.text_at(1.0), recalls.value_at(1.0)) == ("50.0", 0.5)
    words = axis_of(setting("preset"), ["clip", 'a "b"', "clip"])
    assert words is not None
    assert words.positions().tolist() == [1, 0, 1]
    assert (words.text_at(-1.0), words.text_at(9.0)) == ('a "b"', "clip"), "beyond the ends, the ends"
    assert words.condition(-0.1, 0.2) == 'preset in ("a \\"b\\"")'
    assert axis_of(RATE, [None, None]) is None
    assert axis_of(setting("name"), [str(number) for number in range(99)]) is None
    alone = axis_of(RECALL, [0.5, 0.5])
    assert alone is not None
    assert alone.positions().tolist() == [0.5, 0.5]


def test_the_filter_of_a_range_matches_the_runs_at_its_ends() -> None:
    rates, recalls = axis_of(RATE, [1.23456789e-4, 1e-2, 0.98765432]), axis_of(RECALL, [0.3, 0.4, 0.71])
    assert rates is not None
    assert recalls is not None
    assert rates.condition(0.0, 1.0) == "optim.learning_rate >= 0.000123456 optim.learning_rate <= 0.987655"
    assert recalls.condition(0.0, 1.0) == f"{TEACHER} >= 0.3 {TEACHER} <= 0.71"


def test_the_tooltip_of_an_axis_skips_runs_without_a_value(qtbot: QtBot) -> None:
    lines = ParallelCoordinates()
    qtbot.addWidget(lines)
    lines.resize(600, 300)
    rates, presets = axis_of(RATE, [1e-4, 1e-2]), axis_of(setting("preset"), ["clip", None])
    assert rates is not None
    assert presets is not None
    lines.show_axes([rates, presets], ["one", "two"])
    at_top = QPoint(int(lines._x(1)), int(lines._y(1.0)))
    assert lines._tip(at_top) == "one\npreset: clip"
    lines.set_brush(0, (0.9, 1.0))
    assert lines._tip(at_top) == ""


def test_a_scatter_of_one_value_shows_its_surroundings(qtbot: QtBot) -> None:
    scatter = Scatter()
    qtbot.addWidget(scatter)
    rate, recall = axis_of(RATE, [5e-4, 5e-4]), axis_of(RECALL, [0.2, 0.4])
    assert rate is not None
    assert recall is not None
    scatter.show_axes(rate, recall, ["one", "two"], [None, None])
    (left, right), (low, high) = scatter.plot.getViewBox().viewRange()
    assert (left, right) == pytest.approx((2.5e-4, 7.5e-4))
    assert low < 20 < 40 < high


@pytest.fixture
def table(qtbot: QtBot, filled: tuple[Store, list[int]], tmp_path: Path) -> RunTable:
    table = RunTable(filled[0], QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(table)
    table.show_layout(table.current_layout.with_columns([RATE.key, "seed", TEACHER]))
    settle(table)
    return table


def shown(part: QWidget, table: RunTable) -> None:
    table.show()
    part.resize(700, 400)
    part.show()
    settle(table)


def test_a_brush_finds_the_runs_of_its_filter(qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]) -> None:
    part = ParallelTab(filled[0], table, table)
    shown(part, table)
    lines: ParallelCoordinates = part.lines
    names = [axis.field.name for axis in lines.axes]
    assert {RATE.key, "seed", TEACHER} <= set(names)
    axis_index = names.index(TEACHER)
    x = int(lines._x(axis_index))
    qtbot.mousePress(lines, Qt.MouseButton.LeftButton, pos=QPoint(x, int(lines._y(1.0))))
    qtbot.mouseMove(lines, QPoint(x, int(lines._y(0.55))))
    QApplication.processEvents()
    qtbot.mouseRelease(lines, Qt.MouseButton.LeftButton, pos=QPoint(x, int(lines._y(0.55))))
    brushed = {part.columns.run_ids[brushed_run] for brushed_run in lines.brushed_runs()}
    assert 0 < len(brushed) < 9
    assert lines.grab().toImage().width() > 0
    ticked: list[list[int]] = []
    part.ticks_requested.connect(ticked.append)
    part.overlay.click()
    assert [set(runs) for runs in ticked] == [brushed]
    assert part.readout.text() == f"{len(brushed)} of {len(part.columns.run_ids)} runs"
    part.filter_requested.connect(table.add_to_filter)
    part.filter.click()
    settle(table)
    assert set(table.model.rows.run_ids()) == brushed
    part.clear.click()
    assert len(lines.brushed_runs()) == len(part.columns.run_ids)
    assert not part.clear.isEnabled()


def move(widget: QWidget, to: QPoint) -> None:
    """Without the screen's pointer, which another window may have."""
    none, position = Qt.MouseButton.NoButton, QPointF(to)
    kind, keys = QEvent.Type.MouseMove, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(widget, QMouseEvent(kind, position, widget.mapToGlobal(position), none, none, keys))


def test_clicking_a_line_selects_its_run(qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]) -> None:
    part = ParallelTab(filled[0], table, table)
    shown(part, table)
    lines = part.lines
    left_axis = len(lines.axes) - 2
    ends = lines._ys(np.array([0]))[0]
    on_line = QPoint(
        int((lines._x(left_axis) + lines._x(left_axis + 1)) / 2), round((ends[left_axis] + ends[left_axis + 1]) / 2)
    )
    move(lines, on_line)
    assert lines.cursor().shape() is Qt.CursorShape.PointingHandCursor
    assert lines._tip(on_line) == part.readout.text() == part.columns.names[0]
    pointed = lines.grab().toImage()
    with qtbot.waitSignal(part.run_chosen) as signal:
        qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=on_line)
    assert signal.args == [part.columns.run_ids[0]]
    beside = QPoint(on_line.x(), 2)
    move(lines, beside)
    assert lines.cursor().shape() is Qt.CursorShape.ArrowCursor
    assert part.readout.text() == "Drag along an axis to choose a range"
    assert lines.grab().toImage() != pointed, "the line is thick only under the pointer"
    with qtbot.assertNotEmitted(part.run_chosen):
        qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=beside)


def test_loaded_values_are_not_read_again(
    table: RunTable, filled: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ScatterTab(filled[0], table, table)
    shown(part, table)
    requests: list[object] = []
    monkeypatch.setattr(table.reader, "run", lambda *question: requests.append(question))
    part.hide()
    part.show()
    assert requests == []
    part.invalidate()
    assert len(requests) == 1


def test_a_line_is_selected_only_where_it_is_drawn(qtbot: QtBot) -> None:
    lines = ParallelCoordinates()
    qtbot.addWidget(lines)
    lines.resize(600, 400)
    rate, recall = axis_of(RATE, [1.0, 2.0, 3.0]), axis_of(RECALL, [0.1, None, 0.3])
    assert rate is not None
    assert recall is not None
    lines.show_axes([rate, recall], ["a", "b", "c"])
    middle = int((lines._x(0) + lines._x(1)) / 2)
    assert lines._line_at(QPoint(middle, int(lines._y(0.0)))) == 0
    assert lines._line_at(QPoint(middle, int(lines._y(0.5)))) is None, "b has no value on the second axis"
    assert lines._line_at(QPoint(middle, int(lines._y(0.9)))) is None, "no line is so near"
    assert lines._line_at(QPoint(middle, int(lines._y(1.0)))) == 2
    assert lines._line_at(QPoint(int(lines._x(0)), int(lines._y(0.0)))) is None, "there one brushes"
    assert lines._line_at(QPoint(1, int(lines._y(0.0)))) is None
    lines.set_brush(0, (0.5, 1.0))
    assert lines._line_at(QPoint(middle, int(lines._y(0.0)))) is None, "a is outside of the brush"


def test_the_scatter_names_and_selects_runs(qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]) -> None:
    part = ScatterTab(filled[0], table, table)
    shown(part, table)
    part.x_box.setCurrentIndex(part.x_box.findData("seed"))
    part.y_box.setCurrentIndex(part.y_box.findData(TEACHER))
    scatter = part.scatter
    assert "9 runs" in scatter.note.text()
    newest = list(part.columns.run_ids).index(filled[1][-1])
    box = scatter.plot.getViewBox()
    place = box.mapViewToScene(box.mapToView(box.rect().center()).__class__(scatter._x[newest], scatter._y[newest]))
    assert scatter.nearest(place) == newest
    assert scatter.describe_run(newest) == "rate 0.002 · run 1 · Teacher image → text R@1, %: 42.0 · seed: 2"
    all_of_them = scatter.note.text()
    scatter._on_mouse_moved(place)
    assert scatter.note.text() == scatter.describe_run(newest)
    scatter._on_mouse_moved(QPointF(-500, -500))
    assert scatter.note.text() == all_of_them
    with qtbot.waitSignal(part.run_chosen) as signal:
        scatter.run_clicked.emit(newest)
    assert signal.args == [filled[1][-1]]
    oldest = int(scatter._plotted_runs[-1])
    place = box.mapViewToScene(QPointF(scatter._x[oldest], scatter._y[oldest]))
    scatter._plotted_runs = scatter._plotted_runs[-1:]  # as where the others lack a value
    assert scatter.nearest(place) == oldest != 0


def test_columns_are_chosen_saved_and_ticked_runs_are_larger(
    qtbot: QtBot, table: RunTable, filled: tuple[Store, list[int]]
) -> None:
    part = ScatterTab(filled[0], table, table)
    shown(part, table)
    names = [axis.field.name for axis in part.columns.axes]
    assert (part.x_box.currentData(), part.y_box.currentData()) == (RATE.key, names[-1]), "the rate, and the last"
    assert [part.x_box.itemData(row) for row in range(part.x_box.count())] == names
    assert not {"name", "state", "tag", "note"} & set(names)
    assert names.count("duration") == 1
    part.x_box.setCurrentIndex(part.x_box.findData("seed"))
    table.show_layout(table.current_layout.with_columns(["seed"]))
    settle(table)
    assert part.x_box.currentData() == "seed", "what was chosen stays"
    table.show_layout(table.current_layout.with_columns([TEACHER]))
    settle(table)
    assert part.x_box.currentData() == part.columns.axes[0].field.name, "else the first"
    points = part.scatter._points.data
    assert {brush.color().name() for brush in points["brush"]} <= {
        theme().run_color(color).name() for color in part.columns.colors
    }, "in the colours of their runs while none is ticked"
    table.set_ticks([filled[1][0]])
    part.show_ticks()
    sizes = sorted(part.scatter._points.data["size"].tolist())
    assert sizes == [sizes[0]] * (len(sizes) - 1) + [sizes[0] + 5]
    part.hide()
    table.set_ticks([])
    part.show_ticks()
    assert sorted(part.scatter._points.data["size"].tolist()) == sizes, "nobody sees it"
    with qtbot.assertNotEmitted(part.run_chosen):
        part.choose(-1)
        part.choose(len(part.columns.run_ids))


def test_runs_of_closed_groups_are_drawn_up_to_the_limit(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    part = ParallelTab(filled[0], table, table)
    table.show_layout(table.current_layout.grouped_by(RATE.key))
    settle(table)
    shown(part, table)
    assert sorted(part.columns.run_ids) == sorted(filled[1])
    kinds = [axis.field.kind is None for axis in part.lines.axes]
    assert kinds == sorted(kinds, reverse=True), "settings, and then what came of them, which colours the lines"
    assert not any(axis.field.kind is Kind.TIME for axis in part.lines.axes)
    assert not any(button.isEnabled() for button in (part.filter, part.overlay, part.clear))
    part.lines.set_brush(0, (0.0, 0.5))
    assert all(button.isEnabled() for button in (part.filter, part.overlay, part.clear))
    table.show_layout(table.current_layout.grouped_by())
    settle(table)
    part._max_runs = 4
    part.invalidate()
    settle(table)
    assert len(part.columns.run_ids) == 4


def test_keys_and_a_drag_fade_the_others_at_once(qtbot: QtBot) -> None:
    lines = ParallelCoordinates()
    qtbot.addWidget(lines)
    lines.resize(600, 400)
    empty = lines.grab().toImage()
    rate, recall = axis_of(RATE, [1.0, 2.0, 3.0]), axis_of(RECALL, [0.1, 0.2, 0.3])
    assert rate is not None
    assert recall is not None
    lines.show_axes([rate, recall], ["a", "b", "c"])
    lines.show()
    assert lines.grab().toImage() != empty, "which says what axes are"
    middle = int((lines._x(0) + lines._x(1)) / 2)

    def ink(place: float) -> list[str]:
        image = lines.grab().toImage()
        return [image.pixelColor(middle, int(lines._y(place)) + by).name() for by in range(-2, 3)]

    full_ink = ink(0.0)
    qtbot.keyClick(lines, Qt.Key.Key_Up)
    faded = ink(0.0)
    for _ in range(10):
        qtbot.keyClick(lines, Qt.Key.Key_Up)
    assert lines.brushed_runs().tolist() == [2]
    blue, grey = (max(QColor(name).hsvSaturationF() for name in names) for names in (full_ink, faded))
    assert blue > 2 * grey, "it has lost its colour"
    qtbot.keyClick(lines, Qt.Key.Key_Delete)
    assert ink(0.0) == full_ink
    qtbot.mousePress(lines, Qt.MouseButton.LeftButton, pos=QPoint(int(lines._x(0)), int(lines._y(0.9))))
    held = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(lines._x(0), lines._y(0.2)), lines.mapToGlobal(QPointF()),
        Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(lines, held)
    assert ink(0.0) == faded
    for place in (0.9, 0.9):
        position = QPoint(int(lines._x(0)), int(lines._y(place)))
        qtbot.mouseClick(lines, Qt.MouseButton.LeftButton, pos=position)
    assert ink(0.0) == full_ink, "a click ends the brush"
    lines._current = 0
    before = lines.grab().toImage()
    lines.setFocus()
    lines.activateWindow()
    qtbot.waitUntil(lines.hasFocus)
    first = lines.grab().toImage()
    assert first != before, "the axis that keys are for is seen"
    qtbot.keyClick(lines, Qt.Key.Key_Right)
    assert lines.grab().toImage() != first


def test_ticked_or_selected_runs_are_compared(table: RunTable, filled: tuple[Store, list[int]]) -> None:
    part = CompareTab(filled[0], table, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table.reader, "run", lambda *_: pytest.fail("nobody sees it"))
        part.refresh()
    shown(part, table)
    assert part.model.rowCount() == 0
    part.show_runs((filled[1][0], filled[1][8]))
    settle(table)

    def lines() -> dict[str, list[str]]:
        model = part.model
        rows = [[str(model.index(row, column).data()) for column in range(3)] for row in range(model.rowCount())]
        return {row[0]: row[1:] for row in rows}

    assert lines()[RATE.key] == ["0.0001", "0.002"]
    assert lines()["Teacher image → text R@1, %"] == ["30.5", "42.0"]
    assert "optim.weight_decay" not in lines()
    assert part.view.sizeHintForColumn(1) <= part.view.columnWidth(1), "no value is elided beside free space"
    assert part.view.horizontalHeader().length() <= part.view.viewport().width()
    row = list(lines()).index("Teacher image → text R@1, %")
    assert part.model.index(row, 2).data(Qt.ItemDataRole.FontRole) == theme().font("title"), "the best"
    part.only.setChecked(False)
    assert lines()["optim.weight_decay"][0] == lines()["optim.weight_decay"][1]
    part._show_result(((1, 2), Comparison()))
    assert part.note.text() == "2 runs", "an answer to an earlier request is not shown"
    part.search.setText("no such name")
    assert part.note.text() == "2 runs; no name contains “no such name”"
    assert part.view.isHidden()
    part.search.setText("decay weight")
    assert list(lines()) == ["optim.weight_decay"]
    part.search.clear()
    part.only.setChecked(True)
    part.show_runs((filled[1][0],))
    table.view.selectAll()
    settle(table)
    assert (part.note.text(), part.model.columnCount()) == ("9 runs", 10), "one curve makes no comparison"
    table.view.clearSelection()
    settle(table)
    assert part.note.text() == "Tick or select two or more runs to see how they differ."
    part.show_runs(tuple(filled[1] * 3))
    settle(table)
    assert part.note.text().endswith(", the first of 27")
