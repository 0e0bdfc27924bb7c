"""Gain and retention of a fine-tuned model along the path from its initial to its tuned weights (WiSE-FT, Wortsman et
al. 2022).

Flow: `interpolation_path` evaluates the weights at each alpha -> `choose_point` -> ``interpolated:RUN@ALPHA``, which
opens like any model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.checkpoint.interpolating import interpolate_states
from core.checkpoint.opening import check_downloaded, open_model, open_network
from core.data.dataset import Log
from core.inference.encoder import encode_dataset
from core.inference.labelled import open_images
from core.metrics.retrieval import retrieval_metrics
from core.model.network import Network
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reporter import Progress
from core.spec.run.model_names import INTERPOLATED, RunNetwork, initial_of, locate

GAIN_SET = "gain"  # name of the data set of the fine-tuning task
SCORE_METRIC = "mean_recall"

Metrics = Mapping[str, Mapping[str, float]]  # data set -> metric -> value
Measure = Callable[[Network], Metrics]


@dataclass(frozen=True)
class PathPoint:
    """Retrieval metrics on each data set with the weights at ``alpha``: 0 is the initial model, 1 the tuned model."""

    alpha: float
    metrics: Metrics

    def retained(self, initial: PathPoint) -> float:
        """The smallest share of the ``initial`` mean recall over the retained data sets; 1 if there are none."""
        shares = [
            values[SCORE_METRIC] / initial.metrics[name][SCORE_METRIC]
            for name, values in self.metrics.items()
            if name != GAIN_SET and initial.metrics[name][SCORE_METRIC] > 0
        ]
        return min(shares, default=1.0)


def interpolation_path(
    name: str,
    gain: str,
    retain: Mapping[str, str],
    alphas: Sequence[float],
    progress: Progress,
    log: Log,
    weights: str = "",
) -> list[PathPoint]:
    """Evaluate retrieval on the data ``gain`` and each of ``retain``, with the weights at 0 and at each of ``alphas``.

    ``name``: a run; see `core.spec.run.model_names.locate`. Raises UserError if the run was trained from scratch.
    """
    source = locate(name, weights)
    if not isinstance(source, RunNetwork):
        raise UserError(f"{name} is not a run; specify the folder of a fine-tuned run.")
    model = open_model(name, weights)
    check_downloaded(f"{INTERPOLATED}{name}@0")
    initial = open_network(initial_of(source), model.runtime.device)
    paths = {GAIN_SET: gain, **retain}
    sets = {name: open_images(model, path, progress, log) for name, path in paths.items()}

    def measure(network: Network) -> dict[str, dict[str, float]]:
        metrics = {}
        for name, dataset in sets.items():
            features = encode_dataset(network, dataset, model.runtime, model.batch, progress)
            metrics[name] = retrieval_metrics(features.images, features.texts, features.text_to_image)
        return metrics

    return evaluate_path(model.network, initial, sorted({0.0, *alphas}), measure)


def evaluate_path(tuned: Network, initial: Network, alphas: Sequence[float], measure: Measure) -> list[PathPoint]:
    """The metrics of ``measure`` with the weights at each of ``alphas``; ``tuned`` is unchanged afterwards."""
    tuned_weights = {name: value.clone() for name, value in tuned.state_dict().items()}
    initial_weights = initial.state_dict()
    points = []
    try:
        for alpha in alphas:
            tuned.load_state_dict(interpolate_states(tuned_weights, initial_weights, alpha))
            points.append(PathPoint(alpha, measure(tuned)))
    finally:
        tuned.load_state_dict(tuned_weights)
    return points


def choose_point(points: Sequence[PathPoint], keep: float) -> PathPoint:
    """The point with the largest gain among all points that retain at least the share ``keep``.

    The initial model always qualifies. If gains are equal, the point with the higher retention is chosen.
    """
    initial = min(points, key=lambda point: point.alpha)
    retaining = [point for point in points if point.retained(initial) >= keep]
    return max(
        retaining or [initial], key=lambda point: (point.metrics[GAIN_SET][SCORE_METRIC], point.retained(initial))
    )


def write_path(path: Path, points: Sequence[PathPoint], selected: PathPoint, keep: float) -> None:
    """Write the path as JSON: ``{"keep", "alpha", "points": [{"alpha", "metrics": {SET: {METRIC: value}}}]}``."""
    content = {"keep": keep, "alpha": selected.alpha, "points": [asdict(point) for point in points]}
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def table(points: Sequence[PathPoint], selected: PathPoint) -> str:
    """One line per alpha: mean recall on each data set and the share retained, in per cent."""
    initial = min(points, key=lambda point: point.alpha)
    names = list(initial.metrics)
    lines = ["alpha  " + "  ".join(f"{name:>10}" for name in [*names, "retained"])]
    for point in points:
        values = [*(point.metrics[name][SCORE_METRIC] for name in names), point.retained(initial)]
        mark = "  <- chosen" if point is selected else ""
        lines.append(f"{point.alpha:5.2f}  " + "  ".join(f"{100 * value:9.1f}%" for value in values) + mark)
    return "\n".join(lines)
