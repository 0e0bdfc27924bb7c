"""Cells of the gallery: a row of them fills the width."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QStyle
from pytestqt.qtbot import QtBot

from sdgui.widgets.gallery.gallery import Gallery, GalleryItem


@pytest.mark.parametrize("width", [330, 533, 700])
@pytest.mark.parametrize("side", [64, 128])
def test_a_row_of_cells_leaves_nothing_free(qtbot: QtBot, width: int, side: int) -> None:
    gallery = Gallery(None)
    qtbot.addWidget(gallery)
    gallery.set_items([GalleryItem(Path(f"/nowhere/{number}.png"), f"image {number}") for number in range(40)])
    gallery.resize(700, 400)
    gallery.show()
    gallery.resize(width, 400)
    gallery.set_thumbnail_size(side)
    QApplication.processEvents()
    view = gallery.view
    bar = view.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent, None, view.verticalScrollBar())
    room, cell = view.maximumViewportSize().width() - bar - 1, view.gridSize()
    columns = room // cell.width()
    assert cell.width() >= side
    assert room - columns * cell.width() <= columns, "hardly a pixel a cell is left over"
    first, last, below = (view.visualRect(gallery.model.index(row)) for row in (0, columns - 1, columns))
    assert last.top() == first.top() < below.top(), "as many stand in a row as were reckoned with"
    assert (first.left(), last.right() + 1) == (0, columns * cell.width())
    gallery.close_threads()
