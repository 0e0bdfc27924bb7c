"""What an arm is trained with, and how a study's means are drawn."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from core.spec.study import Study
from core.studies.study.plot import draw
from tests.core.studies.study.test_study import study_dict


def test_an_arms_own_settings_come_after_the_studys() -> None:
    arms = [{"name": "plain", "preset": "clip"}, {"name": "own", "preset": "clip", "set": ["optim.beta1=0.7"]}]
    study = Study.model_validate(study_dict(*arms, set=["optim.beta1=0.8", "optim.beta2=0.9"]))
    recipes = [study.recipe(arm).optim for arm in study.arms]
    assert [(one.beta1, one.beta2) for one in recipes] == [(0.8, 0.9), (0.7, 0.9)]


def test_the_image_of_a_study_has_an_interval_where_one_is_known() -> None:
    def mean(value: float, half: float | None) -> dict[str, Any]:
        ends = (None, None) if half is None else (value - half, value + half)
        return {"mean": value, "low": ends[0], "high": ends[1], "values": [value]}

    def lines(half: float | None) -> list[tuple[float, ...]]:
        arm = {"networks": {"final": {"val/R@1": mean(0.5, half)}}}
        image = draw({"name": "x", "arms": {"a": arm, "b": arm}, "metrics": ["val/R@1"]})
        found = ElementTree.fromstring(image).iter("{http://www.w3.org/2000/svg}line")
        return [tuple(float(one.attrib[end]) for end in ("x1", "x2")) for one in found]

    plain, told = lines(None), lines(0.1)
    assert len(told) == len(plain) + 2, "a line for each arm"
    assert told[:2] == [(150.0, 510.0)] * 2, "the axis spans the intervals"
