"""The list of the model chip: entries under headings, filtered by the typed text, and how they are drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from sdgui.runs.models import OPEN_CLIP
from sdgui.shared.pickers.entries import ModelEntry
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, theme

ENTRY = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex
Groups = Sequence[tuple[str, Sequence[ModelEntry]]]  # heading, entries


class ModelLines(QAbstractListModel):
    """All headings and entries; the content of a row is created when it is visible."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lines: list[str | ModelEntry] = []

    def replace(self, groups: Groups, words: str = "", typed_only: Collection[str] = ()) -> None:
        """Show the entries of these groups that match ``words``, each group under its heading; empty groups are hidden.

        ``typed_only``: long, rarely needed groups that are shown only for a search.
        """
        terms = words.casefold().removeprefix(OPEN_CLIP).split()
        self.beginResetModel()
        self._lines = []
        for title, entries in groups:
            matching = [entry for entry in entries if _matches(entry, terms)]
            if matching and (terms or title not in typed_only):
                self._lines += [title, *matching]
        self.endResetModel()

    def entries(self) -> list[ModelEntry]:
        """The visible entries, without headings."""
        return [line for line in self._lines if isinstance(line, ModelEntry)]

    def entry(self, row: int) -> ModelEntry | None:
        """The entry in ``row``; None for a heading or a missing row."""
        line = self._lines[row] if 0 <= row < len(self._lines) else ""
        return line if isinstance(line, ModelEntry) else None

    def first_row(self) -> int:
        """The first selectable row; -1 if there is none."""
        lines = enumerate(self._lines)
        return next((row for row, line in lines if isinstance(line, ModelEntry) and not line.reason), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._lines)

    def flags(self, index: Index) -> Qt.ItemFlag:
        entry = self.entry(index.row())
        if entry is None:
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable
        return flags if entry.reason else flags | Qt.ItemFlag.ItemIsEnabled

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        if not 0 <= index.row() < len(self._lines):
            return None
        line = self._lines[index.row()]
        if isinstance(line, str):
            return line if role == Qt.ItemDataRole.DisplayRole else None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return line.title
            case Qt.ItemDataRole.UserRole:
                return line
            case Qt.ItemDataRole.ToolTipRole:
                return plain_tip(line.reason or line.name)
            case Qt.ItemDataRole.AccessibleTextRole:
                return ", ".join(filter(None, (line.title, line.metric, line.reason or line.about)))
        return None


def _matches(entry: ModelEntry, terms: Sequence[str]) -> bool:
    text = f"{entry.title} {entry.name} {entry.about} {entry.metric}".casefold()
    return all(term in text for term in terms)


class ModelDelegate(QStyledItemDelegate):
    """Paints headings in small text, and entries in two lines with the metric on the right."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        small = theme().font("small")
        line = option.fontMetrics.height()
        entry = index.data(ENTRY)
        if not isinstance(entry, ModelEntry):
            return QSize(10 * SPACE, line + SPACE)
        return QSize(10 * SPACE, round(line * (1 + small.pointSizeF() / theme().font().pointSizeF())) + SPACE)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        look, entry = theme(), index.data(ENTRY)
        room: QRect = option.rect.adjusted(SPACE, SPACE // 2, -SPACE, -SPACE // 2)
        painter.save()
        if not isinstance(entry, ModelEntry):
            painter.setFont(look.font("small"))
            painter.setPen(look.color("muted"))
            painter.drawText(room, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom), str(index.data()))
            painter.restore()
            return
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(look.color("selection"))
            painter.drawRoundedRect(option.rect.adjusted(2, 0, -2, 0), 6, 6)
        self._draw(painter, room, entry)
        painter.restore()

    def _draw(self, painter: QPainter, room: QRect, entry: ModelEntry) -> None:
        look = theme()
        painter.setFont(look.font())
        painter.setPen(look.color("muted" if entry.reason else "text"))
        metrics = painter.fontMetrics()
        about = entry.reason or entry.about
        first = QRect(room.left(), room.top(), room.width(), metrics.height() if about else room.height())
        metric_width = metrics.horizontalAdvance(entry.metric) + SPACE if entry.metric else 0
        title = metrics.elidedText(entry.title, Qt.TextElideMode.ElideMiddle, first.width() - metric_width)
        painter.drawText(first, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), title)
        if entry.metric:
            painter.drawText(first, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), entry.metric)
        painter.setFont(look.font("small"))
        painter.setPen(look.color("muted"))
        second = QRect(room.left(), first.bottom() + 1, room.width(), room.bottom() - first.bottom())
        about = painter.fontMetrics().elidedText(about, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(second, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), about)
