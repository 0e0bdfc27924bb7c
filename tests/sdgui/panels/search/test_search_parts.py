"""Parts of the Search panel by themselves: jobs, messages, tables of ranks, the map, chips and filters."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.index import _report
from sdgui.panels.search.tabs import map_canvas
from sdgui.panels.search.tabs.evaluation import IMAGES, PAIRS, EvaluationPane
from sdgui.panels.search.tabs.map import MapPage
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import theme
from sdgui.worker.map_verbs import SEARCH_MAP
from tests.sdgui.panels.search.scripted_answers import side_of


def test_the_report_of_an_index_names_its_problems() -> None:
    counts = {"added": 4, "changed": 0, "removed": 1, "unchanged": 2, "images": 6, "log": []}
    fine = _report("/x/made", {**counts, "unreachable": 0, "bad": []})
    assert (fine.level, fine.text) == ("info", "made: 6 images indexed; 4 added, 1 removed, 2 unchanged.")
    away = _report("/x/made", {**counts, "unreachable": 3, "bad": []})
    assert (away.level, away.text.endswith("3 are unavailable and stay in the index.")) == ("warning", True)
    bad = _report("/x/made", {**counts, "unreachable": 0, "bad": [f"{number}.png" for number in range(22)]})
    assert "22 cannot be used." in bad.text
    assert bad.details.splitlines()[-1] == "and 2 more"
    assert _report("/x", {"relocated": 5}).text == "5 images of /x were relocated."


@pytest.fixture
def pane(qtbot: QtBot) -> EvaluationPane:
    make_application()
    made = EvaluationPane()
    qtbot.addWidget(made)
    made.show()
    return made


def test_the_evaluation_keeps_the_selected_query_and_requests_pairs_again(pane: EvaluationPane) -> None:
    asked: list[int] = []
    pane.compare_requested.connect(asked.append)
    pane.show_sides([side_of({"a": 6, "b": 1, "c": 2}), side_of({"b": 4, "a": 1})], ["Student", "Teacher"])
    assert [query.title for query in pane.model.visible_queries] == ["a", "c", "b"], "the hardest first"
    pane.model.sort(2, Qt.SortOrder.AscendingOrder)
    assert [query.title for query in pane.model.visible_queries] == ["a", "b", "c"], "what is not known comes last"
    assert pane.choose("b", "/b")
    pane.show_sides([side_of({"a": 1, "b": 1, "c": 9}), side_of({"b": 4, "a": 1})], ["Student", "Teacher"])
    current = pane.current()
    assert current is not None
    assert current.title == "b"
    many = {f"{number:03}": float(number) for number in range(80)}
    pane.show_sides([side_of(many), side_of(many)], ["Student", "Teacher"])
    assert pane.choose("000", "/000")
    row = pane.table.visualRect(pane.table.currentIndex())
    assert pane.table.viewport().rect().contains(row), "it is scrolled to"
    assert not pane.choose("none", "/none")
    pane.way.setCurrentIndex(pane.way.findData(PAIRS))
    pane.way.activated.emit(pane.way.currentIndex())
    pane.k_box.setCurrentIndex(1)
    pane.k_box.activated.emit(1)
    assert asked == [1, 5]
    pairs = {"only_a": [], "only_b": [], "counts": {"only_a": 0, "only_b": 0, "both": 1, "neither": 0}}
    pane.show_pairs(pairs)
    pane.show_sides([side_of({"a": 1}), side_of({"a": 1})], ["Student", "Teacher"])
    assert asked == [1, 5, 5], "of other models the pairs are others"
    pane.show_sides([side_of({"a": 1}, queries={"text_to_image": 7, "image_to_text": 7})], ["Student"])
    assert pane.way.findData(PAIRS) < 0
    assert pane.count_label.text() == "1 of 7 queries (the 1 hardest are listed)"
    pane.way.setCurrentIndex(pane.way.findData(IMAGES))
    pane.way.activated.emit(pane.way.currentIndex())
    assert pane.model.headerData(0, Qt.Orientation.Horizontal) == "Image with the caption"


def a_map(labels: tuple[str, ...] = ("warm", "cold", "warm"), method: str = "t-SNE") -> dict[str, Any]:
    images = [
        {"x": float(i), "y": float(i % 2), "row": 10 + i, "path": f"/{i}.png", "labels": {"tone": label}}
        for i, label in enumerate(labels)
    ]
    captions = [{"x": 0.5, "y": 0.5, "row": 11, "text": 0, "caption": "a cold one"}]
    return {"images": images, "captions": captions, "method": method}


@pytest.fixture
def page(qtbot: QtBot, tmp_path: Path) -> Iterator[MapPage]:
    make_application()
    host = QWidget()
    strip = ProgressStrip(host)
    made = MapPage(None, ExportMenu(strip, lambda _message: None, host), host)
    host.resize(800, 500)
    made.resize(800, 500)
    qtbot.addWidget(host)
    host.show()
    yield made
    made.gallery.close_threads()


def test_a_lasso_survives_a_better_layout_of_the_same_images(page: MapPage) -> None:
    wanted: list[bool] = []
    page.map_requested.connect(wanted.append)
    page.show_map(a_map(method="PCA"))
    assert "computing a better layout" in page.status.text()
    page.canvas.lassoed.emit([0, 2])
    page.show_map(a_map())
    assert [item.path.name for item in page.gallery.items()] == ["0.png", "2.png"]
    page.canvas.clicked.emit(1)
    assert [item.path.name for item in page.gallery.items()] == ["1.png"]
    asked: list[tuple[str, int]] = []
    page.like_requested.connect(lambda path, row: asked.append((path, row)))
    menu = QMenu()
    page._fill_menu(menu, [0])
    like = next(action for action in menu.actions() if action.text() == "More like this")
    like.trigger()
    assert asked == [("/1.png", 11)]
    page.canvas.lassoed.emit([0, 1])
    several = QMenu()
    page._fill_menu(several, [0, 1])
    assert not next(action for action in several.actions() if action.text() == "More like this").isEnabled()
    page.captions.setChecked(False)
    page.clear()
    assert wanted == [False, False], "switched off, and asked for anew without captions"
    assert page.gallery.items() == []


def packed_map(answer: dict[str, Any]) -> dict[str, Any]:
    """The same answer as of a very large map."""

    def pack(values: Any, kind: str = "<i4") -> str:
        return base64.b64encode(np.asarray(values, kind).tobytes()).decode()

    both = [*answer["images"], *answer["captions"]]
    tones = list(dict.fromkeys(one["labels"]["tone"] for one in answer["images"]))
    packed = {
        "x": pack([one["x"] for one in both], "<f4"),
        "y": pack([one["y"] for one in both], "<f4"),
        "rows": pack([one["row"] for one in answer["images"]]),
        "texts": pack([one["text"] for one in answer["captions"]]),
        "owners": pack([one["row"] for one in answer["captions"]]),
        "labels": {
            "tone": {"values": tones, "codes": pack([tones.index(p["labels"]["tone"]) for p in answer["images"]])}
        },
    }
    return {"method": "t-SNE of all points by openTSNE", "images": [], "captions": [], "packed": packed}


def test_a_large_map_is_coloured_consistently_and_queries_its_lasso(
    page: MapPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.show_map(a_map())
    alike = page.canvas._groups.tolist()
    monkeypatch.setattr(map_canvas, "MANY", 3)
    answer = packed_map(a_map())
    assert SEARCH_MAP.problem(answer) == ""
    page.show_map(answer)
    assert page.canvas._groups.tolist() == alike
    assert "openTSNE" in page.status.text()
    image = page.canvas.grab().toImage()
    at = page.canvas._view.mapFromScene(page.canvas._box.mapViewToScene(QPointF(0.0, 0.0)))
    assert image.pixelColor(at) == theme().run_color(0), "drawn where it is"
    asked: list[tuple[list[int], list[int]]] = []
    page.names_wanted.connect(lambda rows, texts: asked.append((rows, texts)))
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
