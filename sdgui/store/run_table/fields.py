"""Fields to show, filter, sort and group runs by: facts (properties of a run), settings and metrics.

Flow: a column, a sort key and the left side of a comparison are each a ``Field``; its ``name`` is what the user types.
Settings have the dotted names of ``RunConfig``, metrics those of the events; ``last(train/loss)`` is a metric's last
value instead of its best, ``at(train/loss, 500)`` its value at step 500.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from core.spec.config import field_names
from core.spec.errors import nearest


class Source(StrEnum):
    """Where a field's values come from."""

    RUN = "run"
    SETTING = "setting"
    METRIC = "metric"


class Kind(StrEnum):
    """How a fact is displayed and compared."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"  # seconds since the epoch
    DURATION = "duration"  # seconds
    TAGS = "tags"


@dataclass(frozen=True)
class Fact:
    """A property of a run, with its title, kind and tooltip."""

    title: str
    kind: Kind
    tip: str


RUN_FACTS: Mapping[str, Fact] = {
    "name": Fact("Run", Kind.TEXT, "Experiment and run number"),
    "experiment": Fact("Experiment", Kind.TEXT, "Experiment name"),
    "state": Fact("State", Kind.TEXT, "running, done, paused, failed and so on"),
    "tag": Fact("Tags", Kind.TAGS, "Run tags"),
    "note": Fact("Note", Kind.TEXT, "Run note"),
    "metric": Fact("Best mean recall", Kind.NUMBER, "Best mean recall on validation data, of student or teacher"),
    "metric_step": Fact("Best step", Kind.NUMBER, "Step of the best mean recall"),
    "step": Fact("Step", Kind.NUMBER, "Steps trained so far"),
    "steps": Fact("Steps", Kind.NUMBER, "Total steps"),
    "progress": Fact("Progress", Kind.NUMBER, "Share of steps done"),
    "created": Fact("Created", Kind.TIME, "When the run was added; for an imported run, when training began"),
    "started": Fact("Started", Kind.TIME, "When training began"),
    "finished": Fact("Finished", Kind.TIME, "When training ended"),
    "duration": Fact("Duration", Kind.DURATION, "Time of training, including repeated steps but not interruptions"),
    "machine": Fact("Machine", Kind.TEXT, "Machine that the run trains on; empty for this computer"),
    "devices": Fact("Devices", Kind.TEXT, "GPUs assigned to the run"),
    "owner": Fact("Owner", Kind.TEXT, "Person who launched the run"),
    "parent": Fact("Parent", Kind.TEXT, "Run and step that this run continues, forks or fine-tunes"),
    "failure": Fact("Failure", Kind.TEXT, "Why the run failed"),
    "recipe": Fact(
        "Recipe", Kind.TEXT, "ID of the settings without the seed; equal for runs that differ only in the seed"
    ),
    "key": Fact("Key", Kind.TEXT, "Run ID"),
}
SHARE_FACTS = frozenset({"metric", "progress"})  # facts between 0 and 1, shown in per cent

_OTHER_NAMES = {"tags": "tag", "notes": "note", "host": "machine", "total_steps": "steps", "time": "duration"}
_CALL = re.compile(r"(last|best)\((.+)\)")
_AT = re.compile(r"at\(\s*(.+?)\s*,\s*(\d{1,15})\s*\)")


@dataclass(frozen=True)
class Field:
    """A column, sort key or operand. ``aggregate``: "best", "last" or "at" for a metric, otherwise "".

    ``metrics``: full names of the metrics; ``step``: only for "at".
    """

    source: Source
    key: str
    aggregate: str = ""
    metrics: tuple[str, ...] = ()
    step: int = 0

    @property
    def name(self) -> str:
        """The name in filters and saved views."""
        if self.aggregate == "at":
            return f"at({self.key}, {self.step})"
        return f"last({self.key})" if self.aggregate == "last" else self.key

    @property
    def kind(self) -> Kind | None:
        """The kind of a fact; NUMBER for metrics, None for settings, which have any type."""
        if self.source is Source.RUN:
            return RUN_FACTS[self.key].kind
        return Kind.NUMBER if self.source is Source.METRIC else None


def fact(key: str) -> Field:
    """The field of a fact of the run. Raises KeyError for an unknown name."""
    if key not in RUN_FACTS:
        raise KeyError(key)
    return Field(Source.RUN, key)


def setting(name: str) -> Field:
    """The field of a setting."""
    return Field(Source.SETTING, name)


def metric(name: str, aggregate: str = "best", full_names: tuple[str, ...] = (), step: int = 0) -> Field:
    """The field of a metric; ``full_names``: the metrics that an abbreviated ``name`` stands for."""
    return Field(Source.METRIC, name, aggregate, full_names or (name,), step)


@cache
def settings() -> tuple[str, ...]:
    """Every setting, dotted, in the order of the form."""
    return tuple(field_names())


class UnknownFieldError(ValueError):
    """A name that is not a fact, setting or metric; the message suggests close matches."""


class Catalogue:
    """Maps names to fields, given the metrics that runs have reported."""

    def __init__(self, metrics: Iterable[str] = ()) -> None:
        self.metrics = tuple(sorted(metrics))
        self._settings = frozenset(settings())
        self._metric_names = frozenset(self.metrics)

    def field(self, name: str) -> Field:
        """The field named ``name``.

        A metric's name may leave parts out: ``val/R@1`` stands for every metric that begins with ``val/`` and ends with
        ``R@1``, and its value is the best of them. Raises UnknownFieldError.
        """
        call, step = _CALL.fullmatch(name), 0
        aggregate, bare = (call[1], call[2]) if call else ("best", name)
        if at_step := _AT.fullmatch(name):
            call, aggregate, bare, step = at_step, "at", at_step[1], int(at_step[2])
        key = _OTHER_NAMES.get(bare, bare)
        if not call and key in RUN_FACTS:
            return fact(key)
        if not call and key in self._settings:
            return setting(key)
        if bare in self._metric_names:
            return metric(bare, aggregate, step=step)
        if full_names := tuple(full for full in self.metrics if _abbreviates(bare, full)):
            return metric(bare, aggregate, full_names, step)
        raise UnknownFieldError(f"There is no setting, metric or column “{name}”{self._nearest(bare)}")

    def names(self) -> list[str]:
        """Every name, for completion: facts, settings, metrics."""
        return [*RUN_FACTS, *settings(), *self.metrics]

    def _nearest(self, name: str) -> str:
        names = self.names()
        close = nearest(name, names, cutoff=0.6)
        close = close or [candidate for candidate in names if re.split(r"[./]", candidate)[-1] == name][:3]
        return f"; did you mean {' or '.join(close)}?" if close else "."


def _abbreviates(short: str, full: str) -> bool:
    """Whether ``short`` consists of the first and last part of ``full``; the last part may start after ``_``."""
    head, slash, tail = short.rpartition("/")
    return bool(slash and tail) and full.startswith(f"{head}/") and full.endswith((f"/{tail}", f"_{tail}"))
