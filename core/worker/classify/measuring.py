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
from core.inference.fusing import Joining, joining
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


def measure(here: Opened, wanted: Measurement, saved: Probe | None, progress: Reporter) -> Result:
    """Classify as ``wanted`` says; ``saved`` is the probe of a file, where it is to be used."""
    if saved is not None:
        return by_saved(saved, here, Path(wanted.path).stem, progress)
    if wanted.method == "zero-shot":
        return by_prompts(here, wanted.templates, progress, wanted.opened.packed)
    if wanted.method == "knn":
        return by_neighbours(here, wanted.k, progress)
    return by_probe(here, wanted.kind, wanted.text, wanted.templates, wanted.standardise, progress)


def by_prompts(here: Opened, templates: str, progress: Reporter, packed: bool = False) -> Result:
    """Zero-shot. With prompts as they are edited, the results of the first templates are partial answers."""
    asked, classes = load_prompts(templates), here.test.labels.classes
    names = [asked.names_of(label) for label in classes]
    if not is_inline(templates):
        embedded = here.loaded.embedder(asked.templates).embed_named(names, progress=shares(progress))
        return replace(_by_embedded(here, embedded, progress), notes=unknown_names(asked, classes))
    for number in _growing(len(asked.templates)):
        embedder = here.loaded.edited(asked.templates[:number])
        found = _by_embedded(here, embedder.embed_named(names, keep=False, progress=shares(progress)), progress)
        if number < len(asked.templates):
            progress.partial(found.plain(packed) | {"result": ""})
    return replace(found, notes=unknown_names(asked, classes))


def _by_embedded(here: Opened, embedded: Tensor, progress: Reporter) -> Result:
    scale = here.model.network.logit_scale.item()
    found = zero_shot(here.test.features[PROJECTED], here.test.labels, embedded, scale, shares(progress))
    return Result("", here.key, "zero-shot", f"zero-shot, {here.title}", here.test, found, PROJECTED)


def _growing(whole: int) -> list[int]:
    """1, 4, 16 ... and ``whole``."""
    return [number for number in (4**at for at in range(10)) if number < whole] + [whole]


def by_probe(here: Opened, kind: str, text: str, templates: str, standardise: bool, progress: Reporter) -> Result:
    """A linear probe on the image alone ("image") or joined with ``text`` ("fused")."""
    (train, test, val), layer, how = data_of(here, kind, text, templates, progress)
    settings = ProbeSettings(standardise=standardise, layer=layer, model_digest=here.model.digest)
    fitted = linear_probe(train, test, val, settings, shares(progress))
    found, curve, notes = fitted.test, fitted.curve, fitted.notes
    if how is None:
        title = f"image-only probe, {here.title}"
        return Result("", here.key, "linear-probe", title, here.test, found, layer, fitted.probe, how, curve, notes)
    probe = replace(fitted.probe, text=how.text, candidates=how.classes, templates=how.templates)
    title = f"fused probe ({how.text}), {here.title}"
    return Result("", here.key, "fused-probe", title, here.test, found, layer, probe, how, curve, notes)


def by_neighbours(here: Opened, k: int, progress: Reporter) -> Result:
    """kNN."""
    train, test, _ = here.image()
    found = knn(train.features, train.labels, test.features, test.labels, k, progress=shares(progress))
    return Result("", here.key, "knn", f"{k} nearest, {here.title}", here.test, found, here.layer)


def by_saved(probe: Probe, here: Opened, name: str, progress: Reporter) -> Result:
    """A probe that was saved, on other data or the same; UserError when it takes other features."""
    layer, how = features_of(probe, here.loaded)
    test = here.test.among(probe.classes)
    if how is not None:
        features = here.fused(how, progress)[1].features
    elif layer in here.test.features:
        features = here.test.features[layer]
    else:
        raise UserError(f"the probe takes the features {layer!r}; open the data with that layer.")
    found = classify_with(probe, ProbeData(features, test.labels))
    title = f"{name}, {here.title}"
    return Result("", here.key, "fused-probe" if probe.text else "linear-probe", title, test, found, layer, probe, how)


def few_shot_curve(
    here: Opened, kind: str, text: str, templates: str, shots: Sequence[int], draws: int, progress: Reporter
) -> dict[str, Any]:
    """A point for each number of shots, also a partial answer when it is computed."""
    if not shots:
        raise UserError("name at least one number of pictures per class.")
    (train, test, val), layer, how = data_of(here, kind, text, templates, progress)
    settings = ProbeSettings(layer=layer, model_digest=here.model.digest)
    curve: list[dict[str, Any]] = []
    notes: list[str] = []
    for number in sorted(set(shots)):
        points = few_shot(train, test, val, [number], draws, settings, shares(progress))
        outcome = few_shot_outcome(points, len(test.labels.rows))
        curve += outcome.details["few_shot"]
        notes += outcome.notes
        progress.partial({"curve": list(curve)})
    what = "image-only" if how is None else f"fused ({how.text})"
    return {"opened": here.key, "kind": kind, "title": f"{what}, {here.title}", "curve": curve, "notes": notes}


def data_of(
    here: Opened, kind: str, text: str, templates: str, progress: Reporter
) -> tuple[_Splits, str, Joining | None]:
    """What a probe is fitted on, the name of its features, and how pictures are joined with text."""
    if kind == "image":
        return here.image(), here.layer, None
    if kind != "fused":
        raise UserError(f"there is no probe {kind!r}; there are image and fused.")
    here.trainable()  # refused before anything is joined
    how = here.joining(text, templates)
    return here.fused(how, progress), how.layer, how


def features_of(probe: Probe, loaded: LoadedModel) -> tuple[str, Joining | None]:
    """The layer and the joining that ``probe`` needs; EvaluationError when it is of another model."""
    layer = probe.layer or PROJECTED
    probe.check_model(loaded.model.digest, layer)
    if not probe.text:
        return layer, None
    embed = loaded.embedder(probe.templates).embed
    return layer, joining(loaded.model, probe.text, probe.candidates, probe.templates, embed)


def shares(progress: Reporter) -> Callable[[float, str], None]:
    """An evaluator's progress in the reporter's terms."""
    return lambda share, doing: progress(doing, round(share * _PER_MILLE), _PER_MILLE)
