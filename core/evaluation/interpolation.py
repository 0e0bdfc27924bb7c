"""What a fine-tuned model gained and retained, along the path from its initial weights to its own.

Flow: ``interpolation_path`` evaluates the weights at each alpha -> ``choose_point`` -> ``interpolated:RUN@ALPHA``,
which opens everywhere that a model does (WiSE-FT, Wortsman et al. 2022).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.checkpoint.interpolating import between
from core.checkpoint.opening import open_model, open_network
from core.data.dataset import Log
from core.inference.encoder import encode_dataset
from core.inference.labelled import open_images
from core.metrics.retrieval import retrieval_metrics
from core.model.network import Network
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reporter import Progress
from core.spec.run.model_names import RunNetwork, initial_of, locate

GAIN = "gain"  # the data set that fine-tuning is for
SCORE = "mean_recall"

Metrics = Mapping[str, Mapping[str, float]]  # data set -> metric -> value
Measure = Callable[[Network], Metrics]


@dataclass(frozen=True)
class PathPoint:
    """The weights at ``alpha``, and their retrieval metrics on each data set: 0 is the initial model, 1 the tuned."""

    alpha: float
    metrics: Metrics

    def retained(self, initial: PathPoint) -> float:
        """The least share of the ``initial`` point's mean recall on a retained data set; 1 without any."""
        shares = [
            values[SCORE] / initial.metrics[name][SCORE]
            for name, values in self.metrics.items()
            if name != GAIN and initial.metrics[name][SCORE] > 0
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
    """Retrieval on the data ``gain`` and each of ``retain`` with the weights at each of ``alphas``, and at 0.

    ``name`` is a run, as ``core.spec.run.model_names.locate`` takes it. Raises UserError when it started from scratch.
    """
    source = locate(name, weights)
    if not isinstance(source, RunNetwork):
        raise UserError(f"{name} is no run, so there is no path to it; give the folder of a fine-tuned run.")
    model = open_model(name, weights)
    initial = open_network(initial_of(source), model.runtime.device)
    paths = {GAIN: gain, **retain}
    sets = {name: open_images(model, path, progress, log) for name, path in paths.items()}

    def measure(network: Network) -> dict[str, dict[str, float]]:
        found = {name: encode_dataset(network, one, model.runtime, model.batch, progress) for name, one in sets.items()}
        return {name: retrieval_metrics(one.images, one.texts, one.text_to_image) for name, one in found.items()}

    return path_of(model.network, initial, sorted({0.0, *alphas}), measure)


def path_of(tuned: Network, initial: Network, alphas: Sequence[float], measure: Measure) -> list[PathPoint]:
    """What ``measure`` gives for the weights at each of ``alphas``; ``tuned`` is left as it was."""
    ends, start = {name: value.clone() for name, value in tuned.state_dict().items()}, initial.state_dict()
    points = []
    try:
        for alpha in alphas:
            tuned.load_state_dict(between(ends, start, alpha))
            points.append(PathPoint(alpha, measure(tuned)))
    finally:
        tuned.load_state_dict(ends)
    return points


def choose_point(points: Sequence[PathPoint], keep: float) -> PathPoint:
    """The point that gains most among those that retain the share ``keep`` of what the initial model has.

    The initial model itself always does, so that there is one; of equal gains the one that retains more.
    """
    initial = min(points, key=lambda one: one.alpha)
    enough = [one for one in points if one.retained(initial) >= keep]
    return max(enough or [initial], key=lambda one: (one.metrics[GAIN][SCORE], one.retained(initial)))


def write_path(path: Path, points: Sequence[PathPoint], chosen: PathPoint, keep: float) -> None:
    """Write the path as JSON: ``{"keep", "alpha", "points": [{"alpha", "metrics": {SET: {METRIC: value}}}]}``."""
    content = {"keep": keep, "alpha": chosen.alpha, "points": [asdict(one) for one in points]}
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def table(points: Sequence[PathPoint], chosen: PathPoint) -> str:
    """A line for each alpha: mean recall in per cent on each data set, and the share retained."""
    initial = min(points, key=lambda one: one.alpha)
    names = list(initial.metrics)
    lines = ["alpha  " + "  ".join(f"{name:>10}" for name in [*names, "retained"])]
    for one in points:
        values = [*(one.metrics[name][SCORE] for name in names), one.retained(initial)]
        mark = "  <- chosen" if one is chosen else ""
        lines.append(f"{one.alpha:5.2f}  " + "  ".join(f"{100 * value:9.1f}%" for value in values) + mark)
    return "\n".join(lines)
