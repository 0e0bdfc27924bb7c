"""The session for the path from a run's initial to its tuned weights: the request ``interpolate``.

Flow: Runs panel -> worker -> **session** -> `core.evaluation.interpolation` -> ``interpolation.json`` -> Runs panel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.evaluation.interpolation import evaluate_run
from core.spec.reporter import Progress
from core.spec.run.weight_path import DEFAULT_KEEP
from core.worker.session import Session, Verb


class InterpolationSession(Session):
    """Evaluates paths; stateless."""

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"interpolate": self.interpolate}

    def interpolate(
        self, progress: Progress, model: str, weights: str = "", keep: float = DEFAULT_KEEP
    ) -> dict[str, Any]:
        """Evaluate the path of the run ``model`` on its own data, and write it to the run folder.

        The answer has ``alpha``, the point with the largest gain that retains the share ``keep``, and ``notes``, for
        example on skipped rows.
        """
        progress("loading the model", 0, 0)
        notes: list[str] = []
        path = evaluate_run(model, progress, notes.append, weights=weights, keep=keep)
        return {"alpha": path.alpha, "notes": notes}
