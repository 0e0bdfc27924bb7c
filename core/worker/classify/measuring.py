"""Evaluators on opened data: zero-shot, probes, kNN, few-shot curves, and saved probes.

Flow: ``session`` -> `Opened` -> **measuring** -> `Result` -> ``session``, which keeps it.
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
from core.spec.data.prompt_sets import is_inline
from core.spec.errors import UserError
from core.spec.reporter import Reporter
from core.worker.classify.keys import Measurement
from core.worker.classify.opened import LoadedModel, Opened
from core.worker.classify.results import Result

_PER_MILLE = 1000

_Splits = tuple[ProbeData, ProbeData, ProbeData | None]


def measure(data: Opened, measurement: Measurement, saved: Probe | None, progress: Reporter) -> Result:
    """Classify as ``measurement`` says; ``saved`` is the probe of a file, where it is to be used."""
    if saved is not None:
        return by_saved(saved, data, Path(measurement.path).stem, progress)
    if measurement.method == "zero-shot":
        return by_prompts(data, measurement.templates, progress, measurement.opened.packed)
    if measurement.method == "knn":
        return by_neighbours(data, measurement.k, progress)
    return by_probe(data, measurement.kind, measurement.text, measurement.templates, measurement.standardise, progress)


def by_prompts(data: Opened, templates: str, progress: Reporter, packed: bool = False) -> Result:
    """Zero-shot. With prompts as they are edited, the results of the first templates are partial answers."""
    prompts, classes = load_prompts(templates), data.test.labels.classes
    names = [prompts.names_of(label) for label in classes]
    if not is_inline(templates):
        embedded = data.loaded.embedder(prompts.templates).embed_named(names, progress=shares(progress))
        return replace(_by_embedded(data, embedded, progress), notes=unknown_names(prompts, classes))
    for number in _growing(len(prompts.templates)):
        embedder = data.loaded.edited(prompts.templates[:number])
        result = _by_embedded(data, embedder.embed_named(names, keep=False, progress=shares(progress)), progress)
        if number < len(prompts.templates):
            progress.partial(result.plain(packed) | {"result": ""})
    return replace(result, notes=unknown_names(prompts, classes))


def _by_embedded(data: Opened, embedded: Tensor, progress: Reporter) -> Result:
    scale = data.model.network.logit_scale.item()
    classification = zero_shot(data.test.features[PROJECTED], data.test.labels, embedded, scale, shares(progress))
    return Result("", data.key, "zero-shot", f"zero-shot, {data.title}", data.test, classification, PROJECTED)


def _growing(limit: int) -> list[int]:
    """1, 4, 16 ... and ``limit``."""
    return [number for number in (4**power for power in range(10)) if number < limit] + [limit]


def by_probe(data: Opened, kind: str, text: str, templates: str, standardise: bool, progress: Reporter) -> Result:
    """A linear probe on the image alone ("image") or joined with ``text`` ("fused")."""
    (train, test, val), layer, how = data_of(data, kind, text, templates, progress)
    settings = ProbeSettings(standardise=standardise, layer=layer, model_digest=data.model.digest)
    fitted = linear_probe(train, test, val, settings, shares(progress))
    classification, curve, notes = fitted.test, fitted.curve, fitted.notes
    if how is None:
        title = f"image-only probe, {data.title}"
        return Result(
            "", data.key, "linear-probe", title, data.test, classification, layer, fitted.probe, how, curve, notes
        )
    probe = replace(fitted.probe, text=how.text, candidates=how.classes, templates=how.templates)
    title = f"fused probe ({how.text}), {data.title}"
    return Result("", data.key, "fused-probe", title, data.test, classification, layer, probe, how, curve, notes)


def by_neighbours(data: Opened, k: int, progress: Reporter) -> Result:
    """kNN."""
    train, test, _ = data.image()
    classification = knn(train.features, train.labels, test.features, test.labels, k, progress=shares(progress))
    return Result("", data.key, "knn", f"{k} nearest, {data.title}", data.test, classification, data.layer)


def by_saved(probe: Probe, data: Opened, name: str, progress: Reporter) -> Result:
    """A probe that was saved, on other data or the same; UserError when it takes other features."""
    layer, how = features_of(probe, data.loaded)
    test = data.test.with_classes(probe.classes)
    if how is not None:
        features = data.fused(how, progress)[1].features
    elif layer in data.test.features:
        features = data.test.features[layer]
    else:
        raise UserError(f"the probe takes the features {layer!r}; open the data with that layer.")
    classification = classify_with(probe, ProbeData(features, test.labels))
    title = f"{name}, {data.title}"
    return Result(
        "", data.key, "fused-probe" if probe.text else "linear-probe", title, test, classification, layer, probe, how
    )


def few_shot_curve(
    data: Opened, kind: str, text: str, templates: str, shots: Sequence[int], draws: int, progress: Reporter
) -> dict[str, Any]:
    """A point for each number of shots, also a partial answer when it is computed."""
    if not shots:
        raise UserError("name at least one number of images per class.")
    (train, test, val), layer, how = data_of(data, kind, text, templates, progress)
    settings = ProbeSettings(layer=layer, model_digest=data.model.digest)
    curve: list[dict[str, Any]] = []
    notes: list[str] = []
    for number in sorted(set(shots)):
        points = few_shot(train, test, val, [number], draws, settings, shares(progress))
        outcome = few_shot_outcome(points, len(test.labels.rows))
        curve += outcome.details["few_shot"]
        notes += outcome.notes
        progress.partial({"curve": list(curve)})
    probe_name = "image-only" if how is None else f"fused ({how.text})"
    return {"opened": data.key, "kind": kind, "title": f"{probe_name}, {data.title}", "curve": curve, "notes": notes}


def data_of(
    data: Opened, kind: str, text: str, templates: str, progress: Reporter
) -> tuple[_Splits, str, FusedEncoder | None]:
    """What a probe is fitted on, the name of its features, and how images are joined with text."""
    if kind == "image":
        return data.image(), data.layer, None
    if kind != "fused":
        raise UserError(f"there is no probe {kind!r}; there are image and fused.")
    data.trainable()  # refused before anything is joined
    how = data.build_fused_encoder(text, templates)
    return data.fused(how, progress), how.layer, how


def features_of(probe: Probe, loaded: LoadedModel) -> tuple[str, FusedEncoder | None]:
    """The layer and the joining that ``probe`` needs; EvaluationError when it is of another model."""
    layer = probe.layer or PROJECTED
    probe.check_model(loaded.model.digest, layer)
    if not probe.text:
        return layer, None
    embed = loaded.embedder(probe.templates).embed
    return layer, build_fused_encoder(loaded.model, probe.text, probe.candidates, probe.templates, embed)


def shares(progress: Reporter) -> Callable[[float, str], None]:
    """An evaluator's progress in the reporter's terms."""
    return lambda share, activity: progress(activity, round(share * _PER_MILLE), _PER_MILLE)
