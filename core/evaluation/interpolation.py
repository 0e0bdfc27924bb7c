"""Gain and retention of a fine-tuned model along the path from its initial to its tuned weights (WiSE-FT, Wortsman et
al. 2022).

Flow: `interpolation_path` evaluates the weights at each alpha -> `choose_point` -> ``interpolated:RUN@ALPHA``, which
opens like any model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.checkpoint.files import read_info
from core.checkpoint.interpolating import interpolate_states
from core.checkpoint.opening import check_downloaded, open_model, open_network
from core.data.dataset import Log
from core.inference.encoder import ENCODING_IMAGES, encode_dataset
from core.inference.labelled import open_images
from core.metrics.retrieval import retrieval_metrics
from core.model.network import Network
from core.spec.config import read_config, retained_sets
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.model_names import INTERPOLATED, RunNetwork, initial_of, locate
from core.spec.run.weight_path import (
    DEFAULT_KEEP,
    DEFAULT_STEPS,
    GAIN_SET,
    MAX_STEPS,
    SCORE_METRIC,
    Metrics,
    PathPoint,
    WeightPath,
    write_path,
)

Measure = Callable[[Network], Metrics]


def evaluate_run(
    name: str,
    progress: Progress,
    log: Log,
    *,
    weights: str = "",
    gain: str = "",
    retain: str = "",
    keep: float = DEFAULT_KEEP,
    steps: int = DEFAULT_STEPS,
) -> WeightPath:
    """Evaluate a run's path in ``steps`` steps, choose the point that retains ``keep``, and write it to the run folder.

    ``gain``, ``retain``: data sets, by default ``data.val`` and ``data.retain`` of the run. Raises UserError if an
    argument is invalid, and as `interpolation_path` does.
    """
    if not 0 <= keep <= 1:
        raise UserError(f"the share to keep is {keep:g}; use a number from 0 to 1.")
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"the number of steps is {steps}; use a number from 1 to {MAX_STEPS}.")
    source = _run_of(name, weights)
    data = read_config(source.run.config).data
    gain, retained = gain or data.val, retained_sets(retain or data.retain)
    if not gain or not retained:
        missing = "--gain SOURCE" if not gain else "--retain SOURCES"
        raise UserError(f"the run's config does not contain this data; specify {missing}.")
    alphas = [step / steps for step in range(steps + 1)]
    points = interpolation_path(name, gain, retained, alphas, progress, log, weights)
    step = read_info(source.run, source.checkpoint).step
    path = WeightPath(step, keep, choose_point(points, keep).alpha, points)
    write_path(source.run.path, path)
    return path


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
    source = _run_of(name, weights)
    if GAIN_SET in retain:
        raise UserError(f"{GAIN_SET} is the name of the new data; use another for retained data: --retain NAME=PATH.")
    model = open_model(name, weights)
    check_downloaded(f"{INTERPOLATED}{name}@0")
    initial = open_network(initial_of(source), model.runtime.device)
    paths = {GAIN_SET: gain, **retain}
    sets = {name: open_images(model, path, progress, log) for name, path in paths.items()}
    alphas = sorted({0.0, *alphas})
    total = len(alphas) * sum(map(len, sets.values()))
    measured = iter(alphas)
    encoded = 0  # images, over all alphas and data sets

    def measure(network: Network) -> dict[str, dict[str, float]]:
        nonlocal encoded
        alpha, metrics = next(measured), {}

        def report(activity: str, finished: int, _total: int) -> None:
            if activity == ENCODING_IMAGES:
                progress(f"evaluating alpha {alpha:g}", encoded + finished, total)

        for name, dataset in sets.items():
            features = encode_dataset(network, dataset, model.runtime, model.batch, report)
            encoded += len(dataset)
            metrics[name] = retrieval_metrics(features.images, features.texts, features.text_to_image)
        return metrics

    return evaluate_path(model.network, initial, alphas, measure)


def _run_of(name: str, weights: str) -> RunNetwork:
    source = locate(name, weights)
    if not isinstance(source, RunNetwork):
        raise UserError(f"{name} is not a run; specify the folder of a fine-tuned run.")
    return source


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
    return max(retaining or [initial], key=lambda point: (point.gained, point.retained(initial)))


def table(path: WeightPath) -> str:
    """One line per alpha: mean recall on each data set and the share retained, in per cent."""
    initial, selected = path.initial, path.chosen
    names = list(initial.metrics)
    lines = ["alpha  " + "  ".join(f"{name:>10}" for name in [*names, "retained"])]
    for point in path.points:
        values = [*(point.metrics[name][SCORE_METRIC] for name in names), point.retained(initial)]
        mark = "  <- chosen" if point is selected else ""
        lines.append(f"{point.alpha:5.2f}  " + "  ".join(f"{100 * value:9.1f}%" for value in values) + mark)
    return "\n".join(lines)
