"""Settings that are not part of the method: data, optimisation, validation, checkpoints, runtime."""

from __future__ import annotations

from typing import Literal

from core.spec.config.base import Section, Share, Text, setting
from core.spec.extending.references import ReferenceText


class DataConfig(Section):
    """The data sets and how they are read."""

    train: Text = setting(
        "",
        "Training data",
        "CSV, TSV, JSON lines, COCO captions JSON, a folder of class folders, images with .txt files, or tar shards "
        "such as shards/{00000..00099}.tar.",
        widget="source",
    )
    val: Text = setting("", "Validation data", "Pairs for validation during training. Optional.", widget="source")
    test: Text = setting(
        "",
        "Test data",
        "Pairs for the final evaluation, not used during training. Optional.",
        widget="source",
    )
    retain: Text = setting(
        "",
        "Retained data",
        "Pairs that a fine-tuned model should still retrieve. They are evaluated before the first step and at each "
        "validation, with or without validation data. Separate several data sets with semicolons; NAME=PATH sets a "
        "name. The name general is a small included set of drawings.",
        widget="source",
    )
    dataset: ReferenceText = setting(
        "",
        "Custom data set",
        "A function, as FILE.py:NAME, that is called with each of the data settings above and returns a data set. "
        "Leave empty to use the formats above.",
        advanced=True,
    )
    label: Text = setting(
        "",
        "Label",
        "Column that contains the class of each row, for objectives that classify. Optional.",
        widget="column",
    )
    labels_per_class: int = setting(
        0,
        "Labels per class",
        "Number of rows per class that keep their label, drawn at random from the seed. The other rows count as "
        "unlabelled. 0 keeps all labels.",
        unit="rows",
        ge=0,
    )
    unlabelled_ratio: int = setting(
        0,
        "Unlabelled ratio",
        "Number of unlabelled rows in a batch for each labelled row (FixMatch: 7). The batch size then counts only "
        "labelled rows. 0 draws labelled and unlabelled rows together.",
        unit="rows per labelled row",
        ge=0,
        le=64,
    )
    max_bad_share: Share = setting(
        0.05,
        "Bad rows allowed",
        "Rows that cannot be read are skipped and listed. If their share exceeds this limit, the run stops.",
        unit="share",
    )
    cache_mib: int = setting(
        4096,
        "Image cache",
        "Decoded images are cached in a file if they fit into this size. Otherwise they are decoded in every epoch.",
        unit="MiB",
        ge=0,
        advanced=True,
    )
    max_megapixels: int = setting(
        200,
        "Largest image",
        "Larger images count as bad rows, because they may be decompression bombs.",
        unit="MP",
        ge=1,
        advanced=True,
    )
    streams: int = setting(
        64,
        "Streams",
        "Number of streams that read the shards in parallel; each contributes equally to every batch. It must be "
        "divisible by the number of processes, and is reduced to a divisor of the batch size.",
        unit="streams",
        ge=1,
        le=4096,
        advanced=True,
    )
    decoding: Literal["exact", "fast"] = setting(
        "exact",
        "Decoding",
        "exact resizes each image with Pillow before views are cropped. fast decodes JPEGs at a reduced size and often "
        "resizes only the crop, which prepares three times as many images per second.",
        advanced=True,
    )
    workers: int = setting(
        -1,
        "Loader processes",
        "Processes per GPU that decode and augment images in advance. 0 loads them in the trainer's process. -1 "
        "chooses by the number of cores (on the CPU: 0).",
        unit="processes",
        ge=-1,
        le=128,
        advanced=True,
    )


class OptimConfig(Section):
    """AdamW with warm-up and cosine decay."""

    epochs: float = setting(
        30.0, "Epochs", "Number of passes over the training data.", unit="epochs", gt=0.0, le=100000.0
    )
    batch_size: int = setting(
        256, "Batch size", "Number of pairs per step; they are each other's negatives.", unit="pairs", ge=2, le=1048576
    )
    micro_batch: int = setting(
        0,
        "Micro-batch",
        "Number of pairs that the towers process together; the losses still see the whole batch (GradCache). This "
        "needs less memory, but an additional forward pass; batch norm sees only these pairs. 0 processes the whole "
        "batch.",
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
        "Decay towards the initial weights (L2-SP). Each step shortens the distance to them by the learning rate times "
        "this value. 0 turns it off.",
        ge=0.0,
        le=100.0,
        advanced=True,
    )
    layer_decay: float = setting(
        1.0,
        "Layer-wise decay",
        "Ratio of a block's learning rate to the learning rate of the next block of the tower (BEiT: 0.65 for "
        "fine-tuning). With 1, all blocks have the same rate.",
        unit="per block",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    beta1: float = setting(0.9, "Beta 1", "AdamW's momentum.", ge=0.0, lt=1.0, advanced=True)
    beta2: float = setting(0.98, "Beta 2", "AdamW's decay of squared gradients.", ge=0.0, lt=1.0, advanced=True)
    eps: float = setting(1e-6, "Epsilon", "AdamW's term against division by zero.", gt=0.0, le=1.0, advanced=True)
    clip_norm: float = setting(
        1.0, "Gradient clipping", "Maximum norm of the whole gradient. 0 turns clipping off.", unit="norm", ge=0.0
    )


class ValidationConfig(Section):
    """Retrieval on the validation data, measured separately for student and teacher."""

    every_steps: int = setting(
        0,
        "Validate every",
        "Interval between validations; 0 validates after each epoch. The last step is always validated.",
        unit="steps",
        ge=0,
    )
    batch_size: int = setting(256, "Batch size", "Images per encoded batch.", unit="images", ge=1, advanced=True)


class CheckpointConfig(Section):
    """The checkpoints of a run: the last, the best and optionally more."""

    every_steps: int = setting(
        0,
        "Save every",
        "Interval between checkpoints; 0 saves after each epoch. The last step is always saved.",
        unit="steps",
        ge=0,
    )
    keep: int = setting(
        1,
        "Newest to keep",
        "Number of newest checkpoints to keep, in addition to the best by validation.",
        unit="checkpoints",
        ge=1,
    )
    keep_retained: Share = setting(
        0.0,
        "Minimum retention",
        "A checkpoint counts as the best only if it retains this share of the initial model's mean recall on the "
        "retained data. 0 sets no minimum.",
        unit="share of recall",
    )
    keep_every: int = setting(
        0,
        "Keep every",
        "Interval at which the networks are kept permanently, without the optimiser's state, for search, map and "
        "confusion at earlier steps. 0 keeps none.",
        unit="steps",
        ge=0,
    )


class RuntimeConfig(Section):
    """Where and how a run executes. These settings affect its speed, not the method."""

    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", "Device", "auto uses a CUDA GPU if available, otherwise an Apple GPU, otherwise the CPU."
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "Precision", "auto uses bfloat16 if the hardware supports it."
    )
    tf32: bool = setting(
        False,
        "TF32",
        "Compute float32 matrix products in TF32 (10 bits of mantissa) on the tensor cores of an NVIDIA GPU: faster, "
        "but less exact. Used only with precision fp32.",
        advanced=True,
    )
    threads: int = setting(
        0, "CPU threads", "Number of CPU threads; 0 uses one per core.", unit="threads", ge=0, le=1024, advanced=True
    )
    shard: int = setting(
        1,
        "Shard size",
        "Number of processes that share one copy of the weights, moments and gradients, for models that do not fit on "
        "one GPU (FSDP). Further groups of this size hold replicas. With 1, every process has all weights.",
        unit="processes",
        ge=1,
        le=4096,
        advanced=True,
    )
    patience: int = setting(
        600,
        "Process timeout",
        "A run on several processes is interrupted when one of them does not respond for this long.",
        unit="s",
        ge=5,
        le=86400,
        advanced=True,
    )
    compile: bool = setting(
        False,
        "Compile",
        "Compile each transformer block (torch.compile). Training begins some minutes later, but steps on a GPU are "
        "faster.",
        advanced=True,
    )
    recompute: Literal["none", "selective", "blocks"] = setting(
        "none",
        "Activation checkpointing",
        "Activations to recompute in the backward pass instead of storing them. selective recomputes all except "
        "matrix products; blocks recomputes whole blocks, which needs the least memory and the most time.",
        advanced=True,
    )
    log_every: int = setting(1, "Log every", "Interval at which losses are logged.", unit="steps", ge=1, advanced=True)
    system_every: float = setting(
        5.0,
        "System metrics every",
        "Interval at which the load of CPU, memory, disk, network and GPUs is logged. 0 never logs it.",
        unit="s",
        ge=0,
        le=3600,
        advanced=True,
    )
    record_code: bool = setting(
        True,
        "Record code",
        "Save the git commit and the uncommitted changes of the trainer's code in the run folder.",
        advanced=True,
    )
