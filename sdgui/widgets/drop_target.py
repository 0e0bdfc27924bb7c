"""A widget that accepts images: dropped or pasted files and folders, and images from a browser.

Flow: drop, paste or ``accept_paths`` -> thread (``expand``) -> ``dropped`` with images in batches, and ``refused``
with files that were not accepted and why. Image data without a file is saved into ``pasted`` first. Nothing is fetched
from the web.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Semaphore

from PySide6.QtCore import (
    QBuffer,
    QCoreApplication,
    QEvent,
    QIODevice,
    QMimeData,
    QObject,
    Qt,
    QThreadPool,
    QTimer,
    QUrl,
    Signal,
)
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QGuiApplication,
    QImage,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import QWidget

from sdgui.widgets.dropped_files import Refusal, expand
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import SPACE, theme

_WEB = "it is a web address; save the image and drop the file instead"
_POLL_SECONDS = 0.1  # interval of checks whether the window is closing
_TEXT = "it is text; drop images or folders of images"


class DropTarget(QWidget):
    """A widget that accepts images. Add the panel's content with ``set_content``; dragging over it shows a hint.

    Ctrl+V pastes wherever no text box has the focus. Set an accessible name with ``setAccessibleName``.
    """

    dropped = Signal(list)  # list of str: absolute paths of images; a large drop arrives in batches
    folder_dropped = Signal(str)  # a single folder if ``folders_apart``; it is not searched for images
    refused = Signal(list)  # list of (file, reason)
    finished = Signal()  # everything dropped so far has been searched

    _expanded = Signal(list, list)
    _ended = Signal()

    def __init__(self, pasted: Path, prompt: str = "Drop images or folders here", parent: QWidget | None = None):
        """``pasted``: the folder for pasted image data, created on demand."""
        super().__init__(parent)
        self.setAcceptDrops(True)
        self._pasted = pasted
        self.folders_apart = False  # whether a single folder is emitted as a folder instead of its images
        self._searches = 0  # drops that are being searched
        self._closing = Event()
        self._batch_handled = Semaphore()  # released when the window has handled a batch; the next one then follows
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)  # drops are searched one after another
        self._veil = _Veil(prompt, self)
        self._column = vbox(into=self)
        self._expanded.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._ended.connect(self._on_search_ended, Qt.ConnectionType.QueuedConnection)
        paste = QShortcut(QKeySequence(QKeySequence.StandardKey.Paste), self)
        paste.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        paste.activated.connect(self.paste)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close_threads)

    def set_content(self, content: QWidget) -> None:
        """Set the widget shown while nothing is dragged."""
        self._column.addWidget(content, 1)
        self._veil.raise_()

    @property
    def busy(self) -> bool:
        """Whether folders are still being searched."""
        return self._searches > 0

    # Ways in
    def paste(self) -> None:
        """Accept the content of the clipboard."""
        self.accept_data(QGuiApplication.clipboard().mimeData())

    def accept_paths(self, paths: Sequence[str | Path]) -> None:
        """Accept files and folders chosen in a dialog."""
        self._search([str(path) for path in paths], [])

    def accept_data(self, data: QMimeData) -> None:
        """Accept dropped or pasted data."""
        local, web = _addresses(data)
        if not local and data.hasImage():
            self._save_pasted(data.imageData())
        elif self.folders_apart and len(local) == 1 and not web and Path(local[0]).is_dir():
            self.folder_dropped.emit(local[0])
        elif local or web:
            self._search(local, [(address, _WEB) for address in web])
        elif data.hasText() and data.text().strip():
            self._search([], [(_shortened(data.text()), _TEXT)])
        else:
            self._search([], [("The drop", "it contains neither files nor an image")])

    # In the thread
    def _search(self, paths: list[str], refusals: list[Refusal]) -> None:
        self._searches += bool(paths)  # first, so that receivers of refusals know that more may follow
        if refusals:
            self.refused.emit(refusals)
        if paths:
            self._pool.start(lambda: self._expand(paths))
        elif not self._searches:
            self.finished.emit()

    def _expand(self, paths: list[str]) -> None:
        for part in expand(paths, self._closing.is_set):
            self._deliver_batch(part.images, part.refused)
        if not self._closing.is_set():
            self._ended.emit()

    def _deliver_batch(self, images: list[str], refusals: list[Refusal]) -> None:
        """Deliver a batch once the window has handled the previous one."""
        while not self._closing.is_set():
            if self._batch_handled.acquire(timeout=_POLL_SECONDS):
                self._expanded.emit(images, refusals)
                return

    def _save_pasted(self, image: object) -> None:
        if not isinstance(image, QImage) or image.isNull():
            self._search([], [("The image", "its data could not be read; save the image as a file and drop the file")])
            return
        self._searches += 1
        self._pool.start(lambda: self._save(image))

    def _save(self, image: QImage) -> None:
        try:
            self._deliver_batch([str(save_pasted(image, self._pasted))], [])
        except OSError as error:
            reason = f"it could not be saved to {self._pasted}: {error.strerror or error}"
            self._deliver_batch([], [("The image", reason)])
        self._ended.emit()

    # In the window's thread again
    def _deliver(self, images: list[str], refusals: list[Refusal]) -> None:
        if images:
            self.dropped.emit(images)
        if refusals:
            self.refused.emit([(str(name), str(reason)) for name, reason in refusals])
        QTimer.singleShot(0, self, self._batch_handled.release)

    def _on_search_ended(self) -> None:
        self._searches -= 1
        if not self._searches:
            self.finished.emit()

    def close_threads(self) -> None:
        """Stop scanning folders; call it before the application ends."""
        self._closing.set()
        self._pool.clear()
        self._pool.waitForDone()

    # Qt's own
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        data = event.mimeData()
        source = event.source()
        if isinstance(source, QWidget) and self.isAncestorOf(source):  # images dragged out of this window
            event.ignore()
        elif data.hasUrls() or data.hasImage() or data.hasText():
            event.acceptProposedAction()
            self._veil.cover()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._veil.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self._veil.hide()
        event.acceptProposedAction()
        self.accept_data(event.mimeData())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._veil.setGeometry(self.rect())


class _Veil(QWidget):
    """Covers the target while something is dragged over it."""

    def __init__(self, prompt: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._prompt, self._area = prompt, parent
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def cover(self) -> None:
        """Show the veil over its parent."""
        self.setGeometry(self._area.rect())
        self.show()
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        style = theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = style.color("selection")
        ground.setAlphaF(0.96)
        painter.setBrush(ground)
        painter.setPen(QPen(style.color("accent"), 2, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(self.rect().adjusted(SPACE, SPACE, -SPACE, -SPACE), 8, 8)
        painter.setPen(style.color("text"))
        painter.setFont(style.font("heading"))
        inside = self.rect().adjusted(2 * SPACE, 2 * SPACE, -2 * SPACE, -2 * SPACE)
        painter.drawText(inside, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self._prompt)
        painter.end()


def _addresses(data: QMimeData) -> tuple[list[str], list[str]]:
    """Local paths and URLs in the dropped data; pasted text may contain paths too, one per line."""
    urls = list(data.urls()) if data.hasUrls() else []
    if not urls and data.hasText():
        lines = [line.strip() for line in data.text().splitlines() if line.strip()]
        if lines and all(
            line.startswith(("/", "file:", "http:", "https:")) or Path(line).is_absolute() for line in lines
        ):
            urls = [QUrl(line) if ":/" in line[:8] else QUrl.fromLocalFile(line) for line in lines]
    local = [url.toLocalFile() for url in urls if url.isLocalFile()]
    return local, [_shortened(url.toDisplayString()) for url in urls if not url.isLocalFile()]


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "…"


def save_pasted(image: QImage, folder: Path) -> Path:
    """Write ``image`` as PNG to ``folder``; pasting the same image again reuses the file. May raise OSError."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not image.save(buffer, "PNG"):  # type: ignore[call-overload]  # PySide6's stub asks for bytes, which it refuses
        raise OSError("the image cannot be written as PNG")
    content = buffer.data().data()
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for existing in folder.glob(f"pasted-*-{digest}.png"):
        return existing
    path = folder / f"pasted-{time.strftime('%Y%m%d-%H%M%S')}-{digest}.png"
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    return temporary.replace(path)


# Widgets that take one file or folder
class FileDrop(QObject):
    """Accepts a file or folder dropped anywhere on a widget, which shows a hint during the drag."""

    dropped = Signal(str)  # path of the first local file or folder

    def __init__(self, widget: QWidget, prompt: str) -> None:
        """``prompt``: the effect of dropping, such as "Caption these images"."""
        super().__init__(widget)
        self._veil = _Veil(prompt, widget)
        widget.setAcceptDrops(True)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QDragEnterEvent):
            accept_file(event)
            if event.isAccepted():
                self._veil.cover()
        elif isinstance(event, QDragMoveEvent):
            event.acceptProposedAction()
        elif isinstance(event, QDragLeaveEvent):
            self._veil.hide()
        elif isinstance(event, QDropEvent):
            self._veil.hide()
            self.dropped.emit(dropped_file(event))
        else:
            return False
        return True


def accept_file(event: QDragEnterEvent) -> None:
    """Accept a drag that contains a local file or folder."""
    if any(url.isLocalFile() for url in event.mimeData().urls()):
        event.acceptProposedAction()


def dropped_file(event: QDropEvent) -> str:
    """The first local file or folder of a drop accepted by `accept_file`."""
    event.acceptProposedAction()
    return next(url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile())
