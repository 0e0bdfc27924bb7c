"""Finds likely mismatched pairs: ranks all pairs by how well caption and image match according to a model.

Flow: model and data -> **noise** -> ``python -m core noise``, the Clean panel, a study's evaluation.
The score of a pair is ``core.objectives.weighting.evidence`` of its features. Pairs are called likely mismatched only
if the scores form two groups (`core.evaluation.groups`); otherwise there is only a ranking. Within a group, the order
also depends on how well the caption's words fit the words predicted from the image (`core.objectives.weighting.words`).

Legend: P pairs (captions with their images), D embed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset, open_dataset
from core.evaluation.groups import Array, two_groups
from core.inference.encoder import check_finite, encode_dataset
from core.objectives.weighting.descriptors import describe, unit_parts
from core.objectives.weighting.evidence import evidence
from core.objectives.weighting.words import reorder_by_words, word_evidence
from core.spec.cells import escape_row
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.model_names import RunNetwork, exact_name, locate, networks_in

SHUFFLED = "shuffled"  # label column: 1 for shuffled captions, otherwise 0
MAX_SUGGESTIONS = 3000  # only pairs of the lowest ranks get a suggestion


@dataclass(frozen=True)
class RankedPair:
    """One caption of one image; rank 1 has the lowest score."""

    row: int
    path: str
    caption: str
    match_score: float  # 0 to 1
    clean_probability: float | None  # that the caption is correct; None if the scores do not form two groups
    rank: int
    shuffled: bool | None  # None if the data does not have this column
    suggestion: str = ""  # for the lowest ranks: the other caption in the data that matches the image best


@dataclass(frozen=True)
class Ranking:
    """All pairs of a source, in order of increasing match score."""

    model: str
    data: str
    pairs: tuple[RankedPair, ...]
    mismatched: int  # number of likely mismatched pairs; 0 for one group
    groups: int = 1  # 1, or 2 if some pairs are likely mismatched

    @property
    def shuffled(self) -> int | None:
        """The number of shuffled captions; None if the data has no such column."""
        flags = [pair.shuffled for pair in self.pairs if pair.shuffled is not None]
        return sum(flags) if flags else None

    def precision(self) -> float | None:
        """Precision at k, with k the number of shuffled captions; None if there are none."""
        count = self.shuffled
        if not count:
            return None
        return sum(bool(pair.shuffled) for pair in self.pairs[:count]) / count

    def recall(self) -> float | None:
        """The share of the shuffled captions that are called likely mismatched; None if there are none."""
        count = self.shuffled
        if not count:
            return None
        return sum(bool(pair.shuffled) for pair in self.pairs[: self.mismatched]) / count

    def auc(self) -> float | None:
        """ROC AUC: the probability that a shuffled caption ranks below a clean caption; None if one kind is missing."""
        flagged = [(pair.match_score, pair.shuffled) for pair in self.pairs if pair.shuffled is not None]
        mismatched = np.array([score for score, flag in flagged if flag])
        clean = np.sort([score for score, flag in flagged if not flag])
        if not len(mismatched) or not len(clean):
            return None
        above = len(clean) - np.searchsorted(clean, mismatched, "right")
        ties = np.searchsorted(clean, mismatched, "right") - np.searchsorted(clean, mismatched, "left")
        return float((above + ties / 2).mean() / len(clean))

    def summary(self) -> dict[str, Any]:
        """The ranking's figures as plain data."""
        return {
            "model": self.model,
            "data": self.data,
            "pairs": len(self.pairs),
            "mismatched": self.mismatched,
            "groups": self.groups,
            "shuffled": self.shuffled,
            "precision": self.precision(),
            "recall": self.recall(),
            "auc": self.auc(),
        }


def rank_pairs(model: str, data: str, progress: Progress, weights: str = "") -> Ranking:
    """Rank the pairs of ``data`` (by default the run's training data) by ``model``, a name as in `locate`.

    ``weights``: "student" or "teacher" of a run; by default the mean of both. Raises UserError if there is no such
    model, network or data.
    """
    progress("loading the model", 0, 0)
    name, _ = exact_name(model, weights)
    models = [open_model(name, network) for network in _networks(name, weights)]
    source = data or models[0].data.train
    if not source:
        raise UserError(f"{model} has no training data; specify --data SOURCE.")
    dataset = _open(models[0], source, progress)
    evidences, words, streams = [], [], []
    image_descriptors: list[Tensor] = []  # the same for each network
    for opened in models:
        network = opened.network
        describe_batch = None if image_descriptors else lambda pixels: image_descriptors.append(describe(pixels))
        features = encode_dataset(network, dataset, opened.runtime, opened.batch, progress, describe_batch)
        for vectors in (features.images, features.texts, network.logit_scale.detach()):  # ranks would hide a NaN
            check_finite(vectors, name)
        images = features.images[features.text_to_image]  # (P, D)
        streams.append((images, features.texts))
        evidences.append(evidence(images, features.texts, float(network.logit_scale.detach())).cpu())
        rows = features.rows[features.text_to_image]
        captions = _captions(dataset, rows)
        descriptors = unit_parts(torch.cat(image_descriptors))[features.text_to_image]  # (P, F)
        words.append(word_evidence(torch.cat([images, descriptors], dim=1), captions, rows, progress))
    match_scores = torch.stack(evidences).mean(dim=0)
    match_scores, clean_probabilities = _order_in_groups(match_scores, torch.stack(words).mean(dim=0))
    suggestions = _suggestions(streams, captions, match_scores.argsort(stable=True)[:MAX_SUGGESTIONS])
    return _ranking(name, source, dataset, rows, captions, match_scores, clean_probabilities, suggestions)


def _networks(name: str, weights: str) -> list[str]:
    """The networks that rank: ``weights``, or all of a run; "" for a model with a single network."""
    source = locate(name, weights)
    if weights or not isinstance(source, RunNetwork):
        return [weights]
    return networks_in(source.run, source.checkpoint)


def _open(model: Model, source: str, progress: Progress) -> PairDataset:
    towers = model.network.towers
    dataset = open_dataset(
        source, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=None
    )
    if len(dataset.captions) < 3:
        raise UserError(f"{source} has {len(dataset.captions)} pairs; ranking needs at least 3.")
    return dataset


def _captions(dataset: PairDataset, rows: Tensor) -> list[str]:
    """The captions of ``rows``, in the order of their features."""
    return [dataset.captions[i] for row in rows.unique().tolist() for i in dataset.caption_span(row)]


def _suggestions(
    streams: Sequence[tuple[Tensor, Tensor]], captions: Sequence[str], positions: Tensor
) -> dict[int, str]:
    """Position of a pair -> the other caption with the highest mean cosine, over all networks, to its image.

    ``streams``: unit vectors of images (P, D) and captions (P, D) from each network. ``positions`` (S,): pairs that get
    a suggestion.
    """
    suggestions = {}
    for part in positions.split(256):
        cosines = torch.stack([images[part] @ texts.T for images, texts in streams]).mean(dim=0)  # (256, P)
        nearest = cosines.topk(min(8, len(captions)), dim=1).indices.tolist()
        for position, candidates in zip(part.tolist(), nearest, strict=True):
            others = (captions[candidate] for candidate in candidates)
            suggestions[position] = next((text for text in others if text != captions[position]), "")
    return suggestions


def _order_in_groups(match_scores: Tensor, words: Tensor) -> tuple[Tensor, Array | None]:
    """``match_scores`` (P,) refined by ``words``; and the clean probabilities, None if there is one group."""
    groups = two_groups(match_scores.double().numpy())
    if groups is None:
        return reorder_by_words(match_scores, words, torch.zeros(len(match_scores))), None
    is_likely_mismatched = groups.clean_probability(match_scores.double().numpy()) < 0.5
    match_scores = reorder_by_words(match_scores, words, torch.from_numpy(is_likely_mismatched))
    return match_scores, groups.clean_probability(match_scores.double().numpy())


def _ranking(
    model: str,
    source: str,
    dataset: PairDataset,
    rows: Tensor,
    captions: Sequence[str],
    match_scores: Tensor,
    clean_probabilities: Array | None,
    suggestions: Mapping[int, str],
) -> Ranking:
    pairs = []
    for rank, position in enumerate(match_scores.argsort(stable=True).tolist(), 1):
        row = int(rows[position])
        flag = dataset.labels(row).get(SHUFFLED, "")
        pairs.append(
            RankedPair(
                row=row,
                path=str(dataset.path(row)),
                caption=captions[position],
                match_score=float(match_scores[position]),
                clean_probability=None if clean_probabilities is None else float(clean_probabilities[position]),
                rank=rank,
                shuffled=flag == "1" if flag in ("0", "1") else None,
                suggestion=suggestions.get(position, ""),
            )
        )
    mismatched = 0 if clean_probabilities is None else int((clean_probabilities < 0.5).sum())
    return Ranking(model, source, tuple(pairs), mismatched, 1 if clean_probabilities is None else 2)


def to_csv(pairs: Sequence[RankedPair]) -> str:
    """The pairs as CSV: rank, match_score, clean_probability ("" for None), filepath, title, shuffled."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", "match_score", "clean_probability", "filepath", "title", "shuffled"])
    for pair in pairs:
        flag = "" if pair.shuffled is None else int(pair.shuffled)
        clean_probability = "" if pair.clean_probability is None else f"{pair.clean_probability:.6f}"
        numbers = (pair.rank, f"{pair.match_score:.6f}", clean_probability)
        writer.writerow([*numbers, *escape_row((pair.path, pair.caption)), flag])
    return text.getvalue()
