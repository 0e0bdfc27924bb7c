"""The result of an evaluator: metrics, their values per query, and notes.

Flow: an evaluator creates an `Outcome`; `core.evaluation.report` adds model and data, and writes a table or JSON;
`core.metrics.statistics` computes intervals and paired differences from ``per_query``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Task = Literal["zero-shot", "linear-probe", "fused-probe", "knn", "retrieval", "captioning", "localisation"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class Queries:
    """One value per query; the mean of all values is the metric.

    ``groups``: group number of each query; queries of a group depend on each other, such as five captions of an image,
    and the bootstrap resamples whole groups. ``strata``: stratum number of each query; strata are resampled separately,
    such as classes for a mean over classes. None: queries are independent and resampled together.
    """

    values: Floats  # (Q,)
    groups: Integers | None = None  # (Q,)
    strata: Integers | None = None  # (Q,)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one evaluator on one set of features.

    ``metrics`` are shares from 0 to 1 unless the name says otherwise (ranks, counts, CIDEr). ``details`` is plain data
    for panels and the JSON report: classes, the confusion matrix, the C curve. ``notes`` are sentences for the user.
    """

    task: Task
    samples: int
    metrics: Mapping[str, float]
    per_query: Mapping[str, Queries] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # 95 %, for metrics without queries
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def in_clusters(self, clusters: Integers | None) -> Outcome:
        """The outcome whose intervals resample ``clusters`` (Q,) of queries; None changes nothing.

        Means over strata, such as classes, keep their strata.
        """
        if clusters is None:
            return self
        per_query = {
            name: queries if queries.strata is not None else replace(queries, groups=clusters)
            for name, queries in self.per_query.items()
        }
        return replace(self, per_query=per_query)
