"""Softmax regression for linear probes: scikit-learn's L-BFGS in double precision.

In single precision, the line search would stall for minutes at strong regularisation.

Flow: `core.metrics.classification.linear_probe` and `core.metrics.classification.few_shot` prepare arrays, search C
and fit with these functions.

Legend: N rows, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from core.metrics.classification.accuracy import check_rows
from core.metrics.classification.labels import Labels
from core.metrics.classification.probe import Probe
from core.metrics.inputs import EvaluationError, Progress, check_features, no_progress
from core.metrics.outcome import Floats, Integers

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

MIN_THREADED_PRODUCTS = 1 << 24  # threads do not help below this number of products per iteration


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of a fit. ``standardise`` (zero mean, unit variance per feature) is off, as published for CLIP."""

    standardise: bool = False
    max_iterations: int = 1000
    tolerance: float = 1e-4  # scikit-learn's default
    threads: int | None = None  # None: one for small problems, otherwise the BLAS library's default
    seed: int = 0  # seed of the held-out split, if there is no validation data
    layer: str = ""  # layer of the features, recorded in the probe
    model_digest: str = ""  # recorded in the probe


DEFAULT_SETTINGS = ProbeSettings()


@dataclass(frozen=True)
class ProbeData:
    """Features (N, D) and the labels of their rows."""

    features: torch.Tensor
    labels: Labels

    def arrays(self, split_name: str) -> tuple[Floats, Integers]:
        """Labelled rows (n, D) in double precision and targets (n,). Raises EvaluationError if they do not match."""
        features = check_features(
            check_rows(self.features, self.labels, f"{split_name} features"), f"{split_name} features"
        )
        return features.cpu().double().numpy(), self.labels.targets.numpy()


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation (D,) of the training features; 0 and 1 without standardisation."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, x: Floats, standardise: bool) -> Scaling:
        """The scaling for ``x``, like scikit-learn's StandardScaler: a constant feature is only centred."""
        if not standardise:
            return cls(np.zeros(x.shape[1]), np.ones(x.shape[1]))
        deviation = x.std(axis=0)
        return cls(x.mean(axis=0), np.where(deviation < 1e-12, 1.0, deviation))

    def apply(self, x: Floats) -> Floats:
        """(x - mean) / deviation; ``x`` itself if nothing changes."""
        if not self.mean.any() and (self.deviation == 1).all():
            return x
        scaled: Floats = (x - self.mean) / self.deviation
        return scaled


class IterationWatch:
    """A callback that scikit-learn (from 1.9 on) calls at each L-BFGS iteration, so that long fits can be cancelled."""

    def __init__(self, progress: Progress, max_iterations: int) -> None:
        self.progress, self.max_iterations, self.iterations = progress, max_iterations, 0

    def setup(self, estimator: Any, context: Any) -> None:
        """Called once before fitting."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Called once after fitting."""

    def on_fit_task_begin(self, estimator: Any, context: Any, **details: Any) -> None:
        """Called before each iteration."""

    def on_fit_task_end(self, estimator: Any, context: Any, **details: Any) -> bool:
        """Called after each iteration; ``progress`` may raise through the solver to cancel."""
        self.iterations += 1
        self.progress(min(1.0, self.iterations / self.max_iterations), "fitting")
        return False


def fit_logistic(
    x: Floats,
    y: Integers,
    C: float,
    settings: ProbeSettings = DEFAULT_SETTINGS,
    progress: Progress = no_progress,
) -> LogisticRegression:
    """Fit a logistic regression on ``x`` (N, D), unscaled. Does not raise if it did not converge; see `has_converged`.

    Always starts from zero, never from the solution for another C: scikit-learn's tolerance applies to the gradient
    averaged over rows; with many rows it is so loose that a warm start would end immediately.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  (the import takes a second)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    model = LogisticRegression(C=C, max_iter=settings.max_iterations, tol=settings.tolerance)
    if hasattr(model, "set_callbacks"):
        model.set_callbacks(IterationWatch(progress, settings.max_iterations))
    progress(0.0, "fitting")
    small = x.size * len(np.unique(y)) < MIN_THREADED_PRODUCTS
    with threadpool_limits(settings.threads or (1 if small else None)), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    if hasattr(model, "set_callbacks"):
        model.set_callbacks()  # the model must not keep ``progress`` alive
    return model


def has_converged(model: LogisticRegression) -> bool:
    """Whether the fit ended before the maximum number of iterations."""
    return int(model.n_iter_.max()) < int(model.max_iter)


def to_probe(model: LogisticRegression, scaling: Scaling, classes: Sequence[str], settings: ProbeSettings) -> Probe:
    """The fitted model as a `Probe` on unscaled features, with the trained classes."""
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one logit for two classes equals a softmax over (0, logit)
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([np.zeros_like(bias), bias])
    weight = weight / scaling.deviation
    bias = bias - weight @ scaling.mean
    return Probe(
        weight=torch.from_numpy(weight).float(),
        bias=torch.from_numpy(bias).float(),
        classes=tuple(classes[position] for position in model.classes_),
        C=float(model.C),
        layer=settings.layer,
        model_digest=settings.model_digest,
        standardised=settings.standardise,
    )


def check_trainable(y: Integers, classes: Sequence[str]) -> None:
    """Raise EvaluationError if all training rows have the same class."""
    class_indices = np.unique(y)
    if len(class_indices) < 2:
        raise EvaluationError(
            f"all {len(y)} training rows have the class {classes[int(class_indices[0])]!r}; a probe needs at least two "
            "classes."
        )
