"""Evaluation reports: a table, our JSON, and CLIP_benchmark's JSON.

Flow: evaluator -> `Outcome` -> here -> terminal, panel, file; a saved JSON report read back is compared with another.
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
from core.spec.reading import MEGABYTE, checked, excerpt, read_json

REPORT_VERSION = 1
_BENCHMARK_TASKS = {
    "zero-shot": "zeroshot_classification",
    "retrieval": "zeroshot_retrieval",
    "linear-probe": "linear_probe",
    "fused-probe": "fused_probe",  # CLIP_benchmark has none of these two
    "knn": "knn",
    "captioning": "captioning",
}
LARGEST_FILE = 64 * MEGABYTE  # a value a query and metric
_SAVE = "Save one with evaluate --json."
Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=2**63)]
_NO_SHARES = ("_rank", "CIDEr")


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation, and its subject."""

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
    language: str = "en"
    precision: str = "fp32"


class EndsRecord(_Record):
    """The ends of an interval."""

    low: Number | None
    high: Number | None


class QueriesRecord(_Record):
    """`Queries` in a file."""

    values: list[Number | None]
    groups: list[Index] | None = None
    strata: list[Index] | None = None

    @model_validator(mode="after")
    def _alike(self) -> QueriesRecord:
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
    """What `to_json` writes."""

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
    """The report as lines of text: each metric with its 95 % interval, then what was left out."""
    outcome = report.outcome
    ends = _ends(outcome)
    width = max(len(name) for name in outcome.metrics)
    subject = report.subject
    head = f"{outcome.task} of {subject.title} on {subject.dataset}, {outcome.samples} samples, {subject.precision}"
    lines = [head]
    for name, value in outcome.metrics.items():
        line = f"  {name:<{width}}  {shown(name, value):>8}"
        if name in ends:
            line += f"   {shown(name, ends[name].low)} to {shown(name, ends[name].high)}"
        lines.append(line)
    lines.extend(f"  note: {note}" for note in outcome.notes)
    return "\n".join(lines)


def _ends(outcome: Outcome) -> dict[str, Interval]:
    given = {name: Interval(low, high) for name, (low, high) in outcome.intervals.items()}
    return intervals(outcome.per_query) | given


def shown(name: str, value: float) -> str:
    """A value formatted for a table: shares in per cent; ranks and CIDEr as they are."""
    if not math.isfinite(value):
        return "-"
    if any(name.endswith(ending) for ending in _NO_SHARES):
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return f"{100 * value:.1f} %"


def to_json(report: Report, queries: bool = False) -> dict[str, Any]:
    """Our JSON, plain data without NaN. ``queries`` adds each query's value, which comparing two reports needs."""
    outcome = report.outcome
    content: dict[str, Any] = {
        "v": REPORT_VERSION,
        "task": outcome.task,
        "subject": asdict(report.subject),
        "samples": outcome.samples,
        "metrics": dict(outcome.metrics),
        "intervals": {name: asdict(ends) for name, ends in _ends(outcome).items()},
        "notes": list(outcome.notes),
        "details": dict(outcome.details),
    }
    if queries:
        content["per_query"] = {
            name: {
                "values": one.values.tolist(),
                **{
                    what: None if numbers is None else numbers.tolist()
                    for what, numbers in (("groups", one.groups), ("strata", one.strata))
                },
            }
            for name, one in outcome.per_query.items()
        }
    finite: dict[str, Any] = _finite(content)
    return finite


def read_report(path: Path) -> Report:
    """A report that `to_json` made, from a file.

    Raises EvaluationError when it cannot be read, is something else, or of a later version.
    """
    where = f"the report {excerpt(str(path))}"
    try:
        raw = read_json(path, LARGEST_FILE, error=EvaluationError)
    except FileNotFoundError as error:
        raise EvaluationError(f"cannot read {where}: {error.strerror}; check the path.") from error
    version, task = (raw.get("v"), raw.get("task")) if isinstance(raw, dict) else (None, None)
    if isinstance(version, int) and (version > REPORT_VERSION or (isinstance(task, str) and task not in TASKS)):
        raise EvaluationError(f"{where} was written by a later version of this program; update it.")
    content = checked(
        ReportFile, raw, f"{where} is no evaluation report of this program", error=EvaluationError, remedy=_SAVE
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
            per_query={name: one.queries() for name, one in content.per_query.items()},
            notes=tuple(content.notes),
            details=content.details,
        ),
    )


def clip_benchmark_json(report: Report) -> dict[str, Any]:
    """The report under CLIP_benchmark's keys and metric names, as its ``eval --output`` writes it."""
    subject, outcome = report.subject, report.outcome
    return {
        "dataset": subject.dataset,
        "model": subject.model,
        "pretrained": subject.pretrained or subject.weights,
        "task": _BENCHMARK_TASKS[outcome.task],
        "metrics": _finite(_benchmark_metrics(outcome)),
        "language": subject.language,
        "precision": subject.precision,  # CLIP_benchmark keeps keys that it does not know as further columns
    }


def _benchmark_metrics(outcome: Outcome) -> dict[str, float]:
    metrics = outcome.metrics
    if outcome.task == "retrieval":
        # CLIP_benchmark names a direction by what is found, open_clip by the query and what is found.
        names = {"image_retrieval": "text_to_image", "text_retrieval": "image_to_text"}
        return {f"{theirs}_recall@{k}": metrics[f"{ours}_R@{k}"] for k in (1, 5, 10) for theirs, ours in names.items()}
    if outcome.task == "captioning":
        theirs = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")
        return {name: metrics[name] for name in theirs if name in metrics}
    values = {name: metrics[name] for name in ("acc1", "acc5", "mean_per_class_recall") if name in metrics}
    if "acc1" in values:
        values = {"acc1": values["acc1"], "acc5": values.get("acc5", math.nan), **values}
    if outcome.task in ("linear-probe", "fused-probe"):
        return {f"lp_{name}": value for name, value in values.items()}
    return values


def comparison_table(a: Subject, b: Subject, differences: Mapping[str, Difference]) -> str:
    """A minus B for each metric, with the paired bootstrap's 95 % interval and p; * where it excludes zero."""
    width = max(len(name) for name in differences)
    lines = [f"A: {a.title}, {a.precision}", f"B: {b.title}, {b.precision}", f"A minus B on {a.dataset}:"]
    for name, one in differences.items():
        low, high = _signed(name, one.interval.low), _signed(name, one.interval.high)
        mark = " *" if one.significant else ""
        lines.append(
            f"  {name:<{width}}  {_signed(name, one.value):>8}   {low} to {high}"
            f"   p = {one.p:.2g}   A better on {one.better}, B on {one.worse}, equal on {one.equal}{mark}"
        )
    return "\n".join(lines)


def comparison_json(a: Subject, b: Subject, differences: Mapping[str, Difference]) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "v": REPORT_VERSION,
        "a": asdict(a),
        "b": asdict(b),
        "differences": {n: asdict(d) for n, d in differences.items()},
    }


def _signed(name: str, value: float) -> str:
    return ("+" if value > 0 else "") + shown(name, value)


def _finite(value: Any) -> Any:
    """The same data with None for what JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
