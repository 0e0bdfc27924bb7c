"""The map: pictures and captions laid out by their vectors, coloured by a label; a lasso shows pictures in a gallery.

Flow: worker ``search_map`` (a quick layout, then a better one) -> canvas -> lasso -> gallery; hovering shows a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from sdgui.panels.search.tabs.map_canvas import OTHER, MapCanvas
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.gallery.picture_label import PictureLabel
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.no_wheel_combo_box import NoWheelComboBox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

SHOWN = 6000  # points asked for: an answer of about a megabyte, read in some milliseconds
_COLORED = 8  # label values with a colour of their own: as many as can be distinguished
_POPUP = 16 * SPACE


class MapPage(QWidget):
    """``wanted(captions)``: the page is shown without a map, or captions are switched on or off."""

    wanted = Signal(bool)
    like_asked = Signal(str, int)  # path, row

    def __init__(self, cache_dir: Path | None, export: ExportMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._export = export
        self._answer: Mapping[str, Any] = {"pictures": [], "captions": [], "method": ""}
        self._paths: dict[int, str] = {}
        self._words: dict[int, str] = {}
        self._lassoed: list[int] = []
        self.color = NoWheelComboBox(self)
        self.captions = QCheckBox("captions", self)
        self.fit = QPushButton("Show all", self)
        self.status = ElidedLabel("", self)
        self.canvas = MapCanvas(self)
        self.gallery = Gallery(cache_dir, "Draw a lasso around points to see their pictures here.", self)
        self._legend = QWidget(self)
        self._popup = _Popup(self)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.color.setAccessibleName("Colour of the points")
        self.color.setToolTip("Colour by this label; its eight most frequent values are coloured")
        self.color.setMinimumContentsLength(14)
        self.captions.setChecked(True)
        self.captions.setToolTip("Show captions as triangles next to the pictures' discs")
        self.fit.setToolTip("Everything in view (R)")
        set_role(self.status, "small")
        self.gallery.set_thumbnail_size(80)
        self.gallery.setAccessibleName("Pictures within the lasso")
        top = QHBoxLayout()
        top.setSpacing(SPACE)
        label = PlainLabel("&Colour", self)
        label.setBuddy(self.color)
        for widget in (label, self.color, self.captions, self.fit):
            top.addWidget(widget)
        top.addWidget(self.status, 1)
        FlowLayout(self._legend).setSpacing(SPACE)
        policy = self._legend.sizePolicy()
        policy.setHeightForWidth(True)
        self._legend.setSizePolicy(policy)
        left = QWidget(self)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, SPACE, 0)
        column.setSpacing(SPACE // 2)
        column.addLayout(top)
        column.addWidget(self._legend)
        column.addWidget(self.canvas, 1)
        self.split = QSplitter(Qt.Orientation.Horizontal, self)
        self.split.addWidget(left)
        self.split.addWidget(self.gallery)
        self.split.setStretchFactor(0, 1)
        self.split.setSizes([600, 280])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.split)

    def _connect(self) -> None:
        self.color.activated.connect(lambda _row: self._recolor())
        self.captions.toggled.connect(self.wanted)
        self.fit.clicked.connect(self.canvas.show_all)
        self.canvas.hovered.connect(self._hovered)
        self.canvas.lassoed.connect(self._show_lassoed)
        self.canvas.clicked.connect(self._clicked)
        self.gallery.activated.connect(self.gallery.preview)
        self.gallery.current_changed.connect(self._current)
        self.gallery.menu_opening.connect(self._fill_menu)
        theme().changed.connect(self._recolor)

    @property
    def empty(self) -> bool:
        return not self._answer["pictures"]

    def clear(self) -> None:
        """Remove the map; another collection is open."""
        self._set({"pictures": [], "captions": [], "method": ""})
        self.status.setText("")
        if self.isVisible():
            self.wanted.emit(self.captions.isChecked())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.empty:
            self.wanted.emit(self.captions.isChecked())

    def show_map(self, answer: Mapping[str, Any]) -> None:
        """Show an answer of ``search_map``, the quick or the better one."""
        self._set(answer)
        pictures, captions = len(answer["pictures"]), len(answer["captions"])
        what = f"{count(pictures)} pictures" + (f", {count(captions)} captions" if captions else "")
        better = "; a better one is being computed" if answer["method"] == "PCA" else ""
        self.status.setText(f"{what} · {answer['method']}{better} · drag: lasso, Shift+drag: pan, wheel: zoom")

    def _set(self, answer: Mapping[str, Any]) -> None:
        same = [one["row"] for one in self._answer["pictures"]] == [one["row"] for one in answer["pictures"]]
        self._answer = answer
        self._paths = {int(one["row"]): str(one["path"]) for one in answer["pictures"]}
        self._words = {int(one["row"]): str(one["caption"]) for one in answer["captions"]}
        names = _telling_labels(answer["pictures"])
        chosen = self.color.currentData()
        self.color.clear()
        self.color.addItem("pictures and captions", "")
        for name in names:
            self.color.addItem(name, name)
        found = self.color.findData(chosen) if chosen else self.color.count() - 1
        self.color.setCurrentIndex(max(0, found))
        points = [*answer["pictures"], *answer["captions"]]
        places = np.array([(one["x"], one["y"]) for one in points], np.float64).reshape(-1, 2)
        self.canvas.set_points(places, self._groups(), len(answer["pictures"]))
        if not same:
            self._show_lassoed([])

    # Colours
    def _groups(self) -> list[int]:
        """A colour per point; a caption has the colour of its picture."""
        name = str(self.color.currentData() or "")
        pictures, captions = self._answer["pictures"], self._answer["captions"]
        if not name:
            self._show_legend([("pictures", 0), ("captions", 1)] if captions else [])
            return [0] * len(pictures) + [1] * len(captions)
        values = {int(one["row"]): str(one["labels"].get(name, "")) for one in pictures}
        common = Counter(value for value in values.values() if value).most_common(_COLORED)
        colors = {value: color for color, (value, _) in enumerate(common)}
        others = len({value for value in values.values() if value}) - len(colors)
        legend = [*colors.items(), *([(f"{others} others", OTHER)] if others else [])]
        self._show_legend(legend)
        group = {row: colors.get(value, OTHER) for row, value in values.items()}
        return [group[int(one["row"])] for one in pictures] + [group.get(int(one["row"]), OTHER) for one in captions]

    def _recolor(self) -> None:
        self.canvas.set_groups(self._groups())

    def _show_legend(self, legend: list[tuple[str, int]]) -> None:
        layout = self._legend.layout()
        while layout is not None and layout.count():
            item = layout.takeAt(0)
            if item is not None and (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        look = theme()
        for text, color in legend:
            ink = look.color("strong_border") if color == OTHER else look.run_color(color)
            entry = QLabel(self._legend)
            entry.setTextFormat(Qt.TextFormat.RichText)
            safe = text.replace("&", "&amp;").replace("<", "&lt;")
            entry.setText(f'<span style="color:{ink.name()}">●</span> {safe}')
            set_role(entry, "small")
            if layout is not None:
                layout.addWidget(entry)
            entry.show()
        self._legend.setVisible(bool(legend))

    # Points
    def _point(self, index: int) -> tuple[str, str, int, bool]:
        """Path, words, row and whether it is a caption."""
        pictures = self._answer["pictures"]
        if index < len(pictures):
            one = pictures[index]
            labels = ", ".join(f"{name}: {value}" for name, value in one["labels"].items() if value)
            words = self._words.get(int(one["row"]), "") or labels or Path(one["path"]).name
            return str(one["path"]), words, int(one["row"]), False
        one = self._answer["captions"][index - len(pictures)]
        return self._paths.get(int(one["row"]), ""), str(one["caption"]), int(one["row"]), True

    def _hovered(self, index: int, position: QPoint) -> None:
        if index < 0:
            self._popup.hide()
            return
        path, words, _, caption = self._point(index)
        self._popup.show_at(self.mapFromGlobal(position), path, f"“{words}”" if caption else words)

    def _clicked(self, index: int) -> None:
        self._show_lassoed([index])
        self.canvas.mark([index])

    def _show_lassoed(self, indices: list[int]) -> None:
        pictures: dict[str, GalleryItem] = {}
        for index in indices:
            path, words, row, caption = self._point(index)
            if path and (path not in pictures or caption):
                pictures[path] = GalleryItem(Path(path), words, detail=f"row {row}")
        self._lassoed = indices
        self.gallery.set_items(list(pictures.values()))

    def _current(self, index: int) -> None:
        shown = self.gallery.items()
        if 0 <= index < len(shown):
            path = str(shown[index].path)
            self.canvas.mark([i for i, one in enumerate(self._answer["pictures"]) if one["path"] == path])

    def _fill_menu(self, menu: QMenu, chosen: list[int]) -> None:
        shown = [self.gallery.items()[index] for index in chosen]
        menu.addSeparator()
        like = menu.addAction("More like this")
        like.setEnabled(len(shown) == 1)
        path = str(shown[0].path) if shown else ""
        row = next((row for row, one in self._paths.items() if one == path), -1)
        like.triggered.connect(lambda: self.like_asked.emit(path, row))
        self._export.fill(menu, shown)


def _telling_labels(pictures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Labels that tell pictures apart, by how few of the pictures lack one; one of a single class colours nothing."""
    values: dict[str, Counter[str]] = {}
    for one in pictures:
        for name, value in one["labels"].items():
            values.setdefault(name, Counter())[str(value)] += bool(value)
    telling = [name for name, found in values.items() if sum(count > 0 for count in found.values()) > 1]
    return sorted(telling, key=lambda name: values[name].total())


class _Popup(QFrame):
    """Show the picture under the mouse with its caption, beside the mouse and within the page."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._picture = PictureLabel(_POPUP, self)
        self._words = PlainLabel(self, wordWrap=True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setFixedWidth(_POPUP)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        column.addWidget(self._picture)
        column.addWidget(self._words)
        self.hide()

    def show_at(self, position: QPoint, path: str, words: str) -> None:
        self._picture.show_picture(Path(path) if path else None)
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
