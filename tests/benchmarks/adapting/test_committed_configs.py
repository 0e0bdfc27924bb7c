"""The configs of the studies in the repository: their recipes are valid, and arms that share a noise measure match."""

from __future__ import annotations

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.resources import resource_folder
from tests.benchmarks.adapting.config import AdaptStudy, read_adapt_study
from tests.benchmarks.adapting.results import is_tuned, select_arms

FOLDER = resource_folder("studies") / "adapting"


@pytest.fixture(params=sorted(path.name for path in FOLDER.glob("adapt-*.json")))
def study(request: pytest.FixtureRequest) -> AdaptStudy:
    return read_adapt_study(FOLDER / request.param)


def test_every_arm_is_a_valid_recipe(study: AdaptStudy) -> None:
    for arm in study.arms:
        for settings in filter(None, (arm.first, arm.set)):
            override(preset_config(arm.preset, "demo"), [*study.common, *settings])


def test_every_comparison_is_between_families_of_its_condition(study: AdaptStudy) -> None:
    families = {item.name: set(item.families) for item in study.conditions}
    for planned in study.primary:
        compared = {planned.family, planned.control} - {""}
        assert not families[planned.condition] or compared <= families[planned.condition]


def test_mismatched_captions_use_the_settings_chosen_on_clean_ones() -> None:
    study = read_adapt_study(FOLDER / "adapt-one-base.json")
    arms = {arm.name: arm for arm in study.arms}
    noise = {"noise.caption_filter=true", "noise.self_confidence=0.5"}
    clean = {"adapt-filter": "adapt-0.001-w3", "plain-filter": "plain-0.0003", "plain-weighted": "plain-0.0003"}
    for name, chosen in (clean | {"beta-0.5-filter": "beta-0.5"}).items():
        assert set(arms[name].set) - noise == set(arms[chosen].set)
        assert (arms[name].preset, arms[name].weights) == (arms[chosen].preset, arms[chosen].weights)
        assert not is_tuned(study, arms[name])
        assert select_arms(study, {})[arms[name].family] == name
