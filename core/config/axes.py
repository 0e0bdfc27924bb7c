"""Four of the five axes: views, towers, fusion, teacher. Every published system is a point among them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.config.base import Section, Share, shown


class ViewConfig(Section):
    """How one kind of view of a picture is made: a random resized crop, then what is switched on."""

    count: int = Field(
        1, ge=0, le=16, title="Views", description="How many such views of each picture.", json_schema_extra=shown("")
    )
    crop_min: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        title="Smallest crop",
        description="Least share of the picture's area that a random crop keeps.",
        json_schema_extra=shown("share of area"),
    )
    crop_max: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Largest crop",
        description="Greatest share of the picture's area that a random crop keeps.",
        json_schema_extra=shown("share of area"),
    )
    flip: bool = Field(
        False,
        title="Mirror",
        description="Mirror half of the views. Leave it off where captions speak of left and right.",
        json_schema_extra=shown("", advanced=True),
    )
    randaugment_ops: int = Field(
        0,
        ge=0,
        le=8,
        title="RandAugment operations",
        description="Random distortions applied one after another (Cubuk et al. 2020); 0 for none.",
        json_schema_extra=shown(""),
    )
    randaugment_magnitude: int = Field(
        9,
        ge=0,
        le=30,
        title="RandAugment magnitude",
        description="Strength of each distortion, out of 30.",
        json_schema_extra=shown("of 30", advanced=True),
    )
    erase: Share = Field(
        0.0,
        title="Random erasing",
        description="Probability that a rectangle of the view is erased.",
        json_schema_extra=shown("probability", advanced=True),
    )
    mix: Literal["none", "mixup", "cutmix"] = Field(
        "none",
        title="Interpolation",
        description="mixup blends two pictures (Zhang et al. 2018), cutmix pastes a patch of one into the other.",
        json_schema_extra=shown(""),
    )
    mix_alpha: float = Field(
        0.75,
        gt=0.0,
        le=10.0,
        title="Interpolation alpha",
        description="Blend share is drawn from Beta(alpha, alpha) and folded to at least one half (MixMatch).",
        json_schema_extra=shown("", advanced=True),
    )


class ViewsConfig(Section):
    """What student and teacher are shown of the same picture."""

    clean: ViewConfig = Field(
        ViewConfig(),
        title="Clean view",
        description="The student's view that carries the contrastive loss.",
    )
    student: ViewConfig = Field(
        ViewConfig(count=0, crop_min=0.4, randaugment_ops=2),
        title="Student's further views",
        description="Views that are only distilled; with none, the clean view is distilled too.",
    )
    teacher: ViewConfig = Field(
        ViewConfig(),
        title="Teacher's view",
        description="What the teacher sees when it makes the targets. 0 views: it sees the clean view itself.",
    )


class TowersConfig(Section):
    """The two-stream model."""

    architecture: str = Field(
        "ViT-B-32",
        min_length=1,
        title="Architecture",
        description="An open_clip CLIP or CoCa architecture, one of ours, or a JSON file of the same shape.",
        json_schema_extra=shown("", widget="architecture"),
    )
    pretrained: str = Field(
        "",
        title="Start from",
        description="Empty: from scratch. Else an open_clip tag, a local folder or weights file, or a former run.",
        json_schema_extra=shown("", widget="folder"),
    )


class FusionConfig(Section):
    """How image and text are joined into one representation."""

    kind: Literal["none", "cross-attention", "merged", "skip", "queries"] = Field(
        "none",
        title="Fusion",
        description="cross-attention: words look at patches (ALBEF). merged: words and patches as one sequence "
        "(UNITER, VLMo). skip: words look at patches, now and then merged (mPLUG). queries: learnt queries look for "
        "the words (BLIP-2).",
        json_schema_extra=shown(""),
    )
    layers: int = Field(
        1, ge=1, le=24, title="Layers", description="Blocks, one after another.", json_schema_extra=shown("")
    )
    heads: int = Field(
        4, ge=1, le=64, title="Heads", description="Attention heads per block.", json_schema_extra=shown("")
    )
    width: int = Field(
        256,
        ge=8,
        le=8192,
        title="Width",
        description="Width of the fused representation; a multiple of the heads.",
        json_schema_extra=shown("channels"),
    )
    text_attention: bool = Field(
        False,
        title="Words attend to each other",
        description="Of cross-attention: before they look at the patches, in each block (ALBEF, BLIP).",
        json_schema_extra=shown("", advanced=True),
    )
    feed_forward: Literal["shared", "per-modality"] = Field(
        "shared",
        title="Feed-forward",
        description="Of merged: one for words and patches (UNITER), or one for each (VLMo, BEiT-3).",
        json_schema_extra=shown("", advanced=True),
    )
    joint_layers: int = Field(
        0,
        ge=0,
        le=24,
        title="Joint layers",
        description="Of merged, per modality: so many last layers share their feed-forward all the same (VLMo).",
        json_schema_extra=shown("", advanced=True),
    )
    merge_every: int = Field(
        3,
        ge=1,
        le=24,
        title="Merged every",
        description="Of skip: every third layer, say, merges both; past the others patches skip (mPLUG: 3).",
        json_schema_extra=shown("layers", advanced=True),
    )
    queries: int = Field(
        32,
        ge=1,
        le=1024,
        title="Queries",
        description="Of queries: how many are learnt (BLIP-2: 32).",
        json_schema_extra=shown("", advanced=True),
    )


class TeacherConfig(Section):
    """The network that makes the targets; it is never given a gradient."""

    kind: Literal["none", "ema"] = Field(
        "none",
        title="Teacher",
        description="ema: moving average of the student's parameters, updated after each optimiser step.",
        json_schema_extra=shown(""),
    )
    momentum: float = Field(
        0.999,
        ge=0.0,
        lt=1.0,
        title="Momentum",
        description="Share of the teacher that survives one step. Larger is smoother and slower.",
        json_schema_extra=shown("per step"),
    )
    momentum_schedule: Literal["constant", "cosine"] = Field(
        "constant",
        title="Momentum schedule",
        description="cosine rises to 1 by the end of training (DINO).",
        json_schema_extra=shown("", advanced=True),
    )
    momentum_warmup: bool = Field(
        True,
        title="Momentum warm-up",
        description="Use min(1 - 1/(step + 1), momentum), so that the teacher forgets its random start (Mean Teacher).",
        json_schema_extra=shown("", advanced=True),
    )
