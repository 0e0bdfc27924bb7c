"""Each contradiction between fields, at the field that mends it; and what is at the border is none."""

from __future__ import annotations

from typing import Any

import pytest

from core.spec.config import RunConfig, problems
from core.spec.presets import preset_config


def found(preset: str, changes: dict[str, Any]) -> dict[str, str]:
    raw = preset_config(preset, "tiny").model_dump()
    for field, value in changes.items():
        section: Any = raw
        *parts, last = field.split(".")
        for part in parts:
            section = section[part]
        assert last in section, field
        section[last] = value
    return problems(RunConfig.model_validate(raw))


SD = "sd-clip-every-step"
PREVIOUS = {"teacher.kind": "previous", "teacher.checkpoint": "run", "teacher.part": "all"}
ONLY_TAUGHT = {
    f"objectives.{name}.weight": float(name == "distill_similarity") for name, _ in preset_config("clip").objectives
}


AT_INTERVALS = {"teacher.every": 2, "belief.trust_by": "student"}
ATTENDED = {"views.teacher.count": 0, "views.clean.keep": 0.5, "views.clean.keep_by": "attention"}


@pytest.mark.parametrize(
    ("preset", "changes", "field"),
    [
        ("clip", {"belief.trust": 0.5}, "belief.trust"),
        ("clip", {**PREVIOUS, "teacher.checkpoint": "", "data.train": "x.csv"}, "teacher.checkpoint"),
        ("clip", {**PREVIOUS, "teacher.part": "heads"}, "teacher.part"),
        (SD, {"teacher.checkpoint": "run"}, "teacher.checkpoint"),
        (SD, {"teacher.start": 0.5, "belief.action": "drop"}, "teacher.start"),
        (SD, {"teacher.start": 0.5, "belief.action": "weigh"}, "teacher.start"),
        (SD, {"teacher.start": 0.5, **ONLY_TAUGHT}, "teacher.start"),
        (SD, {"fusion.kind": "merged", "fusion.layers": 2, "fusion.joint_layers": 3}, "fusion.joint_layers"),
        (SD, {"fusion.width": 30, "fusion.heads": 4}, "fusion.width"),
        ("clip", {"data.labels_per_class": 2}, "data.labels_per_class"),
        ("clip", {"data.unlabelled_ratio": 2}, "data.unlabelled_ratio"),
        ("clip", {"views.clean.crop_min": 0.5, "views.clean.crop_max": 0.4}, "views.clean.crop_min"),
        (SD, {"views.local.crop_min": 0.5, "views.local.crop_max": 0.4}, "views.local.crop_min"),
        ("clip", {"views.clean.mix": "mixup"}, "views.clean.mix"),
        ("clip", {"views.clean.mask": 0.5}, "views.clean.mask"),
        ("clip", {"views.clean.size": 0.5}, "views.clean.size"),
        (SD, {"views.student.mask": 1.0, "views.student.mask_min": 0.5, "views.student.mask_max": 0.4},
         "views.student.mask_min"),
        (SD, {"views.local.mask": 1.0, "views.local.mask_min": 0.5, "views.local.mask_max": 0.4},
         "views.local.mask_min"),
        (SD, {"views.teacher.mask": 0.5}, "views.teacher.mask"),
        (SD, {"views.teacher.mix": "mixup"}, "views.teacher.mix"),
        (SD, {"views.teacher.keep": 0.5}, "views.teacher.keep"),
        ("maskclip", {"views.student.keep": 0.5}, "views.student.keep"),
        ("flip", {"views.clean.keep_by": "attention"}, "views.clean.keep_by"),
        ("sd-clip-lean", {"belief.action": "none"}, "teacher.targets"),
        ("sd-clip-lean", {"objectives.distill_similarity.queue": 64}, "teacher.targets"),
        ("sd-clip-lean", {"objectives.distill_features.weight": 1.0}, "teacher.targets"),
        ("sd-clip-lean", {"data.train": "00000.tar::00001.tar"}, "teacher.targets"),
        ("sd-clip-lean", {"teacher.start": 0.5}, "teacher.start"),
        ("sd-clip-lean", {"views.teacher.count": 1}, "views.teacher.count"),
        ("sd-clip-lean", {"views.student.count": 1, "views.shared": True}, "views.shared"),
        ("sd-clip-lean", {"views.clean.keep": 0.5, "views.clean.keep_by": "attention"}, "views.clean.keep_by"),
        ("clip", {**PREVIOUS, "teacher.targets": "memory", "data.train": "x.csv"}, "teacher.targets"),
        (SD, {**ATTENDED, "views.teacher.count": 1}, "views.clean.keep_by"),
        (SD, {**ATTENDED, "teacher.start": 0.5}, "views.clean.keep_by"),
        (SD, {**ATTENDED, "teacher.part": "heads"}, "views.clean.keep_by"),
        (SD, {**ATTENDED, "views.shared": True}, "views.clean.keep_by"),
        (SD, {"views.student.keep": 0.5, "views.student.keep_by": "attention"}, "views.student.keep_by"),
        (SD, {"teacher.every": 2, "belief.trust_by": "teacher"}, "belief.trust_by"),
        (SD, {**AT_INTERVALS, "objectives.contrastive.queue": 64}, "teacher.every"),
        (SD, {**AT_INTERVALS, **ONLY_TAUGHT}, "teacher.every"),
        (SD, {**AT_INTERVALS, **ATTENDED}, "views.clean.keep_by"),
        ("sd-clip-lean", {"teacher.every": 2}, "teacher.every"),
        (SD, {"views.student.keep": 0.5, "views.student.keep_by": "attention", "views.shared": True,
                     "views.student.mix": "mixup"}, "views.student.keep_by"),
        ("clip", {"views.shared": True, "views.student.count": 0}, "views.shared"),
        (SD, {"views.shared": True, "views.student.size": 0.5}, "views.student.size"),
        ("clip", {"objectives.contrastive.weight": 0.0}, "objectives.contrastive.weight"),
        ("clip", {"objectives.distill_similarity.weight": 1.0}, "objectives.distill_similarity.weight"),
        ("clip", {"objectives.matching.weight": 1.0}, "objectives.matching.weight"),
    ],
)  # fmt: skip
def test_a_contradiction_is_said_at_its_field(preset: str, changes: dict[str, Any], field: str) -> None:
    said = found(preset, changes)
    assert field in said
    assert len(said[field]) > 20
    assert found(preset, {}) == {}


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("clip", {**PREVIOUS, "objectives.distill_similarity.weight": 1.0, "data.train": "x.csv"}),
        ("clip", {**PREVIOUS, "teacher.checkpoint": "", "objectives.distill_similarity.weight": 1.0}),
        (SD, {"teacher.start": 0.5, "belief.action": "watch"}),
        (SD, {**AT_INTERVALS, "belief.action": "drop"}),
        (SD, {"belief.action": "weigh", "belief.trust": 0.5}),
        ("clip", {"views.clean.crop_min": 0.5, "views.clean.crop_max": 0.5}),
        (SD, {"views.student.mask": 1.0, "views.student.mask_min": 0.4, "views.student.mask_max": 0.4}),
        (SD, {"views.student.mask_min": 0.5, "views.student.mask_max": 0.4}),
        (SD, {"fusion.width": 32, "fusion.heads": 4}),
        (SD, {"views.student.keep": 0.5, "views.clean.keep": 0.5}),
        (SD, ATTENDED),
        ("sd-clip-lean", {"views.student.count": 1, "views.clean.keep": 0.5}),
        (
            SD,
            {
                "views.student.keep": 0.5,
                "views.student.keep_by": "attention",
                "views.shared": True,
                "views.student.mix": "none",
            },
        ),
        ("clip", {"data.label": "kind", "data.labels_per_class": 2}),
        ("clip", {"belief.trust": 0.5, "belief.trust_by": "student"}),
    ],
)
def test_what_is_at_the_border_is_no_contradiction(preset: str, changes: dict[str, Any]) -> None:
    assert found(preset, changes) == {}
