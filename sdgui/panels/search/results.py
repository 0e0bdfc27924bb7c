"""Search results as gallery items, with the selected score, the cut-off and changes in rank between models.

Flow: worker ``search_query`` -> ``items`` -> gallery; with a second model's results -> badges with the change in rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sdgui.panels.search.model import Query
from sdgui.widgets.formats import capitalize, count, count_with_unit, percent
from sdgui.widgets.gallery.items import GalleryItem

Score = Literal["cosine", "softmax", "rank"]
SCORES: dict[Score, tuple[str, str]] = {
    "cosine": (
        "Cosine",
        "Cosine similarity of the query and the result, from -1 to 1. Compare it with the cut-off, "
        "not with the scores of another model.",
    ),
    "softmax": (
        "Softmax",
        "Softmax probability over all searched images or captions, at the model's temperature: how sure the model is "
        "that this result is correct.",
    ),
    "rank": ("Rank", "Position in the results; 1 is the best match. Only ranks can be compared between models."),
}
Row = Mapping[str, Any]


def ranks_of(answer: Mapping[str, Any]) -> dict[str, int]:
    """Identity of each result -> rank, including grouped duplicates."""
    ranks: dict[str, int] = {}
    for row in answer["rows"]:
        ranks.setdefault(identity(row), int(row["rank"]))
        for duplicate in row["duplicates"]:
            ranks.setdefault(str(duplicate["path"]), int(duplicate["rank"]))
    return ranks


def identity(row: Row) -> str:
    """The identity of a result in both models: the image's path, or the caption with its image."""
    return f"{row['path']}\n{row['caption']}" if "text" in row else str(row["path"])


def items(
    answer: Mapping[str, Any],
    query: Query,
    score: Score = "cosine",
    other_ranks: Mapping[str, int] | None = None,
    other_name: str = "",
) -> list[GalleryItem]:
    """The gallery's items. ``other_ranks``: `ranks_of` the other model's results; ``other_name``: its title."""
    gallery_items = []
    previous_above = True  # whether the previous row is above the cut-off
    for index, row in enumerate(answer["rows"]):
        above = bool(row["above_cutoff"])
        badge, spoken = _badges(row, other_ranks, other_name)
        value = None if score == "rank" else float(row[score])
        gallery_items.append(
            GalleryItem(
                Path(str(row["path"])),
                str(row["caption"]),
                value,
                int(row["rank"]),
                True if _is_true(row, answer, query) else None,
                details(row, answer),
                badge,
                not row.get("exists", True),
                spoken if above else f"{spoken}, below the cut-off".lstrip(", "),
                not above,
                previous_above and not above and index > 0,
            )
        )
        previous_above = above
    return gallery_items


def _is_true(row: Row, answer: Mapping[str, Any], query: Query) -> bool:
    if answer.get("true_row") is not None:
        return int(row["row"]) == int(answer["true_row"])
    return bool(query.true_path) and str(row["path"]) == query.true_path


def true_rank(answer: Mapping[str, Any], query: Query) -> float | None:
    """The rank of the correct image; None if it is unknown or not among the results."""
    if answer.get("true_rank") is not None:
        return float(answer["true_rank"])
    return next((float(row["rank"]) for row in answer["rows"] if _is_true(row, answer, query)), None)


def _badges(row: Row, other_ranks: Mapping[str, int] | None, name: str) -> tuple[str, str]:
    """The badge on the image, and its text for screen readers."""
    signs, words = [], []
    if other_ranks is not None:
        other_rank, rank = other_ranks.get(identity(row)), int(row["rank"])
        if other_rank is None:
            signs.append("only here")
            words.append(f"not found by {name}")
        elif other_rank != rank:
            signs.append(f"{'▲' if rank < other_rank else '▼'} {abs(other_rank - rank)}")
            direction = "higher" if rank < other_rank else "lower"
            ranks = "rank" if abs(other_rank - rank) == 1 else "ranks"
            words.append(f"{abs(other_rank - rank)} {ranks} {direction} than with {name}")
    if duplicates := len(row["duplicates"]):
        signs.append(f"+{duplicates}")
        words.append(f"{duplicates} near-identical")
    return " · ".join(signs), ", ".join(words)


def details(row: Row, answer: Mapping[str, Any]) -> str:
    """The tooltip: all scores, size and date, labels, other captions, near-identical images."""
    cutoff = "above" if row["above_cutoff"] else "below"
    lines = [f"cosine {row['cosine']:.3f} ({cutoff} the cut-off {answer['cutoff']['cosine']:.3f})"]
    lines[0] += f" · softmax probability {percent(row['softmax'])} · rank {row['rank']}"
    if "size" in row:
        labels = [f"{name}: {value}" for name, value in row.get("labels", {}).items() if value]
        lines.append(" · ".join([file_size(int(row["size"])), file_time(float(row["time"])), *labels]))
    lines += [f"also: {caption}" for caption in list(row.get("captions", ()))[1:4]]
    lines += [f"near-identical: {duplicate['path']} ({duplicate['cosine']:.3f})" for duplicate in row["duplicates"][:5]]
    return "\n".join(lines)


def file_size(size: int) -> str:
    """A file size as text, such as ``31 KB``."""
    if size < 1 << 20:
        return f"{max(1, round(size / 1024))} KB" if size else "no file"
    return f"{size / (1 << 20):.1f} MB"


def file_time(seconds: float) -> str:
    """A date as text, such as ``2024-05-31``; "" if unknown."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d") if seconds > 0 else ""
    except (OverflowError, OSError, ValueError):
        return ""


def cutoff_line(answer: Mapping[str, Any], query: Query) -> tuple[str, str]:
    """The line above the results, such as ``12 above the cut-off 0.243 · 790 images searched``, and its tooltip."""
    rows, cutoff = answer["rows"], answer["cutoff"]
    if not rows:
        return "no image matches the filters", "Change or clear the filters."
    searched = f"{count_with_unit(answer['searched'], query.find.rstrip('s'))} searched"
    text = f"{count(answer['above'])} above the cut-off {cutoff['cosine']:.3f} · {searched}"
    meaning = str(cutoff["meaning"])
    return text, f"{capitalize(meaning)}. Results below the cut-off are faded, after a dashed line."


def true_line(rank: float | None, answer: Mapping[str, Any], query: Query) -> str:
    """The rank of the correct image as text, such as ``Correct image: rank 3 of 790``; "" if unknown."""
    if query.caption < 0 and not query.true_path:
        return ""
    total_text = f" of {count(answer['searched'])}"
    if rank is None:
        return f"Correct image: not among the first {count(len(answer['rows']))}{total_text}"
    is_shown = rank <= max((row["rank"] for row in answer["rows"]), default=0)
    suffix = " ✓" if rank == 1 else "" if is_shown else ", not shown"
    return f"Correct image: rank {rank_text(rank)}{total_text}{suffix}"


def rank_text(rank: float) -> str:
    """A rank as text, such as ``12``, or ``1.5`` if equal scores share ranks."""
    return count(rank) if rank == int(rank) else f"{rank:.1f}"
