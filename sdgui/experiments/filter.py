"""The data roles of the tree of experiments, and the filter on its rows."""

from __future__ import annotations

from enum import IntEnum

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt


class Role(IntEnum):
    """What the delegate paints, beside Qt's own roles."""

    EXPERIMENT = Qt.ItemDataRole.UserRole + 1
    RUN = Qt.ItemDataRole.UserRole + 2  # run id, None for an experiment
    DETAIL = Qt.ItemDataRole.UserRole + 3
    BEST = Qt.ItemDataRole.UserRole + 4
    TIME = Qt.ItemDataRole.UserRole + 5
    STATE = Qt.ItemDataRole.UserRole + 6  # "" for an experiment without a live run
    TAGS = Qt.ItemDataRole.UserRole + 7
    SEARCH = Qt.ItemDataRole.UserRole + 8
    STUDY = Qt.ItemDataRole.UserRole + 10  # study id, set for a study only
    SHARE = Qt.ItemDataRole.UserRole + 9  # of a live run's steps, 0 to 1; None otherwise
    COLOR = Qt.ItemDataRole.UserRole + 11  # palette index of a run


class ExperimentFilter(QSortFilterProxyModel):
    """Shows rows that contain every word: in name, tag, note or state; a matching experiment keeps its runs."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words: list[str] = []
        self.setRecursiveFilteringEnabled(True)
        self.setAutoAcceptChildRows(True)

    def set_text(self, text: str) -> None:
        self._words = text.casefold().split()
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex | QPersistentModelIndex) -> bool:
        index = self.sourceModel().index(row, 0, parent)
        text = f"{index.data(Role.SEARCH)} {index.data(Role.STATE)}".casefold()
        return all(word in text or word.lstrip("#") in text for word in self._words)
