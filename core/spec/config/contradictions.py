"""Contradictions between fields that no single range can express. The form shows each message at its field.

This module has the rules about sections; each objective declares its own needs and rules next to its settings.
"""

from __future__ import annotations

from core.spec.config.experiment import RunConfig
from core.spec.config.objective import Context, ObjectiveConfig, Problems
from core.spec.config.retained import retained_sets
from core.spec.shards import SEPARATOR, brace_problem, may_exist, names_shards


def problems(config: RunConfig) -> dict[str, str]:
    """Dotted field -> message with the remedy; empty for a consistent config."""
    messages: dict[str, str] = {}
    for rule in (_data, _teacher, _needs, _fusion, _weights, _views, _labels, _start, _lora, _objectives):
        for field, message in rule(config):
            messages.setdefault(field, message)
    return messages


def _data(config: RunConfig) -> Problems:
    """Malformed lists of shards and of retained data."""
    for name in ("train", "val", "test"):
        text = str(getattr(config.data, name))
        if SEPARATOR in text and not names_shards(text) and not may_exist(text):
            yield f"data.{name}", f"{SEPARATOR} separates shards (.tar); enter any other data set on its own."
        elif names_shards(text) and (problem := brace_problem(text)):
            yield f"data.{name}", problem
    for path in retained_sets(config.data.retain).values():
        if not path or names_shards(path):
            yield "data.retain", "Separate data sets with semicolons, as in PATH; NAME=PATH; shards cannot be retained."
    if config.checkpoint.keep_retained > 0 and not config.data.retain:
        yield "checkpoint.keep_retained", "There is no retained data: set data.retain, or set this to 0."


def weighted_objectives(config: RunConfig) -> dict[str, ObjectiveConfig]:
    """The objectives with a weight above 0, by name."""
    return {name: objective for name, objective in config.objectives if objective.weight > 0}


def _needs(config: RunConfig) -> Problems:
    """Missing needs of objectives."""
    for name, objective in weighted_objectives(config).items():
        needs = objective.needs_teacher() if not config.teacher.traits.exists else []
        needs += objective.needs_fusion() if config.fusion.kind == "none" else []
        for need in needs:
            yield f"objectives.{name}.{need.field}", need.remedy


def _start(config: RunConfig) -> Problems:
    if config.towers.start == "state" and not config.towers.pretrained:
        yield "towers.start", "Only an earlier run has a state: set towers.pretrained to a run, or choose weights."
    for name, objective in weighted_objectives(config).items():
        if objective.needs_initial_weights and not config.towers.pretrained and config.data.train:
            yield (
                "towers.pretrained",
                f"{name} needs initial weights: choose an earlier run or a model, or set its weight to 0.",
            )


def _lora(config: RunConfig) -> Problems:
    if config.towers.lora_rank and config.optim.layer_decay < 1.0:
        yield "optim.layer_decay", "With LoRA, all blocks have the same rate: set this to 1, or LoRA rank to 0."


def _objectives(config: RunConfig) -> Problems:
    """The contradictions that each objective declares."""
    every = tuple(objective for _, objective in config.objectives)
    context = Context(config.data, config.views, every)
    for objective in weighted_objectives(config).values():
        yield from objective.problems(context)


def _teacher(config: RunConfig) -> Problems:
    teacher = config.teacher
    if not teacher.traits.exists:
        return
    frozen = teacher.traits.trained
    if frozen and not teacher.checkpoint and config.data.train:  # a config without data is not yet wrong
        yield "teacher.checkpoint", "A frozen teacher needs weights: choose an earlier run or a model."
    if not frozen and teacher.checkpoint:
        yield "teacher.checkpoint", "This teacher is derived from the student: leave this empty, or set kind to frozen."
    if teacher.kind == "initial" and not config.towers.pretrained and config.data.train:
        yield "towers.pretrained", "An initial teacher needs initial weights: choose an earlier run or a model."
    if teacher.targets == "stored":
        yield from _stored_targets(config)
    if teacher.every > 1:
        yield from _teacher_at_intervals(config)


def _stored_targets(config: RunConfig) -> Problems:
    """Settings that contradict stored targets."""
    teacher, views = config.teacher, config.views
    if not teacher.traits.constant:
        yield "teacher.targets", "Only a constant teacher can have stored targets: choose pass, or kind initial."
    if names_shards(config.data.train):
        yield "teacher.targets", "Shards contain too many pairs to store the features of each: choose pass."
    if views.teacher.count > 0 and not views.shared:
        yield "views.teacher.count", "A teacher with stored targets sees no views: set this to 0."
    if views.shared:
        yield "views.shared", "A teacher with stored targets sees no views: turn this off."
    for name, objective in weighted_objectives(config).items():
        if not objective.accepts_stored_targets():
            remedy = f"{name} needs the teacher's forward pass: choose pass, or set objectives.{name}.weight to 0."
            yield "teacher.targets", remedy


def _teacher_at_intervals(config: RunConfig) -> Problems:
    """Settings that contradict a teacher at intervals."""
    objectives = weighted_objectives(config).values()
    for part in filter(None, (objective.part_taught_in_every_step() for objective in objectives)):
        yield "teacher.every", f"The teacher is needed in every step for {part}: set this to 1."
    if all(objective.learns_from_teacher for objective in objectives):
        yield (
            "teacher.every",
            "Steps without the teacher would train nothing: set this to 1, or use an objective that needs no teacher.",
        )


def _fusion(config: RunConfig) -> Problems:
    fusion = config.fusion
    if fusion.kind == "merged" and fusion.joint_layers > fusion.layers:
        yield "fusion.joint_layers", f"The fusion has only {fusion.layers} layers: set at most {fusion.layers}."
    if fusion.width % fusion.heads:
        nearest = fusion.heads * max(1, fusion.width // fusion.heads)
        yield "fusion.width", f"{fusion.width} is not a multiple of the {fusion.heads} heads; try {nearest}."


def _weights(config: RunConfig) -> Problems:
    if not weighted_objectives(config):
        first = next(iter(type(config.objectives).model_fields))
        yield f"objectives.{first}.weight", "Every objective has weight 0; set at least one weight above 0."


def _labels(config: RunConfig) -> Problems:
    for name in ("labels_per_class", "unlabelled_ratio"):
        if not config.data.label and getattr(config.data, name) > 0:
            yield f"data.{name}", "This setting needs labels: choose their column in data.label, or set this to 0."


def _views(config: RunConfig) -> Problems:
    views = config.views
    for name, view in (("student", views.student), ("local", views.local)):
        if view.crop_min > view.crop_max:
            yield f"views.{name}.crop_min", f"{view.crop_min} is above the largest crop, {view.crop_max}."
    if views.shared and views.student.count == 0:
        yield (
            "views.shared",
            "The student has no additional views: set views.student.count, or turn this off.",
        )
