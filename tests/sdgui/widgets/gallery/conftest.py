"""Images, and a gallery that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from sdgui.widgets.gallery.gallery import Gallery, GalleryItem


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = []
    for i in range(12):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (60 + i, 40), (20 * i, 100, 50)).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def gallery(qtbot: QtBot) -> Iterator[Gallery]:
    gallery = Gallery(None, "Nothing here yet.")
    qtbot.addWidget(gallery)
    gallery.resize(700, 500)
    gallery.show()
    qtbot.waitExposed(gallery)
    yield gallery
    gallery.close_threads()


def filled(gallery: Gallery, images: list[Path], times: int = 1) -> list[GalleryItem]:
    items = [GalleryItem(path, f"image {i}", 1.0 - i / 100, i + 1, i == 3) for i, path in enumerate(images * times)]
    gallery.set_items(items)
    return items
