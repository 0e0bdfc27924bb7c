"""Contradictions between fields that no single range can express; the form shows each at the field it names."""

from __future__ import annotations

from collections.abc import Iterator

from core.spec.config.axes import ViewConfig
from core.spec.config.experiment import RunConfig

# Objectives that compare with a teacher's outputs.
TAUGHT = (
    "distill_similarity",
    "distill_prototypes",
    "distill_features",
    "distill_logits",
    "distill_captions",
    "masked_patches",
)
# Objectives that read the representation in which image and text are joined.
FUSED = ("matching", "masked_words")

Found = Iterator[tuple[str, str]]


def problems(config: RunConfig) -> dict[str, str]:
    """Dotted field -> sentence with the remedy; empty when the definition makes sense."""
    found: dict[str, str] = {}
    for rule in (_teacher, _fusion, _objectives, _views, _contrast, _labels, _consistency):
        for field, sentence in rule(config):
            found.setdefault(field, sentence)
    return found


def weighted(config: RunConfig) -> dict[str, float]:
    """The weight of each objective, by name."""
    return {name: float(objective.weight) for name, objective in config.objectives}


def _teacher(config: RunConfig) -> Found:
    weights = weighted(config)
    if config.teacher.kind == "none":
        for name in TAUGHT:
            if weights[name] > 0:
                yield (
                    f"objectives.{name}.weight",
                    "It needs a teacher: set teacher.kind to ema, or this weight to 0.",
                )
        if weights["masked_words"] > 0 and config.objectives.masked_words.alpha > 0:
            yield "objectives.masked_words.alpha", "Above 0 it needs a teacher: set teacher.kind to ema, or this to 0."
        if config.belief.trust > 0:
            yield "belief.trust", "It is the teacher's trust: set teacher.kind to ema, or this to 0."
        return
    teacher = config.teacher
    stands = teacher.kind in ("frozen", "previous")
    if stands and not teacher.checkpoint and config.data.train:  # a definition without data is not yet wrong
        yield "teacher.checkpoint", f"A {teacher.kind} teacher needs its weights: name a former run or a model."
    if not stands and teacher.checkpoint:
        yield "teacher.checkpoint", "A moving average is made of the student: leave it empty, or set kind to frozen."
    if stands and teacher.part == "heads":
        yield "teacher.part", f"A {teacher.kind} teacher is whole: choose all."
    if teacher.start > 0:
        yield from _late_teacher(config)


def _late_teacher(config: RunConfig) -> Found:
    """A teacher that begins late: what needs it throughout, and that something is learnt before."""
    objectives = config.objectives
    early = (
        (objectives.consistency.weight > 0, "consistency"),
        (objectives.contrastive.weight > 0 and objectives.contrastive.queue > 0, "the contrastive queue"),
        (config.belief.action in ("drop", "weigh"), "belief"),  # who only watches takes the student until then
        (objectives.masked_words.weight > 0 and objectives.masked_words.alpha > 0, "masked words' alpha"),
    )
    for asked, name in early:
        if asked:
            yield "teacher.start", f"The teacher is needed throughout for {name}: set 0."
    if not any(weight for name, weight in weighted(config).items() if name not in TAUGHT):
        yield "teacher.start", "Nothing is learnt before the teacher begins: set 0, or weigh another objective."


def _fusion(config: RunConfig) -> Found:
    weights, fusion = weighted(config), config.fusion
    if fusion.kind == "none":
        for name in FUSED:
            if weights[name] > 0:
                yield f"objectives.{name}.weight", "It needs a fusion: set fusion.kind, or this weight to 0."
        if weights["captioning"] > 0 and config.objectives.captioning.through == "fusion":
            yield "objectives.captioning.through", "fusion needs a fusion: set fusion.kind, or choose decoder."
        for name in ("distill_prototypes", "distill_features"):
            if weights[name] > 0 and getattr(config.objectives, name).on.startswith("fused"):
                yield f"objectives.{name}.on", "fused needs a fusion: set fusion.kind, or distil image or text."
    if fusion.kind == "merged" and fusion.joint_layers > fusion.layers:
        yield "fusion.joint_layers", f"{fusion.joint_layers} is more than the {fusion.layers} layers; lower it."
    if fusion.width % fusion.heads:
        nearest = fusion.heads * max(1, fusion.width // fusion.heads)
        yield "fusion.width", f"{fusion.width} is not a multiple of the {fusion.heads} heads; try {nearest}."


def _objectives(config: RunConfig) -> Found:
    if not any(weighted(config).values()):
        yield "objectives.contrastive.weight", "Every objective has weight 0; give at least one a weight."


def _views(config: RunConfig) -> Found:
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
    for name, view in (("student", views.student), ("local", views.local)):
        if view.mask > 0 and view.mask_min > view.mask_max:
            yield f"views.{name}.mask_min", f"{view.mask_min} is above the greatest share, {view.mask_max}."
    if views.teacher.mask > 0:
        yield "views.teacher.mask", "The teacher sees whole views: set 0, and hide patches from the student."
    if views.shared and views.student.count == 0:
        yield "views.shared", "There are no further views of the student: set views.student.count, or switch this off."
    if views.shared and views.student.size < 1.0:
        yield "views.student.size", "Views that the teacher sees too have the full side: set 1, and use local views."
    masked = config.objectives.masked_patches
    if masked.weight > 0:
        if not views.shared:
            yield "views.shared", "Masked patches are compared with the same view seen whole: switch this on."
        if views.student.mask == 0:
            yield "views.student.mask", "No patch is hidden: set a probability above 0."
        if views.student.mix != "none" or views.local.mask > 0:
            where = "student.mix" if views.student.mix != "none" else "local.mask"
            yield f"views.{where}", "Masked patches are hidden in whole views that are not interpolated."
        prototypes = config.objectives.distill_prototypes
        if masked.shared_head and (prototypes.weight == 0 or prototypes.on != "image"):
            yield "objectives.masked_patches.shared_head", "It needs prototypes distilled on image; switch it off."
    if views.teacher.mix != "none":
        yield "views.teacher.mix", "Targets of whole pictures are interpolated; the teacher's view is not."


def _contrast(config: RunConfig) -> Found:
    contrastive, objectives = config.objectives.contrastive, config.objectives
    for name in ("contrastive", "distill_similarity"):
        objective = getattr(objectives, name)
        if objective.weight > 0 and objective.queue > 0 and config.teacher.kind == "none":
            yield f"objectives.{name}.queue", "The queue holds a teacher's features: set teacher.kind, or queue to 0."
    if contrastive.weight > 0 and contrastive.kind == "sigmoid":
        if contrastive.label_smoothing > 0:
            yield "objectives.contrastive.label_smoothing", "Only softmax smooths: set it to 0, or kind to softmax."
        if contrastive.queue > 0:
            yield "objectives.contrastive.queue", "Only softmax has a queue: set it to 0, or kind to softmax."
    if objectives.image_contrastive.weight > 0:
        if config.views.student.count < 2:
            yield "views.student.count", "Image contrast compares two further views: set 2, or its weight to 0."
        if config.views.student.mix != "none":
            yield "views.student.mix", "Image contrast compares whole pictures: set none, or its weight to 0."


def _labels(config: RunConfig) -> Found:
    data, objectives = config.data, config.objectives
    if not data.label:
        for name in ("labels_per_class", "unlabelled_ratio"):
            if getattr(data, name) > 0:
                yield f"data.{name}", "It needs labels: name their column in data.label, or set it to 0."
        # A definition without data is not yet wrong: the column comes with them.
        if objectives.classification.weight > 0 and data.train:
            yield "data.label", "Classification needs the column of the classes; name it, or set the weight to 0."
    learns = objectives.classification.weight > 0
    if not learns and objectives.consistency.weight > 0:
        yield "objectives.consistency.weight", "It needs classes: give classification a weight, or set this to 0."
    if not learns and objectives.distill_logits.weight > 0 and objectives.distill_logits.on == "classes":
        yield "objectives.distill_logits.on", "classes needs classification: give it a weight, or choose similarities."
    if learns and objectives.classification.view == "further" and config.views.student.count == 0:
        yield "objectives.classification.view", "There is no further view: set views.student.count, or choose clean."


def _consistency(config: RunConfig) -> Found:
    consistency, views = config.objectives.consistency, config.views
    if consistency.weight == 0:
        return
    if consistency.kind == "mean-teacher" and config.teacher.kind == "none":
        yield "objectives.consistency.kind", "mean-teacher needs a teacher: set teacher.kind, or choose another kind."
    if consistency.kind == "fixmatch" and consistency.guess == "teacher" and config.teacher.kind == "none":
        yield "objectives.consistency.guess", "There is no teacher to guess: set teacher.kind, or choose student."
    if consistency.kind != "mean-teacher" and views.student.count == 0:
        yield "views.student.count", f"{consistency.kind} needs a further view of the student: set at least 1."
    for name, view in (("student", views.student), ("local", views.local)):
        if consistency.kind != "mean-teacher" and view.count > 0 and view.mix != "none":
            yield f"views.{name}.mix", f"{consistency.kind} looks at whole pictures here: set none."
    if consistency.kind == "mixmatch" and views.student.size < 1.0:
        yield "views.student.size", "mixmatch interpolates the views with each other: set 1."
    if consistency.kind == "mixmatch" and views.local.count > 0:
        yield "views.local.count", "mixmatch interpolates views of one size: set 0, or use the student's views."
    if consistency.kind == "mixmatch" and config.objectives.classification.view == "further":
        yield "objectives.classification.view", "mixmatch interpolates the clean view's labelled rows: choose clean."
