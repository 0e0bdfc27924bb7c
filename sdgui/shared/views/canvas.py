"""Paints views: one column per image, one row per view; masked patches are hatched, mixed images are named.

Flow: ``Views`` -> ``ViewsCanvas.show_views`` -> painted at the size that fits the width.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QHelpEvent, QImage, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from sdgui.shared.views.drawing import Row, Views
from sdgui.widgets.formats import percent
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_TITLE = 9 * SPACE  # width of the row headings
_MIN_CELL_PX, _MAX_CELL_PX = 40, 160
_GAP = SPACE // 2


class ViewsCanvas(QWidget):
    """The grid of views."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.views: Views | None = None
        self._stale = False
        self._side = _MIN_CELL_PX
        self._tops: list[int] = []
        self._thumbnails = Thumbnails(parent=self)
        self._thumbnails.ready.connect(lambda _path: self.update())
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Image views")
        theme().changed.connect(self.update)

    def show_views(self, views: Views | None) -> None:
        """Show views; None for none."""
        self.views, self._stale = views, False
        self._measure()
        self.setAccessibleDescription("" if views is None else describe_rows(views))
        self.update()

    def set_stale(self, stale: bool) -> None:
        """Mark the views as outdated."""
        if stale != self._stale:
            self._stale = stale
            self.update()

    # Geometry
    def _measure(self) -> None:
        views = self.views
        if views is None or not views.images:
            self.setFixedHeight(0)
            return
        room = (self.width() - _TITLE) // len(views.images) - _GAP
        self._side = max(_MIN_CELL_PX, min(_MAX_CELL_PX, room))
        self._thumbnails.set_side(self._side * self.devicePixelRatioF())
        line, top = self._line(), self._side + self._line() + SPACE
        self._tops = []
        for row in views.rows:
            top += line + SPACE if row.heading else 0
            self._tops.append(top)
            top += self._side + _GAP + (line if _is_mixed(row) else 0)
        self.setFixedHeight(top + SPACE)
        self.setMinimumWidth(_TITLE + len(views.images) * (_MIN_CELL_PX + _GAP))

    def _line(self) -> int:
        return self.fontMetrics().height()

    def _cell(self, column: int, top: int) -> QRect:
        return QRect(_TITLE + column * (self._side + _GAP), top, self._side, self._side)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._measure()

    def sizeHint(self) -> QSize:
        return QSize(_TITLE + 12 * (_MIN_CELL_PX + _GAP), self.height())

    # Painting
    def paintEvent(self, event: QPaintEvent) -> None:
        views = self.views
        if views is None or not views.images:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setFont(theme().font("small"))
        painter.setOpacity(0.5 if self._stale else 1.0)
        self._paint_heading(painter, QRect(0, 0, _TITLE - SPACE, self._side), "Image")
        for column, image in enumerate(views.images):
            thumbnail = self._thumbnails.get(Path(image["path"]))
            if thumbnail is not None and thumbnail.image is not None:
                self._paint_image(painter, self._cell(column, 0), thumbnail.image)
            below = QRect(self._cell(column, self._side).topLeft(), QSize(self._side, self._line()))
            self._paint_caption(painter, below, image["caption"] or Path(image["path"]).name)
        for row, top in zip(views.rows, self._tops, strict=True):
            if event.rect().intersects(QRect(0, top - 2 * self._line(), self.width(), self._side + 3 * self._line())):
                self._paint_row(painter, row, top)
        painter.end()

    def _paint_row(self, painter: QPainter, row: Row, top: int) -> None:
        if row.heading:
            painter.setFont(theme().font("title"))
            painter.setPen(theme().color("text"))
            painter.drawText(QPoint(0, top - SPACE), row.heading)
            painter.setFont(theme().font("small"))
        self._paint_heading(painter, QRect(0, top, _TITLE - SPACE, self._side), row.title)
        for column, (cell, image) in enumerate(zip(row.cells, row.images, strict=True)):
            box = self._cell(column, top)
            painter.drawImage(box, image)
            self._paint_mask(painter, box, cell["mask"], row.patches)
            if (mixed := cell["mixed"]) is not None:
                self._paint_pasted_box(painter, box, mixed["box"], image.width())
                below = QRect(box.left(), box.bottom() + 1, box.width(), self._line())
                self._paint_caption(
                    painter, below, f"{100 * (1 - mixed['share']):.0f} % {mixed['caption'] or Path(mixed['path']).stem}"
                )

    def _paint_mask(self, painter: QPainter, box: QRect, mask: str, patches: int) -> None:
        """Hatch masked patches, and cover dropped ones."""
        if not mask.strip("0"):
            return
        shade = QColor(theme().color("surface"))
        shade.setAlphaF(0.75)
        lines = QBrush(theme().color("text"), Qt.BrushStyle.BDiagPattern)
        for index, mark in ((index, mark) for index, mark in enumerate(mask) if mark != "0"):
            row, column = divmod(index, patches)
            left, right = (box.left() + column_edge * box.width() // patches for column_edge in (column, column + 1))
            top, bottom = (box.top() + row_edge * box.height() // patches for row_edge in (row, row + 1))
            patch = QRect(left, top, right - left, bottom - top)
            painter.fillRect(patch, shade)
            if mark == "1":
                painter.fillRect(patch, lines)

    def _paint_pasted_box(self, painter: QPainter, box: QRect, pasted: list[int], side: int) -> None:
        """The dashed outline of the patch that CutMix pasted."""
        if len(pasted) != 4:
            return
        top, left, bottom, right = (round(coordinate * box.width() / side) for coordinate in pasted)
        painter.setPen(QPen(theme().color("accent_text"), 1.5, Qt.PenStyle.DashLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRect(box.left() + left, box.top() + top, right - left - 1, bottom - top - 1))

    def _paint_image(self, painter: QPainter, box: QRect, image: QImage) -> None:
        size = image.size().scaled(box.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(QPoint(0, 0), size)
        place.moveCenter(box.center())
        painter.fillRect(place, Qt.GlobalColor.white)  # the background of transparent images, as in training
        painter.drawImage(place, image)

    def _paint_heading(self, painter: QPainter, box: QRect, text: str) -> None:
        painter.setPen(theme().color("muted"))
        alignment = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box, int(alignment) | int(Qt.TextFlag.TextWordWrap), text)

    def _paint_caption(self, painter: QPainter, box: QRect, text: str) -> None:
        painter.setPen(theme().color("muted"))
        short = painter.fontMetrics().elidedText(text.replace("\n", " "), Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), short)

    # Pointing
    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), plain_tip(self.text_at(event.pos())), self)
            return True
        return super().event(event)

    def _column(self, point: QPoint) -> int:
        column = (point.x() - _TITLE) // (self._side + _GAP) if point.x() >= _TITLE else -1
        return column if self.views is not None and column < len(self.views.images) else -1

    def text_at(self, point: QPoint) -> str:
        """A description of the cell at ``point``: the image, its caption, its partner."""
        views, column = self.views, self._column(point)
        if views is None or column < 0:
            return ""
        image = views.images[column]
        lines = [image["caption"], image["path"]]
        for row, top in zip(views.rows, self._tops, strict=True):
            if self._cell(column, top).contains(point):
                lines.insert(0, f"{row.title}, in batch {image['batch']}")
                lines += _about(row, column)
        return "\n".join(line for line in lines if line)


def _is_mixed(row: Row) -> bool:
    return any(cell["mixed"] is not None for cell in row.cells)


def _about(row: Row, column: int) -> list[str]:
    """One line about masked patches and one about the mixed image."""
    cell, lines = row.cells[column], []
    if "1" in cell["mask"]:
        lines.append(f"{cell['mask'].count('1')} of {len(cell['mask'])} patches are hidden.")
    if "2" in cell["mask"]:
        lines.append(f"{cell['mask'].count('2')} of {len(cell['mask'])} patches are left out.")
    if (mixed := cell["mixed"]) is not None:
        relation = "pasted from" if mixed["box"] else "blended with"
        lines.append(f"{percent(mixed['share'])} of itself, {relation} {mixed['caption']}: {mixed['path']}")
    return lines


def describe_rows(views: Views) -> str:
    """The rows in words, for screen readers."""
    parts = [f"{row.heading} {row.title}".strip() for row in views.rows]
    return f"{len(views.images)} images: " + "; ".join(parts)
