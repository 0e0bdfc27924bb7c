"""Keys of the Classify panel's data and results: JSON that describes how to compute them.

Flow: `DataRequest` (a model on labelled data) -> `Measurement` (an evaluation on it) -> requests about the result. A
worker that does not have a result in memory recomputes it from the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from core.inference.encoder import UNPROJECTED
from core.metrics.classification.knn import NEIGHBOURS
from core.metrics.classification.prompts import DEFAULT_TEMPLATES

Method = Literal["zero-shot", "probe", "knn", "saved probe"]
_EXACT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """A model on labelled data. Empty fields mean the only label column and the run's own training data.

    ``model`` is an exact name (a checkpoint, not "best"); ``packed``: results have a packed confusion matrix.
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


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """An evaluation; only the fields of its method apply."""

    __pydantic_config__ = _EXACT

    opened: DataRequest
    method: Method
    kind: str = "image"  # kind of probe: "image" or "fused"
    text: str = "predicted"
    templates: str = DEFAULT_TEMPLATES
    standardise: bool = False
    k: int = NEIGHBOURS
    path: str = ""  # path of a saved probe


@dataclass(frozen=True, kw_only=True)
class ProbeFile:
    """A saved probe, without data to evaluate it on."""

    __pydantic_config__ = _EXACT

    path: str
