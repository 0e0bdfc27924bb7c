"""Derives properties of a metric from its name: whether higher is better, whether it is a share, and more."""

from __future__ import annotations

import re
from functools import lru_cache

FEATURE_STD = "diag/feature_std"  # standard deviation of the student's image features; near 0 after a collapse
_ACCURACIES = frozenset(
    ("acc", "accuracy", "auc", "f1", "map", "mrr", "ndcg", "precision", "r@", "recall", "top1", "top5")
)
_SHARES = _ACCURACIES | {"ece", "share"}
_HIGHER_IS_BETTER = _ACCURACIES | {"bleu", "cider", "meteor", "rouge", "spice"}


def higher_is_better(metric: str) -> bool:
    """Whether higher values of ``metric`` are better: recalls, accuracies, speeds, but not losses."""
    words = _words(metric)
    return "loss" not in words and (bool(_HIGHER_IS_BETTER & words) or metric.endswith("_per_s"))


def lower_is_better(metric: str) -> bool:
    """Whether lower values of ``metric`` are known to be better: losses and ranks."""
    return "loss" in _words(metric) or is_rank(metric)


def is_share(metric: str) -> bool:
    """Whether ``metric`` is a share from 0 to 1, such as a recall or an accuracy, which is shown in per cent."""
    return bool(_SHARES & _words(metric))


@lru_cache(maxsize=4096)  # asked for every point of a run
def _words(metric: str) -> frozenset[str]:
    """The lower-case words of a metric's name, also without their last digits: ``valAcc1`` has val, acc1 and acc."""
    name = metric.rsplit("/", 1)[-1].replace("mAP", "map")
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.findall(r"(?<![^\W_])r@|[^\W_]+", separated)
    return frozenset(form for word in words for form in (word, word.rstrip("0123456789")))


def is_evaluation_share(metric: str) -> bool:
    """Whether a metric of an evaluation is a share from 0 to 1: all but ranks and CIDEr."""
    return not is_rank(metric) and not metric.endswith("CIDEr")


def is_rank(metric: str) -> bool:
    """Whether a metric of an evaluation is a mean or median rank, the only metrics of which lower values are better."""
    return metric.endswith("_rank")


def ranks_runs(metric: str) -> bool:
    """Whether ``metric`` selects the best point of a run: the mean recall of a network on validation data."""
    return metric.startswith("val/") and metric.endswith("/mean_recall")
