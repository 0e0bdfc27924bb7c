"""What a network keeps and learns for its objectives, whatever their order; and what an objective refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from core.model.errors import ModelError
from core.model.heads import PrototypeHead
from core.objectives.build import Objectives, build_network, build_objectives
from core.objectives.contrastive import Contrastive
from core.objectives.objective import require_same_length
from core.spec.config import ContrastiveConfig, ObjectivesConfig, RunConfig, override
from core.training.schedules import build_schedules
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
    config = with_objectives(contrastive={}, captioning={}, masked_patches={"prototypes": 8}, distill_similarity={})
    every = list(build_objectives(config))
    if turned:
        monkeypatch.setattr("core.objectives.build.build_objectives", lambda *_, **__: Objectives(every[::-1]))
    found = build_network(config, small("sd-coca-tiny"))
    assert found.text_tokens
    assert found.patch_tokens


def test_unused_outputs_are_not_kept() -> None:
    plain = build_network(with_objectives(contrastive={}), small())
    assert not plain.text_tokens
    assert not plain.patch_tokens


def test_class_heads_exist_only_where_an_objective_trains_them() -> None:
    assert build_network(with_objectives(contrastive={}), small(), ("a", "b")).classes == ()
    assert build_network(with_objectives(classification={}), small(), ("a", "b")).classes == ("a", "b")


def test_image_and_pair_prototypes_are_frozen_together() -> None:
    on = {"on": "fused+image", "prototypes": 8, "freeze_last": 0.5}
    config = with_objectives(distill_prototypes=on)
    found = build_network(config, small())
    objectives, schedules = build_objectives(config, found), build_schedules(config, 10)
    heads = [head for head in found.heads.values() if isinstance(head, PrototypeHead)]
    assert len(heads) == 2
    for step, frozen in ((1, True), (5, True), (6, False), (10, False)):
        objectives.begin_step(found, schedules.at(step))
        assert [head.frozen for head in heads] == [frozen] * 2


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


def test_overridden_settings_reach_the_objectives() -> None:
    config = override(with_objectives(contrastive={}), ["objectives.contrastive.label_smoothing=0.2"])
    (contrastive,) = build_objectives(config)
    assert isinstance(contrastive, Contrastive)
    assert contrastive.label_smoothing == 0.2
    assert torch.equal(torch.tensor(contrastive.step_values.weight), torch.tensor(1.0))
