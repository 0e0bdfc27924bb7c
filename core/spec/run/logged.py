"""Runs that a user's script logs (`core.start_run`): their ``config.json`` contains arbitrary key-value pairs.

The file is marked with ``"kind": "logged"``; `core.spec.config.parse_config` rejects it, since it cannot be trained.
The other files in the folder have the trainer's format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.spec.config import ConfigError, RunConfig, read_config
from core.spec.reading import MEGABYTE, first_problem, parse_json, read_text

MAX_CONFIG_BYTES = 4 * MEGABYTE
UNCATEGORIZED = "uncategorized"  # the project of runs without a project
_KIND = "logged"
_MAX_NAME_LENGTH = 300  # a longer dotted name with many values below it would use much memory


class LoggedConfig(BaseModel):
    """``config.json`` of a logged run. ``project``: the experiment that the window lists the run under.

    ``tags``: the run's initial tags in the window.
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
        """A digest of project and values: 12 hex digits."""
        canonical = json.dumps([self.project, self.config], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def experiment_name(config: RunConfig | LoggedConfig) -> str:
    """The name of the experiment that a run with this config is listed under."""
    return config.project if isinstance(config, LoggedConfig) else config.name


def settings_of(config: RunConfig | LoggedConfig) -> dict[str, Any]:
    """Dotted name -> value, for everything in the config."""
    return dict(flatten_config(config.config if isinstance(config, LoggedConfig) else config.model_dump(mode="json")))


def differing_values(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Name -> one value per run (or None), for the values in which ``runs`` differ."""
    columns = {name: [run.get(name) for run in runs] for name in dict.fromkeys(chain.from_iterable(runs))}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def logged_text(config: LoggedConfig) -> str:
    """The key-value pairs, one per line."""
    return "\n".join(f"{name} = {value}" for name, value in flatten_config(config.config))


def flatten_config(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted name and value for nested mappings. Names are cut at `_MAX_NAME_LENGTH`.

    An empty mapping counts as a value.
    """
    for name, value in values.items():
        path = f"{prefix}{name}"[:_MAX_NAME_LENGTH]
        if isinstance(value, Mapping) and value:
            yield from flatten_config(value, f"{path}.")
        else:
            yield path, value


def parse_logged(text: str, origin: str) -> LoggedConfig | None:
    """The config of a logged run; None for any other JSON. Raises ConfigError for an invalid config of a logged run."""
    raw = parse_json(text, origin, error=ConfigError)
    if not isinstance(raw, dict) or raw.get("kind") != _KIND:
        return None
    try:
        return LoggedConfig.model_validate(raw)
    except ValidationError as problem:
        raise ConfigError(f"{origin}: {first_problem(problem)} It was not written by core.start_run.") from problem


def read_any_config(path: Path) -> RunConfig | LoggedConfig:
    """The config of a trained or logged run. Raises ConfigError if it is missing or invalid."""
    return read_logged(path) or read_config(path)


def read_logged(path: Path) -> LoggedConfig | None:
    """The config in ``path`` if the run was logged by a script, or None. Raises ConfigError if it cannot be read."""
    try:
        text = read_text(path, MAX_CONFIG_BYTES, error=ConfigError)
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}; check the path.") from error
    if f'"{_KIND}"' not in text:  # almost always; saves parsing the whole file
        return None
    return parse_logged(text, str(path))
