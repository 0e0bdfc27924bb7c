"""Settings besides the method: data, optimisation, validation, checkpoints, runtime."""

from __future__ import annotations

from typing import Literal

from core.spec.config.base import Section, Share, Text, setting
from core.spec.extending.references import ReferenceText


class DataConfig(Section):
    """The data sets and how they are read."""

    train: Text = setting(
        "",
        "Training data",
        "CSV, TSV, JSON lines, COCO captions JSON, a folder of class folders, images with .txt files, or "
        "shards: tars, as in shards/{00000..00099}.tar.",
        widget="source",
    )
    val: Text = setting(
        "", "Validation data", "Pairs for validation during training; leave empty for none.", widget="source"
    )
    test: Text = setting(
        "",
        "Test data",
        "Pairs for the final evaluation, not used during training; leave empty for none.",
        widget="source",
    )
    retain: Text = setting(
        "",
        "Retained data",
        "Pairs that a fine-tuned model should still retrieve, evaluated with the validation data and "
        "before the first step. Separate several with semicolons; NAME=PATH gives one a name.",
        widget="source",
    )
    dataset: ReferenceText = setting(
        "",
        "Custom data set",
        "Your own function, FILE.py:NAME, which is called with each of the names above and returns a data "
        "set; empty: the formats above.",
        advanced=True,
    )
    label: Text = setting(
        "",
        "Label",
        "Column whose values are the classes, for objectives that classify; empty for none.",
        widget="column",
    )
    labels_per_class: int = setting(
        0,
        "Labels per class",
        "Number of rows of each class that keep their label, drawn with the seed; the others count as "
        "unlabelled. 0 keeps all labels.",
        unit="rows",
        ge=0,
    )
    unlabelled_ratio: int = setting(
        0,
        "Unlabelled ratio",
        "Number of unlabelled rows per labelled row in a batch (FixMatch: 7), in addition to the batch "
        "size. 0 draws labelled and unlabelled rows together.",
        unit="rows per labelled row",
        ge=0,
        le=64,
    )
    max_bad_share: Share = setting(
        0.05,
        "Bad rows allowed",
        "Rows that cannot be read are skipped and listed; a larger share than this stops the run.",
        unit="share",
    )
    cache_mib: int = setting(
        4096,
        "Image cache",
        "Decoded images are cached (memory-mapped) if they fit into this size; else they are streamed.",
        unit="MiB",
        ge=0,
        advanced=True,
    )
    max_megapixels: int = setting(
        200,
        "Largest image",
        "Larger images count as bad rows: they may be decompression bombs.",
        unit="MP",
        ge=1,
        advanced=True,
    )
    streams: int = setting(
        64,
        "Streams",
        "Number of parallel streams that shards are read as; each gives an equal part of every batch. Must "
        "be divisible by the number of processes; it is reduced to a divisor of the batch size.",
        unit="streams",
        ge=1,
        le=4096,
        advanced=True,
    )
    decoding: Literal["exact", "fast"] = setting(
        "exact",
        "Decoding",
        "fast prepares three times as many images per second: a JPEG is decoded at a fraction of its size, "
        "and resized once. exact decodes it whole, and resizes it with Pillow first.",
        advanced=True,
    )
    workers: int = setting(
        -1,
        "Loader processes",
        "Processes per GPU that decode and augment in advance; 0: the trainer does it. -1: chosen by the "
        "number of cores; none for training on the CPU.",
        unit="processes",
        ge=-1,
        le=128,
        advanced=True,
    )


class OptimConfig(Section):
    """AdamW with warm-up and cosine decay."""

    epochs: float = setting(30.0, "Epochs", "Passes over the training data.", unit="epochs", gt=0.0, le=100000.0)
    batch_size: int = setting(
        256, "Batch size", "Pairs per step; they are each other's negatives.", unit="pairs", ge=2, le=1048576
    )
    micro_batch: int = setting(
        0,
        "Micro-batch",
        "Pairs that the towers process at once; the losses still see the whole batch (GradCache). Takes "
        "less memory and one more forward pass; batch norm sees only these pairs. 0: the whole batch.",
        unit="pairs",
        ge=0,
        le=1048576,
        advanced=True,
    )
    learning_rate: float = setting(5e-4, "Learning rate", "Peak value, reached after the warm-up.", gt=0.0, le=10.0)
    warmup: Share = setting(
        0.05,
        "Warm-up",
        "The learning rate rises linearly over this share of training, then falls as a cosine towards 0.",
        unit="share of steps",
    )
    weight_decay: float = setting(
        0.2, "Weight decay", "Applied to matrices only, not to gains, biases and the logit scale.", ge=0.0, le=10.0
    )
    anchor: float = setting(
        0.0,
        "Anchor",
        "Decay towards the initial weights (L2-SP): each step moves the weights back by this times the "
        "learning rate. 0: none.",
        ge=0.0,
        le=100.0,
        advanced=True,
    )
    layer_decay: float = setting(
        1.0,
        "Layer-wise decay",
        "The learning rate of each block of a tower is this times that of the next block (BEiT: 0.65 for "
        "fine-tuning). 1: the same for all blocks.",
        unit="per block",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    beta1: float = setting(0.9, "Beta 1", "AdamW's momentum.", ge=0.0, lt=1.0, advanced=True)
    beta2: float = setting(0.98, "Beta 2", "AdamW's decay of squared gradients.", ge=0.0, lt=1.0, advanced=True)
    eps: float = setting(1e-6, "Epsilon", "AdamW's term against division by zero.", gt=0.0, le=1.0, advanced=True)
    clip_norm: float = setting(
        1.0, "Gradient clipping", "Maximum norm of the whole gradient; 0: no clipping.", unit="norm", ge=0.0
    )


class ValidationConfig(Section):
    """Retrieval on the validation data, by student and teacher separately."""

    every_steps: int = setting(
        0, "Validate every", "0: after each epoch. The last step is always validated.", unit="steps", ge=0
    )
    batch_size: int = setting(256, "Batch size", "Images encoded at once.", unit="images", ge=1, advanced=True)


class CheckpointConfig(Section):
    """The checkpoints of a run: the last, the best and optionally more."""

    every_steps: int = setting(
        0, "Save every", "0: after each epoch. The last step is always saved.", unit="steps", ge=0
    )
    keep: int = setting(
        1, "Keep", "Number of newest checkpoints to keep, besides the best by validation.", unit="checkpoints", ge=1
    )
    keep_retained: Share = setting(
        0.0,
        "Retain at least",
        "The best checkpoint is the one with the highest validation value among those that retain this "
        "share of the initial model's mean recall on all retained data. 0: no constraint.",
        unit="share of recall",
    )
    keep_every: int = setting(
        0,
        "Keep every",
        "Keeps the networks permanently at this interval, for search, map and confusion at earlier steps, "
        "without the optimiser's state. 0: none.",
        unit="steps",
        ge=0,
    )


class RuntimeConfig(Section):
    """Where and how a run executes; affects speed, not the method."""

    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", "Device", "auto: a CUDA GPU, else an Apple GPU, else the CPU."
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "Precision", "auto: bfloat16 if the hardware supports it."
    )
    tf32: bool = setting(
        False,
        "TF32",
        "float32 matrix products on an NVIDIA GPU's tensor cores, with 10 bits of mantissa: faster, but "
        "less exact. For precision fp32.",
        advanced=True,
    )
    threads: int = setting(0, "CPU threads", "0: one per core.", unit="threads", ge=0, le=1024, advanced=True)
    shard: int = setting(
        1,
        "Shard weights over",
        "Number of processes that share one copy of the weights, moments and gradients, for models that do "
        "not fit on one GPU (FSDP); groups of them are replicas. 1: every process has all weights.",
        unit="processes",
        ge=1,
        le=4096,
        advanced=True,
    )
    patience: int = setting(
        600,
        "Patience",
        "A run on several processes is interrupted when one of them does not answer for this long.",
        unit="s",
        ge=5,
        le=86400,
        advanced=True,
    )
    compile: bool = setting(
        False,
        "Compile",
        "Compile each transformer block (torch.compile): takes some minutes at the start, then steps are "
        "faster on a GPU.",
        advanced=True,
    )
    recompute: Literal["none", "selective", "blocks"] = setting(
        "none",
        "Activation checkpointing",
        "Activations to recompute in the backward pass instead of storing them. selective: all except "
        "matrix products; blocks: whole blocks, which takes the least memory and the most time.",
        advanced=True,
    )
    log_every: int = setting(
        1, "Report every", "Interval at which losses are written.", unit="steps", ge=1, advanced=True
    )
    system_every: float = setting(
        5.0,
        "System metrics every",
        "Load of CPU, memory, disk, network and GPUs, reported beside the losses. 0: never.",
        unit="s",
        ge=0,
        le=3600,
        advanced=True,
    )
    record_code: bool = setting(
        True,
        "Record code",
        "Record the git commit and uncommitted changes of the trainer's code in the run folder.",
        advanced=True,
    )
