"""What a gallery opens: the preview and the menu of an image."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from sdgui.widgets.gallery import images
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.gallery.menu import copy_image
from tests.sdgui.widgets.gallery.conftest import filled


def test_space_previews_and_arrows_step(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    gallery.view.setCurrentIndex(gallery.model.index(2))
    QTest.keyClick(gallery.view, Qt.Key.Key_Space)
    preview = gallery._preview
    assert preview is not None
    assert preview.isVisible()
    qtbot.waitUntil(lambda: preview._image is not None and preview._image.width() == 62, timeout=5000)
    before = preview.image_rect().width()
    QTest.keyClick(preview, Qt.Key.Key_Plus)
    assert preview.image_rect().width() > before
    QTest.keyClick(preview, Qt.Key.Key_Right)
    assert gallery.current() == 3
    assert preview._path == images[3]
    preview.grab()
    QTest.keyClick(preview, Qt.Key.Key_Escape)
    assert not preview.isVisible()


@pytest.mark.parametrize("how", ["double click", "Enter"])
def test_double_click_and_enter_preview(gallery: Gallery, images: list[Path], qtbot, how: str) -> None:
    filled(gallery, images)
    index = gallery.model.index(1)
    if how == "Enter":
        gallery.view.setCurrentIndex(index)
        QTest.keyClick(gallery.view, Qt.Key.Key_Return)
    else:
        place = gallery.view.visualRect(index).center()
        QTest.mouseClick(gallery.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
        QTest.mouseDClick(gallery.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert gallery._preview is not None
    assert gallery._preview.isVisible()
    assert gallery._preview._path == images[1]


def test_the_preview_keeps_tab_and_closes_with_its_gallery(images: list[Path], qtbot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    column = QVBoxLayout(window)
    gallery = Gallery(None, "", window)
    line = QLineEdit(window)
    column.addWidget(gallery)
    column.addWidget(line)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    filled(gallery, images)
    gallery.preview(2)
    preview = gallery._preview
    assert preview is not None
    for key in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
        QTest.keyClick(window.focusWidget(), key)
        assert preview.hasFocus()
    line.setFocus()
    assert not preview.isVisible()
    assert line.hasFocus()
    gallery.preview(2)
    gallery.hide()
    assert not preview.isVisible()
    gallery.close_threads()


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


def test_an_image_is_copied_once_it_is_read(qtbot, source_image: Path, held: threading.Event) -> None:
    clipboard = QGuiApplication.clipboard()
    clipboard.setText("before")
    copy_image(GalleryItem(source_image))
    assert clipboard.text() == "before"  # the window did not wait for it
    held.set()
    qtbot.waitUntil(lambda: clipboard.image().size() == QSize(40, 30))


def test_an_unreadable_image_is_copied_as_its_path(qtbot, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    path.write_text("no image", encoding="utf-8")
    copy_image(GalleryItem(path))
    qtbot.waitUntil(lambda: QGuiApplication.clipboard().text() == str(path))
