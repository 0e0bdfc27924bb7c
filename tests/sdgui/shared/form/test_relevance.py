"""Which settings matter, given the others: each rule by a config in which it does and one in which it does not."""

from __future__ import annotations

from typing import Any

import pytest

from core.spec.config import RunConfig
from sdgui.shared.form.fields import values_of
from sdgui.shared.form.relevance import at_once, matters, switch_of

VIEW = "views.student"
TAUGHT = {"teacher.kind": "ema"}
MIXES = {f"{VIEW}.mix": "mixup"}


@pytest.mark.parametrize(
    ("field", "when", "not_when"),
    [
        ("data.labels_per_class", {"data.label": "kind"}, {"data.label": ""}),
        ("data.unlabelled_ratio", {"data.label": "kind"}, {"data.label": ""}),
        ("towers.weights", {"towers.pretrained": "/m"}, {"towers.pretrained": ""}),
        ("towers.start", {"towers.pretrained": "/m"}, {"towers.pretrained": ""}),
        ("fusion.layers", {"fusion.kind": "merged"}, {"fusion.kind": "none"}),
        ("fusion.heads", {"fusion.kind": "skip"}, {"fusion.kind": "none"}),
        ("fusion.width", {"fusion.kind": "queries"}, {"fusion.kind": "none"}),
        ("fusion.text_attention", {"fusion.kind": "cross-attention"}, {"fusion.kind": "merged"}),
        ("fusion.feed_forward", {"fusion.kind": "merged"}, {"fusion.kind": "cross-attention"}),
        (
            "fusion.joint_layers",
            {"fusion.kind": "merged", "fusion.feed_forward": "per-modality"},
            {"fusion.kind": "merged", "fusion.feed_forward": "shared"},
        ),
        (
            "fusion.joint_layers",
            {"fusion.kind": "merged", "fusion.feed_forward": "per-modality"},
            {"fusion.kind": "skip", "fusion.feed_forward": "per-modality"},
        ),
        ("fusion.merge_every", {"fusion.kind": "skip"}, {"fusion.kind": "merged"}),
        ("fusion.queries", {"fusion.kind": "queries"}, {"fusion.kind": "skip"}),
        ("objectives.consistency.guess", {"objectives.consistency.kind": "fixmatch"},
         {"objectives.consistency.kind": "mixmatch"}),
        ("objectives.consistency.threshold", {"objectives.consistency.kind": "fixmatch"},
         {"objectives.consistency.kind": "mean-teacher"}),
        ("objectives.consistency.sharpen", {"objectives.consistency.kind": "mixmatch"},
         {"objectives.consistency.kind": "fixmatch"}),
        ("teacher.momentum", {"teacher.kind": "ema"}, {"teacher.kind": "frozen"}),
        ("teacher.momentum", {"teacher.kind": "ema-state"}, {"teacher.kind": "none"}),
        ("teacher.targets", {"teacher.kind": "frozen"}, {"teacher.kind": "ema"}),
        ("teacher.checkpoint", {"teacher.kind": "frozen"}, {"teacher.kind": "ema"}),
        ("teacher.every", {"teacher.kind": "frozen"}, {"teacher.kind": "none"}),
        (f"{VIEW}.mask_share", {f"{VIEW}.mask": 0.5}, {f"{VIEW}.mask": 0.0}),
        (f"{VIEW}.mask_kind", {f"{VIEW}.mask": 0.5}, {f"{VIEW}.mask": 0.0}),
        (f"{VIEW}.mix_alpha", MIXES, {f"{VIEW}.mix": "none"}),
        (f"{VIEW}.randaugment_magnitude", {f"{VIEW}.randaugment_ops": 2}, {f"{VIEW}.randaugment_ops": 0}),
        (f"{VIEW}.saturation", {f"{VIEW}.jitter": 0.8}, {f"{VIEW}.jitter": 0.0}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 0, "teacher.targets": "pass", **TAUGHT}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 1, "teacher.targets": "pass", "teacher.kind": "none"}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 1, "teacher.targets": "stored", **TAUGHT}),
    ],
)  # fmt: skip
def test_a_setting_matters_where_it_has_an_effect(field: str, when: dict[str, Any], not_when: dict[str, Any]) -> None:
    values = values_of(RunConfig())
    assert {field, *when, *not_when} <= values.keys()
    assert matters(field, values | when)
    assert not matters(field, values | not_when)


def test_what_chooses_matters_always() -> None:
    values = values_of(RunConfig())
    for field in ("teacher.kind", "noise.caption_filter", "fusion.kind", f"{VIEW}.mask", "seed", "data.train"):
        assert matters(field, values), field


def test_advanced_settings_wait_unless_they_are_the_point_of_a_choice() -> None:
    values = values_of(RunConfig())
    assert at_once("seed", False, values)
    assert not at_once("optim.beta1", True, values)
    assert at_once("fusion.queries", True, values | {"fusion.kind": "queries"})
    assert not at_once("fusion.queries", True, values | {"fusion.kind": "none"})


def test_groups_that_a_number_turns_on() -> None:
    groups = ("objectives.matching", "views.student", "views.local", "views.teacher", "views.clean", "optim", "views")
    assert [switch_of(group) for group in groups] == [
        "objectives.matching.weight", "views.student.count", "views.local.count", "views.teacher.count", "", "", ""
    ]  # fmt: skip
