"""What a metric's name says about it: which direction is better, and which one ranks runs."""

from __future__ import annotations

_HIGHER = ("recall", "r@", "acc", "map", "ndcg", "auc", "cider", "bleu", "rouge", "meteor", "spice", "_per_s")


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of ``metric`` is the better one: recalls, accuracies, speeds; a loss is better low."""
    name = metric.rsplit("/", 1)[-1].lower()
    return "loss" not in name and any(part in name for part in _HIGHER)


def ranks_runs(metric: str) -> bool:
    """Whether ``metric`` decides which point of a run is its best: ``val/student/mean_recall`` and the teacher's."""
    return metric.startswith("val/") and metric.endswith("/mean_recall")
