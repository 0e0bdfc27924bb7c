"""The evaluation table: queries, the rank of the correct answer by model, and the change in rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, Qt

from sdgui.shared.tables import HeadedModel
from sdgui.widgets.formats import count
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

_Index = QModelIndex | QPersistentModelIndex
_UNKNOWN_RANK = 1e12  # sorts unknown ranks last


@dataclass(frozen=True)
class KnownQuery:
    """A query with a known answer. ``caption_number``: the caption's number; -1 for an image query."""

    title: str
    path: str
    row: int
    caption_number: int
    ranks: tuple[float | None, ...]  # per model; None if unknown

    @property
    def rank_gain(self) -> float | None:
        """By how many ranks the second model is better; None if unknown."""
        a, b = (*self.ranks, None, None)[:2]
        return None if a is None or b is None else a - b


def known_texts(sides: Sequence[Mapping[str, Any]]) -> list[KnownQuery]:
    """The caption queries of ``search_evaluate`` answers, in the first answer's order, matched by caption and image."""
    return _merge(sides, "text_to_image", lambda query: str(query["caption"]))


def known_images(sides: Sequence[Mapping[str, Any]]) -> list[KnownQuery]:
    """The image queries of ``search_evaluate`` answers."""
    return _merge(sides, "image_to_text", lambda query: " / ".join(query["captions"]))


def known_pairs(answer: Mapping[str, Any]) -> list[KnownQuery]:
    """The pairs of a ``search_compare`` answer, found by only one model."""
    rows = [*answer["only_a"], *answer["only_b"]]
    return [
        KnownQuery(str(pair["caption"]), str(pair["path"]), -1, int(pair["text_a"]), (pair["rank_a"], pair["rank_b"]))
        for pair in rows
    ]


def _merge(sides: Sequence[Mapping[str, Any]], direction: str, title: Any) -> list[KnownQuery]:
    other_ranks = [
        {(title(query), str(query["path"])): float(query["rank"]) for query in side[direction]} for side in sides[1:]
    ]
    merged = []
    for query in sides[0][direction] if sides else []:
        key = (title(query), str(query["path"]))
        ranks = (float(query["rank"]), *(ranks_of_other.get(key) for ranks_of_other in other_ranks))
        merged.append(KnownQuery(key[0], key[1], int(query["row"]), int(query.get("text", -1)), ranks))
    return merged


class KnownQueriesModel(HeadedModel):
    """Columns: the query, a rank per model, and with two models the change in rank.

    Sorts and filters without a proxy model, which would query each cell (0.1 s for 2000 rows).
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.all_queries: list[KnownQuery] = []
        self.visible_queries: list[KnownQuery] = []  # filtered and sorted
        self._filter = ""
        self._order = (0, Qt.SortOrder.AscendingOrder)
        self._names: list[str] = []
        self._query_title = "Caption"

    def set_queries(self, queries: list[KnownQuery], query_title: str, names: Sequence[str]) -> None:
        """Replace all queries. ``names``: titles of the models."""
        self.beginResetModel()
        self.all_queries, self._query_title, self._names = queries, query_title, list(names)
        self.visible_queries = []
        self.endResetModel()
        self._update_visible()

    def set_filter(self, text: str) -> None:
        """Show only queries that contain ``text``, ignoring case."""
        self._filter = text.casefold()
        self._update_visible()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._order = (column, order)
        self._update_visible()

    def _update_visible(self) -> None:
        self.beginResetModel()
        column, order = self._order
        visible = (
            [query for query in self.all_queries if self._filter in query.title.casefold()]
            if self._filter
            else list(self.all_queries)
        )
        visible.sort(key=lambda query: self._sort_key(query, column), reverse=order == Qt.SortOrder.DescendingOrder)
        self.visible_queries = visible
        self.endResetModel()

    def _sort_key(self, query: KnownQuery, column: int) -> tuple[float, str]:
        if column == 0:
            return 0.0, query.title.casefold()
        if column > len(query.ranks):
            return (-_UNKNOWN_RANK if query.rank_gain is None else query.rank_gain), ""
        rank = query.ranks[column - 1]
        return (_UNKNOWN_RANK if rank is None else rank), ""

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.visible_queries)

    def columnCount(self, parent: _Index | None = None) -> int:
        if parent is not None and parent.isValid():
            return 0
        return 1 + len(self._names) + (len(self._names) == 2)

    def heading(self, column: int, role: int) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            ranks = self._names if len(self._names) > 1 else ["Rank"]
            return [self._query_title, *ranks, "Moved"][column]
        if role == Qt.ItemDataRole.ToolTipRole and column > 0:
            if column <= len(self._names):
                name = self._names[column - 1]
                return plain_tip(f"Rank of the correct answer with {name}; 1 is best")
            return plain_tip(f"Number of ranks by which {self._names[1]} is better than {self._names[0]}")
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: _Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        query, column = self.visible_queries[index.row()], index.column()
        if column == 0:
            if role == Qt.ItemDataRole.ToolTipRole:
                return plain_tip(query.title)
            return query.title if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if column > len(self._names):
            return self._rank_change_data(query.rank_gain, role)
        rank = query.ranks[column - 1]
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if rank is None else rank_text(rank)
        if role == Qt.ItemDataRole.ForegroundRole and rank == 1:
            return theme().color("good")
        return None

    def _rank_change_data(self, rank_change: float | None, role: int) -> object:
        if not rank_change:
            return "" if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{'▲' if rank_change > 0 else '▼'} {rank_text(abs(rank_change))}"
        if role in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            direction = "higher" if rank_change > 0 else "lower"
            text = f"{rank_text(abs(rank_change))} ranks {direction} than with {self._names[0]}"
            return plain_tip(text) if role == Qt.ItemDataRole.ToolTipRole else text
        if role == Qt.ItemDataRole.ForegroundRole:
            return theme().color("good" if rank_change > 0 else "error")
        return None


def rank_text(rank: float) -> str:
    """A rank as text, such as ``12``, or ``1.5`` if equal scores share ranks."""
    return count(rank) if rank == int(rank) else f"{rank:.1f}"
