"""Objectives declare what they need; other code reads the declarations and names no objective."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest

from core.objectives.parts import schedule
from core.spec.config import ObjectivesConfig, RunConfig, contradictions, problems
from core.spec.presets import recommended
from core.training import schedules, train_step, validation

OBJECTIVES = [name for name, _ in ObjectivesConfig()]
TAUGHT = {
    "distill_similarity",
    "distill_prototypes",
    "distill_features",
    "distill_logits",
    "distill_captions",
    "masked_patches",
}


@pytest.mark.parametrize("module", [contradictions, recommended, schedule, schedules, train_step, validation])
def test_code_outside_objectives_names_no_objective(module: ModuleType) -> None:
    source = inspect.getsource(module)
    assert [name for name in OBJECTIVES if f"objectives.{name}." in source or f'"{name}"' in source] == []


def alone(name: str, **settings: Any) -> RunConfig:
    """A config with one objective and none of its requirements."""
    weights: dict[str, Any] = {"contrastive": {"weight": 0.0}}
    return RunConfig.model_validate({"objectives": weights | {name: {"weight": 1.0, **settings}}})


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_declare_their_teacher_and_prototypes(name: str) -> None:
    found = problems(alone(name, **({"on": "image"} if name == "distill_prototypes" else {})))
    assert (found.get(f"objectives.{name}.weight", "").startswith("This objective needs a teacher")) == (name in TAUGHT)
    settings = getattr(alone(name).objectives, name)
    assert settings.learns_from_teacher == (name in TAUGHT)
    assert settings.prototype_count() == getattr(settings, "prototypes", 0)


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("matching", {}, "matching.weight"),
        ("masked_words", {}, "masked_words.weight"),
        ("captioning", {"through": "fusion"}, "captioning.through"),
        ("distill_prototypes", {"on": "fused+image"}, "distill_prototypes.on"),
        ("distill_features", {"on": "fused"}, "distill_features.on"),
        ("masked_words", {"alpha": 0.4}, "masked_words.alpha"),
        ("consistency", {"kind": "mean-teacher"}, "consistency.kind"),
        ("consistency", {"guess": "teacher"}, "consistency.guess"),
    ],
)
def test_a_requirement_is_reported_at_its_setting(name: str, settings: dict[str, Any], field: str) -> None:
    assert f"objectives.{field}" in problems(alone(name, **settings))
