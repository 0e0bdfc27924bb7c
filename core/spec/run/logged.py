"""Runs logged by a user's script (`core.start_run`): their ``config.json`` holds any key-value pairs.

The file marks itself with ``"kind": "logged"``; `core.spec.config.parse_config` refuses it, since there is nothing to
train in it. Everything else in the folder is as the trainer writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.spec.config import ConfigError, RunConfig, read_config
from core.spec.reading import MEGABYTE, first_problem, parse_json, read_text

MAX_CONFIG_BYTES = 4 * MEGABYTE
UNCATEGORIZED = "uncategorized"  # the project of runs that name none
_KIND = "logged"
_MAX_NAME_LENGTH = 300  # characters of a dotted name: a long one around many values would take memory for each


class LoggedConfig(BaseModel):
    """``config.json`` of a logged run. ``project``: the experiment that the window lists it under.

    ``tags``: given to the run when the window lists it.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", defer_build=True)

    kind: Literal["logged"] = "logged"
    name: Annotated[str, Field(max_length=200)]
    project: Annotated[str, Field(min_length=1, max_length=200)] = UNCATEGORIZED
    config: dict[str, Any] = Field(default_factory=dict)
    tags: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100)] = Field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def digest(self) -> str:
        """12 hex digits that name project and values."""
        canonical = json.dumps([self.project, self.config], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def experiment_name(config: RunConfig | LoggedConfig) -> str:
    """The experiment that a run with this config is listed under."""
    return config.project if isinstance(config, LoggedConfig) else config.name


def settings_of(config: RunConfig | LoggedConfig) -> dict[str, Any]:
    """Dotted name -> value of everything that the config says."""
    return dict(flatten_config(config.config if isinstance(config, LoggedConfig) else config.model_dump(mode="json")))


def logged_text(config: LoggedConfig) -> str:
    """The key-value pairs, a line each."""
    return "\n".join(f"{name} = {value}" for name, value in flatten_config(config.config))


def flatten_config(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name, cut at `_MAX_NAME_LENGTH`, and value of everything in nested mappings.

    An empty mapping is a value itself.
    """
    for name, value in values.items():
        path = f"{prefix}{name}"[:_MAX_NAME_LENGTH]
        if isinstance(value, Mapping) and value:
            yield from flatten_config(value, f"{path}.")
        else:
            yield path, value


def parse_logged(text: str, origin: str) -> LoggedConfig | None:
    """The config of a logged run; None for any other JSON. ConfigError when it is marked as one but cannot be read."""
    raw = parse_json(text, origin, error=ConfigError)
    if not isinstance(raw, dict) or raw.get("kind") != _KIND:
        return None
    try:
        return LoggedConfig.model_validate(raw)
    except ValidationError as problem:
        raise ConfigError(f"{origin}: {first_problem(problem)} It was not written by core.start_run.") from problem


def read_any_config(path: Path) -> RunConfig | LoggedConfig:
    """The config of a run, whoever wrote it. ConfigError when it is missing or wrong."""
    return read_logged(path) or read_config(path)


def read_logged(path: Path) -> LoggedConfig | None:
    """The config in ``path`` if a script logged that run, else None. ConfigError when it cannot be read."""
    try:
        text = read_text(path, MAX_CONFIG_BYTES, error=ConfigError)
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}; check the path.") from error
    if f'"{_KIND}"' not in text:  # almost always true, which saves parsing the whole file
        return None
    return parse_logged(text, str(path))
