"""CLIP's linear probe: logistic regression on frozen features, with the L2 strength searched on validation data.

Protocol (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, appendix A.3):
scikit-learn's L-BFGS with at most 1,000 iterations, on features before the projection, not standardised; C over 96
steps of equal ratio between 1e-6 and 1e6, by a parametric binary search that begins with 1e-6, 1e-4 ... 1e6 and halves
the interval around the peak down to 8 steps per decade; then a final fit on training and validation data together.

At most 15 fits and the final fit replace a sweep of 97 fits; each result equals scikit-learn's exactly.

Flow: features and labels -> `linear_probe` -> `ProbeResult` (probe, C curve, test predictions) -> panel, report.

Legend: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.metrics.classification.accuracy import Classification, check_rows, classify
from core.metrics.classification.labels import Labels
from core.metrics.classification.logistic import (
    DEFAULT_SETTINGS,
    ProbeData,
    ProbeSettings,
    Scaling,
    check_trainable,
    fit_logistic,
    has_converged,
    to_probe,
)
from core.metrics.classification.probe import Probe
from core.metrics.inputs import EvaluationError, Progress, no_progress, part_of
from core.metrics.outcome import Floats, Integers, Outcome, Task

STEPS_PER_DECADE = 8
C_GRID: Floats = 10.0 ** (np.arange(12 * STEPS_PER_DECADE + 1) / STEPS_PER_DECADE - 6)
FIRST_STRIDE = 2 * STEPS_PER_DECADE  # the search begins with seven values from 1e-6 to 1e6
HELD_OUT_SHARE = 0.2
BLOCK_ROWS = 8192

Curve = tuple[tuple[float, float], ...]
"""(C, validation accuracy) of each C tried, ascending."""


@dataclass(frozen=True)
class ProbeResult:
    """A fitted probe, the validation accuracy for each C tried, and the predictions for the test data."""

    probe: Probe
    curve: Curve
    test: Classification
    notes: tuple[str, ...] = ()

    def outcome(self, task: Task = "linear-probe") -> Outcome:
        """The test predictions as an `Outcome`."""
        details = {
            "C": self.probe.C,
            "C_curve": [list(point) for point in self.curve],
            "layer": self.probe.layer,
            "standardised": self.probe.standardised,
        }
        return self.test.outcome(task, self.notes, details)


def linear_probe(
    train: ProbeData,
    test: ProbeData,
    val: ProbeData | None = None,
    settings: ProbeSettings = DEFAULT_SETTINGS,
    progress: Progress = no_progress,
) -> ProbeResult:
    """Search C, fit on training and validation data, and classify the test data.

    All labels must have the same classes in the same order. Without ``val``, a fifth of the training data (stratified)
    is held out for the search. ``progress`` is called at each iteration of the solver if scikit-learn supports it
    (1.9), otherwise between fits.

    Raises EvaluationError for features that are not finite or have different widths, and if there is only one class.
    """
    notes = check_splits(train, test, val)
    x, y = train.arrays("training")
    if val is None:
        train_rows, held_rows = stratified_split(y, HELD_OUT_SHARE, settings.seed)
        notes.append(f"no validation data: C was searched on {len(held_rows)} of the {len(y)} training rows, held out.")
        C, curve = search_C(
            x[train_rows], y[train_rows], x[held_rows], y[held_rows], settings, part_of(progress, 0, 0.85)
        )
    else:
        val_x, val_y = val.arrays("validation")
        C, curve = search_C(x, y, val_x, val_y, settings, part_of(progress, 0, 0.85))
        x, y = np.concatenate([x, val_x]), np.concatenate([y, val_y])
    scaling = Scaling.of(x, settings.standardise)
    model = fit_logistic(scaling.apply(x), y, C, settings, part_of(progress, 0.85, 1))
    if not has_converged(model):
        notes.append(f"the final fit (C = {C:.3g}) did not converge within {settings.max_iterations} iterations.")
    if C in (C_GRID[0], C_GRID[-1]):
        notes.append(f"the best C, {C:.0e}, is at the end of the searched range.")
    probe = to_probe(model, scaling, train.labels.classes, settings)
    progress(1.0, "classifying")
    return ProbeResult(probe, curve, classify_with(probe, test), tuple(notes))


def search_C(
    x: Floats, y: Integers, val_x: Floats, val_y: Integers, settings: ProbeSettings, progress: Progress = no_progress
) -> tuple[float, Curve]:
    """The C with the best validation accuracy (the smallest in case of a tie), and the accuracy for each C tried.

    Trains on ``x`` (N, D) with classes ``y`` (N,), and evaluates on ``val_x`` (V, D) with ``val_y`` (V,).
    """
    scaling = Scaling.of(x, settings.standardise)
    x, val_x = scaling.apply(x), scaling.apply(val_x)
    accuracy: dict[int, float] = {}
    fit_count = len(C_GRID[::FIRST_STRIDE]) + 2 * (FIRST_STRIDE.bit_length() - 1)

    def try_at(position: int) -> None:
        if position in accuracy or not 0 <= position < len(C_GRID):
            return
        share = len(accuracy) / fit_count
        fit_progress = part_of(progress, share, share + 1 / fit_count, f"fitting with C = {C_GRID[position]:.2g}")
        model = fit_logistic(x, y, float(C_GRID[position]), settings, fit_progress)
        accuracy[position] = float((model.predict(val_x) == val_y).mean())

    for position in range(0, len(C_GRID), FIRST_STRIDE):
        try_at(position)
    stride = FIRST_STRIDE // 2
    while stride:
        peak = _peak(accuracy)
        try_at(peak - stride)
        try_at(peak + stride)
        stride //= 2
    return float(C_GRID[_peak(accuracy)]), tuple((float(C_GRID[i]), accuracy[i]) for i in sorted(accuracy))


def _peak(accuracy: dict[int, float]) -> int:
    return min(accuracy, key=lambda position: (-accuracy[position], position))


def classify_with(probe: Probe, data: ProbeData) -> Classification:
    """Predictions of ``probe`` for the labelled rows of ``data``; classes that were not trained are never predicted.

    Raises EvaluationError if ``data`` does not have a class of the probe.
    """
    classes = data.labels.classes
    unknown = [name for name in probe.classes if name not in classes]
    if unknown:
        raise EvaluationError(
            f"the probe has the class {unknown[0]!r}, but the data does not; use the same classes for both."
        )
    features = check_rows(data.features, data.labels, "features")
    columns = torch.tensor([classes.index(name) for name in probe.classes])
    return classify(data.labels, _blocks(probe, features, columns, len(classes)))


def _blocks(probe: Probe, features: Tensor, columns: Tensor, classes: int) -> Iterator[Tensor]:
    for part in features.split(BLOCK_ROWS):
        logits = torch.full((len(part), classes), -torch.inf)
        logits[:, columns] = probe.logits(part).cpu()
        yield logits


def stratified_split(y: Integers, share: float, seed: int) -> tuple[Integers, Integers]:
    """Indices into ``y`` (N,) of training rows, and of held-out rows: ``share`` (0 to 1) of each class, rounded.

    Each class keeps at least one training row. Raises EvaluationError if no class has a second row.
    """
    random = np.random.default_rng(seed)
    held_out: list[int] = []
    for target in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == target))
        held_out.extend(rows[: min(len(rows) - 1, max(1, round(share * len(rows))))])
    if not held_out:
        raise EvaluationError("every class has only one image; add validation data, or more images per class.")
    is_held = np.zeros(len(y), dtype=bool)
    is_held[held_out] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def check_splits(train: ProbeData, test: ProbeData, val: ProbeData | None) -> list[str]:
    """Notes on classes with few or no training rows. Raises EvaluationError if the splits are inconsistent."""
    check_trainable(train.labels.targets.numpy(), train.labels.classes)
    for split, split_name in ((test, "test"), (val, "validation")):
        if split is None:
            continue
        if split.labels.classes != train.labels.classes:
            raise EvaluationError(f"training and {split_name} data must be indexed by the same classes.")
        if split.features.shape[1:] != train.features.shape[1:]:
            raise EvaluationError(
                f"training features have width {tuple(train.features.shape[1:])}, but {split_name} features have "
                f"{tuple(split.features.shape[1:])}; encode both with the same model and layer."
            )
    counts = train.labels.counts() + (val.labels.counts() if val else 0)  # the final fit uses both
    return [*_thin_classes(train.labels.classes, counts), *_untrained_notes(counts, test.labels)]


def _thin_classes(classes: Sequence[str], counts: Tensor) -> list[str]:
    single = [name for name, count in zip(classes, counts.tolist(), strict=True) if count == 1]
    if not single:
        return []
    return [f"{len(single)} classes have only one training image, such as {single[0]!r}; they are hard to learn."]


def _untrained_notes(counts: Tensor, test: Labels) -> list[str]:
    untrained = ((counts == 0) & (test.counts() > 0)).nonzero().flatten().tolist()
    if not untrained:
        return []
    rows = int(test.counts()[untrained].sum())
    return [
        f"{len(untrained)} classes of the test data have no training image, such as {test.classes[untrained[0]]!r}; "
        f"their {rows} test rows count as wrong."
    ]
