"""A table model whose columns have headings and whose rows have none."""

from __future__ import annotations

from PySide6.QtCore import QAbstractTableModel, Qt


class HeadedModel(QAbstractTableModel):
    """Subclasses provide the headings of columns."""

    def heading(self, column: int, role: int) -> object:
        """What ``headerData`` answers for ``column``."""
        raise NotImplementedError

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        return self.heading(section, role) if orientation == Qt.Orientation.Horizontal else None
