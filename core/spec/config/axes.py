"""Settings of the towers, the fusion and the teacher (three of the five axes), and of mismatched captions."""

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
        "A CLIP or CoCa architecture from open_clip or sdgui, or a JSON file in open_clip's format.",
        min_length=1,
        widget="architecture",
    )
    pretrained: Text = setting(
        "",
        "Initial weights",
        "An open_clip tag, a local folder or weights file, an earlier run or RUN@STEP. A run's fusion and heads are "
        "loaded too if they match. Leave empty to train from scratch.",
        widget="folder",
    )
    weights: Literal["auto", "student", "teacher"] = setting(
        "auto",
        "Network of an earlier run",
        "Network of the earlier run to start from. auto uses the better network of the best checkpoint; from "
        "other checkpoints, it uses the teacher if the run has one.",
        advanced=True,
    )
    start: Literal["weights", "state"] = setting(
        "weights",
        "What to load",
        "weights loads only the earlier run's weights and begins at step 0 (fine-tuning). state also loads step, "
        "teacher, optimiser and random state, where they fit, to continue the run or to fork it with other settings.",
        advanced=True,
    )
    build: ReferenceText = setting(
        "", "Custom towers", "A function that modifies the model, as FILE.py:NAME. Optional.", advanced=True
    )
    freeze: Literal["none", "image", "text", "both", "trunks"] = setting(
        "none",
        "Frozen towers",
        "Towers whose weights are not trained (LiT, BLIP-2). trunks freezes both towers except their projections "
        "into the shared space.",
    )
    freeze_image_blocks: int = setting(
        0,
        "Frozen image blocks",
        "Number of blocks at the start of the image tower that are not trained. The patch embedding is frozen too.",
        unit="blocks",
        ge=0,
        le=256,
        advanced=True,
    )
    lora_rank: int = setting(
        0,
        "LoRA rank",
        "Train only low-rank updates of the matrices in the towers' blocks, which needs less memory for the optimiser. "
        "Fusion and heads are trained as usual. 0 turns LoRA off.",
        ge=0,
        le=1024,
        advanced=True,
    )
    lora_alpha: float = setting(
        16.0,
        "LoRA alpha",
        "The updates are multiplied by alpha / rank. Used only with LoRA.",
        gt=0.0,
        le=10000.0,
        advanced=True,
    )


class FusionConfig(Section):
    """The network that combines image and text into one representation."""

    kind: Literal["none", "cross-attention", "merged", "skip", "queries"] = setting(
        "none",
        "Fusion",
        'With "cross-attention", words attend to patches (ALBEF). "merged" processes words and patches as one sequence '
        '(UNITER, VLMo). "skip" is cross-attention with a merged layer at intervals (mPLUG). With "queries", learnt '
        "queries attend to the patches (BLIP-2).",
    )
    layers: int = setting(1, "Layers", "Number of transformer blocks.", ge=1, le=24)
    heads: int = setting(4, "Heads", "Attention heads per block.", ge=1, le=64)
    width: int = setting(
        256, "Width", "Width of the fused representation, a multiple of Heads.", unit="channels", ge=8, le=8192
    )
    text_attention: bool = setting(
        False,
        "Text self-attention",
        "In each block, let words attend to each other before they attend to the patches (ALBEF, BLIP). Used only if "
        'Fusion is "cross-attention".',
        advanced=True,
    )
    feed_forward: Literal["shared", "per-modality"] = setting(
        "shared",
        "Feed-forward",
        "Use one feed-forward network for words and patches (UNITER), or one per modality (VLMo, BEiT-3). Used only if "
        'Fusion is "merged".',
        advanced=True,
    )
    joint_layers: int = setting(
        0,
        "Joint layers",
        "Number of layers, counted from the last, in which both modalities use the same feed-forward network (VLMo). "
        'Used only if Fusion is "merged" and Feed-forward is "per-modality".',
        ge=0,
        le=24,
        advanced=True,
    )
    merge_every: int = setting(
        3,
        "Merge every",
        "One layer in this many merges both modalities; patches skip the others (mPLUG: 3). Used only if Fusion is "
        '"skip".',
        unit="layers",
        ge=1,
        le=24,
        advanced=True,
    )
    queries: int = setting(
        32,
        "Queries",
        'Number of learnt queries (BLIP-2: 32). Used only if Fusion is "queries".',
        ge=1,
        le=1024,
        advanced=True,
    )


class TeacherConfig(Section):
    """The network that computes the targets, without gradients."""

    kind: TeacherKindName = setting(
        "none",
        "Teacher",
        "ema is a moving average of the student's parameters, updated after each optimiser step; ema-state also "
        "averages the batch norm statistics (EMAN). initial is the student's initial weights (LDIFS). frozen is a "
        "trained model or an ensemble of earlier runs (Born-Again). For a custom update rule, enter FILE.py:NAME.",
        choices=TEACHER_KINDS,
    )
    checkpoint: Text = setting(
        "",
        "Teacher's weights",
        "A run folder, RUN@STEP or open_clip:NAME,PRETRAINED. Several models, separated by semicolons, form an "
        "ensemble. Used only by a frozen teacher.",
        widget="folder",
    )
    weights: Literal["auto", "student", "teacher"] = setting(
        "auto",
        "Network of an earlier run",
        "Network of the earlier run to use as the teacher. auto uses the better network of the best checkpoint; from "
        "other checkpoints, it uses the teacher if the run has one.",
        advanced=True,
    )
    targets: Literal["pass", "stored"] = setting(
        "pass",
        "Source of targets",
        "pass runs the teacher in every step. stored uses features of the uncropped images and captions, computed "
        "once before training (initial or frozen teacher only).",
        advanced=True,
    )
    momentum: float = setting(
        0.999,
        "Momentum",
        "Decay of the moving average per step. A larger value makes the teacher change more slowly.",
        unit="per step",
        ge=0.0,
        lt=1.0,
    )
    momentum_schedule: Literal["constant", "linear", "cosine", "beta"] = setting(
        "constant",
        "Momentum schedule",
        "linear and cosine reach the final momentum at the end of training (DINO: cosine). beta averages the whole "
        "trajectory from the initial weights on, weighted by Beta(b, b) (TRACER).",
        advanced=True,
    )
    momentum_beta: float = setting(
        0.5,
        "Beta",
        "Parameter b of the beta schedule. 1 averages uniformly; smaller values favour both ends of the trajectory.",
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
        "Limit the momentum to 1 - 1/(step + 1), so that the teacher forgets its random initial weights (Mean "
        "Teacher).",
        advanced=True,
    )
    every: int = setting(
        1,
        "Teacher interval",
        "Use the teacher only once in this many steps. The other steps are faster: they train only the objectives "
        "that do not learn from the teacher, and create no additional views. The moving average is brought up to date "
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
    """The treatment of mismatched captions."""

    caption_filter: bool = setting(
        False,
        "Caption filter",
        "Before training, drop pairs whose caption fits other images better. The fit is judged by colours and edges "
        "and, in fine-tuning, by the pretrained model, which should not have been trained on these pairs. Few correct "
        "pairs are dropped.",
    )
    self_confidence: Share = setting(
        0.0,
        "Self-confidence weighting",
        "Weight each pair by the probability that the student assigns to it, raised to this power (generalised "
        "cross-entropy, Zhang and Sabuncu 2018). 0 weights all pairs equally; 0.5 almost ignores unlikely pairs.",
        unit="power",
    )
