"""What a network keeps and learns for its objectives, whatever their order; and what an objective refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.model.errors import ModelError
from core.objectives.build import Objectives, build_network, build_objectives
from core.objectives.contrastive import Contrastive
from core.objectives.objective import require_same_length
from core.spec.config import ContrastiveConfig, ObjectivesConfig, RunConfig
from tests.core.objectives.fake_outputs import output_of
from tests.core.teacher.test_teacher_kinds import network, small
from tests.core.variants import variant_config


def with_objectives(**objectives: Any) -> RunConfig:
    raw = variant_config("sd-clip-every-step").model_dump()
    for name, _ in ObjectivesConfig():
        raw["objectives"][name]["weight"] = 0.0
    for name, settings in objectives.items():
        raw["objectives"][name].update({"weight": 1.0, **settings})
    raw["views"]["shared"], raw["views"]["student"]["mask"] = True, 1.0
    raw["views"]["student"]["mix"] = "none"
    return RunConfig.model_validate(raw)


@pytest.mark.parametrize("turned", [False, True])
def test_requirements_of_objectives_add_up(turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build_network(with_objectives(contrastive={}), small())
    assert not plain.returns_text_tokens
    assert not plain.returns_patch_tokens
    config = with_objectives(contrastive={}, captioning={}, masked_patches={"prototypes": 8}, distill_similarity={})
    every = list(build_objectives(config))
    if turned:
        monkeypatch.setattr("core.objectives.build.build_objectives", lambda *_, **__: Objectives(every[::-1]))
    found = build_network(config, small("sd-coca-tiny"))
    assert found.returns_text_tokens
    assert found.returns_patch_tokens


def test_class_heads_exist_only_where_an_objective_trains_them() -> None:
    assert build_network(with_objectives(contrastive={}), small(), ("a", "b")).classes == ()
    assert build_network(with_objectives(classification={}), small(), ("a", "b")).classes == ("a", "b")


def test_captioning_through_the_fusion_needs_a_causal_tower() -> None:
    model = small()
    model["text_cfg"]["no_causal_mask"] = True
    with pytest.raises(ModelError, match=r"objectives\.captioning\.through is fusion, but this architecture's text"):
        build_network(with_objectives(captioning={"through": "fusion"}), model)


def test_a_teacher_may_have_a_longer_context_but_not_a_shorter_one() -> None:
    long, short = small(), small()
    long["text_cfg"]["context_length"], short["text_cfg"]["context_length"] = 40, 8
    student, longer, shorter = (network("clip", 0, one) for one in (small(), long, short))
    require_same_length("x.weight", student, longer)
    require_same_length("x.weight", student, student)
    with pytest.raises(ModelError, match=r"objectives\.x\.weight compares word by word"):
        require_same_length("x.weight", student, shorter)


@pytest.mark.parametrize("batch", [2, 9])
def test_the_contrastive_diagnostic_is_1_at_chance(batch: int) -> None:
    student = output_of(batch, 4, 0, scale=1e-6)
    loss, report = Contrastive(ContrastiveConfig())(student, None)
    assert float(report["diag/contrastive_over_ln_batch"]) == pytest.approx(1.0, abs=1e-4)
    assert float(loss) == pytest.approx(math.log(batch), abs=1e-4)
