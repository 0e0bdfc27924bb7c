"""Evaluation reports as tables and as JSON.

Flow: evaluator -> `Outcome` -> **report** -> terminal, panel, file. Saved JSON reports can be read and compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.checkpoint.opening import Subject
from core.metrics.inputs import EvaluationError
from core.metrics.outcome import TASKS, Outcome, Queries, Task
from core.metrics.statistics import Difference, Interval, intervals
from core.spec.reading import MEGABYTE, read_json_of, validate
from core.spec.run.metric_names import is_evaluation_share

REPORT_VERSION = 1
MAX_REPORT_BYTES = 64 * MEGABYTE  # a report contains one value per query and metric
_REMEDY = "Save one with evaluate --json."
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation, and the evaluated model and data."""

    subject: Subject
    outcome: Outcome


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)


class SubjectRecord(_Record):
    """A `Subject` in a file."""

    model: str
    dataset: str
    pretrained: str = ""
    weights: str = ""
    precision: str = "fp32"


class EndsRecord(_Record):
    """The ends of an interval in a file."""

    low: Number | None
    high: Number | None


class QueriesRecord(_Record):
    """`Queries` in a file."""

    values: list[Number | None]
    groups: list[Index] | None = None
    strata: list[Index] | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> QueriesRecord:
        for name, numbers in (("groups", self.groups), ("strata", self.strata)):
            if numbers is not None and len(numbers) != len(self.values):
                raise ValueError(f"{len(numbers)} {name} for {len(self.values)} values")
        return self

    def queries(self) -> Queries:
        """The values as `Queries`."""
        groups, strata = (
            None if numbers is None else np.array(numbers, dtype=np.int64) for numbers in (self.groups, self.strata)
        )
        return Queries(np.array(self.values, dtype=np.float64), groups, strata)


class ReportFile(_Record):
    """The format of `to_json`."""

    v: int
    task: Task
    subject: SubjectRecord
    samples: Index
    metrics: dict[str, Number | None]
    intervals: dict[str, EndsRecord] = {}
    per_query: dict[str, QueriesRecord] = {}
    notes: list[str]
    details: dict[str, Any]


def table(report: Report) -> str:
    """The report as lines of text: each metric with its 95 % interval, then notes."""
    outcome = report.outcome
    bounds = _all_intervals(outcome)
    width = max(len(name) for name in outcome.metrics)
    subject = report.subject
    head = f"{outcome.task} of {subject.title} on {subject.dataset}, {outcome.samples} samples, {subject.precision}"
    lines = [head]
    for name, value in outcome.metrics.items():
        line = f"  {name:<{width}}  {format_metric(name, value):>8}"
        if name in bounds and math.isfinite(bounds[name].low):
            line += f"   {format_metric(name, bounds[name].low)} to {format_metric(name, bounds[name].high)}"
        lines.append(line)
    lines.extend(f"  note: {note}" for note in outcome.notes)
    return "\n".join(lines)


def _all_intervals(outcome: Outcome) -> dict[str, Interval]:
    reported = {name: Interval(low, high) for name, (low, high) in outcome.intervals.items()}
    return intervals(outcome.per_query) | reported


def format_metric(name: str, value: float) -> str:
    """``value`` formatted for a table: shares in per cent; ranks and CIDEr unchanged."""
    if not math.isfinite(value):
        return "-"
    if is_evaluation_share(name):
        return f"{100 * value:.1f} %"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def to_json(report: Report, queries: bool = False) -> dict[str, Any]:
    """The report as plain data without NaN. ``queries`` adds the value of each query, which comparisons need."""
    outcome = report.outcome
    content: dict[str, Any] = {
        "v": REPORT_VERSION,
        "task": outcome.task,
        "subject": asdict(report.subject),
        "samples": outcome.samples,
        "metrics": dict(outcome.metrics),
        "intervals": {name: asdict(ends) for name, ends in _all_intervals(outcome).items()},
        "notes": list(outcome.notes),
        "details": dict(outcome.details),
    }
    if queries:
        content["per_query"] = {
            name: {
                "values": query_values.values.tolist(),
                **{
                    name_of_array: None if numbers is None else numbers.tolist()
                    for name_of_array, numbers in (("groups", query_values.groups), ("strata", query_values.strata))
                },
            }
            for name, query_values in outcome.per_query.items()
        }
    finite: dict[str, Any] = _finite(content)
    return finite


def read_report(path: Path) -> Report:
    """Read a report that was written by `to_json`.

    Raises EvaluationError for an unreadable file, another kind of file, or a later version.
    """
    name = f"the report {path}"
    raw = read_json_of(name, path, MAX_REPORT_BYTES, EvaluationError)
    version, task = (raw.get("v"), raw.get("task")) if isinstance(raw, dict) else (None, None)
    if isinstance(version, int) and (version > REPORT_VERSION or (isinstance(task, str) and task not in TASKS)):
        raise EvaluationError(f"{name} was written by a later version of sdgui; update sdgui.")
    content = validate(
        ReportFile, raw, f"{name} is not an evaluation report of sdgui", error=EvaluationError, remedy=_REMEDY
    )
    return Report(
        Subject(**content.subject.model_dump()),
        Outcome(
            task=content.task,
            samples=content.samples,
            metrics={name: math.nan if value is None else value for name, value in content.metrics.items()},
            intervals={
                name: (ends.low, ends.high)
                for name, ends in content.intervals.items()
                if name not in content.per_query and ends.low is not None and ends.high is not None
            },
            per_query={name: record.queries() for name, record in content.per_query.items()},
            notes=tuple(content.notes),
            details=content.details,
        ),
    )


def comparison_table(a: Subject, b: Subject, differences: Mapping[str, Difference]) -> str:
    """A minus B for each metric, with the paired bootstrap's 95 % interval (* if it excludes zero) and p."""
    width = max(len(name) for name in differences)
    lines = [f"A: {a.title}, {a.precision}", f"B: {b.title}, {b.precision}", f"A minus B on {a.dataset}:"]
    for name, difference in differences.items():
        low, high = _format_signed(name, difference.interval.low), _format_signed(name, difference.interval.high)
        evidence = f"{low} to {high}   p = {difference.p:.2g}"
        if math.isnan(difference.p):
            evidence = "no interval (a single query or group)"
        mark = " *" if difference.significant else ""
        lines.append(
            f"  {name:<{width}}  {_format_signed(name, difference.value):>8}   {evidence}"
            f"   A better on {difference.better}, B on {difference.worse}, equal on "
            f"{difference.equal}{mark}"
        )
    return "\n".join(lines)


def comparison_json(a: Subject, b: Subject, differences: Mapping[str, Difference]) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "v": REPORT_VERSION,
        "a": asdict(a),
        "b": asdict(b),
        "differences": _finite({name: asdict(difference) for name, difference in differences.items()}),
    }


def _format_signed(name: str, value: float) -> str:
    return ("+" if value > 0 else "") + format_metric(name, value)


def _finite(value: Any) -> Any:
    """``value`` with None for NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
