"""The map: images and captions laid out by their embeddings, coloured by label; a lasso fills a gallery.

Flow: worker ``search_map`` (a quick layout, then a better one) -> canvas -> lasso -> gallery; hovering shows an image,
and zooming in shows thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QLabel, QMenu, QPushButton, QSplitter, QWidget

from sdgui.panels.search.tabs.map_canvas import DEFAULT_COLOUR, MapCanvas
from sdgui.panels.search.tabs.map_points import MapPoints
from sdgui.panels.search.tabs.map_thumbnails import MapThumbnails
from sdgui.panels.search.work import HOVER, LASSO, THUMBNAILS
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.layouts.boxes import clear_layout, hbox, vbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

MAX_POINTS = 100_000  # points of a map
_MAX_LASSOED = 2000  # shown images of a lasso
_MAX_COLORS = 8  # label values with their own colour
_POPUP_WIDTH = 16 * SPACE  # of the image, in px
_HELP = "Drag a lasso around points to see their images here. Shift+drag moves the map, the wheel zooms."


class MapPage(QWidget):
    """The page. ``map_requested(captions)``: compute a map, with or without captions."""

    map_requested = Signal(bool)
    like_requested = Signal(str, int)  # path, row
    names_wanted = Signal(str, list, list)  # purpose, rows of images, numbers of captions

    def __init__(self, cache_dir: Path | None, export: ExportMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._export = export
        self._points = MapPoints()
        self._hover: tuple[int, QPoint] = (-1, QPoint())
        self._lassoed: list[int] = []  # indices
        self._named_groups: tuple[list[int], list[tuple[str, int]]] = ([], [])  # each point's group; (name, group)
        self.color = ListOnlyComboBox(self)
        self.captions = QCheckBox("captions", self)
        self.fit = QPushButton("Show all", self)
        self.status = ElidedLabel("", self)
        self.canvas = MapCanvas(self)
        self.gallery = Gallery(cache_dir, _HELP, self)
        self._legend = QWidget(self)
        self._popup = _Popup(self)
        request = partial(self._request_names, THUMBNAILS)
        self.thumbnails = MapThumbnails(self.canvas, cache_dir, lambda index: self._points.name(index), request)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.color.setAccessibleName("Point colour")
        self.color.setToolTip("Colour points by this label; the 8 most frequent values have their own colour")
        self.color.setMinimumContentsLength(14)
        self.captions.setChecked(True)
        self.captions.setToolTip("Show captions as triangles; images are discs")
        self.fit.setToolTip("Show all points (R)")
        set_role(self.status, "small")
        self.gallery.set_thumbnail_size(80)
        self.gallery.setAccessibleName("Images within the lasso")
        label = PlainLabel("&Colour", self, buddy=self.color)
        top = hbox(label, self.color, self.captions, self.fit, (self.status, 1))
        self._legend_row = FlowLayout(self._legend)
        self._legend_row.setSpacing(SPACE)
        policy = self._legend.sizePolicy()
        policy.setHeightForWidth(True)
        self._legend.setSizePolicy(policy)
        map_side = QWidget(self)
        vbox(top, self._legend, (self.canvas, 1), into=map_side, spacing=SPACE // 2, margins=(0, 0, SPACE, 0))
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.split.addWidget(map_side)
        self.split.addWidget(self.gallery)
        self.split.setStretchFactor(0, 1)
        self.split.setSizes([600, 280])
        vbox(self.split, into=self)

    def _connect(self) -> None:
        self.color.activated.connect(lambda _row: self._recolor())
        self.captions.toggled.connect(self.map_requested)
        self.fit.clicked.connect(self.canvas.show_all)
        self.canvas.hovered.connect(self._show_popup)
        self.canvas.lassoed.connect(self._show_lassoed)
        self.canvas.clicked.connect(self._select_point)
        self.thumbnails.settled.connect(self._show_group_names)
        self.gallery.current_changed.connect(self._mark_current)
        self.gallery.menu_opening.connect(self._fill_menu)
        theme().changed.connect(self._recolor)

    @property
    def empty(self) -> bool:
        return not len(self._points)

    def clear(self) -> None:
        """Remove the map."""
        self._set_points(MapPoints())
        self.status.setText("")
        if self.isVisible():
            self.map_requested.emit(self.captions.isChecked())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.empty:
            self.map_requested.emit(self.captions.isChecked())

    def show_map(self, answer: Mapping[str, Any]) -> None:
        """Show an answer of ``search_map``, quick or final."""
        points = MapPoints.of(answer)
        self._set_points(points)
        images, captions = len(points.rows), len(points.texts)
        contents = count_with_unit(images, "image") + (f", {count_with_unit(captions, 'caption')}" if captions else "")
        better = "; computing a better layout" if points.method == "PCA" else ""
        self.status.setText(f"{contents} · {points.method}{better}")

    def show_names(self, answer: Mapping[str, Any]) -> None:
        """Add the names in an answer of ``search_points``, and show the images that waited for them."""
        self._points.add_names(answer)
        if self._lassoed and not self.gallery.items():
            self._show_lassoed(self._lassoed)
        self.thumbnails.update()
        index, position = self._hover
        if index >= 0 and self._points.name(index) is not None:
            self._show_popup(index, position)

    def _set_points(self, points: MapPoints) -> None:
        has_same_rows = np.array_equal(self._points.rows, points.rows)
        self._points = points
        previous_label = self.color.currentData()
        self.color.clear()
        self.color.addItem("images and captions", "")
        for name in points.labels_to_color_by():
            self.color.addItem(name, name)
        # at first, colour by the label that the most images have
        row = self.color.findData(previous_label) if previous_label else self.color.count() - 1
        self.color.setCurrentIndex(max(0, row))
        self.canvas.set_points(points.positions, self._update_groups(), len(points.rows))
        self.canvas.show_images({})
        self.thumbnails.update()
        if not has_same_rows:
            self._show_lassoed([])

    # Colours
    def _update_groups(self) -> list[int]:
        """Update the names on the map and the legend; returns the colour group of each point."""
        label = str(self.color.currentData() or "")
        groups, legend = self._points.colors(label, _MAX_COLORS, DEFAULT_COLOUR)
        self._show_legend(legend)
        named = [
            (text, color)
            for text, color in legend
            if label and color != DEFAULT_COLOUR and self._points.method != "PCA"
        ]
        self._named_groups = groups, named
        self.canvas.set_names(self._points.group_label_positions(groups, named))
        return groups

    def _show_group_names(self) -> None:
        """Name the groups where they are densest in view."""
        within = self.canvas.images_in_view() if self.thumbnails.is_close else None
        self.canvas.set_names(self._points.group_label_positions(*self._named_groups, within))

    def _recolor(self) -> None:
        self.canvas.set_groups(self._update_groups())
        self.thumbnails.update()

    def _show_legend(self, legend: list[tuple[str, int]]) -> None:
        clear_layout(self._legend_row)
        current_theme = theme()
        for text, color in legend:
            ink = current_theme.color("strong_border") if color == DEFAULT_COLOUR else current_theme.run_color(color)
            entry = QLabel(f'<span style="color:{ink.name()}">●</span> {escape(text)}', self._legend)
            entry.setTextFormat(Qt.TextFormat.RichText)
            set_role(entry, "small")
            self._legend_row.addWidget(entry)
            entry.show()
        self._legend.setVisible(bool(legend))

    # Points
    def _request_names(self, purpose: str, indices: Sequence[int]) -> bool:
        """Request the unknown names of points; returns whether there are any."""
        rows, texts = self._points.unnamed(indices)
        if rows:
            self.names_wanted.emit(purpose, rows, texts)
        return bool(rows)

    def _show_popup(self, index: int, position: QPoint) -> None:
        self._hover = index, position
        if index < 0 or self._request_names(HOVER, [index]):
            self._popup.hide()
            return
        name = self._points.name(index)
        if name is not None:
            words = f"“{name.words}”" if name.is_caption else name.words or Path(name.path).name
            self._popup.show_at(self.mapFromGlobal(position), name.path, words)

    def _select_point(self, index: int) -> None:
        self._show_lassoed([index])
        self.canvas.mark([index])

    def _show_lassoed(self, indices: list[int]) -> None:
        """Show the images of these points, at most ``_MAX_LASSOED``."""
        self._lassoed = indices[:_MAX_LASSOED]
        self.gallery.set_items([])
        if self._request_names(LASSO, self._lassoed):
            return  # the images are shown once their names are known
        images: dict[str, GalleryItem] = {}
        for name in filter(None, map(self._points.name, self._lassoed)):
            if name.path and (name.path not in images or name.is_caption):
                words = name.words or Path(name.path).name
                images[name.path] = GalleryItem(Path(name.path), words, detail=f"row {name.row}")
        self.gallery.set_items(list(images.values()))

    def _mark_current(self, index: int) -> None:
        items = self.gallery.items()
        if 0 <= index < len(items):
            self.canvas.mark(self._points.indices_of_path(str(items[index].path)))

    def _fill_menu(self, menu: QMenu, selected_rows: list[int]) -> None:
        selected_items = [self.gallery.items()[index] for index in selected_rows]
        menu.addSeparator()
        like = menu.addAction("More like this")
        like.setEnabled(len(selected_items) == 1)
        path = str(selected_items[0].path) if selected_items else ""
        row = self._points.row_of(path)
        like.triggered.connect(lambda: self.like_requested.emit(path, row))
        self._export.fill(menu, selected_items)


class _Popup(QFrame):
    """Shows the image and caption of the point under the mouse, next to the mouse and within the page."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._image = ImageLabel(_POPUP_WIDTH, self)
        self._words = PlainLabel(self, wordWrap=True)
        self._words.setFixedWidth(_POPUP_WIDTH)
        vbox(self._image, self._words, into=self, margins=SPACE)
        self.hide()

    def show_at(self, position: QPoint, path: str, words: str) -> None:
        self._image.show_image(Path(path) if path else None)
        self._words.setText(words[:200])
        self.adjustSize()
        page = self.parentWidget()
        x = position.x() + 2 * SPACE
        if page is not None and x + self.width() > page.width():
            x = position.x() - 2 * SPACE - self.width()
        y = position.y() if page is None else min(position.y(), page.height() - self.height())
        self.move(max(0, x), max(0, y))
        self.show()
        self.raise_()
