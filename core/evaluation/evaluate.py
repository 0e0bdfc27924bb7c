"""Evaluates a model on labelled images or on pairs, for ``python -m core evaluate``.

Flow: `core.checkpoint.opening` (a run's checkpoint, or an open_clip model) -> features (`core.inference.extraction`,
cached) -> an evaluator -> `Report` -> table or JSON. `compare_reports` compares two saved reports.

Zero-shot and retrieval use the embeddings; probes and kNN use features of the image tower, by default before the
projection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from core.checkpoint.opening import Model
from core.data.dataset import Log
from core.data.sources.opening import open_source
from core.evaluation.classes import fused_probe, nearest_neighbours, plain_probe, zero_shot_task
from core.evaluation.localising import localisation
from core.evaluation.pairs import captioning, retrieval
from core.evaluation.report import Report
from core.evaluation.request import DATA_DIGEST, Evaluation, Request
from core.inference.labelled import label_name
from core.metrics.inputs import EvaluationError
from core.metrics.outcome import Outcome
from core.metrics.statistics import Difference, compare
from core.spec.errors import UserError
from core.spec.reporter import Progress

__all__ = ["Request", "compare_reports", "evaluate"]

TASKS: dict[str, Callable[[Evaluation], Outcome]] = {
    "zero-shot": zero_shot_task,
    "linear-probe": plain_probe,
    "fused-probe": fused_probe,
    "knn": nearest_neighbours,
    "retrieval": retrieval,
    "captioning": captioning,
    "localisation": localisation,
}


def evaluate(model: Model, request: Request, progress: Progress, log: Log) -> Report:
    """Evaluate ``model`` as requested; skipped rows are reported to ``log``.

    Raises UserError for an unknown task, label or cluster column, for unreadable data, and errors of the evaluators.
    """
    if request.task not in TASKS:
        raise UserError(f"unknown task {request.task!r}; choose one of {', '.join(TASKS)}.")
    if request.cluster:
        _check_cluster(request)
    outcome = TASKS[request.task](Evaluation(model, request, progress, log))
    outcome = replace(outcome, notes=model.notes + outcome.notes)
    subject = replace(model.subject, dataset=request.data, precision=model.runtime.precision)
    return Report(subject, outcome)


def _check_cluster(request: Request) -> None:
    """Raise UserError, before anything is encoded, if intervals cannot resample the clusters of the request."""
    if request.task == "localisation" or request.shots:
        task = request.task if not request.shots else "few-shot probes"
        raise UserError(f"the intervals of {task} cannot resample clusters of images; leave out --cluster.")
    source = open_source(request.data)
    column = label_name(source, request.cluster)
    if len({row.labels.get(column) or row.file for row in source.rows}) < 2:
        raise UserError(
            f"all images of {request.data} are in one cluster, since they have the same {column!r}; intervals "
            "need at least two clusters."
        )


def compare_reports(a: Report, b: Report) -> dict[str, Difference]:
    """A minus B for each metric. Raises EvaluationError if the reports are not on the same queries."""
    digest_a, digest_b = (report.outcome.details.get(DATA_DIGEST) for report in (a, b))
    if digest_a != digest_b:
        raise EvaluationError(
            f"A was evaluated on {a.subject.dataset}, but B on {b.subject.dataset}, which has other images or labels; "
            "evaluate both on the same data."
        )
    return compare(a.outcome, b.outcome)
