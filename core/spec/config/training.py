"""What is not the method: where the data are, how it is optimised and judged, where it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, Text, shown
from core.spec.extending.references import ReferenceText


class DataConfig(Section):
    """Where pairs come from and how they are kept."""

    train: Text = Field(
        "",
        title="Training data",
        description="CSV, TSV, JSON lines, COCO captions JSON, a folder of class folders, images with .txt files, or "
        "shards: tars, as in shards/{00000..00099}.tar.",
        json_schema_extra=shown("", widget="source"),
    )
    val: Text = Field(
        "",
        title="Validation data",
        description="Pairs to validate on while training; leave empty for none.",
        json_schema_extra=shown("", widget="source"),
    )
    test: Text = Field(
        "",
        title="Test data",
        description="Pairs kept for the end, never looked at while training; leave empty for none.",
        json_schema_extra=shown("", widget="source"),
    )
    retain: Text = Field(
        "",
        title="Retained data",
        description="Pairs that a fine-tuned model should still retrieve, evaluated beside the validation data and "
        "before the first step. Several are separated by semicolons; NAME=PATH names one.",
        json_schema_extra=shown("", widget="source"),
    )
    dataset: ReferenceText = Field(
        "",
        title="Custom data set",
        description="A function of your own, FILE.py:NAME, that is called with each of the names above and returns a "
        "data set; empty: the formats above.",
        json_schema_extra=shown("", advanced=True),
    )
    label: Text = Field(
        "",
        title="Label",
        description="Column whose values are the classes, for objectives that classify; empty for none.",
        json_schema_extra=shown("", widget="column"),
    )
    labels_per_class: int = Field(
        0,
        ge=0,
        title="Labels per class",
        description="So many rows of each class keep their label, drawn with the seed; the others count as unlabelled. "
        "0 keeps all.",
        json_schema_extra=shown("rows"),
    )
    unlabelled_ratio: int = Field(
        0,
        ge=0,
        le=64,
        title="Unlabelled ratio",
        description="A batch has so many unlabelled rows for each labelled one (FixMatch: 7), besides the batch size. "
        "0 mixes all rows as they come.",
        json_schema_extra=shown("rows a labelled row"),
    )
    max_bad_share: Share = Field(
        0.05,
        title="Bad rows allowed",
        description="Rows that cannot be read are skipped and listed; a larger share of them stops the run.",
        json_schema_extra=shown("share"),
    )
    cache_mib: int = Field(
        4096,
        ge=0,
        title="Image cache",
        description="Decoded images are kept (memory-mapped) when they fit into this; else they are streamed.",
        json_schema_extra=shown("MiB", advanced=True),
    )
    max_megapixels: int = Field(
        200,
        ge=1,
        title="Largest image",
        description="A larger image counts as a bad row: it may be a decompression bomb.",
        json_schema_extra=shown("MP", advanced=True),
    )
    streams: int = Field(
        64,
        ge=1,
        le=4096,
        title="Streams",
        description="Shards are read as so many streams at once, each of which gives the same part of every batch; the "
        "number of processes must divide them. What does not divide the batch is reduced to what does.",
        json_schema_extra=shown("streams", advanced=True),
    )
    decoding: Literal["exact", "fast"] = Field(
        "exact",
        title="Decoding",
        description="fast makes three times as many images a second ready: a JPEG is decoded at a fraction of its "
        "size, and resized once. exact resizes by Pillow first; experiments from before there was a choice have it.",
        json_schema_extra=shown("", advanced=True),
    )
    workers: int = Field(
        -1,
        ge=-1,
        le=128,
        title="Loader processes",
        description="Processes that decode and augment ahead of training, for each GPU; 0 does it in the trainer. -1: "
        "from the cores that are there; none where training itself is on the CPU.",
        json_schema_extra=shown("processes", advanced=True),
    )


class OptimConfig(Section):
    """AdamW with warm-up and cosine decay."""

    epochs: float = Field(
        30.0, gt=0.0, le=100000.0, title="Epochs", description="Passes over the training data.",
        json_schema_extra=shown("epochs"),
    )  # fmt: skip
    batch_size: int = Field(
        256, ge=2, le=1048576, title="Batch size", description="Pairs a step; the contrast is among them.",
        json_schema_extra=shown("pairs"),
    )  # fmt: skip
    micro_batch: int = Field(
        0,
        ge=0,
        le=1048576,
        title="Micro-batch",
        description="Pairs that the towers take at once; the losses still see the whole batch (GradCache). Less "
        "memory, one more forward pass; batch norm alone sees no more pairs than these. 0: the whole batch.",
        json_schema_extra=shown("pairs", advanced=True),
    )
    learning_rate: float = Field(
        5e-4, gt=0.0, le=10.0, title="Learning rate", description="Peak, reached after the warm-up.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    warmup: Share = Field(
        0.05,
        title="Warm-up",
        description="The learning rate rises linearly over this share of training, then falls as a cosine towards 0.",
        json_schema_extra=shown("share of steps"),
    )
    weight_decay: float = Field(
        0.2,
        ge=0.0,
        le=10.0,
        title="Weight decay",
        description="Of matrices only; gains, biases and the logit scale are left alone.",
        json_schema_extra=shown(""),
    )
    anchor: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        title="Anchor",
        description="Decay towards the weights that training starts from (L2-SP): in each step they move this times "
        "the learning rate of the way back. 0: none.",
        json_schema_extra=shown("", advanced=True),
    )
    layer_decay: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Layer-wise decay",
        description="The learning rate of each block of a tower is this times that of the next one (BEiT: 0.65 when "
        "fine-tuning). 1: the same everywhere.",
        json_schema_extra=shown("a block", advanced=True),
    )
    beta1: float = Field(
        0.9, ge=0.0, lt=1.0, title="Beta 1", description="AdamW's momentum.", json_schema_extra=shown("", advanced=True)
    )
    beta2: float = Field(
        0.98,
        ge=0.0,
        lt=1.0,
        title="Beta 2",
        description="AdamW's memory of squared gradients.",
        json_schema_extra=shown("", advanced=True),
    )
    eps: float = Field(
        1e-6, gt=0.0, le=1.0, title="Epsilon", description="AdamW's guard against division by zero.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
    clip_norm: float = Field(
        1.0,
        ge=0.0,
        title="Gradient clipping",
        description="Greatest norm of the whole gradient; 0 does not clip.",
        json_schema_extra=shown("norm"),
    )


class ValidationConfig(Section):
    """Retrieval on the validation data, student and teacher apart."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Validate every",
        description="0: after each epoch. The end of training is always validated.",
        json_schema_extra=shown("steps"),
    )
    batch_size: int = Field(
        256, ge=1, title="Batch size", description="Images encoded at once.",
        json_schema_extra=shown("images", advanced=True),
    )  # fmt: skip


class CheckpointConfig(Section):
    """What is kept of a run: the last, the best and, if asked for, more."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Save every",
        description="0: after each epoch. The end of training is always saved.",
        json_schema_extra=shown("steps"),
    )
    keep: int = Field(
        1,
        ge=1,
        title="Keep",
        description="How many of the newest to keep; the best by validation is kept besides.",
        json_schema_extra=shown("checkpoints"),
    )
    keep_retained: Share = Field(
        0.0,
        title="Keep at least",
        description="The best checkpoint is the one that gains most on the validation data among those that keep this "
        "share of the mean recall that the initial model has on all retained data. 0: whatever they keep.",
        json_schema_extra=shown("share of recall"),
    )
    keep_every: int = Field(
        0,
        ge=0,
        title="Keep every",
        description="The networks of each such step are kept for good, so that one can look back at them: search, "
        "map and confusion at that step. They are kept without the optimiser's state. 0 keeps none.",
        json_schema_extra=shown("steps"),
    )


class RuntimeConfig(Section):
    """Where and how it runs; changes speed, not the method."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="auto takes a CUDA GPU, then Apple's, then the CPU.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", title="Precision", description="auto uses bfloat16 where the hardware has it.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    tf32: bool = Field(
        False,
        title="TF32",
        description="float32 matrix products on an NVIDIA GPU's tensor cores, with 10 bits of mantissa: faster, less "
        "exact. For precision fp32.",
        json_schema_extra=shown("", advanced=True),
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        title="CPU threads",
        description="0: as many as there are cores.",
        json_schema_extra=shown("threads", advanced=True),
    )
    shard: int = Field(
        1,
        ge=1,
        le=4096,
        title="Split weights over",
        description="Of several processes so many share the weights, their moments and gradients, for models that one "
        "GPU cannot hold (FSDP); the groups repeat each other. 1: every process has all weights.",
        json_schema_extra=shown("processes", advanced=True),
    )
    patience: int = Field(
        600,
        ge=5,
        le=86400,
        title="Patience",
        description="A run over several processes is interrupted when one has not answered for so long.",
        json_schema_extra=shown("s", advanced=True),
    )
    compile: bool = Field(
        False,
        title="Compile",
        description="Each transformer block is compiled (torch.compile): some minutes at the start, then faster steps "
        "on a GPU.",
        json_schema_extra=shown("", advanced=True),
    )
    recompute: Literal["none", "selective", "blocks"] = Field(
        "none",
        title="Activation checkpointing",
        description="What is computed again on the way back instead of being kept. selective: all but the products of "
        "each block; blocks: whole blocks, which takes the least memory and the most time.",
        json_schema_extra=shown("", advanced=True),
    )
    log_every: int = Field(
        1, ge=1, title="Report every", description="Losses are written each so many steps.",
        json_schema_extra=shown("steps", advanced=True),
    )  # fmt: skip
    system_every: float = Field(
        5.0, ge=0, le=3600, title="System metrics every",
        description="Load of CPU, memory, disk, network and GPUs, reported beside the losses. 0: never.",
        json_schema_extra=shown("s", advanced=True),
    )  # fmt: skip
    record_code: bool = Field(
        True, title="Record code",
        description="Keeps the git commit and the uncommitted changes of the trainer's code in the run folder.",
        json_schema_extra=shown("", advanced=True),
    )  # fmt: skip
