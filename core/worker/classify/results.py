"""Results of evaluators, kept so that questions about them are answered at once: cells, mistakes, differences.

Flow: ``measuring`` makes a `Result` of an evaluator's `Classification`; its plain form goes to the panel.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.inference.fusing import FusedEncoder
from core.inference.labelled import LabelledFeatures
from core.metrics.classification.accuracy import Classification
from core.metrics.classification.linear_probe import Curve
from core.metrics.classification.probe import Probe
from core.metrics.outcome import Task
from core.metrics.statistics import compare, intervals, wilson
from core.spec.errors import UserError

MISTAKES = 60  # the first ones, that go with a result


@dataclass(frozen=True)
class Result:
    """Predictions for the test images of an opened data set, and the probe that made them, if any."""

    key: str  # names it, see ``keys``
    opened: str  # key of the data that it was measured on
    kind: Task
    title: str
    test: LabelledFeatures
    found: Classification
    layer: str = ""
    probe: Probe | None = None
    joining: FusedEncoder | None = None
    curve: Curve = ()
    notes: tuple[str, ...] = ()

    def plain(self, packed: bool = False) -> dict[str, Any]:
        """For the panel. ``packed``: the cells as `pack` writes them, which takes the window no time to read."""
        outcome = self.found.outcome(self.kind, self.notes)
        ends = intervals(outcome.per_query)
        metrics = {
            name: {"value": value, "low": ends[name].low, "high": ends[name].high}
            for name, value in outcome.metrics.items()
        }
        return {
            "result": self.key,
            "opened": self.opened,
            "kind": self.kind,
            "title": self.title,
            "layer": self.layer,
            "text": self.joining.text if self.joining else "",
            "samples": outcome.samples,
            "accuracy": metrics["acc1"],
            "metrics": metrics,
            "classes": list(self.found.labels.classes),
            "per_class": self.per_class(),
            "confusion": pack(self.confusion()) if packed else self.confusion(),
            "C": self.probe.C if self.probe else None,
            "curve": [list(point) for point in self.curve],
            "mistakes": self.mistakes(0, MISTAKES)["images"],
            "mistake_count": int((~self.found.hits).sum()),
            "can_save": self.probe is not None,
            "notes": list(outcome.notes),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Accuracy of each class that occurs, with its index among ``classes``."""
        counts, right = self.found.labels.counts().tolist(), self.found.recall_per_class().tolist()
        table = []
        for index, (name, total) in enumerate(zip(self.found.labels.classes, counts, strict=True)):
            if total:
                ends = wilson(round(right[index] * total), total)
                table.append(
                    {
                        "class": name,
                        "index": index,
                        "rows": total,
                        "accuracy": right[index],
                        "low": ends.low,
                        "high": ends.high,
                    }
                )
        return table

    def confusion(self) -> dict[str, list[int]]:
        """The non-empty cells, as three flat lists."""
        cells = self.found.confusion()
        true, predicted = cells.nonzero(as_tuple=True)
        return {"true": true.tolist(), "predicted": predicted.tolist(), "count": cells[true, predicted].tolist()}

    def mistakes(self, offset: int, limit: int) -> dict[str, Any]:
        """The most confident mistakes, from the ``offset``-th on."""
        wrong = self.found.mistakes(offset + limit)
        images = [
            {
                "image": self.test.path(one.row),
                "true": one.true,
                "predicted": one.predicted,
                "probability": one.probability,
                "tied": one.tied,
            }
            for one in wrong[offset:]
        ]
        return {"total": int((~self.found.hits).sum()), "images": images}

    def cell(self, true: int, predicted: int, offset: int, limit: int) -> dict[str, Any]:
        """Images of class ``true`` that were predicted as ``predicted``, most confident first."""
        classes = self.found.labels.classes
        for index in (true, predicted):
            if not 0 <= index < len(classes):
                raise UserError(f"there is no class {index}; classes are numbered 0 to {len(classes) - 1}.")
        rows = self.found.cell(true, predicted).tolist()
        source_rows = self.found.labels.rows.tolist()
        chance = dict(zip(source_rows, self.found.probabilities.tolist(), strict=True))
        tied = dict(zip(source_rows, self.found.tied.tolist(), strict=True))
        return {
            "true": classes[true],
            "predicted": classes[predicted],
            "total": len(rows),
            "images": [
                {"image": self.test.path(row), "probability": chance[row], "tied": tied[row]}
                for row in rows[offset : offset + limit]
            ],
        }


def pack(lists: dict[str, list[int]]) -> dict[str, str]:
    """Whole numbers as base64 of int32, little-endian."""
    return {
        name: base64.b64encode(np.asarray(values, dtype="<i4").tobytes()).decode() for name, values in lists.items()
    }


def difference(a: Result, b: Result, shown: int) -> dict[str, Any]:
    """A minus B on the same images: metrics with intervals, classes, and images that only one of them gets right.

    UserError when the two were not evaluated on the same images and labels.
    """
    if a.test.digest() != b.test.digest() or a.found.labels.classes != b.found.labels.classes:
        raise UserError(
            f"{a.title} was evaluated on {a.test.dataset.origin} and {b.title} on {b.test.dataset.origin}, whose "
            "images, labels or classes differ; evaluate both on the same data."
        )
    # A probe and zero-shot answer the same question here.
    differences = compare(a.found.outcome("zero-shot"), b.found.outcome("zero-shot"))
    right_a, right_b = a.found.hits, b.found.hits
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
        classes, labels = a.found.labels.classes, a.found.labels
        return [
            {
                "image": a.test.path(int(labels.rows[i])),
                "true": classes[int(labels.targets[i])],
                "a": classes[int(a.found.predictions[i])],
                "b": classes[int(b.found.predictions[i])],
            }
            for i in mask.nonzero().flatten().tolist()[:shown]
        ]

    return {
        "a": a.key,
        "b": b.key,
        "differences": {
            name: {**asdict(first), "significant": first.significant} for name, first in differences.items()
        },
        "per_class": per_class,
        "only_a": images(right_a & ~right_b),
        "only_b": images(right_b & ~right_a),
        "both_right": int((right_a & right_b).sum()),
        "both_wrong": int((~right_a & ~right_b).sum()),
    }
