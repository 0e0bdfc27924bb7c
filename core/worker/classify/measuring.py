"""Evaluates opened data: zero-shot, probes, kNN, few-shot curves, and saved probes.

Flow: ``session`` -> `OpenedData` -> **measuring** -> `Result` -> ``session``, which keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from core.inference.encoder import PROJECTED
from core.inference.fusing import FusedEncoder, build_fused_encoder
from core.metrics.classification.few_shot import few_shot, few_shot_outcome
from core.metrics.classification.knn import knn
from core.metrics.classification.linear_probe import classify_with, linear_probe
from core.metrics.classification.logistic import ProbeData, ProbeSettings
from core.metrics.classification.probe import Probe
from core.metrics.classification.prompts import load_prompts, unknown_names
from core.metrics.classification.zero_shot import zero_shot
from core.metrics.outcome import Task
from core.spec.data.prompt_sets import is_inline
from core.spec.errors import UserError
from core.spec.reporter import Reporter
from core.worker.classify.keys import Measurement
from core.worker.classify.opened_data import LoadedModel, OpenedData
from core.worker.classify.results import Result

_PER_MILLE = 1000

_Splits = tuple[ProbeData, ProbeData, ProbeData | None]


def measure(data: OpenedData, measurement: Measurement, saved: Probe | None, progress: Reporter) -> Result:
    """Evaluate ``measurement``. ``saved``: the probe in a file, for the method that uses one."""
    if saved is not None:
        return evaluate_saved(saved, data, Path(measurement.path).stem, progress)
    if measurement.method == "zero-shot":
        return evaluate_prompts(data, measurement.templates, progress, measurement.opened.packed)
    if measurement.method == "knn":
        return evaluate_knn(data, measurement.k, progress)
    return fit_probe(data, measurement.kind, measurement.text, measurement.templates, measurement.standardise, progress)


def evaluate_prompts(data: OpenedData, templates: str, progress: Reporter, packed: bool = False) -> Result:
    """Evaluate zero-shot. For prompts that are being edited, results of the first templates are partial answers."""
    prompts, classes = load_prompts(templates), data.test.labels.classes
    names = [prompts.names_of(label) for label in classes]
    if not is_inline(templates):
        embedded = data.loaded.embedder(prompts.templates).embed_named(names, progress=report_shares(progress))
        return replace(_evaluate_embedded(data, embedded, progress), notes=unknown_names(prompts, classes))
    for number in _growing_counts(len(prompts.templates)):
        embedder = data.loaded.embedder_for_editing(prompts.templates[:number])
        result = _evaluate_embedded(
            data, embedder.embed_named(names, keep=False, progress=report_shares(progress)), progress
        )
        if number < len(prompts.templates):
            progress.partial(result.as_json(packed) | {"result": ""})
    return replace(result, notes=unknown_names(prompts, classes))


def _evaluate_embedded(data: OpenedData, embedded: Tensor, progress: Reporter) -> Result:
    scale = data.model.network.logit_scale.item()
    classification = zero_shot(
        data.test.features[PROJECTED], data.test.labels, embedded, scale, report_shares(progress)
    )
    return Result("", data.key, "zero-shot", f"zero-shot, {data.title}", data.test, classification, PROJECTED)


def _growing_counts(limit: int) -> list[int]:
    """The numbers 1, 4, 16 ... and ``limit``."""
    return [number for number in (4**power for power in range(10)) if number < limit] + [limit]


def fit_probe(data: OpenedData, kind: str, text: str, templates: str, standardise: bool, progress: Reporter) -> Result:
    """Fit a linear probe on images ("image") or on images fused with ``text`` ("fused")."""
    (train, test, val), layer, fused_encoder = probe_data(data, kind, text, templates, progress)
    settings = ProbeSettings(standardise=standardise, layer=layer, model_digest=data.model.digest)
    fitted = linear_probe(train, test, val, settings, report_shares(progress))
    probe, title = fitted.probe, f"image-only probe, {data.title}"
    task: Task = "linear-probe"
    if fused_encoder is not None:
        text, classes, templates_used = fused_encoder.text, fused_encoder.classes, fused_encoder.templates
        probe = replace(probe, text=text, candidates=classes, templates=templates_used)
        task, title = "fused-probe", f"fused probe ({text}), {data.title}"
    curve, notes = fitted.curve, fitted.notes
    return Result("", data.key, task, title, data.test, fitted.test, layer, probe, fused_encoder, curve, notes)


def evaluate_knn(data: OpenedData, k: int, progress: Reporter) -> Result:
    """Classify by the nearest neighbours among the training images."""
    train, test, _ = data.image()
    classification = knn(train.features, train.labels, test.features, test.labels, k, progress=report_shares(progress))
    return Result("", data.key, "knn", f"{k} nearest, {data.title}", data.test, classification, data.layer)


def evaluate_saved(probe: Probe, data: OpenedData, name: str, progress: Reporter) -> Result:
    """Evaluate a saved probe. Raises UserError if it needs other features."""
    layer, fused_encoder = probe_features(probe, data.loaded)
    test = data.test.with_classes(probe.classes)
    if fused_encoder is not None:
        features = data.fused_data(fused_encoder, progress)[1].features
    elif layer in data.test.features:
        features = data.test.features[layer]
    else:
        raise UserError(f"the probe needs the features {layer!r}; open the data with that layer.")
    classification = classify_with(probe, ProbeData(features, test.labels))
    task: Task = "fused-probe" if probe.text else "linear-probe"
    return Result("", data.key, task, f"{name}, {data.title}", test, classification, layer, probe, fused_encoder)


def few_shot_curve(
    data: OpenedData, kind: str, text: str, templates: str, shots: Sequence[int], draws: int, progress: Reporter
) -> dict[str, Any]:
    """The few-shot curve: one point per number of shots, each also sent as a partial answer."""
    if not shots:
        raise UserError("choose at least one number of images per class.")
    (train, test, val), layer, fused_encoder = probe_data(data, kind, text, templates, progress)
    settings = ProbeSettings(layer=layer, model_digest=data.model.digest)
    curve: list[dict[str, Any]] = []
    notes: list[str] = []
    for number in sorted(set(shots)):
        points = few_shot(train, test, val, [number], draws, settings, report_shares(progress))
        outcome = few_shot_outcome(points, len(test.labels.rows))
        curve += outcome.details["few_shot"]
        notes += outcome.notes
        progress.partial({"curve": list(curve)})
    probe_name = "image-only" if fused_encoder is None else f"fused ({fused_encoder.text})"
    return {"opened": data.key, "kind": kind, "title": f"{probe_name}, {data.title}", "curve": curve, "notes": notes}


def probe_data(
    data: OpenedData, kind: str, text: str, templates: str, progress: Reporter
) -> tuple[_Splits, str, FusedEncoder | None]:
    """The data of a probe, the name of its features, and the fused encoder if there is one."""
    if kind == "image":
        return data.image(), data.layer, None
    if kind != "fused":
        raise UserError(f"there is no kind of probe {kind!r}; choose image or fused.")
    data.trainable()  # raises before computing features
    fused_encoder = data.build_fused_encoder(text, templates)
    return data.fused_data(fused_encoder, progress), fused_encoder.layer, fused_encoder


def probe_features(probe: Probe, loaded: LoadedModel) -> tuple[str, FusedEncoder | None]:
    """The layer and fused encoder of ``probe``. Raises EvaluationError if it belongs to another model."""
    layer = probe.layer or PROJECTED
    probe.check_model(loaded.model.digest, layer)
    if not probe.text:
        return layer, None
    embed = loaded.embedder(probe.templates).embed
    return layer, build_fused_encoder(loaded.model, probe.text, probe.candidates, probe.templates, embed)


def report_shares(progress: Reporter) -> Callable[[float, str], None]:
    """Adapts an evaluator's progress to the reporter."""
    return lambda share, activity: progress(activity, round(share * _PER_MILLE), _PER_MILLE)
