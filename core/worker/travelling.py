"""The verb ``search_travel``: results of one query at every kept step of a run, as an animation.

Flow: Search panel -> **session** -> ``SearchSession`` opens each step (its features are cached on disk) and
runs the query -> `core.search.animation` -> an animated image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.search.animation import COLUMNS, ROWS, Frame, Hit, save
from core.search.errors import QueryError
from core.spec.reporter import Reporter
from core.worker.searching import SearchSession
from core.worker.session import Session, Verb


class TravelSession(Session):
    """Uses the collections of ``search``."""

    def __init__(self, search: SearchSession) -> None:
        self._search = search

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"search_travel": self.travel}

    def travel(
        self,
        progress: Reporter,
        run: str,
        steps: Sequence[int],
        weights: Sequence[str],
        query: Mapping[str, Any],
        to: str,
        data: str = "",
        title: str = "",
    ) -> dict[str, Any]:
        """Results of ``query`` (arguments of ``search_query``) at each of ``steps``, for each network of ``weights``.

        Writes the animated WebP ``to``; the answer has its path and the number of frames.
        """
        if not steps or not weights:
            raise QueryError(f"{run} has no kept checkpoints; train with checkpoint.keep_every.")
        order, frames = sorted(steps), []
        for index, step in enumerate(order):
            progress(f"step {step}", index, len(order))
            networks = []
            for network in weights:
                quiet = _StepReporter(progress, f"step {step}", index, len(order))
                key = self._search.open(quiet, model=f"{run}@{step}", weights=network, data=data)["key"]
                answer = self._search.query(quiet, key=key, k=COLUMNS * ROWS, **query)
                hits = tuple(
                    Hit(str(row["path"]), str(row.get("text", "")), not row["above_cutoff"]) for row in answer["rows"]
                )
                networks.append((network or "model", hits))
            frames.append(Frame(step, tuple(networks)))
        progress("drawing", len(order), len(order))
        save(frames, Path(to), title)
        return {"path": to, "frames": len(frames)}


class _StepReporter:
    """Reports the step instead of its details, so that the work can be cancelled at any time."""

    def __init__(self, progress: Reporter, doing: str, done: int, total: int) -> None:
        self._progress, self._report = progress, (doing, done, total)

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self._progress(*self._report)

    def partial(self, result: dict[str, Any]) -> None:
        """Ignores partial results."""
