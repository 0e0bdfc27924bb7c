"""Contradictions between fields that no single range can express; the form shows each at the field it names."""

from __future__ import annotations

from collections.abc import Iterator

from core.config.axes import ViewConfig
from core.config.experiment import RunConfig

# Objectives that compare with a teacher's outputs.
TAUGHT = ("distill_similarity", "distill_prototypes", "distill_features", "distill_logits", "masked_patches")
# Objectives that read the representation in which image and text are joined.
FUSED = ("matching", "masked_words")

Found = Iterator[tuple[str, str]]


def problems(config: RunConfig) -> dict[str, str]:
    """Dotted field -> sentence with the remedy; empty when the definition makes sense."""
    found: dict[str, str] = {}
    for rule in (_teacher, _fusion, _objectives, _views):
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


def _fusion(config: RunConfig) -> Found:
    weights, fusion = weighted(config), config.fusion
    if fusion.kind == "none":
        for name in FUSED:
            if weights[name] > 0:
                yield f"objectives.{name}.weight", "It needs a fusion: set fusion.kind, or this weight to 0."
        for name in ("distill_prototypes", "distill_features"):
            if weights[name] > 0 and getattr(config.objectives, name).on == "fused":
                yield f"objectives.{name}.on", "fused needs a fusion: set fusion.kind, or distil image or text."
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
    if views.teacher.count > 1:
        yield "views.teacher.count", "The teacher sees one view, or 0 for the clean view itself."
    if views.teacher.mix != "none":
        yield "views.teacher.mix", "Targets of whole pictures are interpolated; the teacher's view is not."
