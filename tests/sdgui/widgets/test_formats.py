"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from sdgui.widgets import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (9, "9 s"), (60, "1 min"), (70, "1 min 10 s"), (3600, "1 h"), (7500, "2 h 5 min"),
     (100_000, "1 d 3 h"), (59.7, "1 min"), (math.nan, "–"), (math.inf, "–"), (-1, "–")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(0.03125, "", "0.03125"), (1.5e-5, "", "1.500e-5"), (12345, "", "12345"), (1.25e6, "", "1.25 M"), (0, "", "0"),
     (0.4567, "%", "45.7 %"), (math.nan, "", "nan"), (math.inf, "", "∞"), (-math.inf, "", "-∞"), (2.5, "s", "2.5 s"),
     (-0.0002, "", "-2.000e-4"), (1e30, "", "1.000e30")],
)  # fmt: skip
def test_value(number: float, unit: str, text: str) -> None:
    assert formats.value(number, unit) == text


def test_clock_and_count() -> None:
    assert [formats.clock(s) for s in (9, 70, 7500)] == ["0:09", "1:10", "2:05:00"]
    assert formats.count(12345) == "12\u2009345"
    assert formats.count(2.5e7) == "25 M"


def test_ticks_tell_neighbours_apart() -> None:
    for start, spacing in ((0.0, 0.002), (1000.0, 0.5), (0.0, 250.0), (1e6, 2e4), (0.0, 2e-6)):
        texts = [formats.tick(start + i * spacing, spacing) for i in range(8)]
        assert len(set(texts)) == 8, texts


def test_ticks_that_are_very_small_or_large_are_powers_of_ten() -> None:
    assert formats.tick(0.00025, 0.00005) == "2.5e-4"
    assert formats.tick(-0.00025, 0.00005) == "-2.5e-4"
    assert formats.tick(0.25, 0.05) == "0.25"
    assert formats.tick(2e16, 1e16) == "2e16"
