"""An evaluation request, and the steps that all tasks share: open data, extract features, report progress.

Flow: ``core.evaluation.evaluate`` creates an `Evaluation` from model and request, and passes it to the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.checkpoint.opening import Model
from core.data.dataset import Log, PairDataset
from core.inference.encoder import UNPROJECTED, check_layer
from core.inference.labelled import LabelledFeatures, open_labelled, size_notes, unreadable
from core.metrics.classification.few_shot import DEFAULT_DRAWS
from core.metrics.classification.knn import NEIGHBOURS
from core.metrics.classification.logistic import ProbeData, ProbeSettings
from core.metrics.classification.prompts import DEFAULT_TEMPLATES
from core.metrics.outcome import Integers, Outcome
from core.spec.errors import UserError
from core.spec.reporter import Progress

DATA_DIGEST = "data_digest"
ProbeSplits = tuple[ProbeData, ProbeData, ProbeData | None]  # training, test, validation
_PER_MILLE = 1000  # the unit of evaluators' progress


@dataclass(frozen=True, kw_only=True)
class Request:
    """The data, task and options of an evaluation.

    ``label``: by default the only label column. ``train``: by default the run's training data. ``shots``: few-shot
    probes. ``texts``: the texts to fuse images with (`core.inference.fusing.TEXT_KINDS`), by default all but classes.
    ``rerank``: number of candidates per query that a matching head re-ranks. ``cluster``: a label column; intervals
    resample all images with the same label together.
    """

    data: str
    task: str
    label: str = ""
    train: str = ""
    val: str = ""
    templates: str = DEFAULT_TEMPLATES
    layer: str = UNPROJECTED
    k: int = NEIGHBOURS
    shots: tuple[int, ...] = ()
    draws: int = DEFAULT_DRAWS
    texts: tuple[str, ...] = ()
    rerank: int = 0
    cluster: str = ""


@dataclass(frozen=True)
class Splits:
    """Labelled images for training, testing and, if specified, for choosing the inverse regularisation C of a probe.

    Labels are indices into the training data's classes.
    """

    train: LabelledFeatures
    test: LabelledFeatures
    val: LabelledFeatures | None = None

    def all(self) -> list[LabelledFeatures]:
        """The specified splits."""
        return [self.train, self.test, *([self.val] if self.val else [])]

    def data(self, layer: str) -> ProbeSplits:
        """Training, test and validation data with the features of ``layer``."""
        return self.train.data(layer), self.test.data(layer), self.val.data(layer) if self.val else None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in progress: a model, a request, and the callbacks for progress and notes."""

    model: Model
    request: Request
    progress: Progress
    log: Log

    def report_share(self, share: float, activity: str) -> None:
        """Report the progress of an evaluator, 0 to 1."""
        self.progress(activity, round(share * _PER_MILLE), _PER_MILLE)

    def layer(self) -> str:
        """The full name of the requested layer."""
        return check_layer(self.model.network, self.request.layer)

    def labelled_features(
        self, source: str, layers: Sequence[str], classes: tuple[str, ...] | None = None
    ) -> LabelledFeatures:
        """The images of ``source`` with labels among ``classes`` (by default all)."""
        return open_labelled(self.model, source, self.request.label, layers, self.progress, self.log, classes)

    def splits(self, layers: Sequence[str]) -> Splits:
        """Training, test and validation images."""
        request = self.request
        source = request.train or self.model.data.train
        if not source:
            raise UserError(f"{request.task} needs labelled training data; pass it with --train SOURCE.")
        train = self.labelled_features(source, layers)
        classes = train.labels.classes
        test = self.labelled_features(request.data, layers, classes)
        return Splits(train, test, self.labelled_features(request.val, layers, classes) if request.val else None)

    def settings(self, layer: str) -> ProbeSettings:
        """The settings of a probe."""
        return ProbeSettings(layer=layer, model_digest=self.model.digest)

    def annotate(self, outcome: Outcome, splits: Splits, details: dict[str, Any] | None = None) -> Outcome:
        """``outcome`` with notes on the training data and on skipped images."""
        train, test, val = splits.train, splits.test, splits.val
        notes = [f"trained on {len(train.labels.rows)} images of {train.dataset.origin}."]
        if train.dataset.origin == test.dataset.origin:
            notes.append("training and test data are the same, so the results do not apply to unseen images.")
        if val is not None:
            notes.append(f"C was chosen on {len(val.labels.rows)} images of {val.dataset.origin}.")
            notes += [f"validation data: {note}" for note in (*unreadable(val.dataset), *val.labels.notes)]
        notes += [f"training data: {note}" for note in (*unreadable(train.dataset), *train.labels.notes)]
        about = {"train": train.dataset.origin, "val": val.dataset.origin if val else "", "label": test.label}
        return replace(
            outcome.in_clusters(self.test_clusters(test)),
            notes=(*notes, *unreadable(test.dataset), *self.size_notes(test), *outcome.notes),
            details={**outcome.details, **(details or {}), **about, DATA_DIGEST: test.digest()},
        )

    def clusters(self, dataset: PairDataset, rows: Sequence[int]) -> Integers | None:
        """The cluster of each of ``rows``, if clusters are requested; an image without a label is its own cluster."""
        if not (column := self.request.cluster):
            return None
        numbers: dict[str | int, int] = {}
        keys = (dataset.labels(row).get(column) or row for row in rows)
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

    def test_clusters(self, data: LabelledFeatures) -> Integers | None:
        """The cluster of each labelled image."""
        return self.clusters(data.dataset, [data.rows[i] for i in data.labels.rows.tolist()])

    def size_notes(self, data: LabelledFeatures) -> tuple[str, ...]:
        """A note if the images are much smaller than the model's input."""
        return size_notes(data.dataset, self.model.network.image_size)
