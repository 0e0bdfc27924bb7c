"""Tasks on labelled images: zero-shot, linear probe, fused probe (both also few-shot), kNN.

Flow: `Evaluation` -> features of labelled images -> an evaluator -> `Outcome` with notes on skipped images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from core.evaluation.request import DATA_DIGEST, Evaluation, ProbeSplits
from core.inference.encoder import PROJECTED
from core.inference.extraction import class_embedder
from core.inference.fusing import FusedEncoder, build_fused_encoder, can_caption, check_fusing, fused_features
from core.inference.labelled import LabelledFeatures, unreadable
from core.metrics.classification.few_shot import few_shot, few_shot_outcome
from core.metrics.classification.knn import knn
from core.metrics.classification.linear_probe import linear_probe
from core.metrics.classification.logistic import ProbeData
from core.metrics.classification.prompts import load_prompts, load_templates, unknown_names
from core.metrics.classification.zero_shot import zero_shot
from core.metrics.inputs import Progress, part_of
from core.metrics.outcome import Outcome, Queries
from core.metrics.statistics import paired_difference

IMAGE_ONLY = "image"  # name of the image-only probe, which is reported next to a fused one


def zero_shot_task(evaluation: Evaluation) -> Outcome:
    """Zero-shot classification with the prompts of each class."""
    prompts = load_prompts(evaluation.request.templates)
    test = evaluation.labelled_features(evaluation.request.data, [PROJECTED])
    embedder = class_embedder(evaluation.model, prompts.templates)
    names = [prompts.names_of(label) for label in test.labels.classes]
    classes = embedder.embed_named(names, progress=evaluation.report_share)
    scale = evaluation.model.network.logit_scale.item()
    result = zero_shot(test.features[PROJECTED], test.labels, classes, scale, evaluation.report_share)
    details: dict[str, Any] = {"templates": list(prompts.templates), "label": test.label, DATA_DIGEST: test.digest()}
    by_label = zip(test.labels.classes, names, strict=True)
    if renamed := {label: list(class_names) for label, class_names in by_label if class_names != (label,)}:
        details["names"] = renamed
    notes = (*unreadable(test.dataset), *evaluation.size_notes(test), *unknown_names(prompts, test.labels.classes))
    return result.outcome("zero-shot", notes, details).in_clusters(evaluation.test_clusters(test))


def plain_probe(evaluation: Evaluation) -> Outcome:
    """The linear probe of image features; with shots, the few-shot curve."""
    layer = evaluation.layer()
    splits = evaluation.splits([layer])
    details = {"layer": layer} if evaluation.request.shots else None
    return evaluation.annotate(_probe(evaluation, splits.data(layer), layer, evaluation.report_share), splits, details)


def nearest_neighbours(evaluation: Evaluation) -> Outcome:
    """kNN as in DINO."""
    layer = evaluation.layer()
    splits = evaluation.splits([layer])
    train, test = splits.train, splits.test
    result = knn(
        train.features[layer],
        train.labels,
        test.features[layer],
        test.labels,
        k=evaluation.request.k,
        progress=evaluation.report_share,
    )
    return evaluation.annotate(result.outcome("knn", details={"layer": layer, "k": evaluation.request.k}), splits)


def fused_probe(evaluation: Evaluation) -> Outcome:
    """Probes of the fused representation, one for each kind of text, and the image-only probe on the same data.

    Metrics of the first text have no prefix; metrics of other texts have the text's name as prefix, and image-only
    metrics have ``image_``. ``gain_acc1`` is the accuracy with the first text minus the image-only accuracy.
    """
    layer, model = evaluation.layer(), evaluation.model
    texts = evaluation.request.texts or (("predicted", "caption") if can_caption(model) else ("predicted",))
    templates = load_templates(evaluation.request.templates)
    for text in texts:  # checked before any image is encoded
        check_fusing(model, text)
    splits = evaluation.splits([layer])
    classes = splits.train.labels.classes
    embed = class_embedder(model, templates).embed
    outcomes = {
        IMAGE_ONLY: _probe(
            evaluation, splits.data(layer), layer, part_of(evaluation.report_share, 0, 1 / (len(texts) + 1))
        )
    }
    for position, text in enumerate(texts, start=1):
        fused_encoder = build_fused_encoder(model, text, classes, templates, embed)
        train, test = (_joined_data(evaluation, fused_encoder, split) for split in (splits.train, splits.test))
        val = _joined_data(evaluation, fused_encoder, splits.val) if splits.val else None
        progress = part_of(evaluation.report_share, position / (len(texts) + 1), (position + 1) / (len(texts) + 1))
        outcomes[text] = _probe(evaluation, (train, test, val), fused_encoder.layer, progress)
    return evaluation.annotate(_combine(outcomes, texts), splits, {"templates": list(templates), "texts": list(texts)})


def _joined_data(evaluation: Evaluation, fused_encoder: FusedEncoder, split: LabelledFeatures) -> ProbeData:
    """The fused representation of the readable images of ``split``."""
    return ProbeData(
        fused_features(fused_encoder, split.dataset, evaluation.progress).values[fused_encoder.layer], split.labels
    )


def _probe(evaluation: Evaluation, data: ProbeSplits, layer: str, progress: Progress) -> Outcome:
    """The outcome of a linear probe; with shots, the few-shot curve."""
    train, test, val = data
    settings = evaluation.settings(layer)
    if not evaluation.request.shots:
        return linear_probe(train, test, val, settings=settings, progress=progress).outcome()
    points = few_shot(train, test, val, evaluation.request.shots, evaluation.request.draws, settings, progress)
    return few_shot_outcome(points, len(test.labels.rows))


def _combine(outcomes: Mapping[str, Outcome], texts: tuple[str, ...]) -> Outcome:
    """The first text's outcome, with the metrics and details of the other texts and of the image-only probe."""
    main, image = outcomes[texts[0]], outcomes[IMAGE_ONLY]
    metrics = dict(main.metrics)
    per_query: dict[str, Queries] = dict(main.per_query)
    bounds = dict(main.intervals)
    for name in (IMAGE_ONLY, *texts[1:]):
        metrics |= {f"{name}_{metric}": value for metric, value in outcomes[name].metrics.items()}
        per_query |= {f"{name}_{metric}": value for metric, value in outcomes[name].per_query.items()}
        bounds |= {f"{name}_{metric}": value for metric, value in outcomes[name].intervals.items()}
    note = f"the image is fused with: {', '.join(_TEXT_MEANINGS[text] for text in texts)}."
    others = {name: dict(outcome.details) for name, outcome in outcomes.items()}
    details: dict[str, Any] = {**main.details, "others": others}
    if "acc1" in image.per_query:
        gain = paired_difference(main.per_query["acc1"], image.per_query["acc1"])
        metrics["gain_acc1"] = gain.value
        per_query["gain_acc1"] = Queries(main.per_query["acc1"].values - image.per_query["acc1"].values)
        details["gain"] = asdict(gain)
    return replace(
        main,
        task="fused-probe",
        metrics=metrics,
        per_query=per_query,
        intervals=bounds,
        notes=(*main.notes, note),
        details=details,
    )


_TEXT_MEANINGS = {  # by `core.inference.fusing.TEXT_KINDS`
    "predicted": "the prompt of the class that the model predicts zero-shot",
    "classes": "the prompt of every class, averaged",
    "caption": "the model's own caption",
}
