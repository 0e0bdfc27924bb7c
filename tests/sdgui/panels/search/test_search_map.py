"""The map by hand: what mouse and keys do, how points are drawn and coloured, what is said under the mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QLabel, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.tabs import map_canvas
from sdgui.panels.search.tabs.map import MapPage
from sdgui.panels.search.tabs.map_canvas import DEFAULT_COLOUR, MapCanvas
from sdgui.panels.search.tabs.map_dots import inside
from sdgui.panels.search.tabs.map_thumbnails import SIDE
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import theme
from sdgui.worker.map_verbs import SEARCH_MAP
from tests.sdgui.panels.search.scripted_answers import a_map, packed_map

PLACES = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5)])


@pytest.fixture
def canvas(qtbot: QtBot) -> MapCanvas:
    """Four images in the corners, and a caption in the middle."""
    make_application()
    made = MapCanvas()
    qtbot.addWidget(made)
    made.resize(500, 500)
    made.show()
    made.set_points(PLACES, [0, 1, DEFAULT_COLOUR, 0, 1], 4)
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


def test_a_left_drag_draws_a_lasso_and_other_drags_pan(qtbot: QtBot, canvas: MapCanvas) -> None:
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
    around = [QPointF(-0.2, -0.2), QPointF(1.2, -0.2), QPointF(1.2, 0.7), QPointF(-0.2, 0.7)]
    assert inside(canvas._positions, around).tolist() == [0, 1, 4]
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    assert found[-1] == [0, 1, 2, 3, 4]
    for key, opposite in ((Qt.Key.Key_Left, Qt.Key.Key_Right), (Qt.Key.Key_Up, Qt.Key.Key_Down)):
        before = view(canvas)
        qtbot.keyClick(canvas, key)
        assert view(canvas) != before
        qtbot.keyClick(canvas, opposite)
        assert view(canvas)[0] == pytest.approx(before[0], abs=0.01)
    qtbot.keyClick(canvas, Qt.Key.Key_Plus)
    qtbot.keyClick(canvas, Qt.Key.Key_Minus)
    assert view(canvas)[0] == pytest.approx(before[0], abs=0.01)


def test_points_of_a_large_map_are_placed_correctly_in_any_view(
    canvas: MapCanvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_canvas, "MAX_SEPARATE_POINTS", 3)
    groups, look = [0, 1, 2, 0, 1], theme()
    canvas.set_points(PLACES, groups, 4)
    canvas.mark([3])
    assert len(canvas._discs.points()) == len(canvas._triangles.points()) == 0, "one image instead of shapes"
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
    assert len(canvas._discs.points()) == 2, "of few the shapes again"
    assert canvas.grab().toImage().pixelColor(at) != look.run_color(2)


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
    assert page.status.text() == "3 images, 1 caption · t-SNE"
    legend = [child.text() for child in page._legend.findChildren(QLabel) if child.isVisible()]
    assert [text.rpartition("> ")[2] for text in legend] == ["warm", "cold"]
    assert theme().run_color(0).name() in legend[0]
    tops = [part.mapTo(page, QPoint()).y() for part in (page.fit, page._legend, page.canvas)]
    assert tops[0] + page.fit.height() <= tops[1] < tops[1] + page._legend.height() <= tops[2]
    page.show_map(a_map(("<b>", "cold", "<b>")))
    legend = [child.text() for child in page._legend.findChildren(QLabel) if child.isVisible()]
    assert len(legend) == 2
    assert "&lt;b&gt;" in legend[0]
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
    assert page.status.text().startswith("3 images · ")
    page.captions.setChecked(False)
    page.clear()
    assert wanted == [True, False, False], "switched off, and asked for anew without captions"


def test_lassoed_images_are_shown_once_each_and_marked_when_selected(page: MapPage) -> None:
    page.show_map(a_map(method="PCA"))
    page.canvas.lassoed.emit([1, 3])
    page.show_map(a_map())  # a better layout of the same images
    assert [(item.path.name, item.caption, item.detail) for item in page.gallery.items()] == [
        ("1.png", "a cold one", "row 11"),
    ]  # fmt: skip
    menu, liked = QMenu(page), list[tuple[str, int]]()
    page.like_requested.connect(lambda path, row: liked.append((path, row)))
    page.gallery.menu_opening.emit(menu, [0])
    next(action for action in menu.actions() if action.text() == "More like this").trigger()
    assert [(Path(path).name, row) for path, row in liked] == [("1.png", 11)]
    page.canvas.lassoed.emit([0, 2])
    several = QMenu(page)
    page.gallery.menu_opening.emit(several, [0, 1])
    assert not next(action for action in several.actions() if action.text() == "More like this").isEnabled()
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


def test_groups_are_named_on_the_final_layout(page: MapPage) -> None:
    page.show_map(a_map(method="PCA"))
    assert page.canvas._names == [], "groups overlap before it"
    page.show_map(a_map())
    assert [item.toPlainText() for item in page.canvas._names] == ["warm", "cold"]
    assert (page.canvas._names[1].pos().x(), page.canvas._names[1].pos().y()) == (1.0, 1.0)
    page.color.setCurrentIndex(page.color.findData(""))
    page.color.activated.emit(0)
    assert page.canvas._names == []


def test_thumbnails_that_do_not_overlap_are_shown_when_zoomed_in(qtbot: QtBot, page: MapPage, tmp_path: Path) -> None:
    host = page.parentWidget()
    assert host is not None
    host.show()
    answer = a_map()
    for number, image in enumerate(answer["images"]):
        image["path"] = str(tmp_path / f"{number}.png")
        QPixmap(8, 8).save(image["path"])
    answer["images"].append({**answer["images"][0], "row": 13})  # at the same place as the first
    page.show_map(answer)
    canvas = page.canvas
    assert canvas.without_overlaps([0, 3], 1.0) == [0]
    qtbot.wait(200)
    assert canvas._thumbnail_items == [], "everything is in view"
    canvas._box.setRange(xRange=(-0.2, 0.2), yRange=(-0.2, 0.2), padding=0)
    qtbot.waitUntil(lambda: len(canvas._thumbnail_items) == 1, timeout=10000)
    assert (canvas._thumbnail_items[0].pos().x(), canvas._thumbnail_items[0].pos().y()) == (0.0, 0.0)
    (words,) = canvas._word_items
    assert words.toPlainText() == page._points.name(0).words  # type: ignore[union-attr]
    center = canvas._box.mapViewToScene(QPointF(0.0, 0.0))
    assert words.mapRectToScene(words.boundingRect()).top() == pytest.approx(center.y() + SIDE / 2, abs=1.0)
    assert [item.toPlainText() for item in canvas._names] == ["warm"], "the only group in view"
    canvas.show_all()
    qtbot.waitUntil(lambda: canvas._thumbnail_items == [], timeout=10000)
    assert canvas._word_items == []


def test_words_that_would_cover_an_image_are_left_out(canvas: MapCanvas) -> None:
    canvas.set_points(np.array([(0.0, 0.0), (1.0, 1.0)]), [0, 0], image_count=2)
    canvas._box.setRange(xRange=(0.0, 1.0), yRange=(-0.2, 1.0), padding=0.1)
    pixel = canvas._box.viewPixelSize()[1]
    canvas.set_points(np.array([(0.0, 0.0), (0.0, -45 * pixel), (1.0, 1.0)]), [0, 0, 0], image_count=3)
    canvas._box.setRange(xRange=(0.0, 1.0), yRange=(-0.2, 1.0), padding=0.1)
    canvas.show_images(dict.fromkeys(range(3), QPixmap(40, 40)), {0: "above", 1: "below", 2: "apart"})
    assert [item.toPlainText() for item in canvas._word_items] == ["below", "apart"]


def test_many_images_have_density_lines_below_thumbnails(canvas: MapCanvas) -> None:
    canvas.set_points(np.random.default_rng(0).normal(size=(300, 2)), [0] * 300, image_count=300)
    assert len(canvas._contours) == 4
    canvas.show_images({0: QPixmap(8, 8)})
    assert all(
        canvas._discs.zValue() < line.zValue() < canvas._thumbnail_items[0].zValue() for line in canvas._contours
    )
    outer = canvas._contours[0].mapRectToParent(canvas._contours[0].boundingRect())
    assert outer.contains(canvas._contours[-1].mapRectToParent(canvas._contours[-1].boundingRect()))
    canvas.set_points(np.zeros((3, 2)), [0] * 3, image_count=3)
    assert canvas._contours == []


def test_a_large_map_is_coloured_consistently_and_queries_its_lasso(
    page: MapPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = page.parentWidget()
    assert host is not None
    host.show()
    page.show_map(a_map())
    alike = page.canvas._groups.tolist()
    monkeypatch.setattr(map_canvas, "MAX_SEPARATE_POINTS", 3)
    answer = packed_map(a_map())
    assert SEARCH_MAP.problem(answer) == ""
    page.show_map(answer)
    assert page.canvas._groups.tolist() == alike
    assert "openTSNE" in page.status.text()
    image = page.canvas.grab().toImage()
    at = page.canvas._view.mapFromScene(page.canvas._box.mapViewToScene(QPointF(0.0, 0.0)))
    assert image.pixelColor(at) == theme().run_color(0), "drawn where it is"
    asked: list[tuple[list[int], list[int]]] = []
    page.names_wanted.connect(lambda _purpose, rows, texts: asked.append((rows, texts)))
    page.canvas.lassoed.emit([0, len(a_map()["images"])])
    assert asked == [([10, 11], [0])]
    assert page.gallery.items() == []
    names = [{"row": row, "path": f"/{row - 10}.png", "caption": f"words {row}", "labels": {}} for row in (10, 11)]
    page.show_names({"images": names, "captions": [{"text": 0, "caption": "a cold one", "row": 11}]})
    assert [(item.path.name, item.caption) for item in page.gallery.items()] == [
        ("0.png", "words 10"),
        ("1.png", "a cold one"),
    ]
    page.gallery.set_current(1)
    page.canvas.hovered.emit(0, QPoint(0, 0))
    assert page._popup.isVisible()
    page.canvas.hovered.emit(2, QPoint(0, 0))
    assert asked[-1] == ([12], [])
    assert page._popup.isHidden(), "the words of the point before are not this one's"
    third = {"row": 12, "path": "/2.png", "caption": "words 12", "labels": {}}
    page.show_names({"images": [third], "captions": []})
    assert page.gallery.current() == 1, "what is chosen stays"
    assert (page._popup.isVisible(), page._popup._words.text()) == (True, "words 12")
