"""What a metric's name says about it: which direction is better, and which one ranks runs."""

from __future__ import annotations

import re

_SHARES = frozenset({"acc", "accuracy", "top1", "top5", "precision", "f1", "map", "ndcg", "mrr", "auc", "ece", "share"})
_HIGHER = (
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
    """Whether a larger value of ``metric`` is the better one: recalls, accuracies, speeds; a loss is better low."""
    name = metric.rsplit("/", 1)[-1].lower()
    return "loss" not in name and any(part in name for part in _HIGHER)


def is_share(metric: str) -> bool:
    """Whether ``metric`` is a share of 1, which is shown in per cent: recalls, accuracies, precisions."""
    name = metric.rsplit("/", 1)[-1].lower()
    parts = re.split(r"[_\W]+", name)
    return "recall" in name or "r@" in name or bool(_SHARES & set(parts))


def ranks_runs(metric: str) -> bool:
    """Whether ``metric`` decides which point of a run is its best: ``val/student/mean_recall`` and the teacher's."""
    return metric.startswith("val/") and metric.endswith("/mean_recall")
