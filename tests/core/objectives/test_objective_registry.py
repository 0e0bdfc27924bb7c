"""Objectives are found by their config classes: none is listed, each has the name of its field."""

from __future__ import annotations

import pytest

from core.objectives.build import build_objectives, objective_class, objective_classes
from core.objectives.objective import Objective
from core.spec.config import ObjectiveConfig, ObjectivesConfig, RunConfig

FIELDS = list(ObjectivesConfig())


@pytest.mark.parametrize(("name", "config"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_objective_of_the_config_has_its_class(name: str, config: ObjectiveConfig) -> None:
    assert objective_class(config).name == name


def test_every_class_has_its_objective_in_the_config() -> None:
    assert {found.config_class for found in objective_classes()} == {type(config) for _, config in FIELDS}


@pytest.mark.parametrize("kind", ["mean-teacher", "fixmatch", "mixmatch"])
def test_one_class_serves_each_kind_of_consistency(kind: str) -> None:
    config = ObjectivesConfig.model_validate({"consistency": {"kind": kind}}).consistency
    (found,) = [one for one in objective_classes() if one.serves(config)]
    assert issubclass(found, Objective)
    assert found.__module__ == f"core.objectives.consistency.{kind.replace('-', '_')}"


def test_weighted_objectives_are_built_in_config_order() -> None:
    weights = {"matching": {"weight": 1.0}, "captioning": {"weight": 1.0}, "distill_logits": {"weight": 0.0}}
    objectives = build_objectives(RunConfig.model_validate({"objectives": weights}))
    assert [one.name for one in objectives] == ["contrastive", "captioning", "matching"]


def test_a_config_without_a_class_is_a_programming_error() -> None:
    with pytest.raises(LookupError, match="ObjectiveConfig"):
        objective_class(ObjectiveConfig())
