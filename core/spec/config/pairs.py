"""Settings of the objectives on pairs: contrastive, captioning, matching, masked words."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from core.spec.config.base import Share, setting
from core.spec.config.objective import (
    AlphaRamp,
    Context,
    LabelSmoothing,
    Need,
    ObjectiveConfig,
    Problems,
    Ramp,
    Weight,
)

NO_FUSION = "This objective needs a fusion: set fusion.kind, or set this weight to 0."


class ContrastiveConfig(ObjectiveConfig):
    """Pull matching images and captions together, and others apart: InfoNCE (CLIP) or a sigmoid per pair (SigLIP)."""

    weight: Weight = 1.0
    kind: Literal["softmax", "sigmoid"] = setting(
        "softmax",
        "Kind",
        "softmax finds the matching caption or image in the batch (CLIP). sigmoid classifies each combination as a "
        "pair or not, with a learnt bias (SigLIP, Zhai et al. 2023).",
    )
    label_smoothing: LabelSmoothing = Field(
        0.0,
        description="Share of the target that is spread evenly over all pairs of the batch, including the true pair "
        "(ALIGN: 0.1).",
    )

    def trains_retrieval(self) -> bool:
        return True

    def tower_defaults(self) -> dict[str, float]:
        return {"init_logit_scale": math.log(10.0), "init_logit_bias": -10.0} if self.kind == "sigmoid" else {}

    def problems(self, context: Context) -> Problems:
        if self.kind == "sigmoid" and self.label_smoothing > 0:
            yield "objectives.contrastive.label_smoothing", "Set this to 0, or set kind to softmax."


class CaptioningConfig(ObjectiveConfig):
    """Predict each next word of the caption from the image and the words before (CoCa, Yu et al. 2022)."""

    through: Literal["decoder", "fusion"] = setting(
        "decoder",
        "Network",
        "Network that learns to write captions: decoder is CoCa's, and fusion uses the fusion with a causal attention "
        "mask (BLIP, mPLUG, BLIP-2).",
    )

    label_smoothing: LabelSmoothing = Field(
        0.0,
        description="Share of the target that is spread over the other words (BLIP: 0.1).",
    )

    def needs_fusion(self) -> list[Need]:
        remedy = "Captioning through a fusion needs one: set fusion.kind, or choose decoder."
        return [Need("through", remedy)] if self.through == "fusion" else []

    def needs_decoder(self) -> bool:
        return self.through == "decoder"


class MatchingConfig(ObjectiveConfig):
    """Classify pairs as matching or not by the fused representation, with hard negatives (ALBEF, Li et al. 2021)."""

    negatives: Literal["hard", "random"] = setting(
        "hard",
        "Negatives",
        "hard draws negatives by the softmax of the similarities (ALBEF). random draws them uniformly (UNITER).",
    )

    def needs_fusion(self) -> list[Need]:
        return [Need("weight", NO_FUSION)]


class MaskedWordsConfig(ObjectiveConfig):
    """Predict masked words from the image and the other words (BERT, Devlin et al. 2019; UNITER, ALBEF)."""

    rate: float = setting(
        0.15, "Masked share", "Probability that a word is masked.", unit="probability", gt=0.0, lt=1.0
    )
    alpha: Share = setting(
        0.0,
        "Alpha",
        "Share of the target that comes from the teacher's softmax over words; the remainder is the correct word "
        "(ALBEF: 0.4). A value above 0 needs a teacher.",
        unit="share",
    )
    alpha_ramp: AlphaRamp = 0.0

    def needs_teacher(self) -> list[Need]:
        remedy = "A value above 0 needs a teacher: set teacher.kind to ema, or set this to 0."
        return [Need("alpha", remedy)] if self.alpha > 0 else []

    def part_taught_in_every_step(self) -> str:
        return "masked words' alpha" if self.alpha > 0 else ""

    def needs_fusion(self) -> list[Need]:
        return [Need("weight", NO_FUSION)]

    def alpha_over_training(self) -> Ramp:
        return Ramp(self.alpha, self.alpha_ramp)
