"""Results of evaluators, with their confusion cells, mistakes and differences.

Flow: ``measuring`` makes a `Result` of an evaluator's `Classification`; its plain form goes to the panel.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.inference.fusing import FusedEncoder
from core.inference.labelled import LabelledFeatures
from core.metrics.classification.accuracy import Classification
from core.metrics.classification.linear_probe import Curve
from core.metrics.classification.probe import Probe
from core.metrics.outcome import Task
from core.metrics.statistics import Difference, Interval, compare, intervals, wilson
from core.spec.errors import UserError

MAX_MISTAKES = 60  # included in a result


@dataclass(frozen=True)
class Result:
    """Predictions for the test images of an opened data set, and their probe, if any."""

    key: str  # see ``keys``
    opened: str  # key of the data
    kind: Task
    title: str
    test: LabelledFeatures
    classification: Classification
    layer: str = ""
    probe: Probe | None = None
    encoder: FusedEncoder | None = None
    curve: Curve = ()
    notes: tuple[str, ...] = ()

    def as_json(self, packed: bool = False) -> dict[str, Any]:
        """The result as JSON for the panel. ``packed``: write confusion cells with `pack`, which are fast to read."""
        outcome = self.classification.outcome(self.kind, self.notes)
        ends = intervals(outcome.per_query)
        metrics = {name: {"value": value, **_interval_json(ends[name])} for name, value in outcome.metrics.items()}
        return {
            "result": self.key,
            "opened": self.opened,
            "kind": self.kind,
            "title": self.title,
            "layer": self.layer,
            "text": self.encoder.text if self.encoder else "",
            "samples": outcome.samples,
            "accuracy": metrics["acc1"],
            "metrics": metrics,
            "classes": list(self.classification.labels.classes),
            "per_class": self.per_class(),
            "confusion": pack(self.confusion()) if packed else self.confusion(),
            "C": self.probe.C if self.probe else None,
            "curve": [list(point) for point in self.curve],
            "mistakes": self.mistakes(0, MAX_MISTAKES)["images"],
            "mistake_count": int((~self.classification.hits).sum()),
            "can_save": self.probe is not None,
            "notes": list(outcome.notes),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """The accuracy of each class in the data, with its index in ``classes``."""
        counts, recall = self.classification.labels.counts().tolist(), self.classification.recall_per_class().tolist()
        table = []
        for index, (name, total) in enumerate(zip(self.classification.labels.classes, counts, strict=True)):
            if total:
                ends = wilson(round(recall[index] * total), total)
                table.append(
                    {
                        "class": name,
                        "index": index,
                        "rows": total,
                        "accuracy": recall[index],
                        "low": ends.low,
                        "high": ends.high,
                    }
                )
        return table

    def confusion(self) -> dict[str, list[int]]:
        """The non-empty cells, as three flat lists."""
        cells = self.classification.confusion()
        true, predicted = cells.nonzero(as_tuple=True)
        return {"true": true.tolist(), "predicted": predicted.tolist(), "count": cells[true, predicted].tolist()}

    def mistakes(self, offset: int, limit: int) -> dict[str, Any]:
        """The most confident mistakes, starting at ``offset``."""
        wrong = self.classification.mistakes(offset + limit)
        images = [
            {
                "image": self.test.path(mistake.row),
                "true": mistake.true,
                "predicted": mistake.predicted,
                "probability": mistake.probability,
                "tied": mistake.tied,
            }
            for mistake in wrong[offset:]
        ]
        return {"total": int((~self.classification.hits).sum()), "images": images}

    def cell(self, true: int, predicted: int, offset: int, limit: int) -> dict[str, Any]:
        """The images of class ``true`` that were predicted as ``predicted``, most confident first."""
        classes = self.classification.labels.classes
        for index in (true, predicted):
            if not 0 <= index < len(classes):
                raise UserError(f"there is no class {index}; classes have numbers 0 to {len(classes) - 1}.")
        rows = self.classification.cell(true, predicted).tolist()
        source_rows = self.classification.labels.rows.tolist()
        probabilities = dict(zip(source_rows, self.classification.probabilities.tolist(), strict=True))
        tied = dict(zip(source_rows, self.classification.tied.tolist(), strict=True))
        return {
            "true": classes[true],
            "predicted": classes[predicted],
            "total": len(rows),
            "images": [
                {"image": self.test.path(row), "probability": probabilities[row], "tied": tied[row]}
                for row in rows[offset : offset + limit]
            ],
        }


def pack(lists: dict[str, list[int]]) -> dict[str, str]:
    """Encode integers as base64 of little-endian int32."""
    return {
        name: base64.b64encode(np.asarray(values, dtype="<i4").tobytes()).decode() for name, values in lists.items()
    }


def difference(a: Result, b: Result, shown: int) -> dict[str, Any]:
    """The difference A - B on the same images: metrics with intervals, classes, images that only one gets right.

    Raises UserError if they were not evaluated on the same images and labels.
    """
    if a.test.digest() != b.test.digest() or a.classification.labels.classes != b.classification.labels.classes:
        raise UserError(
            f"{a.title} was evaluated on {a.test.dataset.origin}, but {b.title} on {b.test.dataset.origin}; their "
            "images, labels or classes differ; evaluate both on the same data."
        )
    # Both get the same task, whatever they are, so that a probe can be compared with a zero-shot classifier.
    differences = compare(a.classification.outcome("zero-shot"), b.classification.outcome("zero-shot"))
    correct_a, correct_b = a.classification.hits, b.classification.hits
    per_class = [
        {
            "class": first["class"],
            "index": first["index"],
            "rows": first["rows"],
            "a": first["accuracy"],
            "b": second["accuracy"],
        }
        for first, second in zip(a.per_class(), b.per_class(), strict=True)
    ]

    def images(mask: Any) -> list[dict[str, Any]]:
        classes, labels = a.classification.labels.classes, a.classification.labels
        return [
            {
                "image": a.test.path(int(labels.rows[i])),
                "true": classes[int(labels.targets[i])],
                "a": classes[int(a.classification.predictions[i])],
                "b": classes[int(b.classification.predictions[i])],
            }
            for i in mask.nonzero().flatten().tolist()[:shown]
        ]

    return {
        "a": a.key,
        "b": b.key,
        "differences": {name: _difference_json(difference) for name, difference in differences.items()},
        "per_class": per_class,
        "only_a": images(correct_a & ~correct_b),
        "only_b": images(correct_b & ~correct_a),
        "both_right": int((correct_a & correct_b).sum()),
        "both_wrong": int((~correct_a & ~correct_b).sum()),
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    interval = _interval_json(difference.interval)
    return {**asdict(difference), "interval": interval, "significant": difference.significant}


def _interval_json(interval: Interval) -> dict[str, float]:
    """The ends of ``interval``; empty for a single image, which has no interval."""
    return {} if math.isnan(interval.low) else {"low": interval.low, "high": interval.high}
