"""p values adjusted for the number of tests: Holm, "A simple sequentially rejective multiple test procedure" (1979)."""

from __future__ import annotations

from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Holm-adjusted p ``values`` of m tests, which control the family-wise error rate.

    The i-th smallest (from 0) times m - i, at least the adjusted smaller ones, at most 1.
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
