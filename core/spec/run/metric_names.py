"""Derives properties of a metric from its name: whether higher is better, whether it is a share, and more."""

from __future__ import annotations

import re

FEATURE_STD = "diag/feature_std"  # standard deviation of the student's image features; near 0 after a collapse
_SHARES = frozenset({"acc", "accuracy", "top1", "top5", "precision", "f1", "map", "ndcg", "mrr", "auc", "ece", "share"})
_HIGHER_IS_BETTER = (
    "recall",
    "r@",
    "acc",
    "map",
    "ndcg",
    "auc",
    "cider",
    "bleu",
    "rouge",
    "meteor",
    "spice",
    "_per_s",
    "top1",
    "top5",
    "mrr",
)


def higher_is_better(metric: str) -> bool:
    """Whether higher values of ``metric`` are better: recalls, accuracies, speeds, but not losses."""
    name = metric.rsplit("/", 1)[-1].lower()
    return "loss" not in name and any(part in name for part in _HIGHER_IS_BETTER)


def lower_is_better(metric: str) -> bool:
    """Whether lower values of ``metric`` are known to be better: losses and ranks."""
    return "loss" in metric.rsplit("/", 1)[-1].lower() or is_rank(metric)


def is_share(metric: str) -> bool:
    """Whether ``metric`` is a share from 0 to 1, such as a recall or an accuracy, which is shown in per cent."""
    name = metric.rsplit("/", 1)[-1].lower()
    parts = re.split(r"[_\W]+", name)
    return "recall" in name or "r@" in name or bool(_SHARES & set(parts))


def is_evaluation_share(metric: str) -> bool:
    """Whether a metric of an evaluation is a share from 0 to 1: all but ranks and CIDEr."""
    return not is_rank(metric) and not metric.endswith("CIDEr")


def is_rank(metric: str) -> bool:
    """Whether a metric of an evaluation is a mean or median rank, the only metrics of which lower values are better."""
    return metric.endswith("_rank")


def ranks_runs(metric: str) -> bool:
    """Whether ``metric`` selects the best point of a run: the mean recall of a network on validation data."""
    return metric.startswith("val/") and metric.endswith("/mean_recall")
