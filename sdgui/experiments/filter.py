"""The data roles of the tree of experiments, and the filter on its rows."""

from __future__ import annotations

from enum import IntEnum

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt


class Role(IntEnum):
    """Data painted by the delegate, in addition to Qt's roles."""

    EXPERIMENT = Qt.ItemDataRole.UserRole + 1
    STUDY = Qt.ItemDataRole.UserRole + 2  # study id, set for a study only
    DETAIL = Qt.ItemDataRole.UserRole + 3
    BEST = Qt.ItemDataRole.UserRole + 4
    STATE = Qt.ItemDataRole.UserRole + 5  # "" for an experiment without a live run whose newest run did not fail
    TAGS = Qt.ItemDataRole.UserRole + 6
    SEARCH = Qt.ItemDataRole.UserRole + 7
    STATES = Qt.ItemDataRole.UserRole + 8  # states of the experiment's runs, for the filter


class ExperimentFilter(QSortFilterProxyModel):
    """Shows rows whose name, tags, note or run states contain every word; a matching study keeps its arms."""

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
        text = f"{index.data(Role.SEARCH)} {index.data(Role.STATES)}".casefold()
        return all(word in text or word.lstrip("#") in text for word in self._words)
