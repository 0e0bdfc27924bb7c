"""RunConfig: the only description of an experiment, and how it is read, checked and changed.

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
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from core.config.axes import FusionConfig, ObjectivesConfig, TeacherConfig, TowersConfig, ViewConfig, ViewsConfig
from core.config.base import ConfigError, Section, shown
from core.config.training import CheckpointConfig, DataConfig, OptimConfig, RuntimeConfig, ValidationConfig

CONFIG_VERSION: Literal[1] = 1


class RunConfig(Section):
    """An experiment, whole."""

    version: Literal[1] = Field(CONFIG_VERSION, title="Version", json_schema_extra=shown("", advanced=True))
    name: str = Field(
        "untitled", min_length=1, max_length=120, title="Name", description="What you call it.",
        json_schema_extra=shown(""),
    )  # fmt: skip
    preset: str = Field("", title="Preset", description="What it started from.", json_schema_extra=shown(""))
    seed: int = Field(
        0, ge=0, lt=2**31, title="Seed", description="Of weights, order and augmentation.", json_schema_extra=shown("")
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
    except OSError as error:
        raise ConfigError(f"cannot read the experiment {path}: {error.strerror}; check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read the experiment {path}: it is not UTF-8 text.") from error
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


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same definition with its relative paths made absolute, so that it means the same from any folder."""
    raw = config.model_dump(mode="json")
    for name in ("data.train", "data.val", "data.test", "towers.architecture", "towers.pretrained"):
        path = Path(get_field(config, name))
        if path.name and not path.is_absolute() and path.exists():
            _assign(raw, name.split("."), str(path.absolute()))
    return RunConfig.model_validate(raw)


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
