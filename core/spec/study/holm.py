"""Adjusts p values for several tests: Holm 1979, "A simple sequentially rejective multiple test procedure"."""

from __future__ import annotations

from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Holm-adjusted p ``values`` of m tests, which control the family-wise error rate.

    The i-th smallest value (from 0) is multiplied by m - i; it is at least the adjusted smaller values, and at most 1.
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
