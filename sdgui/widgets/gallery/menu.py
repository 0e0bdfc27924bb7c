"""What one can do with pictures of the gallery: copy, preview, open, show in the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from sdgui.widgets.gallery.items import GalleryItem, files_mime
from sdgui.widgets.gallery.thumbnail_files import read_picture


def gallery_menu(parent: QWidget, items: Sequence[GalleryItem], preview: Callable[[], None]) -> QMenu:
    """The context menu of the selected ``items``."""
    menu = QMenu(parent)
    many = len(items) > 1
    menu.addAction("Preview\tSpace").triggered.connect(preview)
    menu.addSeparator()
    menu.addAction("Copy paths\tCtrl+C" if many else "Copy path\tCtrl+C").triggered.connect(lambda: copy_paths(items))
    copy = menu.addAction("Copy picture")
    copy.setEnabled(not many)
    copy.triggered.connect(lambda: copy_picture(items[0]))
    captions = menu.addAction("Copy captions\tCtrl+Shift+C" if many else "Copy caption\tCtrl+Shift+C")
    captions.setEnabled(any(item.caption for item in items))
    captions.triggered.connect(lambda: copy_captions(items))
    menu.addSeparator()
    menu.addAction("Open").triggered.connect(lambda: open_files(items))
    menu.addAction("Open folder").triggered.connect(lambda: open_folder(items[0]))
    return menu


def copy_paths(items: Sequence[GalleryItem]) -> None:
    """Paths as text, and as files for file managers."""
    if not items:
        return
    QGuiApplication.clipboard().setMimeData(files_mime([item.path for item in items]))


def copy_captions(items: Sequence[GalleryItem]) -> None:
    """Captions as text, one a line."""
    QGuiApplication.clipboard().setText("\n".join(item.caption for item in items))


def copy_picture(item: GalleryItem) -> None:
    """The picture itself; the path where it cannot be read."""
    image, _ = read_picture(item.path)
    if image is None:
        copy_paths([item])
    else:
        QGuiApplication.clipboard().setImage(image)


def open_files(items: Sequence[GalleryItem]) -> None:
    """In whatever the desktop opens pictures with."""
    for item in items[:10]:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(item.path)))


def open_folder(item: GalleryItem) -> None:
    """The folder that holds the picture, in the file manager."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(item.path.parent)))
