"""The table of the evaluation: known queries with the rank of each one's own, for one model or two; and what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from sdgui.widgets.formats import count
from sdgui.widgets.theme import theme

SORT = Qt.ItemDataRole.UserRole
_Index = QModelIndex | QPersistentModelIndex
_LAST = 1e12  # a rank that is not known sorts behind all others


@dataclass(frozen=True)
class Known:
    """A query whose answer is known. ``text``: the caption's number, -1 where a picture is the query."""

    title: str
    path: str
    row: int
    text: int
    ranks: tuple[float | None, ...]  # of each model; None where it is not known

    @property
    def moved(self) -> float | None:
        """How many places the second model has it higher."""
        a, b = (*self.ranks, None, None)[:2]
        return None if a is None or b is None else a - b


def known_texts(sides: Sequence[Mapping[str, Any]]) -> list[Known]:
    """Captions of ``search_evaluate``'s answers, in the first one's order; matched by caption and picture."""
    return _merge(sides, "text_to_image", lambda one: str(one["caption"]))


def known_pictures(sides: Sequence[Mapping[str, Any]]) -> list[Known]:
    """The same for pictures that look for their captions."""
    return _merge(sides, "image_to_text", lambda one: " / ".join(one["captions"]))


def known_pairs(answer: Mapping[str, Any]) -> list[Known]:
    """What ``search_compare`` says one of the two models finds and the other misses."""
    rows = [*answer["only_a"], *answer["only_b"]]
    return [
        Known(str(one["caption"]), str(one["path"]), -1, int(one["text_a"]), (one["rank_a"], one["rank_b"]))
        for one in rows
    ]


def _merge(sides: Sequence[Mapping[str, Any]], way: str, title: Any) -> list[Known]:
    others = [{(title(one), str(one["path"])): float(one["rank"]) for one in side[way]} for side in sides[1:]]
    found = []
    for one in sides[0][way] if sides else []:
        key = (title(one), str(one["path"]))
        ranks = (float(one["rank"]), *(other.get(key) for other in others))
        found.append(Known(key[0], key[1], int(one["row"]), int(one.get("text", -1)), ranks))
    return found


class KnownModel(QAbstractTableModel):
    """Columns: the query, a rank for each model, and with two of them what moved."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.known: list[Known] = []
        self._names: list[str] = []
        self._what = "Caption"

    def set_known(self, known: list[Known], what: str, names: Sequence[str]) -> None:
        """Replace everything; ``names`` of the models."""
        self.beginResetModel()
        self.known, self._what, self._names = known, what, list(names)
        self.endResetModel()

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.known)

    def columnCount(self, parent: _Index | None = None) -> int:
        if parent is not None and parent.isValid():
            return 0
        return 1 + len(self._names) + (len(self._names) == 2)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return [self._what, *self._names, "Moved"][section]
        if role == Qt.ItemDataRole.ToolTipRole and section > 0:
            if section <= len(self._names):
                return f"Rank at which {self._names[section - 1]} finds what belongs to the query; 1 is first"
            return f"How many places higher {self._names[1]} finds it than {self._names[0]}"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        one, column = self.known[index.row()], index.column()
        if column == 0:
            return one.title if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, SORT) else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if column > len(self._names):
            return self._moved(one.moved, role)
        rank = one.ranks[column - 1]
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if rank is None else rank_text(rank)
        if role == SORT:
            return _LAST if rank is None else rank
        if role == Qt.ItemDataRole.ForegroundRole and rank == 1:
            return theme().color("good")
        return None

    def _moved(self, moved: float | None, role: int) -> object:
        if role == SORT:
            return moved if moved is not None else -_LAST
        if not moved:
            return "" if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{'▲' if moved > 0 else '▼'} {rank_text(abs(moved))}"
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            direction = "higher" if moved > 0 else "lower"
            return f"{rank_text(abs(moved))} places {direction} than with {self._names[0]}"
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme().color("good" if moved > 0 else "error")
        return None


def rank_text(rank: float) -> str:
    """``12``; ``1.5`` where equal scores share their places."""
    return count(rank) if rank == int(rank) else f"{rank:.1f}"
