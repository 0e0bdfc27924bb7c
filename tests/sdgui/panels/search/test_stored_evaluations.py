"""The store's keys of an evaluation: other images or another network never share one."""

from __future__ import annotations

from dataclasses import replace

from sdgui.panels.search.tab_results import _store_keys
from sdgui.panels.search.work import Target


def test_an_evaluation_is_kept_under_its_network_and_its_images() -> None:
    held_out = Target("run@best", "teacher", "clip")
    of_file = replace(held_out, data="a.csv")
    assert _store_keys(held_out) == ("run@best teacher", "held-out")
    assert _store_keys(of_file) == ("run@best teacher", "a.csv")
    assert _store_keys(replace(of_file, index="images.index")) == ("run@best teacher", "images.index")
    assert _store_keys(replace(held_out, weights="")) == ("run@best", "held-out")
