"""Alert rules in ``alerts.json``: which events of a run cause an alert, and who is notified, by experiment."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, excerpt, read_json, validate

RULES_FILE = "alerts.json"
_CONDITION = re.compile(r"^(\S+)\s+(?:([<>])\s*(\S+)|(not finite))$")
_Text = Annotated[str, Field(max_length=2000)]


class AlertError(UserError):
    """An unusable rule, command or address; the message names the rule and the remedy."""


@dataclass(frozen=True)
class Condition:
    """A metric beyond a limit, or not finite. ``*`` in ``metric`` stands for any characters."""

    text: str
    metric: str
    kind: Literal["<", ">", "not finite"]
    limit: float = math.nan

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse "METRIC < NUMBER", "METRIC > NUMBER" or "METRIC not finite". Raises AlertError for anything else."""
        match = _CONDITION.match(text.strip())
        form = f"{excerpt(text)} is not a condition; write METRIC < NUMBER, METRIC > NUMBER or METRIC not finite."
        if match is None:
            raise AlertError(form)
        metric, sign, number, _ = match.groups()
        if sign is None:
            return cls(text.strip(), metric, "not finite")
        try:
            limit = float(number)
        except ValueError as error:
            raise AlertError(form) from error
        return cls(text.strip(), metric, "<" if sign == "<" else ">", limit)

    def concerns(self, metric: str) -> bool:
        return fnmatchcase(metric, self.metric)

    def holds(self, value: float) -> bool:
        if self.kind == "not finite":
            return not math.isfinite(value)
        return value < self.limit if self.kind == "<" else value > self.limit


class AlertRules(BaseModel):
    """Conditions for an alert, and who is notified: the fields of ``alerts.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ended: bool = True  # alert when a run finishes or is stopped
    failed: bool = True  # alert on an error or an unexpected exit
    stalled: Annotated[float, Field(ge=0, le=1e6)] = 5.0  # silence in multiples of the longest interval; 0: no alert
    stalled_minutes: Annotated[float, Field(ge=0, le=1e6)] = 10.0  # shortest silence that counts as a stall
    collapsed: Annotated[float, Field(ge=0, le=1)] = (
        0.02  # `FEATURE_STD` below this, after a tenth of the steps; 0: never
    )
    conditions: tuple[_Text, ...] = ("train/loss not finite", "system/*disk_free_gib < 5")
    desktop: bool = True
    command: tuple[_Text, ...] = ()  # program and arguments; no shell
    url: _Text = ""  # receives a POST with JSON

    @field_validator("conditions")
    @classmethod
    def _check_conditions(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        for text in conditions:
            try:
                Condition.parse(text)
            except AlertError as error:
                raise ValueError(str(error)) from error
        return conditions

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)  # a malformed address raises ValueError
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("a URL must begin with https:// or http:// and contain a host name")
        return url


class _RulesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: AlertRules = AlertRules()
    experiments: Mapping[str, AlertRules] = {}


class Rules:
    """The rules in ``alerts.json``; the file is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._content = _RulesFile()

    def of(self, experiment: str) -> AlertRules:
        """The rules of an experiment, or the defaults if it has none. Raises AlertError for an unusable file."""
        content = self._read()
        return content.experiments.get(experiment, content.defaults)

    def has_own(self, experiment: str) -> bool:
        return experiment in self._read().experiments

    def save(self, experiment: str | None, rules: AlertRules | None) -> None:
        """Set the rules of ``experiment`` (None: the defaults). ``rules`` None: use the defaults again."""
        content = self._read()
        others = {name: own for name, own in content.experiments.items() if name != experiment}
        if experiment is None:
            content = _RulesFile(defaults=rules or AlertRules(), experiments=others)
        else:
            own = {} if rules is None else {experiment: rules}
            content = _RulesFile(defaults=content.defaults, experiments={**others, **own})
        with writing(self.path, AlertError):
            write_whole(self.path, json.dumps(content.model_dump(mode="json"), indent=1).encode())

    def _read(self) -> _RulesFile:
        try:
            info = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._content = None, _RulesFile()
            return self._content
        if (info.st_mtime_ns, info.st_size) != self._stamp:
            raw = read_json(self.path, MEGABYTE, root=self.path.parent, error=AlertError)
            self._content = validate(_RulesFile, raw, str(self.path), error=AlertError)
            self._stamp = info.st_mtime_ns, info.st_size
        return self._content
