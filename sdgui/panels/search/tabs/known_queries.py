"""The evaluation table: queries, the rank of the correct answer by model, and the change in rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from sdgui.panels.search.results import rank_text
from sdgui.shared.tables import Column
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme


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


def query_columns(query_title: str, names: Sequence[str]) -> list[Column]:
    """The query, a rank for each model in ``names``, and with two models the change in rank."""
    columns = [Column(query_title, lambda query: query.title)]
    for side, name in enumerate(names):
        columns.append(_rank_column(name if len(names) > 1 else "Rank", name, side))
    if len(names) == 2:
        tip = plain_tip(f"Number of ranks by which {names[1]} is better than {names[0]}")
        roles = {
            int(Qt.ItemDataRole.AccessibleTextRole): lambda query: _spoken_gain(query.rank_gain, names[0]),
            int(Qt.ItemDataRole.ToolTipRole): lambda query: plain_tip(_spoken_gain(query.rank_gain, names[0])),
            int(Qt.ItemDataRole.ForegroundRole): lambda query: _gain_color(query.rank_gain),
        }
        columns.append(Column("Moved", lambda query: _gain_text(query.rank_gain), _gain_key, tip, roles))
    return columns


def _rank_column(title: str, name: str, side: int) -> Column:
    def color(query: KnownQuery) -> QColor | None:
        return theme().color("good") if query.ranks[side] == 1 else None

    tip = plain_tip(f"Rank of the correct answer with {name}; 1 is best")
    roles = {int(Qt.ItemDataRole.ForegroundRole): color}

    def text(query: KnownQuery) -> str:
        rank = query.ranks[side]
        return "–" if rank is None else rank_text(rank)

    def key(query: KnownQuery) -> float:
        rank = query.ranks[side]
        return math.inf if rank is None else rank  # unknown ranks are the last

    return Column(title, text, key, tip, roles)


def _gain_key(query: KnownQuery) -> float:
    return -math.inf if query.rank_gain is None else query.rank_gain


def _gain_text(gain: float | None) -> str:
    return f"{'▲' if gain > 0 else '▼'} {rank_text(abs(gain))}" if gain else ""


def _spoken_gain(gain: float | None, first_name: str) -> str:
    if not gain:
        return ""
    ranks = "rank" if abs(gain) == 1 else "ranks"
    return f"{rank_text(abs(gain))} {ranks} {'higher' if gain > 0 else 'lower'} than with {first_name}"


def _gain_color(gain: float | None) -> QColor | None:
    return theme().color("good" if gain > 0 else "error") if gain else None
