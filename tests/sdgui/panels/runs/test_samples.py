"""Samples in Runs: captions written by each network, beside the true ones; whatever the events hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from core.spec.run.events import Sample
from sdgui.app.start import make_application
from sdgui.panels.runs.samples import CAPTIONS, SamplesView
from sdgui.widgets.gallery.image_label import ImageLabel


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    for number in range(2):
        image = QImage(16, 16, QImage.Format.Format_RGB32)
        image.fill(QColor.fromHsv(number * 90, 200, 200))
        image.save(str(tmp_path / f"{number}.png"))
    return [str(tmp_path / f"{number}.png") for number in range(2)]


def written(step: int, images: list[str], *networks: str) -> Sample:
    content = {
        network: [
            {"image": image, "caption": f"{network} at {step} of {number}", "truth": f"true {number}"}
            for number, image in enumerate(images)
        ]
        for network in networks
    }
    return Sample(step=step, what="captions", content=content)


def found(step: int, images: list[str]) -> Sample:
    hits = [{"image": image, "score": 0.5, "true": number == 0} for number, image in enumerate(images)]
    content = {"student": [{"caption": f"words at {step}", "image": images[0], "hits": hits}]}
    return Sample(step=step, what="retrieval", content=content)


def found_by_each(step: int) -> Sample:
    hits = [{"image": f"/images/{step}-{i}.png", "score": 0.5 - i / 10, "true": i == 1} for i in range(3)]
    entry = {"caption": "a red circle", "image": "/images/0.png", "hits": hits}
    return Sample(step=step, what="retrieval", content={"student": [entry], "teacher": [entry]})


def names(view: SamplesView) -> list[str]:
    return [item.path.name for item in view.galleries["student"].items()]


def texts(view: SamplesView) -> list[list[str]]:
    table = view.caption_table
    rows = []
    for row in range(table.rowCount()):
        items = [table.item(row, column) for column in range(1, table.columnCount())]
        rows.append([item.text() if item is not None else "" for item in items])
    return rows


@pytest.fixture
def view(qtbot: QtBot) -> SamplesView:
    make_application()
    view = SamplesView()
    qtbot.addWidget(view)
    view.resize(900, 400)
    view.show()
    return view


def test_captions_are_shown_step_by_step_beside_the_true_ones(
    qtbot: QtBot, view: SamplesView, images: list[str]
) -> None:
    both = ("student", "teacher")
    first, second = written(10, images, *both), written(20, images, *both)
    assert not view.kind.isVisible(), "without samples there is no choice"
    view.show_samples([found(10, images), first, found(20, images), second])
    assert view.kind.isVisible()
    assert view.captions.isVisible(), "what is found comes first, as ever"
    view.kind.setCurrentIndex(view.kind.findData(CAPTIONS))
    assert view.caption_table.isVisible()
    headers = [
        view.caption_table.horizontalHeaderItem(column).text() for column in range(view.caption_table.columnCount())
    ]
    assert headers == ["Image", "True caption", "Student", "Teacher"]
    assert texts(view) == [
        ["true 0", "student at 20 of 0", "teacher at 20 of 0"],
        ["true 1", "student at 20 of 1", "teacher at 20 of 1"],
    ]
    assert "Step 20" in view._step.text()
    source_images = [view.caption_table.cellWidget(row, 0) for row in range(2)]
    assert all(isinstance(source_image, ImageLabel) for source_image in source_images)
    qtbot.waitUntil(lambda: all(not source_image.pixmap().isNull() for source_image in source_images))
    spoken = [view.caption_table.item(row, 0).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(2)]
    assert spoken == ["0.png", "1.png"]
    view.show_samples([found(10, images), first, found(20, images), written(20, images[::-1], *both)])
    assert [source_image.toolTip() for source_image in source_images if isinstance(source_image, ImageLabel)] == images[
        ::-1
    ]
    view.show_samples([found(10, images), first, found(20, images), second])
    view.go_to_step(10)
    assert texts(view)[0] == ["true 0", "student at 10 of 0", "teacher at 10 of 0"]
    assert [view.caption_table.cellWidget(row, 0) for row in range(2)] == source_images, (
        "images that stay are not read again"
    )
    view.show_samples([found(10, images), first, found(20, images), second, written(30, images, *both)], step=10)
    assert "Step 10" in view._step.text(), "what was chosen stays chosen when another comes"
    view.kind.setCurrentIndex(0)
    assert "Step 10" in view._step.text()
    assert view.captions.item(0).text() == "words at 10"


def test_the_newest_sample_is_shown_unless_an_older_one_is_chosen(view: SamplesView) -> None:
    view.show_samples([found_by_each(10)])
    assert view._step.text() == "Step 10"
    view.show_samples([found_by_each(10), found_by_each(20)])
    assert view._step.text() == "Step 20"
    ranked = [(gallery.rank, gallery.score) for gallery in view.galleries["teacher"].items()]
    assert ranked == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert not any(side.isHidden() for side in view._sides.values())
    assert names(view) == ["20-0.png", "20-1.png", "20-2.png"]
    view.show_samples([found_by_each(10), found_by_each(20), found_by_each(30)], step=10)
    assert view._step.text() == "Step 10"
    view.show_samples([found_by_each(10), found_by_each(20), found_by_each(30), found_by_each(40)])
    assert names(view)[0] == "40-0.png"


def test_the_selected_caption_stays_selected_where_possible(view: SamplesView) -> None:
    def sample(step: int, *captions: str) -> Sample:
        def entry(text: str) -> dict[str, Any]:
            return {"caption": text, "hits": [{"image": f"/{step}-{text}.png", "score": 0.5, "true": True}]}

        return Sample(step=step, what="retrieval", content={"student": [entry(text) for text in captions]})

    view.show_samples([sample(10, "a", "b", "c"), sample(20, "d", "e", "f"), sample(30, "g", "h")])
    assert (view.captions.currentRow(), names(view)) == (0, ["30-g.png"])
    view.go_to_step(20)
    view.captions.setCurrentRow(2)
    assert names(view) == ["20-f.png"]
    view.go_to_step(10)
    assert (view.captions.currentRow(), names(view)) == (2, ["10-c.png"])
    view.go_to_step(30)
    assert (view.captions.currentRow(), names(view)) == (1, ["30-h.png"]), "the last one where there are fewer"


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "/a.png", "é\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["student", "teacher", "image", "caption", "truth", "hits", "score", "true"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
CONTENT = st.dictionaries(st.sampled_from(["student", "teacher", "x"]), PLAIN, max_size=3)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from(["captions", "retrieval"]), content=CONTENT)
def test_any_event_is_shown_or_skipped(view: SamplesView, kind: str, content: dict[str, Any]) -> None:
    view.show_samples([Sample(step=1, what=kind, content=content)])
    assert view.caption_table.rowCount() <= 50


def test_logged_samples_are_shown_by_name_and_step(view: SamplesView, tmp_path: Path) -> None:
    outside = [{"image": "../b.png"}, {"image": str(tmp_path.parent / "b.png")}]
    listed = [*outside, {"image": "samples/a.png", "caption": "a cat"}, "no image", {"image": 3}]
    image = {"type": "images", "images": listed}
    table = {"type": "table", "columns": ["n", "word"], "rows": [[1, "one"], "no row", [2, None, "too many"]]}
    samples = [
        Sample(step=1, what="logged", content={"pictures": image}),
        Sample(step=2, what="logged", content={"pictures": image}),
        Sample(step=2, what="logged", content={"cells": table, "said": {"type": "text", "text": "hello"}, "odd": 3}),
    ]
    view.show_samples(samples, tmp_path)
    logged = view.logged
    assert logged.isVisible()
    assert view._step.text() == "Step 2"
    assert [logged.names.item(row).text() for row in range(logged.names.count())] == [
        "pictures",
        "cells",
        "said",
        "odd",
    ]
    assert logged.gallery.model._items[0].path == tmp_path / "samples" / "a.png"
    logged.names.setCurrentRow(1)
    shown = [
        [item.text() if (item := logged.table.item(row, column)) else "" for column in range(2)] for row in range(3)
    ]
    assert shown == [["1", "one"], ["", ""], ["2", ""]]
    logged.names.setCurrentRow(2)
    assert logged.text.toPlainText() == "hello"
    logged.names.setCurrentRow(3)
    assert logged.gallery.isVisible()
