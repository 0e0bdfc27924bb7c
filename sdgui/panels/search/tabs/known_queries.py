"""The table of the evaluation: queries with the rank of their correct answer for one or two models, and the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from sdgui.shared.headed_model import HeadedModel
from sdgui.widgets.formats import count
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

_Index = QModelIndex | QPersistentModelIndex
_LAST = 1e12  # a rank that is not known sorts behind all others


@dataclass(frozen=True)
class Known:
    """A query with a known answer. ``text``: the caption's number, -1 if the query is a picture."""

    title: str
    path: str
    row: int
    text: int
    ranks: tuple[float | None, ...]  # of each model; None where it is not known

    @property
    def moved(self) -> float | None:
        """By how many ranks the second model is better."""
        a, b = (*self.ranks, None, None)[:2]
        return None if a is None or b is None else a - b


def known_texts(sides: Sequence[Mapping[str, Any]]) -> list[Known]:
    """Captions of ``search_evaluate``'s answers, in the first one's order; matched by caption and picture."""
    return _merge(sides, "text_to_image", lambda one: str(one["caption"]))


def known_pictures(sides: Sequence[Mapping[str, Any]]) -> list[Known]:
    """The same for picture queries, which look for their captions."""
    return _merge(sides, "image_to_text", lambda one: " / ".join(one["captions"]))


def known_pairs(answer: Mapping[str, Any]) -> list[Known]:
    """The pairs of a ``search_compare`` answer: found by one model and missed by the other."""
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


class KnownModel(HeadedModel):
    """Columns: the query, a rank per model, and with two models the change in rank.

    It sorts and filters by itself: a proxy would query each cell, which takes 0.1 s for 2000 rows.
    """

    arranged = Signal()  # other rows, or in another order

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.all: list[Known] = []
        self.known: list[Known] = []  # those that pass the filter, in order
        self._filter = ""
        self._order = (0, Qt.SortOrder.AscendingOrder)
        self._names: list[str] = []
        self._what = "Caption"

    def set_known(self, known: list[Known], what: str, names: Sequence[str]) -> None:
        """Replace everything; ``names`` of the models."""
        self.beginResetModel()
        self.all, self._what, self._names = known, what, list(names)
        self._arrange()
        self.endResetModel()

    def set_filter(self, text: str) -> None:
        """Show only queries that contain ``text``, ignoring case."""
        self._filter = text.casefold()
        self.beginResetModel()
        self._arrange()
        self.endResetModel()
        self.arranged.emit()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._order = (column, order)
        self.beginResetModel()
        self._arrange()
        self.endResetModel()
        self.arranged.emit()

    def _arrange(self) -> None:
        column, order = self._order
        found = [one for one in self.all if self._filter in one.title.casefold()] if self._filter else list(self.all)
        found.sort(key=lambda one: self._key(one, column), reverse=order == Qt.SortOrder.DescendingOrder)
        self.known = found

    def _key(self, one: Known, column: int) -> tuple[float, str]:
        if column == 0:
            return 0.0, one.title.casefold()
        if column > len(one.ranks):
            return (-_LAST if one.moved is None else one.moved), ""
        rank = one.ranks[column - 1]
        return (_LAST if rank is None else rank), ""

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.known)

    def columnCount(self, parent: _Index | None = None) -> int:
        if parent is not None and parent.isValid():
            return 0
        return 1 + len(self._names) + (len(self._names) == 2)

    def heading(self, column: int, role: int) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return [self._what, *self._names, "Moved"][column]
        if role == Qt.ItemDataRole.ToolTipRole and column > 0:
            if column <= len(self._names):
                name = self._names[column - 1]
                return plain_tip(f"Rank that {name} gives the correct answer; 1 is first")
            return plain_tip(f"By how many ranks {self._names[1]} is better than {self._names[0]}")
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        one, column = self.known[index.row()], index.column()
        if column == 0:
            if role == Qt.ItemDataRole.ToolTipRole:
                return plain_tip(one.title)
            return one.title if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if column > len(self._names):
            return self._moved(one.moved, role)
        rank = one.ranks[column - 1]
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if rank is None else rank_text(rank)
        if role == Qt.ItemDataRole.ForegroundRole and rank == 1:
            return theme().color("good")
        return None

    def _moved(self, moved: float | None, role: int) -> object:
        if not moved:
            return "" if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{'▲' if moved > 0 else '▼'} {rank_text(abs(moved))}"
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            direction = "higher" if moved > 0 else "lower"
            text = f"{rank_text(abs(moved))} ranks {direction} than with {self._names[0]}"
            return plain_tip(text) if role == Qt.ItemDataRole.ToolTipRole else text
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme().color("good" if moved > 0 else "error")
        return None


def rank_text(rank: float) -> str:
    """``12``; ``1.5`` where equal scores share ranks."""
    return count(rank) if rank == int(rank) else f"{rank:.1f}"
