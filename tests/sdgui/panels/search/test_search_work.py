"""What is searched, by itself: which two of it are steps of one run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdgui.panels.search.work import Target

BEST = Target("/runs/one@best", "student", "one · best", data="/data.csv", worker="/runs/one")


@pytest.mark.parametrize(
    ("change", "stepped"),
    [
        ({"model": "/runs/one@8"}, True),
        ({}, False),
        ({"model": "/runs/two@8"}, False),
        ({"model": "/runs/one@8", "weights": "teacher"}, False),
        ({"model": "/runs/one@8", "data": "/other.csv"}, False),
        ({"model": "/runs/one@8", "worker": ""}, False),
        ({"model": "/runs/one@8", "index": "/index"}, False),
    ],
)
def test_another_step_is_of_the_same_network_and_pictures(change: dict[str, str], stepped: bool) -> None:
    assert replace(BEST, **change).stepped_from(BEST) is stepped  # type: ignore[arg-type]
    assert not BEST.stepped_from(None)
