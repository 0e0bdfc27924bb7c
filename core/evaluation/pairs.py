"""Tasks on images with captions: retrieval, optionally re-ranked by a matching head, and captioning.

Flow: `Evaluation` -> features of pairs, or generated captions -> an evaluator -> `Outcome`.

Legend: P pairs, F fused width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoint.opening import Model
from core.data.dataset import PairDataset
from core.data.loader import evaluation_texts
from core.data.views.making import centre_view
from core.evaluation.request import DATA_DIGEST, Evaluation
from core.inference.encoder import Features
from core.inference.extraction import extract_pairs
from core.inference.fusing import generated_captions
from core.inference.labelled import open_images, queries_digest, unreadable
from core.metrics.captions.java import java_metrics
from core.metrics.captions.scores import caption_scores
from core.metrics.inputs import EvaluationError, part_of
from core.metrics.outcome import Outcome
from core.metrics.rerank import ScorePairs, rerank, reranked_metrics
from core.metrics.retrieval import ranks, retrieval_outcome
from core.model.eval_mode import evaluating

MATCHING_HEAD = "matching"
_MAX_SAMPLES = 20  # captions shown in a report


def retrieval(evaluation: Evaluation) -> Outcome:
    """Image-to-text and text-to-image retrieval."""
    model = evaluation.model
    score_head = matching_head(model) if evaluation.request.rerank else None  # raises before anything is encoded
    dataset = open_images(model, evaluation.request.data, evaluation.progress, evaluation.log)
    features = extract_pairs(model, dataset, evaluation.progress)
    dataset.check(model.data.max_bad_share)
    ranking_progress = part_of(evaluation.report_share, 0, 0.5) if score_head is not None else evaluation.report_share
    by_image, by_text = ranks(features.images, features.texts, features.text_to_image, progress=ranking_progress)
    extra = {}
    if score_head is not None:
        score = _pair_scores(model, score_head, dataset, features)
        reranking_progress = part_of(evaluation.report_share, 0.5, 1)
        features_and_owners = (features.images, features.texts, features.text_to_image)
        with evaluating(model.network):
            extra = reranked_metrics(
                *rerank(*features_and_owners, score, evaluation.request.rerank, reranking_progress)
            )
    outcome = retrieval_outcome(
        by_image, by_text, features.text_to_image, extra, evaluation.clusters(dataset, features.rows.tolist())
    )
    queries = [[dataset.path(row).name, *dataset.captions_of(row)] for row in features.rows.tolist()]
    details = {**outcome.details, DATA_DIGEST: queries_digest(queries)}
    notes = list(unreadable(dataset)) + list(outcome.notes)
    if extra:
        notes.append(
            f"reranked_... metrics: the matching head reordered the first {evaluation.request.rerank} results of each "
            "query; the other metrics use the embeddings alone."
        )
    return replace(outcome, notes=tuple(notes), details=details)


def matching_head(model: Model) -> nn.Module:
    """The head that maps fused representations of pairs (P, F) to logits (P,), (P, 1) or (P, 2).

    With two logits, the second is for a match, as in ALBEF. Raises EvaluationError if the model has no such head.
    """
    network = model.network
    if network.fusion is None or MATCHING_HEAD not in network.heads:
        raise EvaluationError(
            f"{model.subject.title} has no matching head to re-rank with; measure without --rerank, "
            "or train with objectives.matching.weight above 0."
        )
    return network.heads[MATCHING_HEAD]


def match_scores(head: nn.Module, fused: Tensor) -> Tensor:
    """The match logits (P,) float32 of fused pairs (P, F). Raises EvaluationError for another kind of head."""
    logits: Tensor = head(fused).float()
    if logits.ndim == 2 and logits.shape[1] == 2:
        return logits[:, 1] - logits[:, 0]
    if logits.shape not in ((len(fused),), (len(fused), 1)):
        raise EvaluationError(
            f"the matching head returned {tuple(logits.shape)} for {len(fused)} pairs; it must return (P, 2)."
        )
    return logits.reshape(-1)


def _pair_scores(model: Model, head: nn.Module, dataset: PairDataset, features: Features) -> ScorePairs:
    """A function that scores pairs, given as rows of the encoded images and captions."""
    tokens, _ = evaluation_texts(dataset, features.rows)
    network, runtime = model.network, model.runtime

    @torch.no_grad()
    def score(image_rows: Tensor, captions: Tensor) -> Tensor:
        scores = []
        for batch_rows, texts in zip(
            image_rows.cpu().split(model.batch), captions.cpu().split(model.batch), strict=True
        ):
            rows, index = batch_rows.unique(return_inverse=True)
            views = [centre_view(dataset.image(int(features.rows[i])), network.image_size) for i in rows.tolist()]
            images = torch.stack(views)[index].to(runtime.device)  # (P, 3, S, S)
            with runtime.autocast():
                fused = network.fuse(images, tokens[texts].to(runtime.device))  # (P, F)
                scores.append(match_scores(head, fused).cpu())
        return torch.cat(scores)

    return score


def captioning(evaluation: Evaluation) -> Outcome:
    """Captions that the model generates, compared with the data's captions; METEOR and SPICE need Java."""
    model = evaluation.model
    dataset = open_images(model, evaluation.request.data, evaluation.progress, evaluation.log)
    generated = generated_captions(model, dataset, evaluation.progress)
    dataset.check(model.data.max_bad_share)
    rows = sorted(generated)
    captions = [generated[row] for row in rows]
    references = [list(dataset.captions_of(row)) for row in rows]
    scores = caption_scores(captions, references, progress=evaluation.report_share)
    evaluation.progress("METEOR and SPICE", 0, 0)
    java = java_metrics([captions[i] for i in scores.rows], [references[i] for i in scores.rows])
    outcome = scores.outcome(java).in_clusters(evaluation.clusters(dataset, [rows[i] for i in scores.rows]))
    samples: list[dict[str, Any]] = [
        {"image": str(dataset.path(rows[i])), "caption": captions[i], "references": references[i]}
        for i in scores.rows[:_MAX_SAMPLES]
    ]
    queries = [[dataset.path(rows[i]).name, *references[i]] for i in scores.rows]
    details = {**outcome.details, "samples": samples, DATA_DIGEST: queries_digest(queries)}
    return replace(outcome, notes=(*unreadable(dataset), *outcome.notes), details=details)
