"""Times of our code and of a peer's, measured in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable


def alternate(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """The medians of ``ours`` and ``peer``, and the median of their ratio per round, so that drift cancels."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    ratios = [mine / theirs for mine, theirs in pairs]
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), statistics.median(ratios)
