"""RunConfig: the only description of an experiment.

Flow: the form (or a preset, or a file) builds a frozen ``RunConfig``; the launcher writes it to the run
folder; the trainer reads nothing else. Every field carries a title, a description, a unit and a range,
because the form is generated from them and an error lands on the field it names.

Derived values (steps in all, image size of an architecture) are never stored.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError

CONFIG_VERSION = 1


class ConfigError(UserError):
    """A definition that cannot be used; the message names the field, the value and the remedy."""


class Section(BaseModel):
    """A frozen group of fields; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _unit(unit: str, advanced: bool = False, widget: str = "") -> dict[str, Any]:
    """Extra facts for the form: the unit shown after the value, whether it hides under *More*, the editor."""
    extra: dict[str, Any] = {"unit": unit}
    if advanced:
        extra["advanced"] = True
    if widget:
        extra["widget"] = widget
    return extra


Share = Annotated[float, Field(ge=0.0, le=1.0)]


class DataConfig(Section):
    """Where pairs come from and how they are kept."""

    train: str = Field(
        "",
        title="Training data",
        description="CSV, TSV, JSON lines, COCO captions JSON, a folder of class folders, or pictures with .txt files.",
        json_schema_extra=_unit("", widget="source"),
    )
    val: str = Field(
        "",
        title="Validation data",
        description="Pairs to validate on while training; leave empty for none.",
        json_schema_extra=_unit("", widget="source"),
    )
    test: str = Field(
        "",
        title="Test data",
        description="Pairs kept for the end, never looked at while training; leave empty for none.",
        json_schema_extra=_unit("", widget="source"),
    )
    max_bad_share: Share = Field(
        0.05,
        title="Bad rows allowed",
        description="Rows that cannot be read are skipped and listed; a larger share of them stops the run.",
        json_schema_extra=_unit("share"),
    )
    cache_mib: int = Field(
        4096,
        ge=0,
        title="Picture cache",
        description="Decoded pictures are kept (memory-mapped) when they fit into this; else they are streamed.",
        json_schema_extra=_unit("MiB", advanced=True),
    )
    oversample: float = Field(
        1.25,
        ge=1.0,
        le=8.0,
        title="Decoded size",
        description="Shorter side of a decoded picture, as a multiple of the model's input size.",
        json_schema_extra=_unit("x", advanced=True),
    )
    max_megapixels: int = Field(
        200,
        ge=1,
        title="Largest picture",
        description="A larger picture counts as a bad row: it may be a decompression bomb.",
        json_schema_extra=_unit("MP", advanced=True),
    )
    workers: int = Field(
        0,
        ge=0,
        le=128,
        title="Loader processes",
        description="Processes that decode and augment ahead of training; 0 does it in the trainer.",
        json_schema_extra=_unit("processes", advanced=True),
    )


class ViewConfig(Section):
    """How one kind of view of a picture is made: a random resized crop, then what is switched on."""

    count: int = Field(
        1, ge=0, le=16, title="Views", description="How many such views of each picture.", json_schema_extra=_unit("")
    )
    crop_min: float = Field(
        0.8,
        gt=0.0,
        le=1.0,
        title="Smallest crop",
        description="Least share of the picture's area that a random crop keeps.",
        json_schema_extra=_unit("share of area"),
    )
    crop_max: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Largest crop",
        description="Greatest share of the picture's area that a random crop keeps.",
        json_schema_extra=_unit("share of area"),
    )
    flip: bool = Field(
        False,
        title="Mirror",
        description="Mirror half of the views. Leave it off where captions speak of left and right.",
        json_schema_extra=_unit("", advanced=True),
    )
    randaugment_ops: int = Field(
        0,
        ge=0,
        le=8,
        title="RandAugment operations",
        description="Random distortions applied one after another (Cubuk et al. 2020); 0 for none.",
        json_schema_extra=_unit(""),
    )
    randaugment_magnitude: int = Field(
        9,
        ge=0,
        le=30,
        title="RandAugment magnitude",
        description="Strength of each distortion, out of 30.",
        json_schema_extra=_unit("of 30", advanced=True),
    )
    erase: Share = Field(
        0.0,
        title="Random erasing",
        description="Probability that a rectangle of the view is erased.",
        json_schema_extra=_unit("probability", advanced=True),
    )
    mix: Literal["none", "mixup", "cutmix"] = Field(
        "none",
        title="Interpolation",
        description="mixup blends two pictures (Zhang et al. 2018), cutmix pastes a patch of one into the other.",
        json_schema_extra=_unit(""),
    )
    mix_alpha: float = Field(
        0.75,
        gt=0.0,
        le=10.0,
        title="Interpolation alpha",
        description="Blend share is drawn from Beta(alpha, alpha) and folded to at least one half (MixMatch).",
        json_schema_extra=_unit("", advanced=True),
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
        json_schema_extra=_unit("", widget="architecture"),
    )
    pretrained: str = Field(
        "",
        title="Start from",
        description="Empty: from scratch. Else an open_clip tag, a local folder or weights file, or a former run.",
        json_schema_extra=_unit("", widget="folder"),
    )


class FusionConfig(Section):
    """How image and text are joined into one representation."""

    kind: Literal["none", "cross-attention"] = Field(
        "none",
        title="Fusion",
        description="cross-attention: text tokens attend to image tokens; the last text token is the pair.",
        json_schema_extra=_unit(""),
    )
    layers: int = Field(
        1, ge=1, le=24, title="Layers", description="Cross-attention blocks.", json_schema_extra=_unit("")
    )
    heads: int = Field(
        4, ge=1, le=64, title="Heads", description="Attention heads per block.", json_schema_extra=_unit("")
    )
    width: int = Field(
        256,
        ge=8,
        le=8192,
        title="Width",
        description="Width of the fused representation; a multiple of the heads.",
        json_schema_extra=_unit("channels"),
    )


class TeacherConfig(Section):
    """The network that makes the targets; it is never given a gradient."""

    kind: Literal["none", "ema"] = Field(
        "none",
        title="Teacher",
        description="ema: moving average of the student's parameters, updated after each optimiser step.",
        json_schema_extra=_unit(""),
    )
    momentum: float = Field(
        0.999,
        ge=0.0,
        lt=1.0,
        title="Momentum",
        description="Share of the teacher that survives one step. Larger is smoother and slower.",
        json_schema_extra=_unit("per step"),
    )
    momentum_schedule: Literal["constant", "cosine"] = Field(
        "constant",
        title="Momentum schedule",
        description="cosine rises to 1 by the end of training (DINO).",
        json_schema_extra=_unit("", advanced=True),
    )
    momentum_warmup: bool = Field(
        True,
        title="Momentum warm-up",
        description="Use min(1 - 1/(step + 1), momentum), so that the teacher forgets its random start (Mean Teacher).",
        json_schema_extra=_unit("", advanced=True),
    )


class ObjectiveConfig(Section):
    """What every objective has: a weight that may rise over the first part of training."""

    weight: float = Field(
        0.0, ge=0.0, le=1000.0, title="Weight", description="Factor of this loss; 0 leaves it out.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    ramp: Share = Field(
        0.0,
        title="Ramp",
        description="The weight rises linearly from 0 over this share of training.",
        json_schema_extra=_unit("share of steps"),
    )


class ContrastiveConfig(ObjectiveConfig):
    """Symmetric InfoNCE over the batch (Radford et al. 2021)."""

    weight: float = Field(
        1.0, ge=0.0, le=1000.0, title="Weight", description="Factor of this loss; 0 leaves it out.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        title="Label smoothing",
        description="Share of the target spread over the other pairs of the batch (ALIGN: 0.1).",
        json_schema_extra=_unit("share", advanced=True),
    )


class DistillSimilarityConfig(ObjectiveConfig):
    """Match the teacher's image-to-text and text-to-image softmax over the batch (ALBEF, Li et al. 2021)."""


class DistillPrototypesConfig(ObjectiveConfig):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021)."""

    on: Literal["fused", "image", "text"] = Field(
        "fused",
        title="On",
        description="Which representation is distilled; fused needs a fusion.",
        json_schema_extra=_unit(""),
    )
    prototypes: int = Field(
        1024,
        ge=2,
        le=262144,
        title="Prototypes",
        description="About 1024 up to 20,000 pictures, 4096 at 100,000, 65536 for web data.",
        json_schema_extra=_unit(""),
    )
    student_temperature: float = Field(
        0.1, gt=0.0, le=10.0, title="Student temperature", description="Divides the student's logits.",
        json_schema_extra=_unit("", advanced=True),
    )  # fmt: skip
    teacher_temperature: float = Field(
        0.04,
        gt=0.0,
        le=10.0,
        title="Teacher temperature",
        description="Divides the teacher's logits; sharper than the student's, against collapse to uniform.",
        json_schema_extra=_unit("", advanced=True),
    )
    center_momentum: float = Field(
        0.9,
        ge=0.0,
        lt=1.0,
        title="Centre momentum",
        description="Moving average of the teacher's logits that is subtracted, against collapse to one prototype.",
        json_schema_extra=_unit("per step", advanced=True),
    )


class ObjectivesConfig(Section):
    """What the student is trained on; the loss is the weighted sum."""

    contrastive: ContrastiveConfig = Field(
        ContrastiveConfig(), title="Contrastive", description="Pull matching pairs together, others apart."
    )
    distill_similarity: DistillSimilarityConfig = Field(
        DistillSimilarityConfig(),
        title="Distil similarities",
        description="Match the teacher's similarities between the batch's images and texts. Needs a teacher.",
    )
    distill_prototypes: DistillPrototypesConfig = Field(
        DistillPrototypesConfig(),
        title="Distil prototypes",
        description="Match the teacher's softmax over prototypes of the joint representation. Needs a teacher.",
    )


class OptimConfig(Section):
    """AdamW with warm-up and cosine decay."""

    epochs: float = Field(
        30.0, gt=0.0, le=100000.0, title="Epochs", description="Passes over the training data.",
        json_schema_extra=_unit("epochs"),
    )  # fmt: skip
    batch_size: int = Field(
        256, ge=2, le=1048576, title="Batch size", description="Pairs a step; the contrast is among them.",
        json_schema_extra=_unit("pairs"),
    )  # fmt: skip
    learning_rate: float = Field(
        5e-4, gt=0.0, le=10.0, title="Learning rate", description="Peak, reached after the warm-up.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    warmup: Share = Field(
        0.05,
        title="Warm-up",
        description="The learning rate rises linearly over this share of training, then falls along a cosine to 0.",
        json_schema_extra=_unit("share of steps"),
    )
    weight_decay: float = Field(
        0.2,
        ge=0.0,
        le=10.0,
        title="Weight decay",
        description="Of matrices only; gains, biases and the logit scale are left alone.",
        json_schema_extra=_unit(""),
    )
    beta1: float = Field(
        0.9, ge=0.0, lt=1.0, title="Beta 1", description="AdamW's momentum.", json_schema_extra=_unit("", advanced=True)
    )
    beta2: float = Field(
        0.98,
        ge=0.0,
        lt=1.0,
        title="Beta 2",
        description="AdamW's memory of squared gradients.",
        json_schema_extra=_unit("", advanced=True),
    )
    eps: float = Field(
        1e-6, gt=0.0, le=1.0, title="Epsilon", description="AdamW's guard against division by zero.",
        json_schema_extra=_unit("", advanced=True),
    )  # fmt: skip
    clip_norm: float = Field(
        1.0,
        ge=0.0,
        title="Gradient clipping",
        description="Greatest norm of the whole gradient; 0 does not clip.",
        json_schema_extra=_unit("norm"),
    )


class ValidationConfig(Section):
    """Retrieval on the validation data, student and teacher apart."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Validate every",
        description="0: after each epoch. The end of training is always validated.",
        json_schema_extra=_unit("steps"),
    )
    batch_size: int = Field(
        256, ge=1, title="Batch size", description="Pictures encoded at once.",
        json_schema_extra=_unit("pictures", advanced=True),
    )  # fmt: skip


class CheckpointConfig(Section):
    """What is kept of a run: the last, the best and, if asked for, more."""

    every_steps: int = Field(
        0,
        ge=0,
        title="Save every",
        description="0: after each epoch. The end of training is always saved.",
        json_schema_extra=_unit("steps"),
    )
    keep: int = Field(
        1,
        ge=1,
        title="Keep",
        description="How many of the newest to keep; the best by validation is kept besides.",
        json_schema_extra=_unit("checkpoints"),
    )


class RuntimeConfig(Section):
    """Where and how it runs; changes speed, not the method."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title="Device", description="auto takes a CUDA GPU, then Apple's, then the CPU.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", title="Precision", description="auto uses bfloat16 where the hardware has it.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        title="CPU threads",
        description="0: as many as there are cores.",
        json_schema_extra=_unit("threads", advanced=True),
    )
    log_every: int = Field(
        1, ge=1, title="Report every", description="Losses are written each so many steps.",
        json_schema_extra=_unit("steps", advanced=True),
    )  # fmt: skip
    nonfinite_limit: int = Field(
        5,
        ge=1,
        title="Non-finite losses allowed",
        description="So many in a row end the run; a single one skips its step.",
        json_schema_extra=_unit("steps", advanced=True),
    )


class RunConfig(Section):
    """An experiment, whole."""

    version: Literal[1] = Field(CONFIG_VERSION, title="Version", json_schema_extra=_unit("", advanced=True))
    name: str = Field(
        "untitled", min_length=1, max_length=120, title="Name", description="What you call it.",
        json_schema_extra=_unit(""),
    )  # fmt: skip
    preset: str = Field("", title="Preset", description="What it started from.", json_schema_extra=_unit(""))
    seed: int = Field(
        0, ge=0, lt=2**31, title="Seed", description="Of weights, order and augmentation.", json_schema_extra=_unit("")
    )
    data: DataConfig = Field(DataConfig(), title="Data")
    views: ViewsConfig = Field(ViewsConfig(), title="Views")
    towers: TowersConfig = Field(TowersConfig(), title="Towers")
    fusion: FusionConfig = Field(FusionConfig(), title="Fusion")
    teacher: TeacherConfig = Field(TeacherConfig(), title="Teacher")
    objectives: ObjectivesConfig = Field(ObjectivesConfig(), title="Objectives")
    optim: OptimConfig = Field(OptimConfig(), title="Optimiser")
    validation: ValidationConfig = Field(ValidationConfig(), title="Validation")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), title="Checkpoints")
    runtime: RuntimeConfig = Field(RuntimeConfig(), title="Runtime")

    def to_json(self) -> str:
        """The definition as readable JSON, the same bytes for the same definition."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over the canonical JSON; names a definition."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def problems(config: RunConfig) -> dict[str, str]:
    """Contradictions between fields that no single range can express: dotted field -> sentence with the remedy."""
    found: dict[str, str] = {}
    objectives, teacher = config.objectives, config.teacher
    distils = {"distill_similarity": objectives.distill_similarity, "distill_prototypes": objectives.distill_prototypes}
    for name, objective in distils.items():
        if objective.weight > 0 and teacher.kind == "none":
            found[f"objectives.{name}.weight"] = "It needs a teacher: set teacher.kind to ema, or this weight to 0."
    prototypes = objectives.distill_prototypes
    if prototypes.weight > 0 and prototypes.on == "fused" and config.fusion.kind == "none":
        found["objectives.distill_prototypes.on"] = "fused needs a fusion: set fusion.kind, or distil image or text."
    if all(objective.weight == 0 for objective in (objectives.contrastive, *distils.values())):
        found["objectives.contrastive.weight"] = "Every objective has weight 0; give at least one a weight."
    if config.fusion.width % config.fusion.heads:
        heads, width = config.fusion.heads, config.fusion.width
        found["fusion.width"] = f"{width} is not a multiple of the {heads} heads; try {heads * max(1, width // heads)}."
    for name in ("clean", "student", "teacher"):
        view: ViewConfig = getattr(config.views, name)
        if view.crop_min > view.crop_max:
            found[f"views.{name}.crop_min"] = f"{view.crop_min} is above the largest crop, {view.crop_max}."
    if config.views.clean.count != 1:
        found["views.clean.count"] = "There is exactly one clean view; add further ones under the student's views."
    if config.views.clean.mix != "none":
        found["views.clean.mix"] = "The clean view carries the contrastive loss and is not interpolated."
    if config.views.teacher.count > 1:
        found["views.teacher.count"] = "The teacher sees one view, or 0 for the clean view itself."
    if config.views.teacher.mix != "none":
        found["views.teacher.mix"] = "Targets of whole pictures are interpolated; the teacher's view is not."
    return found


def parse_config(text: str, origin: str) -> RunConfig:
    """A definition from JSON text.

    Raises ConfigError naming ``origin``, each wrong field, its value and, for unknown keys, the nearest one.
    """
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{origin} is not JSON: {error.msg} at line {error.lineno}.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin} holds {type(raw).__name__}, not an experiment; see `python -m core presets clip`.")
    version = raw.get("version", CONFIG_VERSION)
    if version != CONFIG_VERSION:
        raise ConfigError(
            f"{origin} has version {version}, this program reads {CONFIG_VERSION}; use the release that wrote it."
        )
    return validate(raw, origin)


def read_config(path: Path) -> RunConfig:
    """The definition in a file; ConfigError when it is missing or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the experiment {path}: {error}") from error
    return parse_config(text, str(path))


def validate(raw: dict[str, Any], origin: str) -> RunConfig:
    """A definition from plain data; ConfigError lists every wrong field in one message."""
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {field}: {text}" for field, text in field_errors(error).items()]
        raise ConfigError(f"{origin} cannot be used:\n" + "\n".join(lines)) from error
    found = problems(config)
    if found:
        lines = [f"  {field}: {text}" for field, text in found.items()]
        raise ConfigError(f"{origin} contradicts itself:\n" + "\n".join(lines))
    return config


def field_errors(error: ValidationError) -> dict[str, str]:
    """pydantic's errors as dotted field -> sentence; the form shows each at its field."""
    found: dict[str, str] = {}
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            found[field] = f"there is no such field{_nearest(field)}."
        else:
            found[field] = f"{item['msg']}, got {item['input']!r}."
    return found


def field_names() -> list[str]:
    """Every settable field, dotted, in the order of the form."""
    names: list[str] = []

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                walk(kind, f"{prefix}{name}.")
            else:
                names.append(prefix + name)

    walk(RunConfig, "")
    return names


def _nearest(field: str) -> str:
    close = difflib.get_close_matches(field, field_names(), n=3, cutoff=0.5)
    if not close:
        leaf = field.rsplit(".", 1)[-1]
        close = [name for name in field_names() if name.rsplit(".", 1)[-1] == leaf][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def override(config: RunConfig, settings: list[str]) -> RunConfig:
    """``config`` with ``a.b=value`` settings applied in order; values are JSON, else taken as text.

    Raises ConfigError for a malformed setting, an unknown field (naming the nearest) or a bad value.
    """
    raw = config.model_dump(mode="json")
    known = set(field_names())
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"--set {setting!r} has no '='; write --set optim.epochs=3.")
        if name not in known:
            raise ConfigError(f"--set {setting!r}: there is no field {name!r}{_nearest(name)}")
        _assign(raw, name.split("."), _value(text))
    return validate(raw, "the experiment with --set")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(raw: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        raw = raw[part]
    # A path such as "2024" is text where the field is text.
    raw[path[-1]] = str(value) if isinstance(raw[path[-1]], str) and not isinstance(value, str) else value


def differences(ours: RunConfig, theirs: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Fields in which two definitions differ: dotted field -> (ours, theirs)."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in field_names():
        left, right = get_field(ours, name), get_field(theirs, name)
        if left != right:
            found[name] = (left, right)
    return found


def get_field(config: RunConfig, name: str) -> Any:
    """The value of a dotted field."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
