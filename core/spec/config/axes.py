"""Three of the five axes (towers, fusion, teacher), and how mismatched pairs are treated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, Text, shown
from core.spec.extending.references import ReferenceText
from core.spec.extending.teacher_kinds import TEACHER_KINDS, TeacherKind, TeacherKindName, teacher_kind


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
        "model, or several former runs (Born-Again); or a rule of yours, FILE.py:NAME.",
        json_schema_extra=shown("", choices=TEACHER_KINDS),
    )
    checkpoint: Text = Field(
        "",
        title="Teacher's weights",
        description="Of a frozen teacher: a run folder, RUN@STEP, or open_clip:NAME,PRETRAINED. Several, separated by "
        "semicolons, teach together.",
        json_schema_extra=shown("", widget="folder"),
    )
    weights: Literal["auto", "student", "teacher"] = Field(
        "auto",
        title="Of a former run",
        description="Which of its two networks teaches; auto: of its best checkpoint the one that was better, of "
        "others the teacher where it had one.",
        json_schema_extra=shown("", advanced=True),
    )
    targets: Literal["pass", "stored"] = Field(
        "pass",
        title="Targets from",
        description="pass: the teacher's own forward pass. stored: features of each whole image and caption, which an "
        "initial or frozen teacher computes once, before training.",
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


class NoiseConfig(Section):
    """How mismatched captions are treated."""

    caption_filter: bool = Field(
        False,
        title="Caption filter",
        description="Pairs whose caption more likely belongs to another image are dropped before training, judged by "
        "the colours and edges of all other images, without a network. Where captions are clean, hardly a pair is "
        "dropped.",
        json_schema_extra=shown(""),
    )
    self_confidence: Share = Field(
        0.0,
        title="Self-confidence weighting",
        description="Each pair is weighted by the student's own probability for it, to this power (generalised "
        "cross-entropy, Zhang and Sabuncu 2018). 0: all pairs count alike; 0.5: unlikely pairs hardly count.",
        json_schema_extra=shown("power"),
    )
