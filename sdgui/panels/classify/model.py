"""Evaluations of the Classify panel and their results, as plain values. No Qt, no worker.

Flow: the user's choices become a `Target` and an `Evaluation` -> ``ClassifySession`` -> a worker's answer ->
`EvaluationResult` -> the tabs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.spec.data.prompt_sets import is_inline
from sdgui.widgets.formats import percent

Integers = NDArray[np.int32]
Method = Literal["zero-shot", "image", "fused", "knn", "saved"]

SPLIT_OF_DATA = "split"  # the worker's word for: train on one part of the same data, test on the other
DEFAULT_LAYER = "before the projection"
METHODS: dict[Method, str] = {
    "image": "Linear probe",
    "zero-shot": "Zero-shot",
    "fused": "Fused probe",
    "knn": "Nearest neighbours",
}


METRICS = {"acc1": "accuracy", "acc5": "top-5 accuracy", "mean_per_class_recall": "balanced accuracy"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model and labelled data; the worker chooses values for empty fields."""

    model: str
    weights: str
    title: str  # title of the model
    data: str
    label: str = ""
    train: str = ""  # "": the model's training data, SPLIT_OF_DATA, or a source
    train_label: str = ""
    layer: str = DEFAULT_LAYER

    def request(self) -> dict[str, Any]:
        """The arguments of the verb ``classify_open``."""
        names = ("model", "weights", "data", "label", "train", "train_label", "layer")
        return {name: getattr(self, name) for name in names} | {"packed": True}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of an evaluation method."""

    templates: str = "photo"
    text: str = "predicted"  # the text that a fused probe combines with the image
    k: int = 20
    standardise: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate and how: target, method and settings. ``path``: the file of a saved probe."""

    target: Target
    method: Method
    settings: Settings = field(default_factory=Settings)
    path: str = ""

    def request(self) -> tuple[str, dict[str, Any]]:
        """The worker verb and its arguments, without the key of the opened data."""
        settings = self.settings
        if self.method == "zero-shot":
            return "classify_zero_shot", {"templates": settings.templates}
        if self.method == "knn":
            return "classify_knn", {"k": settings.k}
        if self.method == "saved":
            return "classify_load_probe", {"path": self.path}
        arguments: dict[str, Any] = {"kind": self.method, "standardise": settings.standardise}
        if self.method == "fused":
            arguments |= {"text": settings.text, "templates": settings.templates}
        return "classify_probe", arguments

    def with_target(self, **changes: Any) -> Evaluation:
        """The same evaluation with ``changes`` to its target, such as another model or other weights."""
        return replace(self, target=replace(self.target, **changes))


@dataclass(frozen=True)
class Confusion:
    """The non-empty cells of a confusion matrix: true class, predicted class, number of images."""

    true: Integers
    predicted: Integers
    count: Integers

    def mistakes(self) -> Confusion:
        """The cells off the diagonal, most images first."""
        indices = np.flatnonzero(self.true != self.predicted)
        indices = indices[np.argsort(-self.count[indices], kind="stable")]
        return Confusion(self.true[indices], self.predicted[indices], self.count[indices])


def _numbers(values: Any) -> Integers:
    """The array in base64 (the worker's encoding) or a plain list."""
    if isinstance(values, str):
        return np.frombuffer(base64.b64decode(values), dtype="<i4").astype(np.int32, copy=False)
    return np.asarray(values, dtype=np.int32)


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation. ``answer`` is `core.worker.classify.results.Result.plain`."""

    evaluation: Evaluation
    answer: dict[str, Any]
    confusion: Confusion

    @property
    def title(self) -> str:
        return str(self.answer["title"])

    @property
    def classes(self) -> list[str]:
        return list(self.answer["classes"])

    @property
    def accuracy(self) -> float:
        return float(self.answer["accuracy"]["value"])

    @property
    def majority(self) -> float:
        """The accuracy of predicting the most frequent class of the test data for every image."""
        rows = [int(row["rows"]) for row in self.answer["per_class"]]
        return max(rows, default=0) / max(1, sum(rows))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur as truth or prediction, as in scikit-learn's ``f1_score``."""
        cells = self.confusion
        is_correct = cells.true == cells.predicted
        hits, true, predicted = (
            np.bincount(classes, counts, minlength=len(self.classes))
            for classes, counts in (
                (cells.true[is_correct], cells.count[is_correct]),
                (cells.true, cells.count),
                (cells.predicted, cells.count),
            )
        )
        occurs = true + predicted > 0
        return float((2 * hits[occurs] / (true + predicted)[occurs]).mean()) if occurs.any() else 0.0

    @property
    def has_probe(self) -> bool:
        return bool(self.answer["can_save"])


def read_result(evaluation: Evaluation, answer: dict[str, Any]) -> EvaluationResult:
    """Read an answer of the worker."""
    cells = (_numbers(answer["confusion"][name]) for name in ("true", "predicted", "count"))
    return EvaluationResult(evaluation, answer, Confusion(*cells))


def interval_text(interval: Mapping[str, Any]) -> str:
    """An interval as text, such as ``85.1 to 89.2 %``; "" if ``low`` or ``high`` is missing."""
    low, high = interval.get("low"), interval.get("high")
    return f"{100 * float(low):.1f} to {percent(float(high))}" if low is not None and high is not None else ""


def method_title(evaluation: Evaluation) -> str:
    """The name of the method with its settings."""
    settings = evaluation.settings
    prompts = "edited" if is_inline(settings.templates) else Path(settings.templates).stem
    return {
        "zero-shot": f"Zero-shot ({prompts} prompts)",
        "image": "Linear probe" + (", standardised" if settings.standardise else ""),
        "fused": f"Fused probe ({settings.text})" + (", standardised" if settings.standardise else ""),
        "knn": f"{settings.k} nearest",
        "saved": f"Probe {Path(evaluation.path).stem}",
    }[evaluation.method]
