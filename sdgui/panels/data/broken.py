"""The page of unusable rows and undecodable images, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QAbstractItemView, QWidget

from sdgui.shared.tables import Column, CopyingTable, RowsModel
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE


class BrokenPage(QWidget):
    """A table of locations and reasons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = PlainLabel(self, wordWrap=True, role="small")
        self.rows = RowsModel([Column("Location", lambda row: row[0]), Column("Reason", lambda row: row[1])], self)
        self.table = CopyingTable("Broken rows", self)
        self.table.setModel(self.rows)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.horizontalHeader().resizeSection(0, 60 * SPACE)
        self.table.horizontalHeader().setStretchLastSection(True)
        vbox(self.summary, (self.table, 1), into=self, margins=(0, SPACE, 0, 0))

    def show_broken(
        self, bad_rows: int, reasons: Sequence[tuple[str, str]], files: Sequence[tuple[str, str]] | None
    ) -> None:
        """Show (location, reason) of the first ``bad_rows`` and of the broken ``files``; None if unchecked."""
        self.summary.setText(summary(bad_rows, len(reasons), None if files is None else len(files)))
        self.rows.set_rows([*(files or ()), *reasons])


def summary(bad_rows: int, listed_count: int, files: int | None) -> str:
    """The number of broken rows and files, and of files not checked yet."""
    rows = f"{count_with_unit(bad_rows, 'row')} cannot be used" if bad_rows else "Every row can be used"
    limit_text = f" (the first {count(listed_count)} are listed)" if listed_count < bad_rows else ""
    if files is None:
        return f"{rows}{limit_text}. To find images that cannot be decoded, run the check in Duplicates and leaks."
    decoded = f"{count_with_unit(files, 'image')} cannot be decoded" if files else "every image can be decoded"
    return f"{rows}{limit_text}; {decoded}."
