"""Three of the five axes (towers, fusion, teacher), and how mismatched pairs are treated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, Text, form_metadata
from core.spec.extending.references import ReferenceText
from core.spec.extending.teacher_kinds import TEACHER_KINDS, TeacherKind, TeacherKindName, teacher_kind


class TowersConfig(Section):
    """The two-stream model."""

    architecture: Text = Field(
        "ViT-B-32",
        min_length=1,
        title="Architecture",
        description="A CLIP or CoCa architecture of open_clip or sdgui, or a JSON file in open_clip's format.",
        json_schema_extra=form_metadata("", widget="architecture"),
    )
    pretrained: Text = Field(
        "",
        title="Start from",
        description="Empty: from scratch. Otherwise an open_clip tag, a local folder or weights file, an earlier run "
        "or RUN@STEP; a matching fusion and heads of the run are loaded too.",
        json_schema_extra=form_metadata("", widget="folder"),
    )
    weights: Literal["auto", "student", "teacher"] = Field(
        "auto",
        title="Network of an earlier run",
        description="Which network of the earlier run to start from. auto: the better one of its best checkpoint; of "
        "other checkpoints the teacher, if there is one.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    start: Literal["weights", "state"] = Field(
        "weights",
        title="Take from an earlier run",
        description="weights: only the weights; training begins at step 0 (fine-tune). state: also step, teacher, "
        "optimiser and random state, as far as they fit (continue, or fork with other settings).",
        json_schema_extra=form_metadata("", advanced=True),
    )
    build: ReferenceText = Field(
        "", title="Custom towers", description="Your own function, FILE.py:NAME, that modifies the model; or empty.",
        json_schema_extra=form_metadata("", advanced=True),
    )  # fmt: skip
    freeze: Literal["none", "image", "text", "both", "trunks"] = Field(
        "none",
        title="Frozen towers",
        description="Towers whose weights are not trained (LiT, BLIP-2). trunks: both towers except their projections "
        "into the shared space.",
        json_schema_extra=form_metadata(""),
    )
    freeze_image_blocks: int = Field(
        0,
        ge=0,
        le=256,
        title="Frozen image blocks",
        description="Number of first blocks of the image tower that are not trained, with the patch embedding.",
        json_schema_extra=form_metadata("blocks", advanced=True),
    )


class FusionConfig(Section):
    """How image and text are joined into one representation."""

    kind: Literal["none", "cross-attention", "merged", "skip", "queries"] = Field(
        "none",
        title="Fusion",
        description="cross-attention: words attend to patches (ALBEF). merged: words and patches as one sequence "
        "(UNITER, VLMo). skip: words attend to patches, with a merged layer at intervals (mPLUG). queries: learnt "
        "queries attend to the patches (BLIP-2).",
        json_schema_extra=form_metadata(""),
    )
    layers: int = Field(
        1, ge=1, le=24, title="Layers", description="Number of transformer blocks.", json_schema_extra=form_metadata("")
    )
    heads: int = Field(
        4, ge=1, le=64, title="Heads", description="Attention heads per block.", json_schema_extra=form_metadata("")
    )
    width: int = Field(
        256,
        ge=8,
        le=8192,
        title="Width",
        description="Width of the fused representation; a multiple of the heads.",
        json_schema_extra=form_metadata("channels"),
    )
    text_attention: bool = Field(
        False,
        title="Text self-attention",
        description="For cross-attention: words attend to each other before the patches in each block (ALBEF, BLIP).",
        json_schema_extra=form_metadata("", advanced=True),
    )
    feed_forward: Literal["shared", "per-modality"] = Field(
        "shared",
        title="Feed-forward",
        description="For merged: one for words and patches (UNITER), or one for each modality (VLMo, BEiT-3).",
        json_schema_extra=form_metadata("", advanced=True),
    )
    joint_layers: int = Field(
        0,
        ge=0,
        le=24,
        title="Joint layers",
        description="For merged with one feed-forward per modality: number of last layers that share it (VLMo).",
        json_schema_extra=form_metadata("", advanced=True),
    )
    merge_every: int = Field(
        3,
        ge=1,
        le=24,
        title="Merge every",
        description="For skip: interval of the layers that merge both modalities; patches skip the others (mPLUG: 3).",
        json_schema_extra=form_metadata("layers", advanced=True),
    )
    queries: int = Field(
        32, ge=1, le=1024, title="Queries", description="For queries: number of learnt queries (BLIP-2: 32).",
        json_schema_extra=form_metadata("", advanced=True),
    )  # fmt: skip


class TeacherConfig(Section):
    """The network that provides the targets; it gets no gradient."""

    kind: TeacherKindName = Field(
        "none",
        title="Teacher",
        description="ema: moving average of the student's parameters, updated after each optimiser step; ema-state: "
        "also of batch norm statistics (EMAN); initial: the initial weights (LDIFS); frozen: a trained model, or "
        "several earlier runs (Born-Again); or your own rule, FILE.py:NAME.",
        json_schema_extra=form_metadata("", choices=TEACHER_KINDS),
    )
    checkpoint: Text = Field(
        "",
        title="Teacher's weights",
        description="For a frozen teacher: a run folder, RUN@STEP, or open_clip:NAME,PRETRAINED. Several, separated by "
        "semicolons, form an ensemble.",
        json_schema_extra=form_metadata("", widget="folder"),
    )
    weights: Literal["auto", "student", "teacher"] = Field(
        "auto",
        title="Network of an earlier run",
        description="Which network of the earlier run is the teacher. auto: the better one of its best checkpoint; of "
        "other checkpoints the teacher, if there is one.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    targets: Literal["pass", "stored"] = Field(
        "pass",
        title="Targets from",
        description="pass: the teacher's forward pass in each step. stored: features of each whole image and caption, "
        "which an initial or frozen teacher computes once, before training.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    momentum: float = Field(
        0.999,
        ge=0.0,
        lt=1.0,
        title="Momentum",
        description="Decay of the moving average per step. Larger is smoother and slower.",
        json_schema_extra=form_metadata("per step"),
    )
    momentum_schedule: Literal["constant", "linear", "cosine", "beta"] = Field(
        "constant",
        title="Momentum schedule",
        description="linear, cosine: reaches the final momentum at the end of training (DINO: cosine). beta: average "
        "of the whole trajectory, initial weights included, weighted by Beta(b, b) (TRACER).",
        json_schema_extra=form_metadata("", advanced=True),
    )
    momentum_beta: float = Field(
        0.5,
        gt=0.0,
        le=100.0,
        title="Beta",
        description="b of the beta schedule: 1 averages uniformly, smaller values favour both ends of the trajectory.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    momentum_end: Share = Field(
        1.0, title="Final momentum", description="Momentum at the end of a linear or cosine schedule.",
        json_schema_extra=form_metadata("per step", advanced=True),
    )  # fmt: skip
    momentum_warmup: bool = Field(
        True, title="Momentum warm-up",
        description="Use min(1 - 1/(step + 1), momentum), so that the teacher forgets its random initial weights (Mean "
        "Teacher).",
        json_schema_extra=form_metadata("", advanced=True),
    )  # fmt: skip
    every: int = Field(
        1,
        ge=1,
        le=1000,
        title="Teacher interval",
        description="The teacher is used once in this many steps. The other steps train only the objectives without a "
        "teacher and take less time: additional views are neither created nor encoded. The moving average catches up "
        "before each step that uses the teacher.",
        json_schema_extra=form_metadata("steps"),
    )

    @property
    def traits(self) -> TeacherKind:
        """The traits of this kind of teacher."""
        return teacher_kind(self.kind)


class NoiseConfig(Section):
    """How mismatched captions are treated."""

    caption_filter: bool = Field(
        False,
        title="Caption filter",
        description="Drops pairs before training whose caption more likely belongs to another image, judged by the "
        "colours and edges of all other images, without a network. With clean captions hardly any pair is dropped.",
        json_schema_extra=form_metadata(""),
    )
    self_confidence: Share = Field(
        0.0,
        title="Self-confidence weighting",
        description="Each pair is weighted by the student's own probability for it, to this power (generalised "
        "cross-entropy, Zhang and Sabuncu 2018). 0: equal weights; 0.5: unlikely pairs get almost no weight.",
        json_schema_extra=form_metadata("power"),
    )
