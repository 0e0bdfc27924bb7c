"""The command palette (Ctrl+K): finds any action, run or panel by letters of its title or words of its description.

Flow: ``Dialogs`` passes the current entries in order; the palette moves recently used entries to the top,
ranks entries while the user types, and runs the selected one. It closes on Escape or a click elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QPoint, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtWidgets import (
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.popovers.list_keys import handle_list_key, is_enter
from sdgui.widgets.style.theme import SPACE, theme

_MAX_SHOWN = 60  # entries in the list
_MAX_RECENT = 5  # recently used entries that are listed first if the search box is empty
_DESCRIPTION_ONLY = -100.0  # added to the score of a match in the description, so that title matches come first


@dataclass(frozen=True)
class Entry:
    """An action, a run or a panel in the list."""

    title: str
    hint: str  # its kind, and its shortcut
    run: Callable[[], object]
    about: str = ""  # a description, which is searched but not shown
    icon: QIcon | None = None


def match(words: str, text: str) -> float | None:
    """How well ``text`` matches ``words``: higher is better, None if a letter is missing.

    All letters must occur in order; consecutive letters and word starts score higher.
    """
    needle, hay = words.casefold().split(), text.casefold()
    score = 0.0
    for word in needle:
        position = hay.find(word)
        if position >= 0:
            score += 10.0 + (5.0 if position == 0 or not hay[position - 1].isalnum() else 0.0) - position / 100
            continue
        scattered = _scattered(word, hay)
        if scattered is None:
            return None
        score += scattered
    return score - len(text) / 1000


def score(words: str, entry: Entry) -> float | None:
    """The title's ``match``; otherwise a lower score if the description has every word; None if nothing matches."""
    seen = match(words, f"{entry.title} {entry.hint}")
    if seen is not None:
        return seen
    about = f"{entry.title} {entry.about}".casefold()
    return _DESCRIPTION_ONLY - len(about) / 1000 if all(word in about for word in words.casefold().split()) else None


def _scattered(word: str, hay: str) -> float | None:
    last, score = -1, 0.0
    for letter in word:
        next_index = hay.find(letter, last + 1)
        if next_index < 0:
            return None
        starts = next_index == 0 or not hay[next_index - 1].isalnum()
        score += 1.0 if next_index == last + 1 or starts else 0.2
        last = next_index
    return score


class _HintDelegate(QStyledItemDelegate):
    """An entry's icon and title on the left, its hint on the right."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        entry = index.data(Qt.ItemDataRole.UserRole)
        if isinstance(entry, Entry):
            room = option.rect.width() - option.fontMetrics.horizontalAdvance(entry.hint) - 6 * SPACE
            option.text = option.fontMetrics.elidedText(entry.title, Qt.TextElideMode.ElideMiddle, room)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)
        entry = index.data(Qt.ItemDataRole.UserRole)
        if isinstance(entry, Entry):
            painter.setPen(theme().color("muted"))
            side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(option.rect.adjusted(0, 0, -SPACE, 0), int(side), entry.hint)


class CommandPalette(QFrame):
    """A popup with a search box and its matches, best first."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._window = parent
        self.setObjectName("command_palette")
        self.setAccessibleName("Search actions, runs and panels")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.line = QLineEdit(self)
        self.line.setPlaceholderText("Search actions, runs and panels…")
        self.line.setAccessibleName("Search")
        self.line.setClearButtonEnabled(True)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Results")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setUniformItemSizes(True)
        self.list.setItemDelegate(_HintDelegate(self.list))
        vbox(self.line, self.list, into=self, margins=SPACE)
        empty = QPixmap(self.list.iconSize() if self.list.iconSize().isValid() else QSize(16, 16))
        empty.fill(Qt.GlobalColor.transparent)
        self._no_icon = QIcon(empty)  # transparent: aligns titles without an icon with the others
        self._entries: Sequence[Entry] = ()
        self._recent: list[str] = []  # titles, most recent first
        self.line.textChanged.connect(self._fill)
        self.line.installEventFilter(self)
        self.list.itemClicked.connect(self._choose)

    def open(self, entries: Sequence[Entry]) -> None:
        """Show the palette with ``entries`` at the top of its parent."""
        self._entries = entries
        self.line.clear()
        self._fill()
        parent = self._window
        width = min(640, max(320, parent.width() - 64))
        self.resize(width, min(440, max(200, parent.height() - 96)))
        self.move(parent.mapToGlobal(QPoint((parent.width() - width) // 2, 48)))
        self.show()
        self.line.setFocus(Qt.FocusReason.PopupFocusReason)

    def _fill(self) -> None:
        words = self.line.text()
        matches = self._matches(words) if words.strip() else self._recent_first()
        self.list.clear()
        for entry in matches[:_MAX_SHOWN]:
            icon = entry.icon if entry.icon is not None and not entry.icon.isNull() else self._no_icon
            item = QListWidgetItem(icon, entry.title)
            item.setData(Qt.ItemDataRole.UserRole, entry)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(filter(None, (entry.title, entry.hint))))
            self.list.addItem(item)
        if not matches:
            item = QListWidgetItem("No matches. Try fewer letters.")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(item)
        self.list.setCurrentRow(0 if matches else -1)

    def _matches(self, words: str) -> list[Entry]:
        scored = ((score(words, entry), entry) for entry in self._entries)
        matches = [(number, entry) for number, entry in scored if number is not None]
        return [entry for _, entry in sorted(matches, key=lambda pair: -pair[0])]

    def _recent_first(self) -> list[Entry]:
        """Recently used entries that are available, then the others in their order."""
        by_title = {entry.title: entry for entry in reversed(self._entries)}
        recent = [by_title[title] for title in self._recent if title in by_title]
        return [*recent, *(entry for entry in self._entries if entry not in recent)]

    def _choose(self, item: QListWidgetItem | None) -> None:
        entry = item.data(Qt.ItemDataRole.UserRole) if item else None
        if isinstance(entry, Entry):
            self.hide()
            self._recent = [entry.title, *(title for title in self._recent if title != entry.title)][:_MAX_RECENT]
            entry.run()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move through the list with the arrow keys while typing; run the selected entry with Enter."""
        if is_enter(event):
            self._choose(self.list.currentItem())
            return True
        return handle_list_key(self.list, event)
