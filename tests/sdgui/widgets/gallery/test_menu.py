"""Copying an image: decoded off the window's thread, and a later copy wins."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QGuiApplication, QImage

from sdgui.widgets.gallery import images
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.gallery.menu import copy_image, copy_paths


@pytest.fixture
def source_image(tmp_path: Path) -> Path:
    image = QImage(40, 30, QImage.Format.Format_RGB32)
    image.fill(QColor("#204060"))
    path = tmp_path / "a.png"
    assert image.save(str(path))
    return path


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Images are read, never in the window's thread, once this is set."""
    gate, read = threading.Event(), images.read_image

    def wait(path: Path, room: QSize | None = None) -> tuple[QImage | None, str]:
        assert threading.current_thread() is not threading.main_thread()
        assert gate.wait(120)
        return read(path, room)

    monkeypatch.setattr(images, "read_image", wait)
    return gate


def test_a_image_is_copied_once_it_is_read(qtbot, source_image: Path, held: threading.Event) -> None:
    clipboard = QGuiApplication.clipboard()
    clipboard.setText("before")
    copy_image(GalleryItem(source_image))
    assert clipboard.text() == "before"  # the window did not wait for it
    held.set()
    qtbot.waitUntil(lambda: clipboard.image().size() == QSize(40, 30))


def test_what_is_copied_meanwhile_wins(qtbot, source_image: Path, held: threading.Event) -> None:
    second = GalleryItem(source_image.with_name("b.png"))
    copy_image(GalleryItem(source_image))
    copy_paths([second])
    held.set()
    qtbot.wait(100)
    assert QGuiApplication.clipboard().text() == str(second.path)


def test_an_unreadable_image_is_copied_as_its_path(qtbot, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    path.write_text("no image", encoding="utf-8")
    copy_image(GalleryItem(path))
    qtbot.waitUntil(lambda: QGuiApplication.clipboard().text() == str(path))
