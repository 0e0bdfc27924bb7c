"""The large preview of an image: how it opens, steps, pans, zooms and goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from sdgui.widgets.gallery.gallery import Gallery
from tests.sdgui.widgets.gallery.conftest import filled


def test_space_previews_and_arrows_step(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    gallery.view.setCurrentIndex(gallery.model.index(2))
    QTest.keyClick(gallery.view, Qt.Key.Key_Space)
    preview = gallery._preview
    assert preview is not None
    assert preview.isVisible()
    qtbot.waitUntil(lambda: preview._image is not None and preview._image.width() == 62, timeout=5000)
    before = preview.fit().width()
    QTest.keyClick(preview, Qt.Key.Key_Plus)
    assert preview.fit().width() > before
    QTest.keyClick(preview, Qt.Key.Key_Right)
    assert gallery.current() == 3
    assert preview._path == images[3]
    preview.grab()
    QTest.keyClick(preview, Qt.Key.Key_Escape)
    assert not preview.isVisible()


@pytest.mark.parametrize("how", ["double click", "Enter"])
def test_a_double_click_and_enter_preview(gallery: Gallery, images: list[Path], qtbot, how: str) -> None:
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


def test_the_preview_keeps_tab_and_goes_with_its_gallery(images: list[Path], qtbot) -> None:
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


def test_the_preview_is_panned_and_zoomed_by_keys(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    gallery.view.setCurrentIndex(gallery.model.index(2))
    QTest.keyClick(gallery.view, Qt.Key.Key_Space)
    preview = gallery._preview
    qtbot.waitUntil(lambda: preview._is_full_image, timeout=5000)
    QTest.keyClick(preview, Qt.Key.Key_Plus)
    before = preview.fit().center()
    QTest.keyClick(preview, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert preview.fit().center().x() < before.x()
    assert preview._path == images[2]
    assert "62 × 40 px" in preview._facts()
    QTest.keyClick(preview, Qt.Key.Key_0)
    assert preview._zoom == 1.0
    QTest.keyClick(preview, Qt.Key.Key_1)  # smaller than it fits: it stays fitting
    assert preview.fit().width() >= 62
