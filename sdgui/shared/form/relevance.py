"""Which fields of a config matter given the others: shown directly, or folded under *More*. No Qt.

Flow: ``ConfigForm`` passes the typed values; a section shows fields that matter (``matters``) and folds the others.
Fields that do not matter are still kept and saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.spec.extending.teacher_kinds import teacher_kind

Values = Mapping[str, Any]  # dotted field -> value
Rule = Callable[[Values], bool]


def _has_value(field: str, *allowed: Any) -> Rule:
    return lambda values: values[field] in allowed


def _has_other_value(field: str, *unwanted: Any) -> Rule:
    return lambda values: values[field] not in unwanted


def _always(values: Values) -> bool:
    return True


def _teacher_follows(values: Values) -> bool:
    return teacher_kind(values["teacher.kind"]).follows


def _teacher_is_trained(values: Values) -> bool:
    return teacher_kind(values["teacher.kind"]).trained


_RULES: dict[str, Rule] = {
    "data.labels_per_class": _has_other_value("data.label", ""),
    "data.unlabelled_ratio": _has_other_value("data.label", ""),
    "towers.weights": _has_other_value("towers.pretrained", ""),
    "towers.start": _has_other_value("towers.pretrained", ""),
    "fusion.layers": _has_other_value("fusion.kind", "none"),
    "fusion.heads": _has_other_value("fusion.kind", "none"),
    "fusion.width": _has_other_value("fusion.kind", "none"),
    "fusion.text_attention": _has_value("fusion.kind", "cross-attention"),
    "fusion.feed_forward": _has_value("fusion.kind", "merged"),
    "fusion.joint_layers": lambda values: (
        values["fusion.kind"] == "merged" and values["fusion.feed_forward"] == "per-modality"
    ),
    "fusion.merge_every": _has_value("fusion.kind", "skip"),
    "fusion.queries": _has_value("fusion.kind", "queries"),
    "views.shared": lambda values: (
        values["views.student.count"] != 0 and values["teacher.kind"] != "none" and values["teacher.targets"] == "pass"
    ),
    "objectives.consistency.guess": _has_value("objectives.consistency.kind", "fixmatch"),
    "objectives.consistency.threshold": _has_value("objectives.consistency.kind", "fixmatch"),
    "objectives.consistency.sharpen": _has_value("objectives.consistency.kind", "mixmatch"),
}
_TEACHER: dict[str, Rule] = {
    "checkpoint": _teacher_is_trained,
    "momentum": _teacher_follows,
    "targets": _has_value("teacher.kind", "initial", "frozen"),
    "momentum_beta": _has_value("teacher.momentum_schedule", "beta"),
}
_VIEW_SWITCHES = {  # field of the views -> the field that enables it
    "mask_share": "mask",
    "mask_kind": "mask",
    "mix_alpha": "mix",
    "randaugment_magnitude": "randaugment_ops",
    "saturation": "jitter",
}


def matters(path: str, values: Values) -> bool:
    """Whether the field has any effect, given ``values`` of all fields by dotted name."""
    if path in _RULES:
        return _RULES[path](values)
    section, _, name = path.rpartition(".")
    if section == "teacher" and name != "kind":
        return values["teacher.kind"] != "none" and _TEACHER.get(name, _always)(values)
    switch = _VIEW_SWITCHES.get(name) if section.startswith("views.") else None
    return switch is None or values[f"{section}.{switch}"] not in (0, "none")


def is_shown_directly(path: str, advanced: bool, values: Values) -> bool:
    """Whether the field is shown without opening *More*: also an advanced one that the chosen kind of fusion needs."""
    return matters(path, values) and (not advanced or path.startswith("fusion."))


def switch_of(group: str) -> str:
    """The field that turns a group on (``objectives.matching`` -> its weight); "" for a group without one."""
    if group.startswith("objectives."):
        return f"{group}.weight"
    if group in ("views.student", "views.local", "views.teacher"):
        return f"{group}.count"
    return ""
