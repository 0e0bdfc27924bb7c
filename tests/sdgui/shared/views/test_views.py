"""Views of images: cut from what a worker drew, painted in a grid, told of, and drawn again as settings move."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.shared.views.canvas import ViewsCanvas
from sdgui.shared.views.drawing import Views, ViewsWork, views_of
from sdgui.shared.views.preview import ViewsPreview
from sdgui.worker.data_verbs import DrawnViews
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure

RED, GREEN, BLUE = QColor("#ff0000"), QColor("#00ff00"), QColor("#0000ff")
SIDE, PATCH = 4, 2  # pixels of a view, and of one of its four patches


def cell(number: int, mask: str = "", mixed: Any = None) -> dict[str, Any]:
    return {"offset": number * 3 * SIDE * SIDE, "mask": mask, "mixed": mixed}


def view(title: str, who: str, *cells: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "who": who, "side": SIDE, "patch": PATCH,
            "cells": list(cells)}  # fmt: skip


def answer(**more: Any) -> DrawnViews:
    """Two images: the teacher's view, given first, is red and green; the student's two are blue, one masked."""
    mixed = {"path": "/p/other.png", "caption": "a hat", "share": 0.75, "box": [0, 2, 4, 4]}
    fields: dict[str, Any] = {
        "epoch": 3,
        "steps_per_epoch": 20,
        "batch": 128,
        "by_choice": True,
        "images": [
            {"row": 5, "path": "/p/a.png", "caption": "a cat", "batch": 61},
            {"row": 7, "path": "/p/b.png", "caption": "", "batch": 62},
        ],
        "views": [
            view("Clean", "teacher", cell(0), cell(1)),
            view("Strong", "student", cell(2, "1200"), cell(2)),
            view("Mixed", "student", cell(2, "", mixed), cell(2, "", {**mixed, "box": [], "caption": ""})),
        ],
        "skipped": [],
    }
    return cast(DrawnViews, fields | more)


PIXELS = b"".join(bytes(color.getRgb()[:3]) * SIDE * SIDE for color in (RED, GREEN, BLUE))


@pytest.fixture
def views() -> Views:
    return views_of(answer(), PIXELS)


@pytest.fixture
def canvas(qtbot: QtBot, views: Views) -> ViewsCanvas:
    canvas = ViewsCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 300)
    canvas.show_views(views)
    canvas.show()
    return canvas


def test_the_students_views_precede_the_teachers_each_kind_under_one_heading(views: Views) -> None:
    assert [(row.heading, row.title, row.patches) for row in views.rows] == [
        ("The student sees", "Strong", 2),
        ("", "Mixed", 2),
        ("The teacher sees", "Clean", 2),
    ]
    assert [[image.pixelColor(3, 3) for image in row.images] for row in views.rows] == [
        [BLUE, BLUE], [BLUE, BLUE], [RED, GREEN]
    ]  # fmt: skip
    assert views.rows[0].images[0].size().toTuple() == (SIDE, SIDE)
    assert (views.epoch, views.steps_per_epoch, views.batch, views.by_choice) == (3, 20, 128, True)


def at(canvas: ViewsCanvas, row: int, column: int) -> QPoint:
    return canvas._cell(column, canvas._tops[row]).center()


def test_views_are_painted_in_a_grid_with_masks(canvas: ViewsCanvas) -> None:
    assert canvas._side == (300 - 72) // 2 - 4
    image = canvas.grab().toImage()
    quarter = canvas._side // 4
    left = QPoint(-quarter, 0)  # what was pasted begins in the middle
    colors_shown = [[image.pixelColor(at(canvas, row, column) + left) for column in range(2)] for row in (1, 2)]
    assert colors_shown == [[BLUE, BLUE], [RED, GREEN]]
    masked = canvas._cell(0, canvas._tops[0])
    corners = [masked.topLeft() + QPoint(x * quarter, y * quarter) for y in (1, 3) for x in (1, 3)]
    assert [image.pixelColor(corner) == BLUE for corner in corners] == [False, False, True, True]

    def colors(left: int) -> int:
        box = masked.adjusted(left, 0, left - 2 * quarter, -2 * quarter)
        return len({image.pixel(x, y) for x in range(box.left() + 2, box.right() - 2)
                    for y in range(box.top() + 2, box.bottom() - 2)})  # fmt: skip

    assert colors(0) > 1, "hidden patches are hatched"
    assert colors(2 * quarter) == 1, "those that are left out are only pale"
    bare = canvas._cell(1, canvas._tops[1])
    boxed = canvas._cell(0, canvas._tops[1])
    edge = [image.pixelColor(boxed.left() + boxed.width() // 2, y) for y in range(boxed.top(), boxed.bottom())]
    assert any(color != BLUE for color in edge), "what was pasted is outlined"
    assert all(image.pixelColor(bare.left() + bare.width() // 2, y) == BLUE for y in range(bare.top(), bare.bottom()))
    tops = canvas._tops
    line = canvas.fontMetrics().height()
    assert tops[1] == tops[0] + canvas._side + 4, "rows of one kind follow close"
    assert tops[2] == tops[1] + canvas._side + 4 + line + line + 8, "below the partner's words and a heading"
    assert canvas.height() == tops[2] + canvas._side + 4 + 8


def test_the_original_images_are_above_their_views(qtbot: QtBot, canvas: ViewsCanvas, tmp_path: Path) -> None:
    image = QImage(20, 10, QImage.Format.Format_RGB32)
    image.fill(GREEN)
    image.save(str(tmp_path / "a.png"))
    images = [{"row": 0, "path": str(tmp_path / "a.png"), "caption": "a cat", "batch": 0}]
    canvas.show_views(views_of(answer(images=images, views=[view("Clean", "both", cell(0))]), PIXELS))
    centre = canvas._cell(0, 0).center()
    qtbot.waitUntil(lambda: canvas.grab().toImage().pixelColor(centre) == GREEN)
    drawn = canvas.grab().toImage()
    assert drawn.pixelColor(centre.x(), 3) != image.pixelColor(0, 0), "its form is kept"


CONFIG = override(preset_config("clip", "tiny"), ["data.train=/t.csv", "seed=7"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked to be drawn; "cancel" where it is given up."""
    requests: list[Any] = []
    monkeypatch.setattr(ViewsWork, "draw", lambda _work, *args: requests.append(args))
    monkeypatch.setattr(ViewsWork, "cancel", lambda _work: requests.append("cancel"))
    return requests


@pytest.fixture
def preview(qtbot: QtBot, asked: list[Any]) -> ViewsPreview:
    pool = WorkerPool()
    preview = ViewsPreview(pool)
    qtbot.addWidget(preview, before_close_func=lambda _: pool.close())
    return preview


def test_a_config_with_errors_or_without_data_leaves_the_views_pale(
    qtbot: QtBot, preview: ViewsPreview, asked: list[Any], views: Views
) -> None:
    signals: list[None] = []
    preview.drawn.connect(lambda: signals.append(None))
    preview.work.drawn.emit(views)
    assert (preview.views(), preview.canvas.views, len(signals)) == (views, views, 1)
    without: list[RunConfig | None] = [None, override(CONFIG, ["data.train="])]
    for config in without:
        asked.clear()
        preview.canvas.set_stale(False)
        preview.show_config(config)
        assert (asked, preview.canvas._stale) == (["cancel"], True)
    preview.step.setValue(3)
    qtbot.wait(40)
    assert asked == ["cancel"]
    preview.work.drawn.emit(views)
    assert not preview.canvas._stale
    preview.work.failed.emit("It cannot be read.\nline two")
    assert (preview.note.text(), preview.canvas._stale) == ("It cannot be read.", True)
    assert (preview.note.property("role"), "line two" in preview.note.toolTip()) == ("error", True)
    preview.work.drawn.emit(views)
    assert preview.note.property("role") == "small"


def test_drawing_again_advances_by_an_epoch_or_a_batch(preview: ViewsPreview, views: Views) -> None:
    assert preview.again.shortcut().toString() == "Ctrl+Shift+G"
    preview.again.click()
    assert preview.step.value() == 1, "nothing is known yet"
    preview.show_config(CONFIG, [5])
    preview.work.drawn.emit(views)
    preview.again.click()
    assert preview.step.value() == 21, "the same images in the next epoch"
    preview.work.drawn.emit(views_of(answer(by_choice=False), PIXELS))
    preview.again.click()
    assert preview.step.value() == 22
    preview.work.drawn.emit(views)
    preview.show_config(CONFIG)
    preview.draw_again()
    assert preview.step.value() == 23


def test_files_drawn_by_a_worker_are_read_and_removed_and_a_refusal_is_reported(qapp: object, tmp_path: Path) -> None:
    pool = WorkerPool()
    work, drawn, failed = ViewsWork(pool), list[Views](), list[str]()
    work.drawn.connect(drawn.append)
    work.failed.connect(failed.append)
    (tmp_path / "0.rgb").write_bytes(PIXELS)
    work._on_answer(answer(), tmp_path / "0.rgb")
    assert [views_drawn.rows[2].images[0].pixelColor(0, 0) for views_drawn in drawn] == [RED]
    assert not (tmp_path / "0.rgb").exists()
    work._on_answer(answer(), tmp_path / "0.rgb")
    assert failed == ["The views cannot be read: No such file or directory. Draw them again."]
    work._report_refusal(Cancelled())
    work._report_refusal(Failure("No such column."))
    assert failed[1:] == ["No such column."]
    work.draw(CONFIG, 0, [], 2)
    assert work.busy
    work.cancel()
    assert not work.busy
    pool.close()
