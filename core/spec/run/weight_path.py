"""The points on the path from a run's initial to its tuned weights, and the file that stores them. No torch.

Flow: `core.evaluation.interpolation` evaluates the points -> ``write_path`` -> the run folder -> ``read_path`` -> the
window. The run folder may come from others: size, numbers and names are checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, UnreadableError, excerpt, read_json, validate_as

PATH_FILE = "interpolation.json"  # in the run folder
GAIN_SET = "gain"  # name of the data set of the fine-tuning task
SCORE_METRIC = "mean_recall"
DEFAULT_KEEP = 0.95  # share of the initial model's recall that the chosen weights must retain
DEFAULT_STEPS = 10  # number of steps on the path
MAX_STEPS = 1000
_MAX_BYTES = 8 * MEGABYTE
_MAX_SETS = 100

Metrics = Mapping[str, Mapping[str, float]]  # data set -> metric -> value
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class PathPoint:
    """Retrieval metrics on each data set with the weights at ``alpha``: 0 is the initial model, 1 the tuned model."""

    alpha: Share
    metrics: Metrics

    @property
    def gained(self) -> float:
        """The mean recall on the data set of the fine-tuning task."""
        return self.metrics[GAIN_SET][SCORE_METRIC]

    def shares(self, initial: PathPoint) -> dict[str, float]:
        """Mean recall as a share of the ``initial`` one, by retained data set; sets with an initial 0 are left out."""
        return {
            name: values[SCORE_METRIC] / initial.metrics[name][SCORE_METRIC]
            for name, values in self.metrics.items()
            if name != GAIN_SET and initial.metrics[name][SCORE_METRIC] > 0
        }

    def retained(self, initial: PathPoint) -> float:
        """The smallest share of the ``initial`` mean recall over the retained data sets; 1 if there are none."""
        return min(self.shares(initial).values(), default=1.0)


@dataclass(frozen=True)
class WeightPath:
    """The evaluated points in order of alpha, starting at 0. ``alpha``: the chosen point, which retains ``keep``.

    ``step``: the step of the checkpoint at alpha 1.
    """

    step: Annotated[int, Field(ge=0, lt=2**63)]
    keep: Share
    alpha: Share
    points: Annotated[Sequence[PathPoint], Field(min_length=1, max_length=MAX_STEPS + 1)]

    @property
    def initial(self) -> PathPoint:
        return self.points[0]

    @property
    def chosen(self) -> PathPoint:
        return next(point for point in self.points if point.alpha == self.alpha)


def write_path(folder: Path, path: WeightPath) -> None:
    """Write the path as JSON to a run folder, as docs/design/run-folder.md describes it."""
    write_whole(folder / PATH_FILE, (json.dumps(asdict(path), indent=1) + "\n").encode())


def read_path(folder: Path) -> WeightPath | None:
    """The path in a run folder; None if it has not been evaluated. Raises UnreadableError if the file is invalid."""
    file = folder / PATH_FILE
    try:
        content = read_json(file, _MAX_BYTES, root=folder)
    except FileNotFoundError:
        return None
    remedy = "Evaluate the path again."
    path = validate_as(_reader(), content, excerpt(str(file)), remedy=remedy)
    if problem := _problem(path):
        raise UnreadableError(f"{excerpt(str(file))}: {problem}. {remedy}")
    return path


@cache
def _reader() -> TypeAdapter[WeightPath]:
    return TypeAdapter(WeightPath)


def _problem(path: WeightPath) -> str:
    """The first inconsistency of ``path``; "" if it is consistent."""
    alphas, sets = [point.alpha for point in path.points], path.initial.metrics.keys()
    if alphas[0] != 0 or any(later <= earlier for earlier, later in pairwise(alphas)):
        return "the values of alpha do not ascend from 0"
    if path.alpha not in alphas:
        return f"the chosen alpha {path.alpha:g} is not one of the points"
    if GAIN_SET not in sets or not 2 <= len(sets) <= _MAX_SETS:
        return f"it needs the data set {GAIN_SET}, and 1 to {_MAX_SETS - 1} retained data sets"
    for point in path.points:
        if point.metrics.keys() != sets:
            return f"alpha {point.alpha:g} has other data sets than alpha 0"
        for name, values in point.metrics.items():
            if not 0 <= values.get(SCORE_METRIC, -1.0) <= 1:
                return f"alpha {point.alpha:g} has no {SCORE_METRIC} from 0 to 1 on {excerpt(name)}"
    return ""
