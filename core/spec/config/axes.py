"""Three of the five axes (towers, fusion, teacher), and how mismatched pairs are treated."""

from __future__ import annotations

from typing import Literal

from core.spec.config.base import Section, Share, Text, setting
from core.spec.extending.references import ReferenceText
from core.spec.extending.teacher_kinds import TEACHER_KINDS, TeacherKind, TeacherKindName, teacher_kind


class TowersConfig(Section):
    """The two-stream model."""

    architecture: Text = setting(
        "ViT-B-32",
        "Architecture",
        "A CLIP or CoCa architecture of open_clip or sdgui, or a JSON file in open_clip's format.",
        min_length=1,
        widget="architecture",
    )
    pretrained: Text = setting(
        "",
        "Start from",
        "Empty: from scratch. Otherwise an open_clip tag, a local folder or weights file, an earlier run "
        "or RUN@STEP; a matching fusion and heads of the run are loaded too.",
        widget="folder",
    )
    weights: Literal["auto", "student", "teacher"] = setting(
        "auto",
        "Network of an earlier run",
        "Which network of the earlier run to start from. auto: the better one of its best checkpoint; of "
        "other checkpoints the teacher, if there is one.",
        advanced=True,
    )
    start: Literal["weights", "state"] = setting(
        "weights",
        "Take from an earlier run",
        "weights: only the weights; training begins at step 0 (fine-tune). state: also step, teacher, "
        "optimiser and random state, as far as they fit (continue, or fork with other settings).",
        advanced=True,
    )
    build: ReferenceText = setting(
        "", "Custom towers", "Your own function, FILE.py:NAME, that modifies the model; or empty.", advanced=True
    )
    freeze: Literal["none", "image", "text", "both", "trunks"] = setting(
        "none",
        "Frozen towers",
        "Towers whose weights are not trained (LiT, BLIP-2). trunks: both towers except their projections "
        "into the shared space.",
    )
    freeze_image_blocks: int = setting(
        0,
        "Frozen image blocks",
        "Number of first blocks of the image tower that are not trained, with the patch embedding.",
        unit="blocks",
        ge=0,
        le=256,
        advanced=True,
    )


class FusionConfig(Section):
    """How image and text are joined into one representation."""

    kind: Literal["none", "cross-attention", "merged", "skip", "queries"] = setting(
        "none",
        "Fusion",
        "cross-attention: words attend to patches (ALBEF). merged: words and patches as one sequence "
        "(UNITER, VLMo). skip: words attend to patches, with a merged layer at intervals (mPLUG). queries: learnt "
        "queries attend to the patches (BLIP-2).",
    )
    layers: int = setting(1, "Layers", "Number of transformer blocks.", ge=1, le=24)
    heads: int = setting(4, "Heads", "Attention heads per block.", ge=1, le=64)
    width: int = setting(
        256, "Width", "Width of the fused representation; a multiple of the heads.", unit="channels", ge=8, le=8192
    )
    text_attention: bool = setting(
        False,
        "Text self-attention",
        "For cross-attention: words attend to each other before the patches in each block (ALBEF, BLIP).",
        advanced=True,
    )
    feed_forward: Literal["shared", "per-modality"] = setting(
        "shared",
        "Feed-forward",
        "For merged: one for words and patches (UNITER), or one for each modality (VLMo, BEiT-3).",
        advanced=True,
    )
    joint_layers: int = setting(
        0,
        "Joint layers",
        "For merged with one feed-forward per modality: number of last layers that share it (VLMo).",
        ge=0,
        le=24,
        advanced=True,
    )
    merge_every: int = setting(
        3,
        "Merge every",
        "For skip: interval of the layers that merge both modalities; patches skip the others (mPLUG: 3).",
        unit="layers",
        ge=1,
        le=24,
        advanced=True,
    )
    queries: int = setting(
        32, "Queries", "For queries: number of learnt queries (BLIP-2: 32).", ge=1, le=1024, advanced=True
    )


class TeacherConfig(Section):
    """The network that provides the targets; it gets no gradient."""

    kind: TeacherKindName = setting(
        "none",
        "Teacher",
        "ema: moving average of the student's parameters, updated after each optimiser step; ema-state: "
        "also of batch norm statistics (EMAN); initial: the initial weights (LDIFS); frozen: a trained model, or "
        "several earlier runs (Born-Again); or your own rule, FILE.py:NAME.",
        choices=TEACHER_KINDS,
    )
    checkpoint: Text = setting(
        "",
        "Teacher's weights",
        "For a frozen teacher: a run folder, RUN@STEP, or open_clip:NAME,PRETRAINED. Several, separated by "
        "semicolons, form an ensemble.",
        widget="folder",
    )
    weights: Literal["auto", "student", "teacher"] = setting(
        "auto",
        "Network of an earlier run",
        "Which network of the earlier run is the teacher. auto: the better one of its best checkpoint; of "
        "other checkpoints the teacher, if there is one.",
        advanced=True,
    )
    targets: Literal["pass", "stored"] = setting(
        "pass",
        "Targets from",
        "pass: the teacher's forward pass in each step. stored: features of each whole image and caption, "
        "which an initial or frozen teacher computes once, before training.",
        advanced=True,
    )
    momentum: float = setting(
        0.999,
        "Momentum",
        "Decay of the moving average per step. Larger is smoother and slower.",
        unit="per step",
        ge=0.0,
        lt=1.0,
    )
    momentum_schedule: Literal["constant", "linear", "cosine", "beta"] = setting(
        "constant",
        "Momentum schedule",
        "linear, cosine: reaches the final momentum at the end of training (DINO: cosine). beta: average "
        "of the whole trajectory, initial weights included, weighted by Beta(b, b) (TRACER).",
        advanced=True,
    )
    momentum_beta: float = setting(
        0.5,
        "Beta",
        "b of the beta schedule: 1 averages uniformly, smaller values favour both ends of the trajectory.",
        gt=0.0,
        le=100.0,
        advanced=True,
    )
    momentum_end: Share = setting(
        1.0, "Final momentum", "Momentum at the end of a linear or cosine schedule.", unit="per step", advanced=True
    )
    momentum_warmup: bool = setting(
        True,
        "Momentum warm-up",
        "Use min(1 - 1/(step + 1), momentum), so that the teacher forgets its random initial weights (Mean Teacher).",
        advanced=True,
    )
    every: int = setting(
        1,
        "Teacher interval",
        "The teacher is used once in this many steps. The other steps train only the objectives without a "
        "teacher and take less time: additional views are neither created nor encoded. The moving average catches up "
        "before each step that uses the teacher.",
        unit="steps",
        ge=1,
        le=1000,
    )

    @property
    def traits(self) -> TeacherKind:
        """The traits of this kind of teacher."""
        return teacher_kind(self.kind)


class NoiseConfig(Section):
    """How mismatched captions are treated."""

    caption_filter: bool = setting(
        False,
        "Caption filter",
        "Drops pairs before training whose caption more likely belongs to another image, judged by the "
        "colours and edges of all other images, without a network. With clean captions hardly any pair is dropped.",
    )
    self_confidence: Share = setting(
        0.0,
        "Self-confidence weighting",
        "Each pair is weighted by the student's own probability for it, to this power (generalised "
        "cross-entropy, Zhang and Sabuncu 2018). 0: equal weights; 0.5: unlikely pairs get almost no weight.",
        unit="power",
    )
