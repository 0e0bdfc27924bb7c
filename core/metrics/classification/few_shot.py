"""Few-shot probes: test accuracy from a handful of labelled images per class.

For each number of shots, probes are trained on several random draws of the training data; the curve shows the mean test
accuracy and Student's interval over the draws. For each draw, C is searched on the validation data, which is not added
to the training data afterwards, since this would exceed the number of shots.

Flow: the same `ProbeData` as `core.metrics.classification.linear_probe` -> `few_shot` -> `FewShotPoint`s -> panel,
report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.metrics.classification.linear_probe import (
    HELD_OUT_SHARE,
    check_splits,
    classify_with,
    search_C,
    stratified_split,
)
from core.metrics.classification.logistic import (
    DEFAULT_SETTINGS,
    ProbeData,
    ProbeSettings,
    Scaling,
    fit_logistic,
    to_probe,
)
from core.metrics.inputs import EvaluationError, Progress, no_progress, part_of
from core.metrics.outcome import Floats, Integers, Outcome
from core.metrics.statistics import Interval, student_interval

DEFAULT_SHOTS = (1, 2, 4, 8, 16)
DEFAULT_DRAWS = 3


@dataclass(frozen=True)
class FewShotPoint:
    """The test accuracies (0 to 1) with ``shots`` training images per class, one per draw."""

    shots: int
    accuracies: Floats  # (R,) one per draw
    C: tuple[float, ...]  # one per draw
    short_classes: int  # classes with fewer images than ``shots``, all of which were used

    @property
    def mean(self) -> float:
        """The mean accuracy over the draws."""
        return float(self.accuracies.mean())

    @property
    def interval(self) -> Interval | None:
        """Student's 95 % interval of the mean, within 0 and 1; None for a single draw."""
        if len(self.accuracies) < 2:
            return None
        ends = student_interval(self.accuracies)
        return Interval(max(0.0, ends.low), min(1.0, ends.high))


def few_shot(
    train: ProbeData,
    test: ProbeData,
    val: ProbeData | None = None,
    shots: Sequence[int] = DEFAULT_SHOTS,
    draws: int = DEFAULT_DRAWS,
    settings: ProbeSettings = DEFAULT_SETTINGS,
    progress: Progress = no_progress,
) -> list[FewShotPoint]:
    """One point of the curve for each number of ``shots``, ascending; accuracies from 0 to 1.

    Without ``val``, a fifth of the training data is held out once to search C. Draws depend on ``settings.seed`` alone.
    Raises EvaluationError like `linear_probe`, and for numbers below 1.
    """
    if draws < 1 or not shots or min(shots) < 1:
        raise EvaluationError(
            f"few-shot needs at least one draw and one image per class, not {draws} and {list(shots)}."
        )
    check_splits(train, test, val)
    x, y = train.arrays("training")
    if val is None:
        train_rows, held_rows = stratified_split(y, HELD_OUT_SHARE, settings.seed)
        val_x, val_y, x, y = x[held_rows], y[held_rows], x[train_rows], y[train_rows]
    else:
        val_x, val_y = val.arrays("validation")
    points = []
    numbers = sorted(set(shots))
    for position, number in enumerate(numbers):
        accuracies, Cs = [], []
        for draw in range(draws):
            step = position * draws + draw
            search_progress = part_of(
                progress,
                step / (len(numbers) * draws),
                (step + 1) / (len(numbers) * draws),
                f"{number} per class, draw {draw + 1} of {draws}",
            )
            rows = draw_shots(y, number, settings.seed + draw)
            C, _ = search_C(x[rows], y[rows], val_x, val_y, settings, search_progress)
            scaling = Scaling.of(x[rows], settings.standardise)
            model = fit_logistic(scaling.apply(x[rows]), y[rows], C, settings)
            probe = to_probe(model, scaling, train.labels.classes, settings)
            accuracies.append(classify_with(probe, test).metrics()["acc1"])
            Cs.append(C)
        _, counts = np.unique(y, return_counts=True)
        points.append(FewShotPoint(number, np.array(accuracies), tuple(Cs), int((counts < number).sum())))
    progress(1.0, "few-shot")
    return points


def draw_shots(y: Integers, shots: int, seed: int) -> Integers:
    """Indices into ``y`` (N,) of ``shots`` random images per class; of all images of a class that has fewer.

    Draws with the same seed are nested: more shots include the images of fewer shots.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(y))
    per_class = [order[y[order] == target][:shots] for target in np.unique(y)]
    rows: Integers = np.sort(np.concatenate(per_class))
    return rows


def few_shot_outcome(points: Sequence[FewShotPoint], samples: int) -> Outcome:
    """The curve as an `Outcome`: ``acc1@16`` is the mean accuracy with 16 images per class."""
    curve: list[dict[str, Any]] = []
    notes = []
    for point in points:
        ends = point.interval
        curve.append(
            {
                "shots": point.shots,
                "accuracy": point.mean,
                "low": ends.low if ends else None,
                "high": ends.high if ends else None,
                "draws": point.accuracies.tolist(),
                "C": list(point.C),
            }
        )
        if point.short_classes:
            notes.append(f"{point.short_classes} classes have fewer than {point.shots} training images; all were used.")
    return Outcome(
        task="linear-probe",
        samples=samples,
        metrics={f"acc1@{point.shots}": point.mean for point in points},
        intervals={f"acc1@{point.shots}": (ends.low, ends.high) for point in points if (ends := point.interval)},
        notes=tuple(notes),
        details={"few_shot": curve},
    )
