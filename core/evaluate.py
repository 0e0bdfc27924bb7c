"""Measure a model on labelled pictures or on pairs: what ``python -m core evaluate`` does.

Flow: `core.opening` (a run's checkpoint, or open_clip's) -> encoder -> an evaluator -> `Report` -> table or JSON.
Two reports that were saved as JSON are compared by `compare_reports`.

Zero-shot and retrieval compare pictures with texts and take the embeddings; the linear probe and kNN judge the image
tower alone and take its features before the projection.

Legend: N pictures, D width of the features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from core.data.cache import cache_folder
from core.data.dataset import Log, PairDataset, open_dataset
from core.encoder import Progress, encode_dataset, encode_pictures, encode_texts
from core.errors import UserError
from core.evaluators.inputs import EvaluationError
from core.evaluators.knn import knn
from core.evaluators.labels import Labels, index_labels
from core.evaluators.linear_probe import linear_probe
from core.evaluators.logistic import ProbeData, ProbeSettings
from core.evaluators.outcome import Outcome
from core.evaluators.prompts import DEFAULT_TEMPLATES, load_templates
from core.evaluators.report import Report
from core.evaluators.retrieval import ranks, retrieval_outcome
from core.evaluators.statistics import Difference, compare
from core.evaluators.zero_shot import ClassEmbedder, zero_shot
from core.opening import Model, model_digest

LAYER = "before the projection"
_DIGEST = "data_digest"
_PER_MILLE = 1000  # what the evaluators' shares are told in


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure. Empty fields stand for the only label column, and for the run's own training data."""

    data: str
    task: str
    label: str = ""
    train: str = ""
    templates: str = DEFAULT_TEMPLATES


def evaluate(model: Model, request: Request, progress: Progress, log: Log) -> Report:
    """Measure ``model`` as ``request`` says; ``log`` is told of rows that are skipped.

    Raises UserError for an unknown task or label column, data that cannot be read, and what the evaluators refuse.
    """
    if request.task not in _TASKS:
        raise UserError(f"there is no task {request.task!r} here; there are {', '.join(_TASKS)}.")
    outcome = _TASKS[request.task](_Work(model, request, progress, log))
    outcome = replace(outcome, notes=model.notes + outcome.notes)
    return Report(replace(model.subject, dataset=request.data), outcome)


def compare_reports(a: Report, b: Report) -> dict[str, Difference]:
    """A minus B for each metric; EvaluationError when they were not measured on the same queries."""
    one, other = (report.outcome.details.get(_DIGEST) for report in (a, b))
    if one != other:
        raise EvaluationError(
            f"A was measured on {a.subject.dataset} and B on {b.subject.dataset}, whose pictures or labels differ; "
            "evaluate both on the same data."
        )
    return compare(a.outcome, b.outcome)


@dataclass(frozen=True)
class _Labelled:
    """Labelled pictures of a data set as features."""

    dataset: PairDataset
    label: str  # the column
    rows: list[int]  # the data set's row of each feature
    features: Tensor  # (N, D)
    labels: Labels

    def digest(self) -> str:
        """Names the labelled pictures, so that two reports are known to be of the same ones."""
        classes = self.labels.classes
        pairs = zip(self.labels.rows.tolist(), self.labels.targets.tolist(), strict=True)
        return _digest([[self.dataset.path(self.rows[i]).name, classes[target]] for i, target in pairs])


@dataclass(frozen=True)
class _Work:
    """A model and a request, and who is told how it goes."""

    model: Model
    request: Request
    progress: Progress
    log: Log

    def open(self, source: str) -> PairDataset:
        network, towers = self.model.network, self.model.network.towers
        return open_dataset(
            source,
            self.model.data,
            network.image_size,
            towers.tokenize,
            pad_id=towers.pad_id,
            progress=self.progress,
            log=self.log,
        )

    def labelled(self, source: str, before_projection: bool, classes: tuple[str, ...] | None = None) -> _Labelled:
        """The pictures of ``source``, with labels among ``classes`` (by default all that there are)."""
        dataset = self.open(source)
        name = label_name(dataset, self.request.label)

        def indexed(rows: Sequence[int]) -> Labels:
            return index_labels([dataset.labels(row).get(name) for row in rows], classes)

        indexed(range(len(dataset)))  # refuses what cannot be used before the pictures are encoded
        model = self.model
        rows, features = encode_pictures(
            model.network, dataset, model.runtime, model.batch, self.progress, before_projection
        )
        dataset.check(model.data.max_bad_share)
        return _Labelled(dataset, name, rows.tolist(), features, indexed(rows.tolist()))

    def share(self, share: float, doing: str) -> None:
        """An evaluator's progress in the encoder's terms."""
        self.progress(doing, round(share * _PER_MILLE), _PER_MILLE)


def _retrieval(work: _Work) -> Outcome:
    model = work.model
    dataset = work.open(work.request.data)
    features = encode_dataset(model.network, dataset, model.runtime, model.batch, work.progress)
    dataset.check(model.data.max_bad_share)
    by_image, by_text = ranks(features.images, features.texts, features.text_to_image, progress=work.share)
    outcome = retrieval_outcome(by_image, by_text, features.text_to_image)
    queries = [[dataset.path(row).name, *dataset.captions_of(row)] for row in features.rows.tolist()]
    details = {**outcome.details, _DIGEST: _digest(queries)}
    return replace(outcome, notes=_unreadable(dataset) + outcome.notes, details=details)


def _zero_shot(work: _Work) -> Outcome:
    model = work.model
    templates = load_templates(work.request.templates)
    test = work.labelled(work.request.data, before_projection=False)
    embedder = ClassEmbedder(
        lambda texts: encode_texts(model.network, texts, model.runtime),
        templates,
        model_digest(model),
        cache_folder() / "classes",
        model.batch,
    )
    classes = embedder.embed(test.labels.classes, progress=work.share)
    result = zero_shot(test.features, test.labels, classes, model.network.logit_scale.item(), work.share)
    details = {"templates": list(templates), "label": test.label, _DIGEST: test.digest()}
    return result.outcome("zero-shot", _unreadable(test.dataset), details)


def _linear_probe(work: _Work) -> Outcome:
    train, test = _train_and_test(work)
    settings = ProbeSettings(layer=LAYER, model_digest=model_digest(work.model))
    result = linear_probe(
        ProbeData(train.features, train.labels),
        ProbeData(test.features, test.labels),
        settings=settings,
        progress=work.share,
    )
    return _trained(result.outcome(), train, test)


def _knn(work: _Work) -> Outcome:
    train, test = _train_and_test(work)
    result = knn(train.features, train.labels, test.features, test.labels, progress=work.share)
    return _trained(result.outcome("knn", details={"layer": LAYER}), train, test)


_TASKS: dict[str, Callable[[_Work], Outcome]] = {
    "zero-shot": _zero_shot,
    "linear-probe": _linear_probe,
    "knn": _knn,
    "retrieval": _retrieval,
}


def _train_and_test(work: _Work) -> tuple[_Labelled, _Labelled]:
    """Training and test pictures before the projection, indexed by the training data's classes."""
    source = work.request.train or work.model.data.train
    if not source:
        raise UserError(f"{work.request.task} needs labelled training data; name them with --train SOURCE.")
    train = work.labelled(source, before_projection=True)
    return train, work.labelled(work.request.data, True, train.labels.classes)


def _trained(outcome: Outcome, train: _Labelled, test: _Labelled) -> Outcome:
    """The outcome with what it was trained on, and what was left out of both data sets."""
    notes = [f"trained on {len(train.labels.rows)} pictures of {train.dataset.origin}."]
    if train.dataset.origin == test.dataset.origin:
        notes.append("these are the test data themselves, so the numbers say nothing about unseen pictures.")
    notes += [f"training data: {note}" for note in (*_unreadable(train.dataset), *train.labels.notes)]
    details = {"train": train.dataset.origin, "label": test.label, _DIGEST: test.digest()}
    return replace(
        outcome,
        notes=(*notes, *_unreadable(test.dataset), *outcome.notes),
        details={**outcome.details, **details},
    )


def label_name(dataset: PairDataset, wanted: str) -> str:
    """The label column ``wanted``, or the only one; UserError naming those there are."""
    names = dataset.label_names
    there = ", ".join(names)
    if not names:
        raise UserError(
            f"{dataset.origin} has no labels; add a column with the class of each picture, or give class folders."
        )
    if wanted and wanted not in names:
        raise UserError(f"{dataset.origin} has no label column {wanted!r}; there are {there}.")
    if not wanted and len(names) > 1:
        raise UserError(f"{dataset.origin} has several label columns; choose one with --label: {there}.")
    return wanted or names[0]


def _unreadable(dataset: PairDataset) -> tuple[str, ...]:
    bad = dataset.all_bad()
    if not bad:
        return ()
    return (f"{len(bad)} rows of {dataset.origin} cannot be used and were left out, such as {bad[0]}.",)


def _digest(queries: list[list[str]]) -> str:
    text = json.dumps(queries).encode()  # names that are not Unicode are escaped
    return hashlib.sha256(text).hexdigest()[:16]
