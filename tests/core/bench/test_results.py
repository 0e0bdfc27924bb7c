"""Rows of a benchmark."""

from __future__ import annotations

from core.bench.results import result


def test_a_ratio_holds_from_its_bound_on() -> None:
    assert [result("a", 1.0, 1.0, "s", ratio, 1.0).holds for ratio in (0.99, 1.0, 1.01)] == [False, True, True]
