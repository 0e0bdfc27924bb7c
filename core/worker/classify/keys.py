"""What the Classify panel's results are results of: plain values, whose JSON is the key that names them.

Flow: `Wanted` (a model on labelled data) -> `Measurement` (one way of classifying on it) -> questions about the result.
A worker that does not have it in memory computes it again from the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from core.inference.encoder import UNPROJECTED
from core.metrics.classification.knn import NEIGHBOURS
from core.metrics.classification.prompts import DEFAULT_TEMPLATES
from core.worker.session import write_key

Method = Literal["zero-shot", "probe", "knn", "saved probe"]
_EXACT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A model on labelled data. Empty fields stand for the only label column and for the run's own training data.

    ``model`` is an exact name (a checkpoint, not "best"); ``packed``: results tell their confusion matrix packed.
    """

    __pydantic_config__ = _EXACT

    model: str
    weights: str
    data: str
    label: str = ""
    train: str = ""
    train_label: str = ""
    val: str = ""
    layer: str = UNPROJECTED
    packed: bool = False

    @property
    def key(self) -> str:
        """Names the opened data."""
        return write_key(self)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One way of classifying; only the fields of its method count."""

    __pydantic_config__ = _EXACT

    opened: Wanted
    method: Method
    kind: str = "image"  # of a probe: "image" or "fused"
    text: str = "predicted"
    templates: str = DEFAULT_TEMPLATES
    standardise: bool = False
    k: int = NEIGHBOURS
    path: str = ""  # of a saved probe

    @property
    def key(self) -> str:
        """Names the result."""
        return write_key(self)


@dataclass(frozen=True, kw_only=True)
class ProbeFile:
    """A probe that was saved, without data to measure it on."""

    __pydantic_config__ = _EXACT

    path: str

    @property
    def key(self) -> str:
        """Names the probe."""
        return write_key(self)
