"""Applies, saves and loads linear probes.

Flow: `core.metrics.classification.linear_probe` fits a probe; the Classify panel saves it as ``NAME.safetensors`` with
``NAME.json``, and applies it to folders.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors.torch import save
from torch import Tensor

from core.metrics.classification.labels import check_classes
from core.metrics.classification.tensor_file import read_tensors
from core.metrics.inputs import EvaluationError, check_features, full_precision
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, excerpt, read_json, validate

PROBE_VERSION = 1
_MAX_JSON_BYTES = 8 * MEGABYTE
_MAX_TENSOR_BYTES = 2048 * MEGABYTE  # 100,000 classes with 4,096 features take 1.6 GB


@dataclass(frozen=True)
class Probe:
    """Softmax regression on one model's features. Weight and bias already include any standardisation."""

    weight: Tensor  # (K, D) float32
    bias: Tensor  # (K,) float32
    classes: tuple[str, ...]
    C: float  # inverse strength of L2, as in scikit-learn
    layer: str = ""  # layer of the features: before the projection, embedding, fused
    model_digest: str = ""
    standardised: bool = False
    text: str = ""  # kind of text that is fused with each image, for fused features
    candidates: tuple[str, ...] = ()  # classes whose prompts are fused with each image
    templates: tuple[str, ...] = ()

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, K) of ``features`` (N, D). Raises EvaluationError if they are not finite or have another width."""
        features = check_features(features, "features")
        if features.shape[1] != self.weight.shape[1]:
            raise EvaluationError(
                f"the probe was trained on {self.weight.shape[1]} features{f' ({self.layer})' if self.layer else ''}, "
                f"but these have {features.shape[1]}; encode with the same model and layer."
            )
        with full_precision(features.device):
            return features @ self.weight.to(features.device).T + self.bias.to(features.device)

    def probabilities(self, features: Tensor) -> Tensor:
        """Softmax probabilities (N, K) of ``features`` (N, D); raises EvaluationError like `logits`."""
        return self.logits(features).softmax(dim=1)

    def check_model(self, model_digest: str, layer: str) -> None:
        """Raise EvaluationError unless the probe was trained on features of this model and ``layer``."""
        if self.model_digest and model_digest != self.model_digest:
            raise EvaluationError(
                f"the probe belongs to the model {self.model_digest}, not to {model_digest}; "
                "choose the probe's model, or train a new probe."
            )
        if self.layer and layer != self.layer:
            raise EvaluationError(
                f"the probe was trained on the features {self.layer!r}, not on {layer!r}; choose these features."
            )


def save_probe(probe: Probe, path: Path, replace: bool = False) -> Path:
    """Write ``path``, with the suffix .safetensors, and a JSON file next to it; returns the first path.

    Raises EvaluationError if one of the files exists, or the folder cannot be written. With ``replace`` both may exist,
    but the JSON file must describe a probe.
    """
    path = _tensors_of(path)
    description = path.with_suffix(".json")
    existing = [file for file in (path, description) if file.exists()]
    if existing and not replace:
        raise EvaluationError(f"{existing[0]} already exists; choose another name.")
    if description in existing and not _describes_probe(description):
        raise EvaluationError(f"{description} exists and does not describe a probe; choose another name.")
    tensors = {"weight": probe.weight.contiguous(), "bias": probe.bias.contiguous()}
    digest = hashlib.sha256(save(tensors)).hexdigest()
    record = {"version": PROBE_VERSION, "features": probe.weight.shape[1], "digest": digest}
    record |= {field.name: getattr(probe, field.name) for field in fields(probe) if field.name not in tensors}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(tensors, {"digest": digest}))
        write_whole(description, json.dumps(record, ensure_ascii=False, indent=2).encode())
    except OSError as error:
        raise EvaluationError(f"cannot write the probe {path}: {error.strerror}; choose another folder.") from error
    return path


class _ProbeRecord(BaseModel):
    """The JSON file that `save_probe` writes next to the tensors."""

    model_config = ConfigDict(strict=True)

    version: int = Field(ge=1)
    classes: list[str]
    C: float = Field(gt=0)
    layer: str
    model_digest: str
    standardised: bool
    features: int | None = Field(default=None, ge=1)
    digest: str = ""  # of the tensors, which have it too: if only one file was replaced, they differ
    text: str = ""
    candidates: list[str] = []
    templates: list[str] = []

    @field_validator("classes")
    @classmethod
    def _usable(cls, classes: list[str]) -> list[str]:
        try:
            return list(check_classes(classes))
        except EvaluationError as error:
            raise ValueError(excerpt(str(error))) from error


def load_probe(path: Path) -> Probe:
    """The probe saved at ``path`` (either of its two files).

    Raises EvaluationError if a file is missing, damaged or from a later version, or the two files do not match.
    """
    file = _tensors_of(path)
    source = str(file)
    try:
        record = _read_record(file.with_suffix(".json"))
        tensors = read_tensors(
            file,
            _MAX_TENSOR_BYTES,
            lambda shapes, metadata: _check_header(shapes, metadata, record, source),
            EvaluationError,
        )
    except FileNotFoundError as error:
        missing = excerpt(str(error.filename))
        raise EvaluationError(
            f"cannot read the probe {source} and its JSON file: {missing} does not exist; choose another probe."
        ) from error
    weight, bias = tensors["weight"].float(), tensors["bias"].float()
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise EvaluationError(f"the probe {source} has weights that are NaN or infinite; train a new probe.")
    content = record.model_dump(exclude={"version", "features", "digest"})
    content |= {name: tuple(content[name]) for name in ("classes", "candidates", "templates")}
    return Probe(weight=weight, bias=bias, **content)


def _tensors_of(path: Path) -> Path:
    """The tensor file of the probe with the file ``path``. Raises EvaluationError for an invalid file name."""
    if not path.name or "\0" in str(path):
        raise EvaluationError(f"{str(path)!r} is not the name of a file; choose the file of a probe.")
    return path.with_suffix(".safetensors")


def _read_record(file: Path) -> _ProbeRecord:
    raw = read_json(file, _MAX_JSON_BYTES, error=EvaluationError)
    version = raw.get("version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > PROBE_VERSION:
        raise EvaluationError(f"the probe {file} was saved by a later version of sdgui; update sdgui.")
    return validate(_ProbeRecord, raw, str(file), error=EvaluationError, remedy="Remove it, and save the probe again.")


def _describes_probe(file: Path) -> bool:
    try:
        _read_record(file)
    except (EvaluationError, OSError):
        return False
    return True


def _check_header(
    shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str], record: _ProbeRecord, source: str
) -> None:
    """Raise EvaluationError unless declared weight (K, D) and bias (K,) match the JSON; called before reading them."""
    weight, bias = shapes.get("weight", ()), shapes.get("bias", ())
    classes = len(record.classes)
    if (
        len(weight) != 2
        or weight[0] != classes
        or bias != (classes,)
        or weight[1] < 1
        or record.features not in (None, weight[1])  # None: the width is not recorded
        or record.digest != metadata.get("digest", "")
    ):
        raise EvaluationError(f"the probe {source} and its JSON do not belong together; save it again.")
