"""Notes on a result, collapsed to one line: skipped rows with the reason, settings chosen automatically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QWidget

from sdgui.widgets.formats import count
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import SPACE, set_role


class Notes(QWidget):
    """A line that expands when clicked; hidden if there are no notes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton(self)
        self.button.setCheckable(True)
        self.button.setToolTip("Skipped rows, and settings chosen automatically")
        self.button.setStyleSheet("text-align: left;")
        set_role(self.button, "flat")
        self.list = QPlainTextEdit(self)
        self.list.setReadOnly(True)
        self.list.setAccessibleName("Notes")
        self.list.setMaximumHeight(16 * SPACE)
        self.list.hide()
        vbox(self.button, self.list, into=self, spacing=0)
        self.button.toggled.connect(self._expand)
        self.hide()

    def show_notes(self, notes: Sequence[str], skipped: Sequence[str] = (), unlisted: int = 0) -> None:
        """Show ``notes`` and the ``skipped`` rows with reasons; ``unlisted``: number of other skipped rows."""
        left_out = len(skipped) + unlisted
        parts = [f"{count(len(notes))} {'note' if len(notes) == 1 else 'notes'}"] if notes else []
        if left_out:
            parts.append(f"{count(left_out)} {'row' if left_out == 1 else 'rows'} skipped")
        first = f": {notes[0]}" if notes else ""
        text = f"{', '.join(parts)}{first}"
        self.button.setText(text if len(text) <= 110 else text[:109] + "…")
        self.button.setAccessibleName(", ".join(parts))
        tail = [f"and {count(unlisted)} more"] if unlisted else []
        self.list.setPlainText("\n".join([*notes, *(["", "Skipped:"] if left_out else []), *skipped, *tail]))
        self.setVisible(bool(parts))

    def text(self) -> str:
        """All notes, also while collapsed."""
        return self.list.toPlainText()

    def _expand(self, expanded: bool) -> None:
        self.list.setVisible(expanded)


def skipped_rows(answer: Mapping[str, Any]) -> tuple[list[str], int]:
    """The skipped rows in an answer of ``classify_open``, and how many skipped rows it does not list."""
    rows: list[str] = []
    total, sources = 0, set[str]()
    for part in ("data", "train", "val"):
        split = answer.get(part)
        if split and str(split["source"]) not in sources:
            sources.add(str(split["source"]))
            rows += [f"{row['where']}: {row['reason']}" for row in split["skipped"]]
            total += int(split["skipped_count"])
    return rows, max(0, total - len(rows))
