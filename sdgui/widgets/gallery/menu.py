"""The gallery's context menu: preview, copy, open, open the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QImage
from PySide6.QtWidgets import QMenu, QWidget
from shiboken6 import isValid

from core.spec.shards import split_member
from sdgui.widgets.gallery.images import ImageReader
from sdgui.widgets.gallery.items import GalleryItem, files_mime


class _ImageCopy(ImageReader):
    """Copies images to the clipboard when they arrive, unless something else has been copied."""

    _shared: _ImageCopy | None = None

    def __init__(self) -> None:
        super().__init__(QGuiApplication.instance())
        self.arrived.connect(self._copy_image)
        QGuiApplication.clipboard().dataChanged.connect(self.cancel)

    @classmethod
    def shared(cls) -> _ImageCopy:
        """The instance shared by the whole window."""
        if cls._shared is None or not isValid(cls._shared):
            cls._shared = cls()
        return cls._shared

    def _copy_image(self, path: Path, image: QImage | None, _reason: str) -> None:
        if image is None:
            QGuiApplication.clipboard().setMimeData(files_mime([path]))
        else:
            QGuiApplication.clipboard().setImage(image)


def gallery_menu(parent: QWidget, items: Sequence[GalleryItem], preview: Callable[[], None]) -> QMenu:
    """The context menu of the selected ``items``."""
    menu = QMenu(parent)
    is_multiple = len(items) > 1
    menu.addAction("Preview\tSpace").triggered.connect(preview)
    menu.addSeparator()
    menu.addAction("Copy paths\tCtrl+C" if is_multiple else "Copy path\tCtrl+C").triggered.connect(
        lambda: copy_paths(items)
    )
    copy = menu.addAction("Copy image")
    copy.setEnabled(not is_multiple)
    copy.triggered.connect(lambda: copy_image(items[0]))
    captions = menu.addAction("Copy captions\tCtrl+Shift+C" if is_multiple else "Copy caption\tCtrl+Shift+C")
    captions.setEnabled(any(item.caption for item in items))
    captions.triggered.connect(lambda: copy_captions(items))
    menu.addSeparator()
    menu.addAction("Open").triggered.connect(lambda: open_files(items))
    menu.addAction("Open folder").triggered.connect(lambda: open_folder(items[0]))
    return menu


def copy_paths(items: Sequence[GalleryItem]) -> None:
    """Copy paths as text, and as files for file managers."""
    if not items:
        return
    QGuiApplication.clipboard().setMimeData(files_mime([item.path for item in items]))


def copy_captions(items: Sequence[GalleryItem]) -> None:
    """Copy captions as text, one per line."""
    QGuiApplication.clipboard().setText("\n".join(item.caption for item in items))


def copy_image(item: GalleryItem) -> None:
    """Copy an image, read in the background; copies the path if it cannot be read."""
    _ImageCopy.shared().read(item.path)


def open_files(items: Sequence[GalleryItem]) -> None:
    """Open at most ten images with the desktop's default program."""
    for item in items[:10]:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(item.path)))


def open_folder(item: GalleryItem) -> None:
    """Open the image's folder in the file manager."""
    member = split_member(item.path)
    folder = item.path.parent if member is None else Path(member.tar).parent
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
