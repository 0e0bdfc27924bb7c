"""Contradictions between fields that no single range can express; the form shows each at the field it names.

Rules about the sections are here; what an objective needs, and its own rules, are declared beside its settings.
"""

from __future__ import annotations

from core.spec.config.axes import ViewConfig
from core.spec.config.experiment import RunConfig
from core.spec.config.objective import Context, ObjectiveConfig, Problems
from core.spec.config.retained import retained_sets
from core.spec.shards import SEPARATOR, brace_problem, may_be_there, names_shards


def problems(config: RunConfig) -> dict[str, str]:
    """Dotted field -> sentence with the remedy; empty when the config makes sense."""
    found: dict[str, str] = {}
    for rule in (_data, _teacher, _needs, _fusion, _weights, _views, _labels, _objectives):
        for field, sentence in rule(config):
            found.setdefault(field, sentence)
    return found


def _data(config: RunConfig) -> Problems:
    """A list of shards in which something else stands, or that no program could read."""
    for name in ("train", "val", "test"):
        text = str(getattr(config.data, name))
        if SEPARATOR in text and not names_shards(text) and not may_be_there(text):
            yield f"data.{name}", f"{SEPARATOR} joins shards, each of which ends with .tar; name other data alone."
        elif names_shards(text) and (problem := brace_problem(text)):
            yield f"data.{name}", problem
    for path in retained_sets(config.data.retain).values():
        if not path or names_shards(path):
            yield "data.retain", "Separate data sets with semicolons, as in PATH; NAME=PATH; shards cannot be retained."
    if config.checkpoint.keep_retained > 0 and not config.data.retain:
        yield "checkpoint.keep_retained", "Nothing is retained: name data in data.retain, or set 0."


def weighted(config: RunConfig) -> dict[str, ObjectiveConfig]:
    """The objectives that count, by name."""
    return {name: objective for name, objective in config.objectives if objective.weight > 0}


def _needs(config: RunConfig) -> Problems:
    """What objectives need and the config has not."""
    for name, objective in weighted(config).items():
        needs = objective.needs_teacher() if config.teacher.kind == "none" else []
        needs += objective.needs_fusion() if config.fusion.kind == "none" else []
        for need in needs:
            yield f"objectives.{name}.{need.field}", need.remedy


def _objectives(config: RunConfig) -> Problems:
    """The contradictions that each objective finds for itself."""
    every = tuple(objective for _, objective in config.objectives)
    context = Context(config.data, config.views, config.teacher, config.fusion, every)
    for objective in weighted(config).values():
        yield from objective.problems(context)


def _teacher(config: RunConfig) -> Problems:
    teacher = config.teacher
    if teacher.kind == "none":
        if config.belief.trust > 0 and config.belief.trust_by == "teacher":
            yield (
                "belief.trust",
                "It is the teacher's trust: set teacher.kind to ema, trust_by to student, or this to 0.",
            )
        return
    opened = teacher.kind in ("frozen", "previous")
    if opened and not teacher.checkpoint and config.data.train:  # a config without data is not yet wrong
        yield "teacher.checkpoint", f"A {teacher.kind} teacher needs its weights: name a previous run or a model."
    if not opened and teacher.checkpoint:
        yield "teacher.checkpoint", "This teacher is made of the student: leave it empty, or set kind to frozen."
    if teacher.kind == "initial" and not config.towers.pretrained and config.data.train:
        yield "towers.pretrained", "An initial teacher is what training starts from: name a former run or a model."
    if teacher.kind not in ("ema", "ema-state") and teacher.part == "heads":
        yield "teacher.part", f"A teacher of kind {teacher.kind} is whole: choose all."
    if teacher.targets != "pass":
        yield from _memory(config) if teacher.targets == "memory" else _stored(config)
        yield from _without_pass(config)
    if teacher.start > 0:
        yield from _late_teacher(config)
    if teacher.every > 1:
        yield from _teacher_at_intervals(config)


def _memory(config: RunConfig) -> Problems:
    """Targets from a memory of the student's features: what it is kept by."""
    teacher = config.teacher
    if teacher.kind not in ("ema", "ema-state"):
        yield "teacher.targets", f"A {teacher.kind} teacher answers by a pass: choose pass, or set teacher.kind to ema."
    if config.belief.action == "none":
        yield "teacher.targets", "The memory is belief's: set belief.action to watch, or choose pass."
    if teacher.start > 0:
        yield "teacher.start", "The memory is there from the first step: set 0, or teacher.targets to pass."


def _stored(config: RunConfig) -> Problems:
    """Targets that are computed once, by a teacher that does not change."""
    if config.teacher.kind not in ("initial", "frozen"):
        yield "teacher.targets", "Only a teacher that never changes has stored targets: choose pass, or kind initial."


def _without_pass(config: RunConfig) -> Problems:
    """Targets from features that are kept, of the student or of a teacher: what they cannot be kept of, or give."""
    teacher, views = config.teacher, config.views
    if names_shards(config.data.train):
        yield "teacher.targets", "Shards hold too many pairs to keep the features of each: choose pass."
    if views.teacher.count > 0 and not views.shared:
        yield "views.teacher.count", "Nothing is shown to a teacher whose targets are kept: set 0."
    if views.shared:
        yield "views.shared", "Nothing is shown to a teacher whose targets are kept: switch this off."
    for name, objective in weighted(config).items():
        if not (objective.takes_memory() if teacher.targets == "memory" else objective.takes_stored()):
            remedy = f"{name} needs a teacher's pass: choose pass, or set objectives.{name}.weight to 0."
            yield "teacher.targets", remedy


def _late_teacher(config: RunConfig) -> Problems:
    """A teacher that begins late: what needs it throughout, and that something is learnt before."""
    objectives = weighted(config).values()
    throughout = [objective.needs_teacher_throughout() for objective in objectives]
    if config.belief.action in ("drop", "weigh"):  # who only watches takes the student until then
        throughout.append("belief")
    for what in filter(None, throughout):
        yield "teacher.start", f"The teacher is needed throughout for {what}: set 0."
    if all(objective.learns_from_teacher for objective in objectives):
        yield "teacher.start", "Nothing is learnt before the teacher begins: set 0, or give another objective a weight."


def _teacher_at_intervals(config: RunConfig) -> Problems:
    """A teacher that teaches in some steps: what needs it in each, and that something is learnt in the others."""
    objectives = weighted(config).values()
    for what in filter(None, (objective.needs_teacher_throughout() for objective in objectives)):
        yield "teacher.every", f"The teacher is needed in every step for {what}: set 1."
    if config.teacher.targets == "memory":
        yield "teacher.every", "A memory takes no time, and teaches in every step: set 1, or targets to pass."
    elif config.belief.trust > 0 and config.belief.trust_by == "teacher":
        yield "belief.trust_by", "It weighs the pairs of every step: choose student, or set teacher.every to 1."
    if all(objective.learns_from_teacher for objective in objectives):
        yield "teacher.every", "Nothing is learnt in the other steps: set 1, or give another objective a weight."


def _fusion(config: RunConfig) -> Problems:
    fusion = config.fusion
    if fusion.kind == "merged" and fusion.joint_layers > fusion.layers:
        yield "fusion.joint_layers", f"{fusion.joint_layers} is more than the {fusion.layers} layers; lower it."
    if fusion.width % fusion.heads:
        nearest = fusion.heads * max(1, fusion.width // fusion.heads)
        yield "fusion.width", f"{fusion.width} is not a multiple of the {fusion.heads} heads; try {nearest}."


def _weights(config: RunConfig) -> Problems:
    if not weighted(config):
        first = next(iter(type(config.objectives).model_fields))
        yield f"objectives.{first}.weight", "Every objective has weight 0; give at least one a weight."


def _labels(config: RunConfig) -> Problems:
    for name in ("labels_per_class", "unlabelled_ratio"):
        if not config.data.label and getattr(config.data, name) > 0:
            yield f"data.{name}", "It needs labels: name their column in data.label, or set it to 0."


def _views(config: RunConfig) -> Problems:
    views = config.views
    for name, view in views:
        if isinstance(view, ViewConfig) and view.crop_min > view.crop_max:
            yield f"views.{name}.crop_min", f"{view.crop_min} is above the largest crop, {view.crop_max}."
    if views.clean.count != 1:
        yield "views.clean.count", "There is exactly one clean view; add further ones under the student's views."
    if views.clean.mix != "none":
        yield "views.clean.mix", "The clean view carries the contrastive loss and is not interpolated."
    if views.clean.mask > 0 or views.clean.size < 1.0:
        field = "mask" if views.clean.mask > 0 else "size"
        yield f"views.clean.{field}", "The clean view is whole; hide patches or shrink further views of the student."
    yield from _kept(config)
    for name, view in (("student", views.student), ("local", views.local)):
        if view.mask > 0 and view.mask_min > view.mask_max:
            yield f"views.{name}.mask_min", f"{view.mask_min} is above the greatest share, {view.mask_max}."
    if views.teacher.mask > 0:
        yield "views.teacher.mask", "The teacher sees whole views: set 0, and hide patches from the student."
    if views.shared and views.student.count == 0:
        yield "views.shared", "There are no further views of the student: set views.student.count, or switch this off."
    if views.shared and views.student.size < 1.0:
        yield "views.student.size", "Views that the teacher sees too have the full side: set 1, and use local views."
    if views.teacher.mix != "none":
        yield "views.teacher.mix", "Targets of whole images are interpolated; the teacher's view is not."


def _kept(config: RunConfig) -> Problems:
    """Patches that are left out: of the student's views alone, and by the attention of a teacher that sees the same."""
    views, teacher = config.views, config.teacher
    if views.teacher.keep < 1.0:
        yield "views.teacher.keep", "The teacher sees whole views: set 1, and leave out patches of the student's."
    seen = {"clean": not views.shared and views.teacher.count == 0, "student": views.shared, "local": False}
    for name, view in (("clean", views.clean), ("student", views.student), ("local", views.local)):
        if view.keep == 1.0 or view.count == 0:
            continue
        if view.mask > 0:
            yield f"views.{name}.keep", "Patches are either hidden or left out: set this to 1, or mask to 0."
        if view.keep_by == "random":
            continue
        field = f"views.{name}.keep_by"
        if teacher.kind not in ("ema", "ema-state") or teacher.part == "heads" or teacher.targets == "memory":
            yield (
                field,
                "The attention is that of a moving average's pass: set teacher.kind to ema, part to all, or random.",
            )
        elif teacher.start > 0:
            yield field, "The teacher's attention is needed throughout: set teacher.start to 0, or choose random."
        elif teacher.every > 1 and name == "clean":
            yield field, "The teacher's attention is needed in every step: set teacher.every to 1, or choose random."
        elif not seen[name]:
            remedy = {"clean": "set views.teacher.count to 0", "student": "switch views.shared on"}.get(name, "")
            yield field, f"The teacher must see the same view: {remedy + ', or ' if remedy else ''}choose random."
        elif view.mix != "none":
            yield field, "The teacher's view is not interpolated: set mix to none, or choose random."
