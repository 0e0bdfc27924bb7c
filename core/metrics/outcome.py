"""The result of an evaluator: metrics, their values per query, and notes.

Flow: an evaluator makes an `Outcome`; `core.evaluation.report` adds model and data and writes a table or JSON;
`core.metrics.statistics` gives intervals and paired differences from ``per_query``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Task = Literal["zero-shot", "linear-probe", "fused-probe", "knn", "retrieval", "captioning"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class Queries:
    """One value for each query; their mean is the metric.

    ``groups`` numbers dependent queries, such as five captions of one image: the bootstrap resamples whole groups.
    ``strata`` numbers queries that are resampled separately, such as those of each class for a mean over classes. None:
    queries are independent and resampled together.
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
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # 95 %, of metrics without queries
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
