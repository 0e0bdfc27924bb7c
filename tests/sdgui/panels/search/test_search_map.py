"""The map by hand: what mouse and keys do, how points are drawn and coloured, what is said under the mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QLabel, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.tabs import map_canvas
from sdgui.panels.search.tabs.map import MapPage
from sdgui.panels.search.tabs.map_canvas import OTHER, MapCanvas
from sdgui.panels.search.tabs.map_dots import argb, dots_image
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import theme
from tests.sdgui.panels.search.test_search_parts import a_map

PLACES = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5)])


@pytest.fixture
def canvas(qtbot: QtBot) -> MapCanvas:
    """Four images in the corners, and a caption in the middle."""
    make_application()
    made = MapCanvas()
    qtbot.addWidget(made)
    made.resize(500, 500)
    made.show()
    made.set_points(PLACES, [0, 1, OTHER, 0, 1], 4)
    return made


def view(canvas: MapCanvas) -> list[tuple[float, float]]:
    return [(low, high) for low, high in canvas._box.viewRange()]


class Drag:
    """A drag of the mouse as pyqtgraph tells it."""

    def __init__(self, canvas: MapCanvas, begin: tuple[float, float], end: tuple[float, float], **more: Any) -> None:
        box = canvas._box
        self._at = [box.mapFromScene(box.mapViewToScene(QPointF(*one))) for one in (begin, end)]
        self._more = {"button": Qt.MouseButton.LeftButton, "start": False, "finish": False, "shift": False} | more
        self.accepted = False

    def accept(self) -> None:
        self.accepted = True

    def button(self) -> Any:
        return self._more["button"]

    def modifiers(self) -> Any:
        return Qt.KeyboardModifier.ShiftModifier if self._more["shift"] else Qt.KeyboardModifier.NoModifier

    def buttonDownPos(self) -> Any:
        return self._at[0]

    def lastPos(self) -> Any:
        return self._at[0]

    def pos(self) -> Any:
        return self._at[1]

    def isStart(self) -> bool:
        return bool(self._more["start"])

    def isFinish(self) -> bool:
        return bool(self._more["finish"])


class Click:
    def __init__(self, at: QPointF, double: bool = False, button: Any = Qt.MouseButton.LeftButton) -> None:
        self._at, self._double, self._button, self.accepted = at, double, button, False

    def scenePos(self) -> QPointF:
        return self._at

    def double(self) -> bool:
        return self._double

    def button(self) -> Any:
        return self._button

    def accept(self) -> None:
        self.accepted = True


def test_a_left_drag_draws_a_lasso_and_other_drags_pan(canvas: MapCanvas) -> None:
    found: list[list[int]] = []
    canvas.lassoed.connect(found.append)
    before = view(canvas)
    box = canvas._box
    corners = [(-0.2, -0.2), (1.2, -0.2), (1.2, 0.3), (-0.2, 0.3)]
    for number, corner in enumerate(corners[1:]):
        drag = Drag(canvas, corners[0], corner, start=number == 0, finish=number == 2)
        box.mouseDragEvent(drag)
        assert drag.accepted
        assert len(found) == (number == 2)
        assert bool(len(canvas._lasso.getData()[0])) == (number < 2), "its line is seen until it is finished"
    assert found == [[0, 1]]
    assert [tuple(point.pos()) for point in canvas._rings.points()] == [(0.0, 0.0), (1.0, 0.0)]
    assert view(canvas) == before
    box.mouseDragEvent(Drag(canvas, (0.0, 0.0), (0.25, 0.5), shift=True))
    moved = view(canvas)
    assert [low - old for (low, _), (old, _) in zip(moved, before, strict=True)] == pytest.approx(
        [-0.25, -0.5], abs=0.01
    )
    box.mouseDragEvent(Drag(canvas, (0.25, 0.5), (0.0, 0.0), button=Qt.MouseButton.MiddleButton))
    assert view(canvas)[0] == pytest.approx(before[0], abs=0.01)
    assert len(found) == 1
    single = Click(QPointF())
    box.mouseClickEvent(single)
    assert not single.accepted
    canvas.move_view(0.5, 0.5)
    double = Click(QPointF(), double=True)
    box.mouseClickEvent(double)
    assert double.accepted
    assert view(canvas)[0] == pytest.approx(before[0], abs=0.01), "a double click shows everything"


def test_the_hovered_point_is_announced_once_and_a_click_selects_it(canvas: MapCanvas) -> None:
    hovered, clicked = list[int](), list[int]()
    canvas.hovered.connect(lambda index, _at: hovered.append(index))
    canvas.clicked.connect(clicked.append)
    at, nowhere = (canvas._box.mapViewToScene(QPointF(*one)) for one in ((1.0, 1.0), (0.7, 0.2)))
    canvas._mouse_moved(at)
    canvas._mouse_moved(at + QPointF(1, 1))
    assert hovered == [3]
    canvas._mouse_moved(nowhere)
    assert hovered == [3, -1]
    canvas._mouse_clicked(Click(nowhere))
    canvas._mouse_clicked(Click(at, double=True))
    assert clicked == []
    canvas._mouse_clicked(Click(at))
    assert clicked == [3]
    canvas._mouse_moved(at)
    canvas.leaveEvent(QEvent(QEvent.Type.Leave))
    canvas._mouse_moved(at)
    assert hovered == [3, -1, 3, -1, 3]
    first = canvas._box.mapViewToScene(QPointF(0.0, 0.0))
    canvas._mouse_clicked(Click(first))
    assert clicked == [3, 0], "the first point too"
    assert canvas.nearest(first + QPointF(11, 0)) == 0
    assert canvas.nearest(first + QPointF(14, 0)) == -1


def test_a_lasso_of_a_large_map_selects_the_points_inside(canvas: MapCanvas, monkeypatch: pytest.MonkeyPatch) -> None:
    around = [QPointF(-0.2, -0.2), QPointF(1.2, -0.2), QPointF(1.2, 0.7), QPointF(-0.2, 0.7)]
    for many in (4, 5):
        monkeypatch.setattr(map_canvas, "MANY", many)
        assert canvas.inside(around) == [0, 1, 4]
        assert canvas.inside(around[:2]) == [], "a line holds nothing"


def test_points_of_a_large_map_are_placed_correctly_in_any_view(
    canvas: MapCanvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_canvas, "MANY", 3)
    groups, look = [0, 1, 2, 0, 1], theme()
    canvas.set_points(PLACES, groups, 4)
    canvas.mark([3])
    assert len(canvas._dots.points()) == len(canvas._marks.points()) == 0, "one image instead of shapes"
    for _ in range(2):
        image = canvas.grab().toImage()
        for place, group in zip(PLACES[:3], groups, strict=False):
            at = canvas._view.mapFromScene(canvas._box.mapViewToScene(QPointF(*place)))
            assert image.pixelColor(at) == look.run_color(group)
        canvas.move_view(0.1, -0.05, zoom=1.2)
    canvas.set_groups([2, 2, 2, 2, 2])
    at = canvas._view.mapFromScene(canvas._box.mapViewToScene(QPointF(0.0, 0.0)))
    assert canvas.grab().toImage().pixelColor(at) == look.run_color(2)
    assert [tuple(point.pos()) for point in canvas._rings.points()] == [(1.0, 1.0)]
    canvas.set_points(PLACES[:2], [0, 1], 2)
    assert len(canvas._dots.points()) == 2, "of few the shapes again"
    assert canvas.grab().toImage().pixelColor(at) != look.run_color(2)


def test_keys_move_zoom_and_select_visible_points(qtbot: QtBot, canvas: MapCanvas) -> None:
    found: list[list[int]] = []
    canvas.lassoed.connect(found.append)
    start = view(canvas)
    wide = start[0][1] - start[0][0]
    steps = {
        Qt.Key.Key_Right: (0.1, 0.0),
        Qt.Key.Key_Up: (0.0, 0.1),
        Qt.Key.Key_Left: (-0.1, 0.0),
        Qt.Key.Key_Down: (0.0, -0.1),
    }
    for key, (right, up) in steps.items():
        before = view(canvas)
        qtbot.keyClick(canvas, key)
        after = view(canvas)
        assert after[0][0] - before[0][0] == pytest.approx(right * wide, abs=1e-6)
        assert after[1][0] - before[1][0] == pytest.approx(up * (start[1][1] - start[1][0]), abs=1e-6)
    for key, factor in ((Qt.Key.Key_Plus, 0.8), (Qt.Key.Key_Minus, 1.25), (Qt.Key.Key_Equal, 0.8)):
        before = view(canvas)
        qtbot.keyClick(canvas, key)
        assert view(canvas)[0][1] - view(canvas)[0][0] == pytest.approx(factor * (before[0][1] - before[0][0]))
    canvas.move_view(0.4, 0.4)
    assert view(canvas)[0][0] > start[0][0]
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert found == [[3]] or set(found[0]) < {0, 1, 2, 3, 4}
    assert [tuple(point.pos()) for point in canvas._rings.points()] == [tuple(PLACES[at]) for at in found[0]]
    qtbot.keyClick(canvas, Qt.Key.Key_R)
    assert view(canvas)[0] == pytest.approx(start[0], abs=1e-6)
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert found[-1] == [0, 1, 2, 3, 4]
    before = view(canvas)
    canvas.move_view(0.0, 0.0, zoom=0.5)
    assert view(canvas)[0][1] - view(canvas)[0][0] == pytest.approx((before[0][1] - before[0][0]) / 2)
    other = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_B, Qt.KeyboardModifier.NoModifier)
    canvas.keyPressEvent(other)
    assert (len(found), other.isAccepted()) == (2, False), "other keys are for what is around it"


def test_images_are_discs_captions_triangles_each_with_its_colour(canvas: MapCanvas) -> None:
    look = theme()
    assert canvas.accessibleDescription() == "4 images and 1 captions"
    assert (canvas._box.menuEnabled(), canvas._box.state["aspectLocked"]) == (False, 1.0)
    assert [point.symbol() for point in canvas._dots.points()] == ["o"] * 4
    assert [point.symbol() for point in canvas._marks.points()] == ["t1"]
    colors = [point.brush().color() for point in canvas._dots.points()]
    assert colors[0] == colors[3] == look.run_color(0)
    assert colors[1] == look.run_color(1)
    assert colors[2].alpha() == 110
    canvas.mark([2])
    canvas.set_groups([1, 1, 1, 1, 0])
    assert [point.brush().color() for point in canvas._dots.points()] == [look.run_color(1)] * 4
    assert len(canvas._rings.points()) == 1, "what is marked stays"
    canvas.set_points(PLACES + 1, [0] * 5, 4)
    assert [tuple(point.pos()) for point in canvas._rings.points()] == [(1.0, 2.0)]
    canvas.set_points(PLACES[:2], [0, 0], 2)
    assert len(canvas._rings.points()) == 0, "they are other points"
    canvas.mark([])
    canvas.set_points(np.zeros((0, 2)), [], 0)
    assert canvas.nearest(QPointF(1, 1)) == -1
    assert canvas.in_view() == []


def test_many_points_are_drawn_as_discs_over_triangles_within_the_image() -> None:
    red, blue = (argb(QColor(name)) for name in ("red", "blue"))
    at = np.array([(10, 10), (10, 10), (30, 20), (0, 20), (39, 39)], np.int32)
    image = dots_image(at, np.array([red, blue, blue, red, red], np.uint32), 1, 40, 40)
    assert image.pixelColor(10, 10) == QColor("red"), "an image lies over a caption"
    assert image.pixelColor(30, 20) == QColor("blue")
    shape = {(x - 30, y - 20) for x in range(25, 36) for y in range(15, 26) if image.pixelColor(x, y).alpha()}
    assert shape == {(x, y) for y in range(-2, 3) for x in range(-2, 3) if abs(x) <= (y + 2) / 2}
    disc = {(x - 10, y - 10) for x in range(5, 16) for y in range(5, 16) if image.pixelColor(x, y) == QColor("red")}
    assert disc == {(x, y) for x in range(-2, 3) for y in range(-2, 3) if x * x + y * y <= 5}
    assert not any(image.pixelColor(x, y).alpha() for x in range(6) for y in range(15, 26)), (
        "what is cut off is left out"
    )
    ends = np.array([(3, 3), (36, 36), (2, 20), (37, 20), (20, 2), (20, 37)], np.int32)
    edges = dots_image(ends, np.full(6, red, np.uint32), 6, 40, 40)
    assert [edges.pixelColor(x, y).alpha() > 0 for x, y in ends.tolist()] == [True] * 2 + [False] * 4
    big = dots_image(at[:1], np.array([red], np.uint32), 1, 40, 40, size=2)
    assert sum(big.pixelColor(x, y).alpha() > 0 for x in range(40) for y in range(40)) == 4 * len(disc)
    assert argb(QColor(255, 0, 0, 51)) == 51 << 24 | 51 << 16
    assert argb(QColor("white")) == 0xFFFFFFFF
    assert argb(QColor(10, 20, 30)) == 255 << 24 | 10 << 16 | 20 << 8 | 30


@pytest.fixture
def page(qtbot: QtBot) -> Iterator[MapPage]:
    make_application()
    host = QWidget()
    made = MapPage(None, ExportMenu(ProgressStrip(host), lambda _message: None, host), host)
    host.resize(800, 500)
    made.resize(800, 500)
    qtbot.addWidget(host)
    yield made
    made.gallery.close_threads()


def test_a_map_is_requested_when_visible_and_named_on_hover(qtbot: QtBot, page: MapPage) -> None:
    wanted: list[bool] = []
    page.map_requested.connect(wanted.append)
    page.clear()
    assert wanted == [], "nobody looks at it"
    host = page.parentWidget()
    assert host is not None
    host.show()
    assert wanted == [True]
    page.show_map(a_map())
    host.hide()
    host.show()
    assert wanted == [True], "there is one"
    assert page.status.text().startswith("3 images, 1 captions · t-SNE · drag: lasso")
    legend = [child.text() for child in page._legend.findChildren(QLabel) if child.isVisible()]
    assert [text.rpartition("> ")[2] for text in legend] == ["warm", "cold"]
    assert theme().run_color(0).name() in legend[0]
    tops = [part.mapTo(page, QPoint()).y() for part in (page.fit, page._legend, page.canvas)]
    assert tops[0] + page.fit.height() <= tops[1] < tops[1] + page._legend.height() <= tops[2]
    page.show_map(a_map(("<b>", "cold", "<b>")))
    legend = [child.text() for child in page._legend.findChildren(QLabel) if child.isVisible()]
    assert len(legend) == 2
    assert "&lt;b>" in legend[0]
    popup = page._popup
    page.canvas.hovered.emit(0, page.mapToGlobal(QPoint(20, 30)))
    assert (popup.isVisible(), popup._words.text()) == (True, "tone: <b>")
    assert popup.x() > 20
    page.canvas.hovered.emit(3, page.mapToGlobal(QPoint(790, 495)))
    assert popup._words.text() == "“a cold one”"
    assert popup.geometry().right() < 790
    assert popup.geometry().bottom() <= 500
    assert popup.y() >= 0
    page.canvas.hovered.emit(-1, QPoint())
    assert not popup.isVisible()
    page.color.setCurrentIndex(0)
    page.color.activated.emit(0)
    legend = [child.text() for child in page._legend.findChildren(QLabel) if child.isVisible()]
    assert [text.rpartition("> ")[2] for text in legend] == ["images", "captions"]
    answer = a_map()
    page.show_map({**answer, "captions": []})
    assert page.color.currentData() == "tone" or page.color.currentData() == ""
    assert page.status.text().startswith("3 images · ")
    assert not page._legend.isHidden() or page.color.currentData() == ""


def test_lassoed_images_are_shown_once_each_and_marked_when_selected(page: MapPage) -> None:
    page.show_map(a_map())
    page.canvas.lassoed.emit([1, 3])
    assert [(item.path.name, item.caption, item.detail) for item in page.gallery.items()] == [
        ("1.png", "a cold one", "row 11"),
    ]  # fmt: skip
    menu, liked = QMenu(page), list[tuple[str, int]]()
    page.like_requested.connect(lambda path, row: liked.append((path, row)))
    page.gallery.menu_opening.emit(menu, [0])
    next(action for action in menu.actions() if action.text() == "More like this").trigger()
    assert [(Path(path).name, row) for path, row in liked] == [("1.png", 11)]
    page.canvas.lassoed.emit([0, 2])
    page.gallery.view.setCurrentIndex(page.gallery.model.index(1))
    assert page.canvas._marked == [2]
    page.show_names({"images": [], "captions": []})
    assert page.gallery.current() == 1, "what is under the mouse changes nothing of what was lassoed"
    page.canvas.clicked.emit(0)
    assert ([item.path.name for item in page.gallery.items()], page.canvas._marked) == (["0.png"], [0])
    page.canvas.move_view(0.5, 0.0)
    before = view(page.canvas)
    page.fit.click()
    assert view(page.canvas) != before
    page.show_map(a_map(("warm", "cold")))
    assert page.gallery.items() == [], "they are other images"


def test_the_chosen_colour_survives_the_better_layout(page: MapPage) -> None:
    answer = a_map()
    for image, size in zip(answer["images"], ("small", "large", ""), strict=True):
        image["labels"]["size"] = size
    page.show_map(answer)
    names = [page.color.itemData(row) for row in range(page.color.count())]
    assert sorted(names) == ["", "size", "tone"]
    page.color.setCurrentIndex(1)
    page.color.activated.emit(1)
    page.show_map(answer)
    assert page.color.currentData() == names[1]
