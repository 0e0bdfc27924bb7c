"""Notes on a result, behind a button beside the tabs: skipped rows with the reason, settings chosen automatically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QWidget

from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE, set_role


class Notes(QWidget):
    """The list, hidden until ``button`` is checked; the button is hidden while there are no notes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton(parent)
        self.button.setCheckable(True)
        set_role(self.button, "flat")
        self.list = QPlainTextEdit(self, readOnly=True)
        self.list.setAccessibleName("Notes")
        self.list.setMaximumHeight(16 * SPACE)
        vbox(self.list, into=self)
        self.button.toggled.connect(self.setVisible)
        self.button.hide()
        self.hide()

    def show_notes(self, notes: Sequence[str], skipped: Sequence[str] = (), unlisted: int = 0) -> None:
        """Show ``notes`` and the ``skipped`` rows with reasons; ``unlisted``: number of other skipped rows."""
        left_out = len(skipped) + unlisted
        parts = [count_with_unit(len(notes), "note")] if notes else []
        if left_out:
            parts.append(f"{count_with_unit(left_out, 'row')} skipped")
        text = ", ".join(parts)
        self.button.setText(text)
        self.button.setAccessibleName(text)
        self.button.setToolTip(plain_tip(notes[0] if len(notes) == 1 and not left_out else "Show them"))
        tail = [f"and {count(unlisted)} more"] if unlisted else []
        self.list.setPlainText("\n".join([*notes, *(["", "Skipped:"] if left_out else []), *skipped, *tail]))
        self.button.setVisible(bool(parts))
        self.button.setChecked(self.button.isChecked() and bool(parts))


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
