"""How a definition is read, checked, changed and compared.

Flow: the form (or a preset, or a file) builds a frozen ``RunConfig``; the launcher writes it to the run
folder; the trainer reads nothing else. Every field carries a title, a description, a unit and a range,
because the form is generated from them and an error lands on the field it names.

Derived values (steps in all, image size of an architecture) are never stored.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.config.base import ConfigError
from core.config.contradictions import problems
from core.config.experiment import CONFIG_VERSION, RunConfig
from core.config.model_name import split_run


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
        elif item["type"] == "value_error" and not isinstance(item["input"], (str, int, float)):
            found[field] = item["msg"].removeprefix("Value error, ")  # of several fields together, which it names
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
        _assign(raw, name.split("."), _value(text), text)
    return validate(raw, "the experiment with --set")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(raw: dict[str, Any], path: list[str], value: Any, typed: str = "") -> None:
    for part in path[:-1]:
        raw = raw[part]
    # A path such as "2024.10" is text where the field is text, as it was typed.
    raw[path[-1]] = typed if isinstance(raw[path[-1]], str) and not isinstance(value, str) else value


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same definition with its relative paths made absolute, so that it means the same from any folder."""
    raw = config.model_dump(mode="json")
    for name in ("data.train", "data.val", "data.test", "towers.architecture", "towers.pretrained"):
        _assign(raw, name.split("."), _absolute(get_field(config, name)))
    teachers = config.teacher.checkpoint.split(";")
    _assign(raw, ["teacher", "checkpoint"], ";".join(_absolute(one.strip()) for one in teachers))
    return RunConfig.model_validate(raw)


def _absolute(name: str) -> str:
    """A relative path that exists, or a RUN@STEP whose run exists, made absolute; anything else as it is."""
    path, which = split_run(name) or (Path(name), "")
    if path.is_absolute() or not (path.name and path.exists()):
        return name
    return f"{path.absolute()}@{which}" if which else str(path.absolute())


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
