"""Reads, checks, changes and compares configs.

Flow: the form (or a preset, or a file) builds a frozen ``RunConfig``; the launcher writes it to the run folder; the
trainer reads only that file. The form is generated from the fields' titles, descriptions, units and ranges, and shows
each error at its field.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, ValidationError

from core.spec.config.base import ConfigError
from core.spec.config.contradictions import problems
from core.spec.config.experiment import CONFIG_VERSION, RunConfig
from core.spec.config.renamed import current_name, rename_settings
from core.spec.config.retained import retained_sets
from core.spec.errors import nearest
from core.spec.extending.references import parse_reference
from core.spec.paths import split_run
from core.spec.reading import MAX_EXCERPT_LENGTH, MEGABYTE, excerpt, parse_json, read_text
from core.spec.shards import absolute_pattern, is_shards

MAX_CONFIG_BYTES = MEGABYTE  # a config with every field has 10 kB
MAX_LISTED_ERRORS = 20
_MAX_SUGGESTION_LENGTH = 100  # longer names get no "did you mean"
_CUSTOM = "objectives.custom."
_PATHS = (  # fields that contain a single path
    "data.train",
    "data.val",
    "data.test",
    "towers.architecture",
    "towers.pretrained",
    "objectives.text_anchors.source",
    "objectives.image_anchors.source",
)


def parse_config(text: str, origin: str) -> RunConfig:
    """A config from JSON text.

    Raises ConfigError naming ``origin``, each wrong field, its value and, for unknown keys, the nearest one.
    """
    raw = parse_json(text, origin, error=ConfigError)
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{origin} contains {type(raw).__name__}, not a config; `sdgui-core presets clip` prints an example."
        )
    if raw.get("kind") == "logged":
        raise ConfigError(f"{origin} is the config of a run that a script logged; such a run cannot be trained.")
    version = raw.get("version", CONFIG_VERSION)
    if version != CONFIG_VERSION:
        raise ConfigError(
            f"{origin} has version {excerpt(version)}, but this program reads version {CONFIG_VERSION}; open it with "
            "the release that wrote it."
        )
    return validate(raw, origin)


def read_config(path: Path) -> RunConfig:
    """The config in a file. Raises ConfigError if it is missing or invalid."""
    try:
        text = read_text(path, MAX_CONFIG_BYTES, error=ConfigError)
    except FileNotFoundError as error:
        raise ConfigError(f"cannot read the config {excerpt(str(path))}: {error.strerror}; check the path.") from error
    return parse_config(text, excerpt(str(path)))


def validate(raw: dict[str, Any], origin: str) -> RunConfig:
    """A config from plain data. Raises ConfigError, whose message lists every wrong field."""
    try:
        config = RunConfig.model_validate(rename_settings(raw))
    except ValidationError as error:
        raise ConfigError(f"{origin} cannot be used:\n{field_lines(error, 'config')}") from error
    if contradictions := problems(config):
        lines = [f"  {field}: {text}" for field, text in contradictions.items()]
        raise ConfigError(f"{origin} contradicts itself:\n" + "\n".join(lines))
    return config


def field_errors(error: ValidationError) -> dict[str, str]:
    """The first `MAX_LISTED_ERRORS` of pydantic's errors as dotted field -> message, for the form."""
    messages: dict[str, str] = {}
    for item in islice(error.errors(include_url=False, include_context=False), MAX_LISTED_ERRORS):
        message = excerpt(item["msg"], 2 * MAX_EXCERPT_LENGTH)
        field = excerpt(".".join(str(part) for part in item["loc"]))
        if item["type"] == "extra_forbidden":
            messages[field] = f"there is no such field{_nearest(field)}."
        elif item["type"] == "value_error" and not isinstance(item["input"], (str, int, float)):
            messages[field] = message.removeprefix("Value error, ")  # the message names the fields
        else:
            value = item["input"]
            messages[field] = f"{message}, got {excerpt(value if not isinstance(value, str) else repr(value[:400]))}."
    return messages


def field_lines(error: ValidationError, fallback: str = "") -> str:
    """`field_errors` as lines of text, and the number of omitted errors.

    ``fallback`` is shown in place of the field for errors that concern no single field.
    """
    lines = [f"  {field or fallback}: {text}" for field, text in field_errors(error).items()]
    unlisted = error.error_count() - MAX_LISTED_ERRORS
    return "\n".join([*lines, f"  and {unlisted} more"] if unlisted > 0 else lines)


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


@lru_cache(maxsize=10_000)
def _nearest(field: str) -> str:
    """A "did you mean" for a wrong field. Cached, since thousands of runs may have the same outdated config."""
    if len(field) > _MAX_SUGGESTION_LENGTH:
        return ""
    close = nearest(field, field_names(), cutoff=0.5)
    if not close:
        leaf = field.rsplit(".", 1)[-1]
        close = [name for name in field_names() if name.rsplit(".", 1)[-1] == leaf][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def override(config: RunConfig, settings: list[str]) -> RunConfig:
    """``config`` with ``a.b=value`` settings applied in order; a value that is not valid JSON is taken as text.

    Raises ConfigError for a malformed setting, an unknown field (naming the nearest) or a bad value.
    """
    raw = config.model_dump(mode="json")
    known_fields = set(field_names())
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = current_name("setting", name.strip())
        if not equals:
            raise ConfigError(f"--set '{excerpt(setting)}' has no '='; write --set optim.epochs=3.")
        if name not in known_fields and not _is_custom(name):
            suggestion = _nearest(name) or "; `sdgui-core presets clip` shows all settings."
            raise ConfigError(f"--set '{excerpt(setting)}': there is no setting '{excerpt(name)}'{suggestion}")
        _assign(raw, _parts(name), _value(text), text)
    return validate(raw, "the config with --set")


def _parts(name: str) -> list[str]:
    """The keys of a dotted field; a custom objective's reference, which may contain dots, is one key."""
    if not _is_custom(name):
        return name.split(".")
    key, _, setting = name.removeprefix(_CUSTOM).rpartition(".")
    return ["objectives", "custom", key, setting]


def _is_custom(name: str) -> bool:
    """Whether ``name`` is the setting of a custom objective, ``objectives.custom.FILE.py:NAME.SETTING``."""
    key, dot, setting = name.removeprefix(_CUSTOM).rpartition(".")
    return name.startswith(_CUSTOM) and bool(dot and setting) and parse_reference(key) is not None


def _value(text: str) -> Any:
    try:
        return parse_json(text, "--set", error=ConfigError)
    except ConfigError:  # plain text; validated later, with its field
        return text


def _assign(raw: dict[str, Any], path: list[str], value: Any, text: str = "") -> None:
    """Set the field ``path`` of ``raw`` to ``value``, or to ``text`` if the field is a text and ``value`` is not.

    ``text``: what the user typed; a name such as "2024.10" stays as typed.
    """
    for part in path[:-1]:
        raw = raw.setdefault(part, {})
    raw[path[-1]] = text if isinstance(raw.get(path[-1]), str) and not isinstance(value, str) else value


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The config with absolute paths, independent of the working folder."""
    return _with_paths(config, _absolute, _absolute_reference)


def without_folders(config: RunConfig) -> RunConfig:
    """The config with the names of files instead of their paths, which are private."""
    return _with_paths(config, _file_name, _file_name)


def _with_paths(config: RunConfig, change: Callable[[str], str], change_reference: Callable[[str], str]) -> RunConfig:
    """The config with each path and each reference to code changed."""
    raw = config.model_dump(mode="json")
    for name in _PATHS:
        _assign(raw, name.split("."), change(get_field(config, name)))
    retained = "; ".join(f"{name}={change(path)}" for name, path in retained_sets(config.data.retain).items())
    _assign(raw, ["data", "retain"], retained)
    _change_references(raw, change_reference)
    teachers = config.teacher.checkpoint.split(";")
    _assign(raw, ["teacher", "checkpoint"], ";".join(change(name.strip()) for name in teachers))
    return RunConfig.model_validate(raw)


def _file_name(name: str) -> str:
    return PurePath(name).name


def _absolute(name: str) -> str:
    """Make an existing relative path, or the RUN@STEP of an existing run, absolute; return anything else unchanged."""
    if name and is_shards(name):
        return absolute_pattern(name)
    path, checkpoint = split_run(name) or (Path(name), "")
    # os.path.exists, since Path.exists raises for a name that is too long or has a null character
    if path.is_absolute() or not (path.name and os.path.exists(path)):  # noqa: PTH110
        return name
    return f"{path.absolute()}@{checkpoint}" if checkpoint else str(path.absolute())


def with_absolute_references(config: RunConfig) -> RunConfig:
    """The config with only the paths of its custom code made absolute; its data may be on another machine."""
    raw = config.model_dump(mode="json")
    _change_references(raw, _absolute_reference)
    return RunConfig.model_validate(raw)


def _change_references(raw: dict[str, Any], change: Callable[[str], str]) -> None:
    for section, name in (("data", "dataset"), ("towers", "build"), ("teacher", "kind")):
        raw[section][name] = change(raw[section][name])
    custom = raw["objectives"]["custom"]
    raw["objectives"]["custom"] = {change(key): settings for key, settings in custom.items()}


def _absolute_reference(text: str) -> str:
    reference = parse_reference(text)
    return text if reference is None else str(reference.with_absolute_path())


def differences(ours: RunConfig, theirs: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configs differ: dotted field -> (ours, theirs)."""
    values = {name: (get_field(ours, name), get_field(theirs, name)) for name in field_names()}
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def get_field(config: RunConfig, name: str) -> Any:
    """The value of a dotted field."""
    return attrgetter(name)(config)
