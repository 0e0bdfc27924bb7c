"""Four of the five axes: views, towers, fusion, teacher. Every published system is a point among them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, Text, shown
from core.spec.extending.references import ReferenceText
from core.spec.extending.teacher_kinds import TEACHER_KINDS, TeacherKind, TeacherKindName, teacher_kind


class ViewConfig(Section):
    """How one kind of view of an image is made: a random resized crop, then what is switched on."""

    count: int = Field(
        1, ge=0, le=16, title="Views", description="How many such views of each image.", json_schema_extra=shown("")
    )
    crop_min: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        title="Smallest crop",
        description="Least share of the image's area that a random crop keeps.",
        json_schema_extra=shown("share of area"),
    )
    crop_max: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Largest crop",
        description="Greatest share of the image's area that a random crop keeps.",
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
    jitter: Share = Field(
        0.0,
        title="Colour jitter",
        description="Probability that brightness, contrast, saturation and hue are changed at random (DINO: 0.8).",
        json_schema_extra=shown("probability"),
    )
    brightness: float = Field(
        0.4, ge=0.0, le=1.0, title="Brightness", description="Jitter: a factor of 1 - this to 1 + this.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    contrast: float = Field(
        0.4, ge=0.0, le=1.0, title="Contrast", description="Jitter: a factor of 1 - this to 1 + this.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    saturation: float = Field(
        0.2, ge=0.0, le=1.0, title="Saturation", description="Jitter: a factor of 1 - this to 1 + this.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    hue: float = Field(
        0.1, ge=0.0, le=0.5, title="Hue", description="Jitter: the greatest turn, either way.",
        json_schema_extra=shown("of the colour wheel", advanced=True),
    )  # fmt: skip
    greyscale: Share = Field(
        0.0,
        title="Greyscale",
        description="Probability that a view loses its colours (DINO: 0.2).",
        json_schema_extra=shown("probability", advanced=True),
    )
    blur: Share = Field(
        0.0,
        title="Blur",
        description="Probability that a view is blurred, by up to 2 pixels of 224 (DINO: 1 and 0.1; small crops 0.5).",
        json_schema_extra=shown("probability", advanced=True),
    )
    solarize: Share = Field(
        0.0,
        title="Solarisation",
        description="Probability that what is bright is inverted (DINO: 0.2 of the second crop).",
        json_schema_extra=shown("probability", advanced=True),
    )
    erase: Share = Field(
        0.0,
        title="Random erasing",
        description="Probability that a rectangle of the view is erased.",
        json_schema_extra=shown("probability", advanced=True),
    )
    size: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Side",
        description="Side of the view as a share of the model's input, rounded to whole patches (DINO's local crops: "
        "0.43). A ViT interpolates its positions.",
        json_schema_extra=shown("share of side", advanced=True),
    )
    mask: Share = Field(
        0.0,
        title="Masked views",
        description="Probability that patches of a view are hidden from the student.",
        json_schema_extra=shown("probability"),
    )
    mask_min: Share = Field(
        0.4,
        title="Fewest masked patches",
        description="Least share of the patches that is hidden in a masked view.",
        json_schema_extra=shown("share of patches", advanced=True),
    )
    mask_max: Share = Field(
        0.4,
        title="Most masked patches",
        description="Greatest share of the patches that is hidden in a masked view.",
        json_schema_extra=shown("share of patches"),
    )
    mask_kind: Literal["blocks", "random"] = Field(
        "blocks",
        title="Mask",
        description="blocks: rectangles of patches (BEiT, iBOT); random: single patches (MaskCLIP).",
        json_schema_extra=shown("", advanced=True),
    )
    keep: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Kept patches",
        description="Share of the patches that the image tower reads of the student's view. The others are left out, "
        "not replaced, so that a step takes less time (FLIP, A-CLIP: 0.5).",
        json_schema_extra=shown("share of patches"),
    )
    keep_by: Literal["random", "attention"] = Field(
        "random",
        title="Which are kept",
        description="random: drawn anew for each view (FLIP, Li et al. 2023). attention: those that the teacher's "
        "class token attends to most in the same view (A-CLIP, Yang et al. 2023).",
        json_schema_extra=shown("", advanced=True),
    )
    mix: Literal["none", "mixup", "cutmix", "either"] = Field(
        "none",
        title="Interpolation",
        description="mixup blends two images (Zhang et al. 2018), cutmix pastes a patch of one into the other (Yun "
        "et al. 2019); either: one of the two by chance, view by view.",
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
    """What student and teacher are shown of the same image."""

    clean: ViewConfig = Field(
        default_factory=ViewConfig,
        title="Clean view",
        description="The student's view that carries the contrastive loss.",
    )
    student: ViewConfig = Field(
        default_factory=lambda: ViewConfig(count=0, crop_min=0.4, randaugment_ops=2),
        title="Student's further views",
        description="Views that are only distilled; with none, the clean view is distilled too.",
    )
    local: ViewConfig = Field(
        default_factory=lambda: ViewConfig(count=0, crop_min=0.05, crop_max=0.4, size=0.43),
        title="Student's local views",
        description="Small crops at a smaller side that the student distils too (DINO's multi-crop).",
    )
    teacher: ViewConfig = Field(
        default_factory=ViewConfig,
        title="Teacher's views",
        description="What the teacher sees when it makes the targets. 0 views: it sees the clean view itself.",
    )
    shared: bool = Field(
        False,
        title="Teacher sees the student's",
        description="The teacher is shown the student's further views, whole and not interpolated, instead of its own "
        "(DINO, iBOT). A whole view is distilled from the others, never from itself.",
        json_schema_extra=shown(""),
    )


class TowersConfig(Section):
    """The two-stream model."""

    architecture: Text = Field(
        "ViT-B-32",
        min_length=1,
        title="Architecture",
        description="An open_clip CLIP or CoCa architecture, one of ours, or a JSON file of the same shape.",
        json_schema_extra=shown("", widget="architecture"),
    )
    pretrained: Text = Field(
        "",
        title="Start from",
        description="Empty: from scratch. Else an open_clip tag, a local folder or weights file, a former run or "
        "RUN@STEP, whose fusion and heads are taken too where they fit.",
        json_schema_extra=shown("", widget="folder"),
    )
    weights: Literal["auto", "student", "teacher"] = Field(
        "auto",
        title="Of a former run",
        description="Which of its two networks to start from; auto: of its best checkpoint the one that was better, of "
        "others the teacher where it had one.",
        json_schema_extra=shown("", advanced=True),
    )
    build: ReferenceText = Field(
        "", title="Custom towers", description="A function of yours, FILE.py:NAME, that changes the model; or empty.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    freeze: Literal["none", "image", "text", "both", "trunks"] = Field(
        "none",
        title="Frozen towers",
        description="These keep their weights; only what stands on them learns (LiT, BLIP-2). trunks: all of both but "
        "their projections into the common space.",
        json_schema_extra=shown(""),
    )
    freeze_image_blocks: int = Field(
        0,
        ge=0,
        le=256,
        title="Frozen image blocks",
        description="The patch embedding and so many first blocks of the image tower keep their weights.",
        json_schema_extra=shown("blocks", advanced=True),
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
        32, ge=1, le=1024, title="Queries", description="Of queries: how many are learnt (BLIP-2: 32).",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip


class TeacherConfig(Section):
    """The network that makes the targets; it is never given a gradient."""

    kind: TeacherKindName = Field(
        "none",
        title="Teacher",
        description="ema: moving average of the student's parameters, updated after each optimiser step; ema-state: of "
        "batch norm's statistics too (EMAN); initial: the weights that training starts from (LDIFS); frozen: a trained "
        "model; previous: former runs of this kind (Born-Again); or a rule of yours, FILE.py:NAME.",
        json_schema_extra=shown("", choices=TEACHER_KINDS),
    )
    checkpoint: Text = Field(
        "",
        title="Teacher's weights",
        description="Of a frozen or previous teacher: a run folder, RUN@STEP, or open_clip:NAME,PRETRAINED. Several, "
        "parted by semicolons, teach together.",
        json_schema_extra=shown("", widget="folder"),
    )
    weights: Literal["auto", "student", "teacher"] = Field(
        "auto",
        title="Of a former run",
        description="Which of its two networks teaches; auto: of its best checkpoint the one that was better, of "
        "others the teacher where it had one.",
        json_schema_extra=shown("", advanced=True),
    )
    targets: Literal["pass", "memory", "stored"] = Field(
        "pass",
        title="Targets from",
        description="pass: the teacher's own forward pass. memory: each pair's features from when the student last saw "
        "it, without any pass (temporal ensembling, Laine and Aila 2017); the average is kept beside. It serves "
        "similarities and trust, and is kept by belief.action. stored: features of each whole image and caption, which "
        "an initial or frozen teacher gives once, before training.",
        json_schema_extra=shown("", advanced=True),
    )
    part: Literal["all", "heads"] = Field(
        "all",
        title="Averaged part",
        description="heads: only fusion and heads are averaged, the towers are the student's own (TIPS v2).",
        json_schema_extra=shown("", advanced=True),
    )
    momentum: float = Field(
        0.999,
        ge=0.0,
        lt=1.0,
        title="Momentum",
        description="Share of the teacher that survives one step. Larger is smoother and slower.",
        json_schema_extra=shown("per step"),
    )
    momentum_schedule: Literal["constant", "linear", "cosine", "beta"] = Field(
        "constant",
        title="Momentum schedule",
        description="linear and cosine move to the last momentum by the end of training (DINO: cosine). beta: an "
        "average of the whole trajectory, initial weights included, weighted by Beta(b, b) (TRACER).",
        json_schema_extra=shown("", advanced=True),
    )
    momentum_beta: float = Field(
        0.5,
        gt=0.0,
        le=100.0,
        title="Beta",
        description="b of the beta schedule: 1 averages uniformly, less favours both ends of the trajectory.",
        json_schema_extra=shown("", advanced=True),
    )
    momentum_end: Share = Field(
        1.0, title="Last momentum", description="Where a linear or cosine schedule ends.",
        json_schema_extra=shown("per step", advanced=True),
    )  # fmt: skip
    momentum_warmup: bool = Field(
        True, title="Momentum warm-up",
        description="Use min(1 - 1/(step + 1), momentum), so that the teacher forgets its random start (Mean Teacher).",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    start: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        title="Begin after",
        description="Share of training that is done without a teacher; it starts as the student then (SigLIP 2: 0.8).",
        json_schema_extra=shown("share of steps", advanced=True),
    )
    every: int = Field(
        1,
        ge=1,
        le=1000,
        title="Teaches every",
        description="The teacher teaches in every so many steps. The others learn only what needs no teacher, and take "
        "less time: further views are then neither made nor encoded. The average follows before each step that it "
        "teaches in, by all steps since at once.",
        json_schema_extra=shown("steps"),
    )

    @property
    def traits(self) -> TeacherKind:
        """What a teacher of this kind is."""
        return teacher_kind(self.kind)
