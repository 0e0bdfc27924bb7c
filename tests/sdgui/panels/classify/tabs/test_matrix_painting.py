"""Painting in Classify: shares as bars with whiskers, the confusion matrix with names and counts."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.tabs.matrix.matrix import ConfusionMatrix
from sdgui.panels.classify.tabs.point_plot import PointLine, PointPlot
from sdgui.panels.classify.tabs.share_bar import SHARE_ROLE, Share, ShareDelegate
from sdgui.widgets.formats import count
from sdgui.widgets.style.theme import theme

WIDE, HIGH = 400, 24


def where(image: QImage, color: QColor) -> NDArray[np.int64]:
    """Places (N, 2), x and y, of the pixels of this colour."""
    pixels = np.frombuffer(image.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint32)
    rows = pixels.reshape(image.height(), -1)[:, : image.width()]
    return np.argwhere(rows & 0xFFFFFF == color.rgb() & 0xFFFFFF)[:, ::-1]


def drawn(share: object, text: str = "", selected: bool = False) -> QImage:
    """A cell with this share."""
    model, item = QStandardItemModel(), QStandardItem(text)
    item.setData(share, SHARE_ROLE)
    model.appendRow(item)
    image = QImage(WIDE, HIGH, QImage.Format.Format_RGB32)
    image.fill(theme().color("surface"))
    option = QStyleOptionViewItem()
    option.rect, option.fontMetrics = QRect(0, 0, WIDE, HIGH), QFontMetrics(theme().font("text"))
    option.state = QStyle.StateFlag.State_Selected if selected else QStyle.StateFlag.State_None
    painter = QPainter(image)
    ShareDelegate().paint(painter, option, model.index(0, 0))
    painter.end()
    return image


def span(image: QImage, name: str) -> tuple[int, int]:
    """From where to where something of this colour reaches."""
    x = where(image, theme().color(name))[:, 0]
    return int(x.min()), int(x.max())


def test_a_share_is_a_bar_from_zero_and_a_difference_a_bar_from_the_middle(qapp: object) -> None:
    left, right = span(drawn(Share(1.0)), "accent")
    assert left < 8
    assert right < WIDE - 40, "its figure has room on the right"
    long = right - left
    for share in (0.25, 0.5, 2.0):
        first, last = span(drawn(Share(share)), "accent")
        assert abs(first - left) <= 1
        assert abs(last - first - min(share, 1.0) * long) <= 4
    ground = where(drawn(Share(0.25)), theme().color("border"))[:, 0]
    assert ground.max() >= right - 3, "what is missing to the whole is seen"
    middle = (left + right) / 2
    for share, expected in (
        (0.5, (middle, middle + long / 4)),
        (-0.5, (middle - long / 4, middle)),
        (-9.0, (left, middle)),
    ):
        reached = span(drawn(Share(share, signed=True)), "accent")
        assert reached == pytest.approx(expected, abs=4)
    assert len(where(drawn(Share(0.5, strong=False)), theme().color("accent"))) == 0
    assert len(where(drawn(Share(0.5, strong=False)), theme().color("strong_border"))) > 20
    assert len(where(drawn(None, "x"), theme().color("border"))) == 0


def test_an_interval_is_a_whisker_and_the_value_is_right_aligned(qapp: object) -> None:
    ink = theme().color("text")
    assert len(where(drawn(Share(0.5)), ink)) == 0
    assert len(where(drawn(Share(0.5, low=0.4)), ink)) == 0, "an interval has two ends"
    left, right = span(drawn(Share(1.0)), "accent")
    plain = drawn(Share(0.5))

    def differs(image: QImage) -> tuple[int, int]:
        """From where to where it is another image than that of the bar alone."""
        columns = [x for x in range(WIDE) if any(image.pixel(x, y) != plain.pixel(x, y) for y in range(HIGH))]
        return columns[0], columns[-1]

    ends = (left + 0.25 * (right - left), left + 0.75 * (right - left))
    assert differs(drawn(Share(0.5, 0.25, 0.75))) == pytest.approx(ends, abs=4)
    figure = drawn(Share(0.5), "50.0 %")
    first, last = differs(figure)
    assert right < first < last < WIDE
    assert last > WIDE - 16
    assert len(where(drawn(Share(0.5), selected=True), theme().color("selection"))) > WIDE
    assert len(where(figure, theme().color("selection"))) == 0
    option = QStyleOptionViewItem()
    option.fontMetrics = QFontMetrics(theme().font("text"))
    size = ShareDelegate().sizeHint(option, QStandardItemModel().index(0, 0))
    assert size.width() > option.fontMetrics.horizontalAdvance("−100.0 %") + 60
    assert size.height() > option.fontMetrics.height()


@pytest.fixture
def matrix(qtbot: QtBot) -> ConfusionMatrix:
    """Three classes: cells of some 100 px, of which the middle one is off the diagonal."""
    made = ConfusionMatrix()
    qtbot.addWidget(made)
    made.resize(440, 440)
    made.set_matrix(["cat", "dog", "fox"], [0, 1, 2, 0], [0, 0, 2, 2], [4, 3, 2, 1])
    made.show()
    return made


def cell(matrix: ConfusionMatrix, row: int, column: int) -> QImage:
    inner = matrix.viewport().cell_rect(row, column).toAlignedRect().adjusted(6, 6, -6, -6)
    image: QImage = matrix.grab(inner).toImage()
    return image


def inked(image: QImage) -> bool:
    return len({image.pixel(x, y) for x in range(image.width()) for y in range(image.height())}) > 1


def far(image: QImage, name: str) -> float:
    """How far the pixel that is most like this colour is from it."""
    color = theme().color(name)
    own = (color.red(), color.green(), color.blue())
    places = [(x, y) for x in range(image.width()) for y in range(image.height())]
    pixels = np.array([image.pixelColor(x, y).getRgb()[:3] for x, y in places])
    return float(np.abs(pixels - own).sum(1).min())


def test_cells_show_counts_selection_and_hover(
    matrix: ConfusionMatrix,
) -> None:
    matrix.set_current(2, 1)
    assert [[inked(cell(matrix, row, column)) for column in range(3)] for row in range(3)] == [
        [True, False, True], [True, False, False], [False, False, True],
    ]  # fmt: skip
    light = [far(cell(matrix, row, row), "on_accent") < far(cell(matrix, row, row), "text") for row in (0, 2)]
    assert light == [True, True], "its number is read on the strong colour"
    assert far(cell(matrix, 1, 0), "on_accent") > far(cell(matrix, 1, 0), "text")
    matrix.set_mistakes_only(True)
    assert [inked(cell(matrix, row, row)) for row in range(3)] == [False] * 3
    matrix.set_mistakes_only(False)
    ink = theme().color("text")
    at = matrix.viewport().cell_rect(2, 1)
    edge = QRect(int(at.left()) - 3, int(at.center().y()), 6, 2)
    framed = matrix.grab(edge).toImage()
    assert len(where(framed, ink)) > 0
    matrix.set_current(0, 1)
    assert len(where(matrix.grab(edge).toImage(), ink)) == 0
    before = [cell(matrix, row, column).pixel(2, 2) for row, column in ((1, 1), (1, 2), (2, 1), (2, 0))]
    matrix._hovered = (1, 1)
    after = [cell(matrix, row, column).pixel(2, 2) for row, column in ((1, 1), (1, 2), (2, 1), (2, 0))]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True, True, False]


def test_row_and_column_names_are_drawn_where_they_fit(matrix: ConfusionMatrix) -> None:
    def beside(row: int) -> bool:
        place = matrix.viewport().cell_rect(row, 0)
        high = QFontMetrics(theme().font("small")).height()
        middle = QRect(high + 2, int(place.center().y()) - high // 2, int(place.left()) - high - 6, high)
        return inked(matrix.grab(middle).toImage())

    def over(column: int) -> bool:
        place = matrix.viewport().cell_rect(0, column)
        high = QFontMetrics(theme().font("small")).height()
        middle = QRect(int(place.center().x()) - high // 2, high + 2, high, int(place.top()) - high - 6)
        return inked(matrix.grab(middle).toImage())

    assert [beside(row) for row in range(3)] == [True] * 3
    assert [over(column) for column in range(3)] == [True] * 3
    area = matrix.viewport().area
    high = QFontMetrics(theme().font("small")).height()
    assert inked(matrix.grab(QRect(area.x(), 0, area.width(), high)).toImage()), "the title over the columns"
    assert inked(matrix.grab(QRect(0, area.y(), high, area.height())).toImage()), "and beside the rows"
    every = np.arange(100)
    matrix.set_matrix([f"class {number}" for number in every], every, every, every + 1)
    matrix.set_current(3, 3)
    named = [row for row in range(0, 100, 5) if beside(row)]
    assert 3 < len(named) < 20, "not each has room"
    matrix.zoom(8.0, QPointF(matrix.viewport().area.topLeft()))
    rows, _ = matrix.viewport().visible()
    assert all(beside(row) for row in rows[1:-1])
    matrix.set_current(40, 40)
    view = matrix.viewport()
    matrix.pan(0, 39.99 + 0.9 - view.top)
    area = matrix.viewport().area
    assert matrix.viewport().cell_rect(40, 40).center().y() < area.y()
    wide = area.x() - high - 6
    assert inked(matrix.grab(QRect(high + 2, area.y(), wide, high)).toImage()), "the name of a row that is cut off"
    assert not inked(matrix.grab(QRect(high + 2, area.y() - high - 2, wide, high)).toImage())


def test_curves_have_markers_whiskers_grid_and_a_fitting_scale(qtbot: QtBot) -> None:
    plot = PointPlot("Few-shot accuracy", "images per class", count, (1, 2, 4, 8, 16, 32))
    qtbot.addWidget(plot)
    plot.set_lines([], "There are none yet.")
    assert (plot.readout.text(), plot.accessibleDescription()) == ("There are none yet.", "There are none yet.")
    assert plot._plot.isHidden()
    plot._show_nearest(QPointF(5, 5))
    assert plot.readout.text() == "There are none yet."
    one = PointLine("image", (1, 4, 16), (0.2, 0.5, 0.6), (0.1, None, 0.5), (0.3, None, 0.7), color=2, marked=4)
    two = PointLine("fused", (1, 4), (0.3, 0.4), color=1)
    level = PointLine("zero-shot", (1.0,), (0.45,), level=True)
    plot.set_lines([one, two, level], "no")
    assert not plot._plot.isHidden()
    assert plot.readout.text() == "● image   ■ fused   ╌ zero-shot"
    assert plot.accessibleDescription() == (
        "image: images per class 1: 20.0 % (10.0 to 30.0), images per class 4: 50.0 %, "
        "images per class 16: 60.0 % (50.0 to 70.0); fused: images per class 1: 30.0 %, "
        "images per class 4: 40.0 %; zero-shot: 45.0 %"
    )
    item, look = plot._plot.getPlotItem(), theme()
    curves = item.listDataItems()
    assert [curve.getData()[0].tolist() for curve in curves] == [
        pytest.approx(np.log10([1, 4, 16])), pytest.approx(np.log10([1, 4]))
    ]  # fmt: skip
    assert [curve.opts["symbol"] for curve in curves] == ["o", "s"]
    assert [curve.opts["pen"].color() for curve in curves] == [look.run_color(2), look.run_color(1)]
    (whiskers,) = [each for each in item.items if isinstance(each, pg.ErrorBarItem)]
    ends = [whiskers.opts[name].tolist() for name in ("x", "y", "top", "bottom")]
    assert ends == [
        pytest.approx([0.0, np.log10(16)]), [0.2, 0.6], pytest.approx([0.1, 0.1]), pytest.approx([0.1, 0.1])
    ]  # fmt: skip
    lines = {round(each.angle): each for each in item.items if isinstance(each, pg.InfiniteLine)}
    assert lines[0].value() == 0.45
    assert lines[90].value() == pytest.approx(np.log10(4))
    (left, right), (bottom, top) = plot._plot.viewRange()
    assert (left, right) == pytest.approx((-0.04 * np.log10(16), 1.04 * np.log10(16)))
    assert (bottom, top) == pytest.approx((0.1 - 0.08 * 0.6, 0.7 + 0.08 * 0.6))
    assert [text for _, text in plot._bottom_axis._tickLevels[0]] == ["1", "2", "4", "8", "16", "32"]
    plot.set_lines([PointLine("C", (0.01,), (1.0,))])
    (left, right), (bottom, top) = plot._plot.viewRange()
    assert (left, right, bottom, top) == pytest.approx((-2.3, -1.7, 0.95, 1.02))
    decades = PointPlot("Accuracy", "C")
    qtbot.addWidget(decades)
    decades.set_lines([PointLine("C", (0.005, 20.0), (0.5, 0.5))])
    assert [at for at, _ in decades._bottom_axis._tickLevels[0]] == [-2, -1, 0, 1]
