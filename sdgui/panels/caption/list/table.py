"""The table of the Caption panel: uniform rows, thumbnails of the rows in view, keyboard control.

Flow: ``CaptionsModel`` -> **table** -> signals to the panel. Space enlarges the image; F2, Enter or typing edits the
caption; Ctrl+C copies captions and files.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from sdgui.panels.caption.list.delegate import CaptionsDelegate
from sdgui.panels.caption.list.rows import CAPTION, IMAGE, SCORE, SECOND_CAPTION, CaptionsModel, files_and_captions
from sdgui.panels.caption.model import Entry
from sdgui.widgets.gallery.preview import ImagePreview
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.style.theme import SPACE, theme

_GATHER_MS = 16  # thumbnails that arrive within a frame are painted together
_IMAGE_WIDTH = 26 * SPACE  # width of the image column in px


class CaptionsList(QTableView):
    """The list of images. ``current_changed(path)``: "" if no image is current."""

    current_changed = Signal(str)
    menu_requested = Signal(QPoint)  # position on the screen
    rows_or_selection_changed = Signal()  # the selection or the list changed

    def __init__(self, model: CaptionsModel, cache: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.captions = model
        self.thumbnails = Thumbnails(cache, parent=self)
        self.delegate = CaptionsDelegate(self.thumbnails, self)
        self._preview: ImagePreview | None = None
        self.setItemDelegate(self.delegate)
        self.setModel(model)
        # An empty selection model: otherwise painting checks whether all of 100,000 rows are selected.
        self.horizontalHeader().setSelectionModel(QItemSelectionModel(model, self))
        self.setAccessibleName("Captions")
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setDragEnabled(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed | triggers.AnyKeyPressed)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(
            lambda position: self.menu_requested.emit(self.viewport().mapToGlobal(position))
        )
        head = self.verticalHeader()
        head.hide()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalHeader().setHighlightSections(False)
        self._arrived_paths: set[str] = set()
        self._paint_timer = QTimer(self, singleShot=True, interval=_GATHER_MS)
        self._paint_timer.timeout.connect(self._paint_arrived)
        self._drop_timer = QTimer(self, singleShot=True, interval=100)
        self._drop_timer.timeout.connect(self._drop_hidden)
        self.thumbnails.ready.connect(self._on_thumbnail_arrived)
        self.verticalScrollBar().valueChanged.connect(lambda _value: self._drop_timer.start())
        self.selectionModel().currentChanged.connect(self._on_current_changed)
        self.selectionModel().selectionChanged.connect(lambda *_: self.rows_or_selection_changed.emit())
        model.modelReset.connect(self._reset)
        theme().changed.connect(self.restyle)
        self._fit_rows()
        self._reset()

    def restyle(self) -> None:
        """Update the row height and the delegate after a change of theme."""
        self.delegate.restyle()
        self._fit_rows()

    def _fit_rows(self) -> None:
        """Set the row height from the font."""
        self.verticalHeader().setDefaultSectionSize(self.delegate.row_height())
        self.thumbnails.set_side(self.delegate.row_height() * self.devicePixelRatioF())
        self.viewport().update()

    def _reset(self) -> None:
        self._set_widths()
        self.rows_or_selection_changed.emit()
        self.current_changed.emit(self.current_path())

    def _set_widths(self) -> None:
        """Divide the remaining width between the caption columns."""
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        narrow = self.viewport().width() < 80 * SPACE
        head.resizeSection(IMAGE, _IMAGE_WIDTH - (8 * SPACE if narrow else 0))
        head.resizeSection(SCORE, 8 * SPACE)
        head.setSectionResizeMode(CAPTION, QHeaderView.ResizeMode.Stretch)
        if self.captions.compares:
            head.setSectionResizeMode(SECOND_CAPTION, QHeaderView.ResizeMode.Stretch)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._set_widths()

    # --- selection

    def current_path(self) -> str:
        """The path of the current image; "" if no image is current."""
        index = self.currentIndex()
        return self.captions.entry_at(index.row()).path if index.isValid() else ""

    def selected(self) -> list[Entry]:
        """The selected entries, in order; by ranges, since one index per row is slow for 10,000."""
        ranges = list(self.selectionModel().selection())  # type: ignore[call-overload]  # a list, unknown to the stub
        rows = sorted(
            {row for selection_range in ranges for row in range(selection_range.top(), selection_range.bottom() + 1)}
        )
        return [self.captions.entry_at(row) for row in rows]

    def selected_count(self) -> int:
        """The number of selected entries."""
        ranges = list(self.selectionModel().selection())  # type: ignore[call-overload]  # a list, unknown to the stub
        return sum(selection_range.height() for selection_range in ranges if selection_range.left() == 0)

    def choose(self, path: str) -> None:
        """Focus and select one image, if it is shown."""
        row = self.captions.row(path)
        if row >= 0:
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(self.captions.index(row, CAPTION), flags)
            self.scrollTo(self.captions.index(row, CAPTION))

    def edit_current(self) -> None:
        """Open the editor of the current caption."""
        index = self.currentIndex()
        if index.isValid():
            self.edit(self.captions.index(index.row(), CAPTION))

    def preview_current(self) -> None:
        """Enlarge the current image."""
        entry = self.captions.entry(self.current_path())
        if entry is None:
            return
        if self._preview is None:
            self._preview = ImagePreview(self)
            self._preview.stepped.connect(self._step)
            self._preview.closed.connect(self.setFocus)
        thumbnail = self.thumbnails.get(Path(entry.path))
        self._preview.show_image(Path(entry.path), entry.text, thumbnail.image if thumbnail is not None else None)

    def _step(self, step: int) -> None:
        row = min(max(self.currentIndex().row() + step, 0), self.captions.rowCount() - 1)
        self.choose(self.captions.entry_at(row).path)
        self.preview_current()

    def copy(self) -> None:
        """Copy captions as text, one per line, together with the files."""
        if entries := self.selected():
            QGuiApplication.clipboard().setMimeData(files_and_captions(entries))

    def _on_current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        self.current_changed.emit(self.captions.entry_at(current.row()).path if current.isValid() else "")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key == Qt.Key.Key_Space and not event.modifiers():
            self.preview_current()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.modifiers():
            self.edit_current()
        elif key == Qt.Key.Key_Menu:
            self.menu_requested.emit(self.viewport().mapToGlobal(self.visualRect(self.currentIndex()).center()))
        elif event.text().isprintable() and event.text() and not event.modifiers() & Qt.KeyboardModifier.AltModifier:
            index = self.currentIndex()  # typing edits the caption, whichever cell is current
            if index.isValid() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
                self.setCurrentIndex(self.captions.index(index.row(), CAPTION))
            super().keyPressEvent(event)
        else:
            super().keyPressEvent(event)

    # --- thumbnails

    def _on_thumbnail_arrived(self, path: str) -> None:
        self._arrived_paths.add(path)
        if not self._paint_timer.isActive():
            self._paint_timer.start()

    def _paint_arrived(self) -> None:
        arrived, self._arrived_paths = self._arrived_paths, set()
        for path in arrived:
            row = self.captions.row(path)
            if row >= 0:
                self.update(self.captions.index(row, IMAGE))

    def _drop_hidden(self) -> None:
        """Do not read the thumbnails of rows that were scrolled out of view."""
        first, last = self.rowAt(0), self.rowAt(self.viewport().height() - 1)
        last = self.captions.rowCount() - 1 if last < 0 else last
        self.thumbnails.keep_only(Path(self.captions.entry_at(row).path) for row in range(max(0, first), last + 1))

    def close_threads(self) -> None:
        """Wait until the images being read are done; call this before the application ends."""
        self.thumbnails.close()
