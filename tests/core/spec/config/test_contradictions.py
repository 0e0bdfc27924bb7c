"""Each contradiction between settings is reported at the setting to change; boundary values are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from core.spec.config import RunConfig, problems
from core.spec.presets import preset_config
from tests.core.variants import variant_config


def found(preset: str, changes: dict[str, Any]) -> dict[str, str]:
    raw = variant_config(preset).model_dump()
    for field, value in changes.items():
        section: Any = raw
        *parts, last = field.split(".")
        for part in parts:
            section = section[part]
        assert last in section, field
        section[last] = value
    return problems(RunConfig.model_validate(raw))


SD = "sd-clip-every-step"
FROZEN = {"teacher.kind": "frozen", "teacher.checkpoint": "run"}
STORED = {**FROZEN, "teacher.targets": "stored", "views.teacher.count": 0, "objectives.distill_similarity.weight": 1.0}
ONLY_TAUGHT = {
    f"objectives.{name}.weight": float(name == "distill_similarity") for name, _ in preset_config("clip").objectives
}


@pytest.mark.parametrize(
    ("preset", "changes", "field"),
    [
        ("clip", {**FROZEN, "teacher.checkpoint": "", "data.train": "x.csv"}, "teacher.checkpoint"),
        (SD, {"teacher.checkpoint": "run"}, "teacher.checkpoint"),
        (SD, {"fusion.kind": "merged", "fusion.layers": 2, "fusion.joint_layers": 3}, "fusion.joint_layers"),
        (SD, {"fusion.width": 30, "fusion.heads": 4}, "fusion.width"),
        ("clip", {"data.labels_per_class": 2}, "data.labels_per_class"),
        (SD, {"views.local.crop_min": 0.5, "views.local.crop_max": 0.4}, "views.local.crop_min"),
        ("clip", {"views.shared": True, "views.student.count": 0}, "views.shared"),
        ("clip", {"objectives.contrastive.weight": 0.0}, "objectives.contrastive.weight"),
        ("clip", {"objectives.distill_similarity.weight": 1.0}, "objectives.distill_similarity.weight"),
        ("clip", {"objectives.matching.weight": 1.0}, "objectives.matching.weight"),
        (SD, {"teacher.every": 2, "objectives.masked_words.weight": 1.0, "objectives.masked_words.alpha": 0.4},
         "teacher.every"),
        (SD, {"teacher.every": 2, **ONLY_TAUGHT}, "teacher.every"),
        ("clip", {**STORED, "teacher.kind": "ema", "teacher.checkpoint": ""}, "teacher.targets"),
        ("clip", {**STORED, "objectives.distill_similarity.queue": 64}, "teacher.targets"),
        ("clip", {**STORED, "objectives.distill_prototypes.weight": 1.0}, "teacher.targets"),
        ("clip", {**STORED, "data.train": "00000.tar::00001.tar"}, "teacher.targets"),
        ("clip", {**STORED, "views.teacher.count": 1}, "views.teacher.count"),
        ("clip", {**STORED, "views.student.count": 1, "views.shared": True}, "views.shared"),
        ("clip", {"checkpoint.keep_retained": 0.9}, "checkpoint.keep_retained"),
        ("clip", {"teacher.kind": "initial", "data.train": "x.csv"}, "towers.pretrained"),
    ],
)  # fmt: skip
def test_a_contradiction_is_reported_at_its_field(preset: str, changes: dict[str, Any], field: str) -> None:
    said = found(preset, changes)
    assert field in said
    assert len(said[field]) > 20
    assert found(preset, {}) == {}


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("clip", {**FROZEN, "objectives.distill_similarity.weight": 1.0, "data.train": "x.csv"}),
        ("clip", {**FROZEN, "teacher.checkpoint": "", "objectives.distill_similarity.weight": 1.0}),
        ("clip", {"data.label": "kind", "data.labels_per_class": 2}),
        (SD, {"teacher.every": 2}),
        ("clip", STORED),
        ("clip", {"noise.self_confidence": 0.5, "noise.caption_filter": True}),
    ],
)
def test_boundary_values_do_not_contradict(preset: str, changes: dict[str, Any]) -> None:
    assert found(preset, changes) == {}
