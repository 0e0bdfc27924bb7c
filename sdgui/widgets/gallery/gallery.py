"""Virtual grid of images with caption, score, rank and mark: zoom, preview, select, copy, drag out, open in folder.

Flow: a panel calls ``set_items``; only cells in view are laid out and read. Two galleries may be ``link``-ed, so that
student and teacher scroll, zoom and select together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QItemSelectionRange,
    QModelIndex,
    QObject,
    QPoint,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QKeySequence, QRegion, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QSlider, QStyle, QWidget

from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.gallery.delegate import GalleryDelegate
from sdgui.widgets.gallery.items import GalleryItem, GalleryModel, row_ranges
from sdgui.widgets.gallery.menu import copy_captions, copy_paths, gallery_menu
from sdgui.widgets.gallery.preview import ImagePreview
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, theme

__all__ = ["Gallery", "GalleryItem"]

_MIN_SIDE, _MAX_SIDE = 64, 512
_MAX_SINGLE_REPAINTS = 200  # above this many newly selected items, only visible ones are repainted


class _Grid(QListView):
    """Repaints only visible items after a large selection; QListView would measure every item."""

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        ranges: Any = selection  # a list to PySide6, unknown to its stub
        if sum(part.height() for part in ranges) > _MAX_SINGLE_REPAINTS:
            return QRegion(self.viewport().rect())
        return super().visualRegionForSelection(selection)


class Gallery(QWidget):
    """A grid of thumbnails; loads visible ones first, in background threads.

    Keys: Space and Enter preview, Ctrl+A selects all, Ctrl+C copies files and paths, Ctrl+Shift+C captions,
    Ctrl+plus, Ctrl+minus and Ctrl+wheel zoom, the menu key or Shift+F10 opens the menu, Delete asks to remove.
    """

    current_changed = Signal(int)  # index, -1 for none
    selection_changed = Signal(object)  # list of indices, ascending
    scrolled = Signal(float)  # scroll position from 0 to 1, emitted only when the user scrolls
    thumbnail_size_changed = Signal(int)
    menu_opening = Signal(object, list)  # QMenu and the selected indices: a panel adds its entries
    remove_requested = Signal(list)  # indices; Delete was pressed

    def __init__(self, cache_dir: Path | None = None, empty_text: str = "", parent: QWidget | None = None) -> None:
        """``cache_dir``: folder of the thumbnail cache; None keeps thumbnails only in memory."""
        super().__init__(parent)
        self._quiet = False  # whether the code, not the user, is changing the view: then no signals are emitted
        self._preview: ImagePreview | None = None
        self.thumbnails = Thumbnails(cache_dir, parent=self)
        self.model = GalleryModel(self.thumbnails, self)
        self.view = _Grid(self)
        self._delegate = GalleryDelegate(self.model, self)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._count = PlainLabel(self, role="small")
        self._empty = PlainLabel(empty_text, self.view, role="muted")
        self._drop_timer = QTimer(self, singleShot=True, interval=100)
        self._drop_timer.timeout.connect(self._drop_stale)
        self._build()
        self._connect()
        self.set_thumbnail_size(128)
        self._show_count()

    def _build(self) -> None:
        view = self.view
        view.setViewMode(QListView.ViewMode.IconMode)
        view.setUniformItemSizes(True)
        view.setLayoutMode(QListView.LayoutMode.Batched)
        view.setBatchSize(200)  # items that are laid out per turn of the event loop
        view.setResizeMode(QListView.ResizeMode.Adjust)
        view.setMovement(QListView.Movement.Static)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setDragEnabled(True)
        view.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        view.setMouseTracking(True)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.setItemDelegate(self._delegate)
        view.setModel(self.model)
        view.setAccessibleName("Images")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._slider.setRange(_MIN_SIDE, _MAX_SIDE)
        self._slider.setSingleStep(16)
        self._slider.setFixedWidth(14 * SPACE)
        self._slider.setToolTip("Image size (Ctrl+wheel)")
        self._slider.setAccessibleName("Image size")
        self._foot = hbox((self._count, 1), self._slider, spacing=STYLE_SPACING)
        vbox((view, 1), self._foot, into=self, spacing=SPACE // 2)

    def add_to_foot(self, widget: QWidget) -> None:
        """Show ``widget`` below the images, between their number and the slider."""
        self._foot.setStretch(0, 0)
        self._foot.insertWidget(1, widget, 1)

    def _connect(self) -> None:
        selection = self.view.selectionModel()
        selection.currentChanged.connect(self._on_current_changed)
        selection.selectionChanged.connect(self._on_selection_changed)
        self.view.doubleClicked.connect(lambda index: self.preview(index.row()))
        self.view.customContextMenuRequested.connect(self.open_menu)
        self.view.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.view.installEventFilter(self)
        self.view.viewport().installEventFilter(self)
        self._slider.valueChanged.connect(self._on_slid)
        theme().changed.connect(self._restyle)
        self.model.rowsInserted.connect(self._show_count)
        self.model.rowsInserted.connect(self._fill_rows)  # the first items decide whether cells have a line for scores
        self.model.rowsRemoved.connect(self._show_count)

    # --- items

    def set_items(self, items: list[GalleryItem]) -> None:
        """Replace all items, clear the selection and scroll to the top."""
        self.model.set_items(items)
        self._fill_rows()
        self.view.scrollToTop()
        self._drop_timer.start()
        self._show_count()
        self.current_changed.emit(-1)
        self.selection_changed.emit([])

    def append(self, items: Sequence[GalleryItem]) -> None:
        """Append items, keeping the selection and the scroll position."""
        self.model.append(items)

    def replace(self, index: int, item: GalleryItem) -> None:
        """Replace the item at this index."""
        self.model.replace(index, item)

    def remove(self, indices: Iterable[int]) -> None:
        """Remove the items at these indices; the others stay selected as they were."""
        self.model.remove(indices)

    def items(self) -> list[GalleryItem]:
        """All items, in order."""
        return self.model.items()

    def set_empty_text(self, text: str) -> None:
        """Set the text that is shown while there are no items."""
        self._empty.setText(text)

    def current(self) -> int:
        """The index of the focused item, -1 for none."""
        return self.view.currentIndex().row()

    def set_current(self, index: int) -> None:
        """Focus and select one item, without signals; -1 for none."""
        self._quiet = True
        if 0 <= index < self.model.rowCount():
            # not the view's method, which depends on a held Ctrl or Shift
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect
            self.view.selectionModel().setCurrentIndex(self.model.index(index), flags)
        else:
            self.view.clearSelection()
            self.view.setCurrentIndex(QModelIndex())
        self._quiet = False

    def selected(self) -> list[int]:
        """Indices of the selected items, ascending."""
        ranges = sorted((part.top(), part.bottom() + 1) for part in self._ranges())
        return list(chain.from_iterable(range(top, end) for top, end in ranges))

    def _ranges(self) -> list[QItemSelectionRange]:
        """The selection as ranges of rows: an index for each of 100,000 would take a second."""
        selection: Any = self.view.selectionModel().selection()  # a list to PySide6, unknown to its stub
        return list(selection)

    def set_selected(self, indices: list[int]) -> None:
        """Select these items, without signals; indices out of range are ignored."""
        selection = QItemSelection()
        for first, last in row_ranges(i for i in indices if 0 <= i < self.model.rowCount()):
            selection.select(self.model.index(first), self.model.index(last))
        self._quiet = True
        self.view.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._quiet = False
        self._show_count()

    def select_all(self) -> None:
        """Select everything as one range, because the view's ``selectAll`` queries each item."""
        everything = QItemSelection()
        if last := self.model.rowCount():
            everything.select(self.model.index(0), self.model.index(last - 1))
        self.view.selectionModel().select(everything, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def selected_items(self) -> list[GalleryItem]:
        """The selected items, in order."""
        return [self.model.item(i) for i in self.selected()]

    # --- view

    def scroll_to_share(self, share: float) -> None:
        """Scroll to ``share`` (0 to 1) of the height, without emitting ``scrolled``."""
        bar = self.view.verticalScrollBar()
        self._quiet = True
        bar.setValue(round(share * bar.maximum()))
        self._quiet = False

    def set_thumbnail_size(self, size: int) -> None:
        """Set the size of thumbnails, 64 to 512 px, without signals."""
        self._quiet = True
        self._slider.setValue(size)
        self._on_slid(self._slider.value())
        self._quiet = False

    def thumbnail_size(self) -> int:
        """The size of thumbnails in px."""
        return self._slider.value()

    def link(self, linked: Gallery) -> None:
        """Scroll, zoom and select together with ``linked``, both ways."""
        for source, target in ((self, linked), (linked, self)):
            source.scrolled.connect(target.scroll_to_share)
            source.thumbnail_size_changed.connect(target.set_thumbnail_size)
            source.current_changed.connect(target.set_current)
            source.selection_changed.connect(target.set_selected)

    def preview(self, index: int) -> None:
        """Show the image large, as Space, Enter and a double click do."""
        if not 0 <= index < self.model.rowCount():
            return
        if self._preview is None:
            self._preview = ImagePreview(self)
            self._preview.stepped.connect(self._step)
            self._preview.closed.connect(self.view.setFocus)
        item = self.model.item(index)
        thumbnail = self.model.thumbnail(index)
        self._preview.show_image(item.path, item.caption, thumbnail.image if thumbnail else None)

    def close_threads(self) -> None:
        """Wait for images that are being read; call this before the application ends."""
        self.thumbnails.close()

    # --- inside

    def _step(self, step: int) -> None:
        index = min(max(self.current() + step, 0), self.model.rowCount() - 1)
        self.view.setCurrentIndex(self.model.index(index))
        self.preview(index)

    def _on_current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        if not self._quiet:
            self.current_changed.emit(current.row())

    def _on_selection_changed(self, *_: object) -> None:
        self._show_count()
        if not self._quiet:
            self.selection_changed.emit(self.selected())

    def _on_scrolled(self, value: int) -> None:
        self._drop_timer.start()
        maximum = self.view.verticalScrollBar().maximum()
        if not self._quiet and maximum > 0:
            self.scrolled.emit(value / maximum)

    def _on_slid(self, size: int) -> None:
        self._delegate.side = size
        self.thumbnails.set_side(size * self.devicePixelRatioF())
        self._fill_rows()
        current = self.view.currentIndex()
        if current.isValid():
            self.view.scrollTo(current)
        if not self._quiet:
            self.thumbnail_size_changed.emit(size)

    def _show_count(self) -> None:
        total, selected = self.model.rowCount(), sum(part.height() for part in self._ranges())
        selection = f", {count(selected)} selected" if selected > 1 else ""
        self._count.setText(count_with_unit(total, "image") + selection if total else "")
        self._empty.setVisible(total == 0)

    def visible_rows(self) -> range:
        """Indices of the items in view, with a row of cells as a margin above and below."""
        area = self.view.viewport().rect()
        grid = self.view.gridSize()
        columns = max(1, area.width() // max(1, grid.width()))
        top = self.view.verticalScrollBar().value()
        first = max(0, top // max(1, grid.height()) - 1) * columns
        last = ((top + area.height()) // max(1, grid.height()) + 2) * columns
        return range(first, min(last, self.model.rowCount()))

    def _drop_stale(self) -> None:
        self.thumbnails.keep_only(self.model.item(row).path for row in self.visible_rows())

    def open_menu(self, point: QPoint) -> None:
        """Open the menu of the selected images at ``point`` of the view."""
        index = self.view.indexAt(point)
        if index.isValid():
            if not self.view.selectionModel().isSelected(index):
                self.view.setCurrentIndex(index)
            menu = gallery_menu(self, self.selected_items(), lambda: self.preview(index.row()))
            self.menu_opening.emit(menu, self.selected())
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.view.viewport().mapToGlobal(point))

    def _restyle(self) -> None:
        self._delegate.restyle()
        self._fill_rows()
        self.view.viewport().update()

    def _fill_rows(self) -> None:
        """Widen the cells to fill a row, leaving space for the scroll bar."""
        bar = self.view.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent, None, self.view.verticalScrollBar())
        self._delegate.room = self.view.maximumViewportSize().width() - bar - 1  # cells end before its last pixel
        cell = self._delegate.cell()
        if cell != self.view.gridSize():
            self.view.setGridSize(cell)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle Space, Enter, copying and zooming before the list view does."""
        if isinstance(event, QWheelEvent) and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._slider.setValue(self._slider.value() + (16 if event.angleDelta().y() > 0 else -16))
            return True
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and watched is self.view:
            return self._key(event)
        if event.type() == QEvent.Type.Resize and watched is self.view:
            self._fill_rows()
        return super().eventFilter(watched, event)

    def _key(self, event: QKeyEvent) -> bool:
        control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
        if event.key() == Qt.Key.Key_Space and not event.modifiers() & control:  # with Ctrl it selects
            self.preview(self.current())
        elif event.key() == Qt.Key.Key_Menu or (event.key() == Qt.Key.Key_F10 and event.modifiers() & shift):
            self.open_menu(self.view.visualRect(self.view.currentIndex()).center())
        elif event.key() == Qt.Key.Key_Delete and self.selected():
            self.remove_requested.emit(self.selected())
        elif event.key() == Qt.Key.Key_C and event.modifiers() == control | shift:
            copy_captions(self.selected_items())
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.preview(self.current())
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self.select_all()
        elif event.matches(QKeySequence.StandardKey.Copy):
            copy_paths(self.selected_items())
        elif event.matches(QKeySequence.StandardKey.ZoomIn):
            self._slider.setValue(self._slider.value() + 16)
        elif event.matches(QKeySequence.StandardKey.ZoomOut):
            self._slider.setValue(self._slider.value() - 16)
        else:
            return False
        return True

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._empty.setGeometry(self.view.rect().adjusted(4 * SPACE, SPACE, -4 * SPACE, -SPACE))
