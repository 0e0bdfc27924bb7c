"""What tests of the table share: waiting for the store, and the texts of a column."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication

from sdgui.panels.runs.table.run_table import RunTable


def settle(table: RunTable) -> None:
    """Until every question to the store is answered and shown."""
    for _ in range(4):
        table.reader._tasks.wait()
        QApplication.processEvents()


def shown(table: RunTable, column: str) -> list[str]:
    """The texts of a column, once they are read."""
    number = [field.name for field in table.model.fields].index(column)
    rows = range(table.model.rowCount())
    for row in rows:
        table.model.index(row, number).data()
    settle(table)
    return [str(table.model.index(row, number).data()) for row in rows]
