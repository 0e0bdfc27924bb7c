"""A linear probe as a thing: applied to features, saved, loaded, and applied again.

Flow: `core.evaluators.linear_probe` fits one; the Classify panel saves it as ``NAME.safetensors`` with ``NAME.json``
beside it, and applies it to folders.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
from safetensors.torch import save
from torch import Tensor

from core.evaluators.inputs import EvaluationError, check_features, full_precision
from core.rundir import write_whole

PROBE_VERSION = 1


@dataclass(frozen=True)
class Probe:
    """Softmax regression on one model's features. Standardisation, if any, is already within weight and bias."""

    weight: Tensor  # (K, D) float32
    bias: Tensor  # (K,) float32
    classes: tuple[str, ...]
    C: float  # inverse strength of L2, as in scikit-learn
    layer: str = ""  # which features: before the projection, embedding, fused
    model_digest: str = ""
    standardised: bool = False
    text: str = ""  # what the pictures are joined with, for fused features
    candidates: tuple[str, ...] = ()  # classes whose prompts they are joined with
    templates: tuple[str, ...] = ()

    def logits(self, features: Tensor) -> Tensor:
        """(N, K) of ``features`` (N, D); EvaluationError when they are of another width or not finite."""
        features = check_features(features, "features")
        if features.shape[1] != self.weight.shape[1]:
            raise EvaluationError(
                f"the probe was trained on {self.weight.shape[1]} features{f' ({self.layer})' if self.layer else ''}, "
                f"but these have {features.shape[1]}; encode with the same model and layer."
            )
        with full_precision(features.device):
            return features @ self.weight.to(features.device).T + self.bias.to(features.device)

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, K), rows sum to one."""
        return self.logits(features).softmax(dim=1)

    def check_model(self, model_digest: str, layer: str) -> None:
        """EvaluationError when features of ``model_digest`` and ``layer`` are not what the probe was trained on."""
        if self.model_digest and model_digest != self.model_digest:
            raise EvaluationError(
                f"the probe belongs to model {self.model_digest}, not to {model_digest}; "
                "choose that model, or train a new probe."
            )
        if self.layer and layer != self.layer:
            raise EvaluationError(f"the probe was trained on the features {self.layer!r}, not on {layer!r}.")


def save_probe(probe: Probe, path: Path, replace: bool = False) -> Path:
    """Writes ``path`` (its suffix is made .safetensors) and the JSON beside it; gives the first.

    Raises EvaluationError when one of them is there already and not to be replaced, or the folder cannot be written.
    """
    path = path.with_suffix(".safetensors")
    there = [file for file in (path, path.with_suffix(".json")) if file.exists()]
    if there and not replace:
        raise EvaluationError(f"{there[0]} is there already and is not overwritten; choose another name.")
    facts = {
        "version": PROBE_VERSION,
        "classes": list(probe.classes),
        "C": probe.C,
        "layer": probe.layer,
        "model_digest": probe.model_digest,
        "standardised": probe.standardised,
        "features": probe.weight.shape[1],
        "text": probe.text,
        "candidates": list(probe.candidates),
        "templates": list(probe.templates),
    }
    tensors = {"weight": probe.weight.contiguous(), "bias": probe.bias.contiguous()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(tensors))
        write_whole(path.with_suffix(".json"), json.dumps(facts, ensure_ascii=False, indent=2).encode())
    except OSError as error:
        raise EvaluationError(f"cannot write the probe {path}: {error.strerror}; choose another folder.") from error
    return path


def load_probe(path: Path) -> Probe:
    """The probe saved at ``path`` (either of its two files).

    Raises EvaluationError when a file is missing, damaged, of a later version, or the two do not fit each other.
    """
    file = path.with_suffix(".safetensors")
    try:
        facts = json.loads(file.with_suffix(".json").read_bytes())
        with safetensors.safe_open(file, framework="pt") as tensors:
            weight, bias = tensors.get_tensor("weight"), tensors.get_tensor("bias")
        if facts["version"] > PROBE_VERSION:
            raise EvaluationError(f"the probe {file} was saved by a later version of this program; update it.")
        classes = tuple(str(name) for name in facts["classes"])
        if weight.ndim != 2 or len(classes) != len(weight) or bias.shape != (len(weight),):
            raise EvaluationError(f"the probe {file} and its JSON do not belong together; save it again.")
        return Probe(
            weight=weight.float(),
            bias=bias.float(),
            classes=classes,
            C=float(facts["C"]),
            layer=str(facts["layer"]),
            model_digest=str(facts["model_digest"]),
            standardised=bool(facts["standardised"]),
            text=str(facts.get("text", "")),
            candidates=tuple(str(name) for name in facts.get("candidates", ())),
            templates=tuple(str(template) for template in facts.get("templates", ())),
        )
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise EvaluationError(f"cannot read the probe {file} and the JSON beside it: {reason}.") from error
    except (KeyError, TypeError, json.JSONDecodeError, safetensors.SafetensorError) as error:
        raise EvaluationError(f"{file} is no saved probe, or damaged ({error}); save it again.") from error
