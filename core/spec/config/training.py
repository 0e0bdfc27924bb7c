"""Settings besides the method: data, optimisation, validation, checkpoints, runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, Text, form_metadata
from core.spec.extending.references import ReferenceText


class DataConfig(Section):
    """The data sets and how they are read."""

    train: Text = Field(
        "",
        title="Training data",
        description="CSV, TSV, JSON lines, COCO captions JSON, a folder of class folders, images with .txt files, or "
        "shards: tars, as in shards/{00000..00099}.tar.",
        json_schema_extra=form_metadata("", widget="source"),
    )
    val: Text = Field(
        "",
        title="Validation data",
        description="Pairs for validation during training; leave empty for none.",
        json_schema_extra=form_metadata("", widget="source"),
    )
    test: Text = Field(
        "",
        title="Test data",
        description="Pairs for the final evaluation, not used during training; leave empty for none.",
        json_schema_extra=form_metadata("", widget="source"),
    )
    retain: Text = Field(
        "",
        title="Retained data",
        description="Pairs that a fine-tuned model should still retrieve, evaluated with the validation data and "
        "before the first step. Separate several with semicolons; NAME=PATH gives one a name.",
        json_schema_extra=form_metadata("", widget="source"),
    )
    dataset: ReferenceText = Field(
        "",
        title="Custom data set",
        description="Your own function, FILE.py:NAME, which is called with each of the names above and returns a data "
        "set; empty: the formats above.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    label: Text = Field(
        "",
        title="Label",
        description="Column whose values are the classes, for objectives that classify; empty for none.",
        json_schema_extra=form_metadata("", widget="column"),
    )
    labels_per_class: int = Field(
        0,
        ge=0,
        title="Labels per class",
        description="Number of rows of each class that keep their label, drawn with the seed; the others count as "
        "unlabelled. 0 keeps all labels.",
        json_schema_extra=form_metadata("rows"),
    )
    unlabelled_ratio: int = Field(
        0,
        ge=0,
        le=64,
        title="Unlabelled ratio",
        description="Number of unlabelled rows per labelled row in a batch (FixMatch: 7), in addition to the batch "
        "size. 0 draws labelled and unlabelled rows together.",
        json_schema_extra=form_metadata("rows per labelled row"),
    )
    max_bad_share: Share = Field(
        0.05,
        title="Bad rows allowed",
        description="Rows that cannot be read are skipped and listed; a larger share than this stops the run.",
        json_schema_extra=form_metadata("share"),
    )
    cache_mib: int = Field(
        4096,
        ge=0,
        title="Image cache",
        description="Decoded images are cached (memory-mapped) if they fit into this size; else they are streamed.",
        json_schema_extra=form_metadata("MiB", advanced=True),
    )
    max_megapixels: int = Field(
        200,
        ge=1,
        title="Largest image",
        description="Larger images count as bad rows: they may be decompression bombs.",
        json_schema_extra=form_metadata("MP", advanced=True),
    )
    streams: int = Field(
        64,
        ge=1,
        le=4096,
        title="Streams",
        description="Number of parallel streams that shards are read as; each gives an equal part of every batch. Must "
        "be divisible by the number of processes; it is reduced to a divisor of the batch size.",
        json_schema_extra=form_metadata("streams", advanced=True),
    )
    decoding: Literal["exact", "fast"] = Field(
        "exact",
        title="Decoding",
        description="fast prepares three times as many images per second: a JPEG is decoded at a fraction of its size, "
        "and resized once. exact decodes it whole, and resizes it with Pillow first.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    workers: int = Field(
        -1,
        ge=-1,
        le=128,
        title="Loader processes",
        description="Processes per GPU that decode and augment in advance; 0: the trainer does it. -1: chosen by the "
        "number of cores; none for training on the CPU.",
        json_schema_extra=form_metadata("processes", advanced=True),
    )


class OptimConfig(Section):
    """AdamW with warm-up and cosine decay."""

    epochs: float = Field(
        30.0, gt=0.0, le=100000.0, title="Epochs", description="Passes over the training data.",
        json_schema_extra=form_metadata("epochs"),
    )  # fmt: skip
    batch_size: int = Field(
        256, ge=2, le=1048576, title="Batch size", description="Pairs per step; they are each other's negatives.",
        json_schema_extra=form_metadata("pairs"),
    )  # fmt: skip
    micro_batch: int = Field(
        0,
        ge=0,
        le=1048576,
        title="Micro-batch",
        description="Pairs that the towers process at once; the losses still see the whole batch (GradCache). Takes "
        "less memory and one more forward pass; batch norm sees only these pairs. 0: the whole batch.",
        json_schema_extra=form_metadata("pairs", advanced=True),
    )
    learning_rate: float = Field(
        5e-4, gt=0.0, le=10.0, title="Learning rate", description="Peak value, reached after the warm-up.",
        json_schema_extra=form_metadata(""),
    )  # fmt: skip
    warmup: Share = Field(
        0.05,
        title="Warm-up",
        description="The learning rate rises linearly over this share of training, then falls as a cosine towards 0.",
        json_schema_extra=form_metadata("share of steps"),
    )
    weight_decay: float = Field(
        0.2,
        ge=0.0,
        le=10.0,
        title="Weight decay",
        description="Applied to matrices only, not to gains, biases and the logit scale.",
        json_schema_extra=form_metadata(""),
    )
    anchor: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        title="Anchor",
        description="Decay towards the initial weights (L2-SP): each step moves the weights back by this times the "
        "learning rate. 0: none.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    layer_decay: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Layer-wise decay",
        description="The learning rate of each block of a tower is this times that of the next block (BEiT: 0.65 for "
        "fine-tuning). 1: the same for all blocks.",
        json_schema_extra=form_metadata("per block", advanced=True),
    )
    beta1: float = Field(
        0.9,
        ge=0.0,
        lt=1.0,
        title="Beta 1",
        description="AdamW's momentum.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    beta2: float = Field(
        0.98,
        ge=0.0,
        lt=1.0,
        title="Beta 2",
        description="AdamW's decay of squared gradients.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    eps: float = Field(
        1e-6, gt=0.0, le=1.0, title="Epsilon", description="AdamW's term against division by zero.",
        json_schema_extra=form_metadata("", advanced=True),
    )  # fmt: skip
    clip_norm: float = Field(
        1.0,
        ge=0.0,
        title="Gradient clipping",
        description="Maximum norm of the whole gradient; 0: no clipping.",
        json_schema_extra=form_metadata("norm"),
    )


class ValidationConfig(Section):
    """Retrieval on the validation data, by student and teacher separately."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Validate every",
        description="0: after each epoch. The last step is always validated.",
        json_schema_extra=form_metadata("steps"),
    )
    batch_size: int = Field(
        256, ge=1, title="Batch size", description="Images encoded at once.",
        json_schema_extra=form_metadata("images", advanced=True),
    )  # fmt: skip


class CheckpointConfig(Section):
    """The checkpoints of a run: the last, the best and optionally more."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Save every",
        description="0: after each epoch. The last step is always saved.",
        json_schema_extra=form_metadata("steps"),
    )
    keep: int = Field(
        1,
        ge=1,
        title="Keep",
        description="Number of newest checkpoints to keep, besides the best by validation.",
        json_schema_extra=form_metadata("checkpoints"),
    )
    keep_retained: Share = Field(
        0.0,
        title="Retain at least",
        description="The best checkpoint is the one with the highest validation value among those that retain this "
        "share of the initial model's mean recall on all retained data. 0: no constraint.",
        json_schema_extra=form_metadata("share of recall"),
    )
    keep_every: int = Field(
        0,
        ge=0,
        title="Keep every",
        description="Keeps the networks permanently at this interval, for search, map and confusion at earlier steps, "
        "without the optimiser's state. 0: none.",
        json_schema_extra=form_metadata("steps"),
    )


class RuntimeConfig(Section):
    """Where and how a run executes; affects speed, not the method."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="auto: a CUDA GPU, else an Apple GPU, else the CPU.",
        json_schema_extra=form_metadata(""),
    )  # fmt: skip
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", title="Precision", description="auto: bfloat16 if the hardware supports it.",
        json_schema_extra=form_metadata(""),
    )  # fmt: skip
    tf32: bool = Field(
        False,
        title="TF32",
        description="float32 matrix products on an NVIDIA GPU's tensor cores, with 10 bits of mantissa: faster, but "
        "less exact. For precision fp32.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        title="CPU threads",
        description="0: one per core.",
        json_schema_extra=form_metadata("threads", advanced=True),
    )
    shard: int = Field(
        1,
        ge=1,
        le=4096,
        title="Shard weights over",
        description="Number of processes that share one copy of the weights, moments and gradients, for models that do "
        "not fit on one GPU (FSDP); groups of them are replicas. 1: every process has all weights.",
        json_schema_extra=form_metadata("processes", advanced=True),
    )
    patience: int = Field(
        600,
        ge=5,
        le=86400,
        title="Patience",
        description="A run on several processes is interrupted when one of them does not answer for this long.",
        json_schema_extra=form_metadata("s", advanced=True),
    )
    compile: bool = Field(
        False,
        title="Compile",
        description="Compile each transformer block (torch.compile): takes some minutes at the start, then steps are "
        "faster on a GPU.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    recompute: Literal["none", "selective", "blocks"] = Field(
        "none",
        title="Activation checkpointing",
        description="Activations to recompute in the backward pass instead of storing them. selective: all except "
        "matrix products; blocks: whole blocks, which takes the least memory and the most time.",
        json_schema_extra=form_metadata("", advanced=True),
    )
    log_every: int = Field(
        1, ge=1, title="Report every", description="Interval at which losses are written.",
        json_schema_extra=form_metadata("steps", advanced=True),
    )  # fmt: skip
    system_every: float = Field(
        5.0, ge=0, le=3600, title="System metrics every",
        description="Load of CPU, memory, disk, network and GPUs, reported beside the losses. 0: never.",
        json_schema_extra=form_metadata("s", advanced=True),
    )  # fmt: skip
    record_code: bool = Field(
        True, title="Record code",
        description="Record the git commit and uncommitted changes of the trainer's code in the run folder.",
        json_schema_extra=form_metadata("", advanced=True),
    )  # fmt: skip
