"""The Clean panel's session in a worker: the verbs ``noise_open`` and ``noise_save``.

Flow: panel -> worker -> **session** -> `rank_pairs` -> ranked pairs and a histogram of match scores -> panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from core.data.derived.subset import save_subset
from core.evaluation.noise import Ranking, rank_pairs
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.worker.session import Recent, Session, Verb, read_key, write_key

BINS = 1000  # bins of the histogram of match scores
MAX_RANKINGS = 2  # rankings in memory


@dataclass(frozen=True, kw_only=True)
class RankingKey:
    """The key of a ranking. ``model``: with the exact checkpoint, since "best" and "last" change."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    model: str
    data: str
    weights: str


class NoiseSession(Session):
    """Ranks the pairs of a source, and saves it without excluded pairs."""

    def __init__(self) -> None:
        self._rankings: Recent[str, Ranking] = Recent(MAX_RANKINGS)

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"noise_open": self.open, "noise_save": self.save}

    def open(
        self,
        model: str,
        progress: Progress,
        data: str = "",
        most: int = 2000,
        weights: str = "",
    ) -> dict[str, Any]:
        """The summary, the ``most`` pairs with the lowest match scores, and the distribution of all pairs.

        ``list``: path, caption, match_score, clean_probability, rank, row, shuffled of each; ``bins``: the number of
        pairs in each thousandth of the match score; ``shuffled_bins``: the number of shuffled pairs among them, None if
        unknown; ``key`` names the ranking for ``noise_save``.
        """
        ranking = rank_pairs(model, data, progress, weights)
        key = write_key(RankingKey(model=ranking.model, data=ranking.data, weights=weights))
        self._rankings.put(key, ranking)
        pairs = [vars(pair) for pair in ranking.pairs[:most]]
        bins, shuffled = [0] * BINS, [0] * BINS
        for pair in ranking.pairs:
            bins[bin_of(pair.match_score)] += 1
            shuffled[bin_of(pair.match_score)] += bool(pair.shuffled)
        has_shuffled = ranking.shuffled is not None
        histogram = {"bins": bins, "shuffled_bins": shuffled if has_shuffled else None}
        return {**ranking.summary(), "key": key, "listed": len(pairs), "list": pairs, **histogram}

    def save(
        self,
        data: str,
        excluded: Sequence[str],
        to: str,
        progress: Progress,
        pairs: Sequence[Sequence[str]] = (),
        below: int = 0,
        clean: Sequence[Sequence[str]] = (),
        replace: bool = False,
        key: str = "",
    ) -> dict[str, Any]:
        """Write ``data`` without the ``excluded`` images (paths) as the new manifest ``to``.

        ``pairs`` ([path, caption]) are removed too; other captions of their images are kept. ``below`` also removes all
        pairs below this many thousandths in the ranking ``key``, except the pairs ``clean``. Nothing is overwritten
        unless ``replace``, and never the data. Returns the path, and the number of images and captions kept. Raises
        UserError like `save_subset`.
        """
        progress("reading the data", 0, 0)
        excluded_pairs = {(path, caption) for path, caption in pairs}
        if below:
            ranking = self._ranking(key, data, progress)
            improbable = {(pair.path, pair.caption) for pair in ranking.pairs if bin_of(pair.match_score) < below}
            excluded_pairs |= improbable - {(path, caption) for path, caption in clean}
        saved = save_subset(data, Path(to), progress, excluded, replace=replace, excluded_pairs=excluded_pairs)
        return {"path": str(saved.path), "images": saved.images, "captions": saved.captions}

    def _ranking(self, key: str, data: str, progress: Progress) -> Ranking:
        ranking_key: RankingKey = read_key(RankingKey, key, "the pairs are not ranked; rank them, then save.")
        if Path(ranking_key.data).resolve() != Path(data).resolve():
            raise UserError(
                f"the ranking belongs to {ranking_key.data}, not to {data}; rank the pairs of {data}, then save."
            )
        return self._rankings.get(
            key, lambda: rank_pairs(ranking_key.model, ranking_key.data, progress, ranking_key.weights)
        )


def bin_of(match_score: float) -> int:
    """The bin of the histogram that contains ``match_score``."""
    return min(BINS - 1, max(0, int(match_score * BINS)))
