"""Find and replace in captions: matches are counted while typing; replacing all is one undo step.

Flow: typed text -> ``Finder`` (a compiled pattern) -> count -> ``replace_requested(Finder)`` -> panel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPushButton, QWidget

from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel

_TYPING_PAUSE_MS = 120


@dataclass(frozen=True)
class Finder:
    """A pattern and its replacement."""

    pattern: re.Pattern[str]
    replacement: str
    plain: bool  # the replacement is literal, without groups

    def replaced(self, text: str) -> tuple[str, int]:
        """The new text, and the number of replacements. Raises re.error for an unknown group."""
        return self.pattern.subn((lambda _match: self.replacement) if self.plain else self.replacement, text)


def finder(words: str, replacement: str, case: bool, whole_words: bool, regular: bool) -> Finder:
    """Compile the pattern. Raises re.error for an invalid regular expression."""
    text = words if regular else re.escape(words)
    if whole_words:
        text = rf"(?<!\w)(?:{text})(?!\w)"
    return Finder(re.compile(text, 0 if case else re.IGNORECASE), replacement, not regular)


def occurrences(finder: Finder, texts: Iterable[str]) -> tuple[int, int]:
    """The number of matches, and of texts with a match."""
    numbers = [sum(1 for _ in finder.pattern.finditer(text)) for text in texts]
    return sum(numbers), sum(number > 0 for number in numbers)


class ReplaceBar(QWidget):
    """The find and replace bar; hidden until it is opened, Escape closes it."""

    replace_requested = Signal(object)  # Finder
    open_changed = Signal(bool)  # whether the bar is open

    def __init__(self, texts: Callable[[], Iterable[str]], parent: QWidget | None = None) -> None:
        """``texts`` returns the captions that would be changed."""
        super().__init__(parent)
        self._texts = texts
        self.find_box = QLineEdit(self, placeholderText="Find in captions")
        self.replacement = QLineEdit(self, placeholderText="Replace with")
        for line in (self.find_box, self.replacement):
            line.setAccessibleName(line.placeholderText())
        self.case, self.whole_words = QCheckBox("&Case", self), QCheckBox("&Words", self)
        self.case.setToolTip("Match case")
        self.whole_words.setToolTip("Match whole words")
        self.regular = QCheckBox("&Pattern", self)
        self.regular.setToolTip(r"Use a regular expression; in the replacement, \1 is the first group")
        self.count_label = PlainLabel(self, role="muted")
        self.count_label.setMinimumWidth(
            self.count_label.fontMetrics().horizontalAdvance("99 in 99 captions")
        )  # so that the layout does not move
        self.button = QPushButton("Replace &all", self)
        self.button.setToolTip("Replaces in the selected captions if several are selected, otherwise in all (Enter)")
        close = IconButton("ph.x", "Close find and replace", parent=self)
        options = (self.case, self.whole_words, self.regular)
        hbox((self.find_box, 2), (self.replacement, 2), *options, self.count_label, self.button, close, into=self)
        self._typing = QTimer(self, singleShot=True, interval=_TYPING_PAUSE_MS)
        self._typing.timeout.connect(self.recount)
        self.find_box.textChanged.connect(lambda _text: self._typing.start())
        self.replacement.textChanged.connect(lambda _text: self._typing.start())
        for box in (self.case, self.whole_words, self.regular):
            box.toggled.connect(lambda _on: self.recount())
        self.find_box.returnPressed.connect(self._ask_replace)
        self.replacement.returnPressed.connect(self._ask_replace)
        self.button.clicked.connect(self._ask_replace)
        close.clicked.connect(self.close_bar)
        self.is_open = False
        self.hide()
        self.recount()

    def open(self) -> None:
        """Show the bar with the cursor in the search box."""
        self.is_open = True
        self.open_changed.emit(True)
        self.show()
        self.find_box.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.find_box.selectAll()
        self.recount()

    def close_bar(self) -> None:
        """Close the bar; the typed text is kept."""
        self.is_open = False
        self.hide()
        self.open_changed.emit(False)

    def finder(self) -> Finder | None:
        """The typed pattern; None while it is empty or invalid."""
        words = self.find_box.text()
        if not words:
            return None
        options = (self.case.isChecked(), self.whole_words.isChecked(), self.regular.isChecked())
        try:
            result = finder(words, self.replacement.text(), *options)
            result.replaced("")  # raises for an unknown group
        except (re.error, IndexError):
            return None
        return result

    def recount(self) -> None:
        """Show the current number of matches."""
        finder = self.finder()
        if finder is None:
            self.count_label.setText("invalid pattern" if self.find_box.text() else "")
            self.button.setEnabled(False)
            return
        matches, captions = occurrences(finder, self._texts())
        self.count_label.setText(f"{count(matches)} in {count_with_unit(captions, 'caption')}" if matches else "none")
        self.button.setEnabled(matches > 0)

    def _ask_replace(self) -> None:
        self._typing.stop()
        self.recount()
        finder = self.finder()
        if finder is not None and self.button.isEnabled():
            self.replace_requested.emit(finder)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_bar()
        else:
            super().keyPressEvent(event)
