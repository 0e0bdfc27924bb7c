"""Likely mislabelled pairs of a data set: all pairs, ranked by how badly a trained model matches them.

Flow: run folder and data -> checkpoint -> **noise** -> ``python -m core noise``, the Clean panel, a study's evaluation.
The score of a pair is ``core.objectives.weighting.evidence`` of its features. A run that accumulated it while training
(``belief.action``) knows more of its own training data than its last weights: by then wrong pairs are memorised. Its
memory then counts, averaged with the evidence of the weights. Pairs are called likely mislabelled only where the
scores have two groups (`core.evaluation.groups`); else there is an order, and no claim. Within a group the order is
also by whether the caption has the words that its image makes one expect (`core.objectives.weighting.words`).

Legend: P pairs (captions with their images), D embed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoint import files as checkpoint
from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset, open_dataset
from core.evaluation.groups import Array, two_groups
from core.inference.encoder import encode_dataset, finite
from core.objectives.weighting.descriptors import describe, unit_parts
from core.objectives.weighting.evidence import evidence
from core.objectives.weighting.words import reordered, word_evidence
from core.spec.cells import marked_row
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve, weights_in

SHUFFLED = "shuffled"  # the label column that says which captions were shuffled, 1 or 0


@dataclass(frozen=True)
class RankedPair:
    """One caption of one image; ``rank`` 1 has the lowest belief."""

    row: int
    path: str
    caption: str
    belief: float  # 0 to 1
    right: float | None  # probability of a correct caption; None where the beliefs have one group
    rank: int
    shuffled: bool | None  # where the data have that column


@dataclass(frozen=True)
class Ranking:
    """All pairs of a source, the lowest belief first."""

    model: str
    data: str
    remembered: bool  # whether the memory of training was used
    pairs: tuple[RankedPair, ...]
    doubted: int  # pairs that are likely mislabelled; 0 where the beliefs have one group
    groups: int = 1  # that the beliefs have: 2 where some are likely mislabelled

    @property
    def shuffled(self) -> int | None:
        """How many captions were shuffled; None where the data do not tell."""
        known = [pair.shuffled for pair in self.pairs if pair.shuffled is not None]
        return sum(known) if known else None

    def precision(self) -> float | None:
        """Precision at k, with k the number of shuffled captions; None without any."""
        count = self.shuffled
        if not count:
            return None
        return sum(bool(pair.shuffled) for pair in self.pairs[:count]) / count

    def recall(self) -> float | None:
        """Share of the wrong captions that are among those called likely mislabelled; None without any."""
        count = self.shuffled
        if not count:
            return None
        return sum(bool(pair.shuffled) for pair in self.pairs[: self.doubted]) / count

    def auc(self) -> float | None:
        """The chance that a wrong caption is believed less than a right one; None without both kinds."""
        known = [(pair.belief, pair.shuffled) for pair in self.pairs if pair.shuffled is not None]
        wrong = np.array([belief for belief, flag in known if flag])
        right = np.sort([belief for belief, flag in known if not flag])
        if not len(wrong) or not len(right):
            return None
        above = len(right) - np.searchsorted(right, wrong, "right")
        level = np.searchsorted(right, wrong, "right") - np.searchsorted(right, wrong, "left")
        return float((above + level / 2).mean() / len(right))

    def summary(self) -> dict[str, Any]:
        """Plain figures."""
        return {
            "model": self.model,
            "data": self.data,
            "pairs": len(self.pairs),
            "remembered": self.remembered,
            "doubted": self.doubted,
            "groups": self.groups,
            "shuffled": self.shuffled,
            "precision": self.precision(),
            "recall": self.recall(),
            "auc": self.auc(),
        }


def rank_pairs(run: RunDir, data: str, progress: Progress, which: str = "last", weights: str = "") -> Ranking:
    """Rank the pairs of ``data`` (by default the run's training data) by checkpoint ``which``.

    ``weights``: "student" or "teacher" alone; by default the mean of both. Raises UserError when there is no such
    checkpoint, network or data.
    """
    progress("loading the model", 0, 0)
    name = resolve(run, which)
    models = [open_model(f"{run.path}@{name}", one) for one in ([weights] if weights else weights_in(run, name))]
    source = data or models[0].data.train
    if not source:
        raise UserError(f"{run.path} names no training data; give --data SOURCE.")
    dataset = _opened(models[0], source, progress)
    evidences, words = [], []
    looks: list[Tensor] = []  # the same for each network
    for model in models:
        network = model.network
        seen = None if looks else lambda batch_images: looks.append(describe(batch_images))
        features = encode_dataset(network, dataset, model.runtime, model.batch, progress, seen)
        for vectors in (features.images, features.texts, network.logit_scale.detach()):  # ranks would hide a NaN
            finite(vectors, model.subject.model)
        images = features.images[features.text_to_image]  # (P, D)
        evidences.append(evidence(images, features.texts, float(network.logit_scale.detach())).cpu())
        rows = features.rows[features.text_to_image]
        captions = _captions(dataset, rows)
        looked = unit_parts(torch.cat(looks))[features.text_to_image]  # (P, F)
        words.append(word_evidence(torch.cat([images, looked], dim=1), captions, rows, progress))
    belief = torch.stack(evidences).mean(dim=0)
    single = len(rows) == len(rows.unique())  # the memory has an entry per image, not per caption
    memory = _memory(run, name, models[0].data.train, source, dataset) if single and not weights else None
    if memory is not None:
        remembered, read, judged = memory
        belief = torch.where(read[rows], remembered[rows].lerp(belief, 2.0 / (judged + 2.0)), belief)
    belief, right = _in_groups(belief, torch.stack(words).mean(dim=0))
    return _ranking(models[0].subject.model, source, dataset, rows, captions, belief, right, memory is not None)


def _opened(model: Model, source: str, progress: Progress) -> PairDataset:
    towers = model.network.towers
    dataset = open_dataset(
        source, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=None
    )
    if len(dataset.captions) < 3:
        raise UserError(f"{source} has {len(dataset.captions)} pairs; at least 3 are needed to rank them.")
    return dataset


def _memory(
    run: RunDir, name: str, trained: str, source: str, dataset: PairDataset
) -> tuple[Tensor, Tensor, float] | None:
    """Evidence remembered from training (N,), of which pairs there is any (N,) bool, and how often it was updated.

    None for other data or without one. There is none of pairs that `belief.prior` left out.
    """
    if not trained or Path(trained).resolve() != Path(source).resolve():
        return None
    if not (run.checkpoints / name / checkpoint.STATE).exists():  # kept to look back at, with its networks alone
        return None
    state = checkpoint.load_weights(run, name, "state", torch.device("cpu"))
    memory, judged = state.get("belief.memory"), state.get("belief.judged")
    if memory is None or judged is None or len(memory) != len(dataset) or not int(judged):
        return None
    return memory, state.get("belief.seen", torch.ones(len(memory), dtype=torch.bool)), float(judged)


def _captions(dataset: PairDataset, rows: Tensor) -> list[str]:
    """The captions of these rows, as their features are ordered."""
    return [dataset.captions[i] for row in rows.unique().tolist() for i in dataset.caption_span(row)]


def _in_groups(belief: Tensor, words: Tensor) -> tuple[Tensor, Array | None]:
    """``belief`` (P,), ordered by ``words`` too; the probability that each is right, where there are two groups."""
    found = two_groups(belief.double().numpy())
    if found is None:
        return reordered(belief, words, torch.zeros(len(belief))), None
    likely_wrong = found.probability_right(belief.double().numpy()) < 0.5
    belief = reordered(belief, words, torch.from_numpy(likely_wrong))
    return belief, found.probability_right(belief.double().numpy())


def _ranking(
    model: str,
    source: str,
    dataset: PairDataset,
    rows: Tensor,
    captions: Sequence[str],
    belief: Tensor,
    right: Array | None,
    remembered: bool,
) -> Ranking:
    pairs = []
    for rank, position in enumerate(belief.argsort(stable=True).tolist(), 1):
        row = int(rows[position])
        flag = dataset.labels(row).get(SHUFFLED, "")
        pairs.append(
            RankedPair(
                row=row,
                path=str(dataset.path(row)),
                caption=captions[position],
                belief=float(belief[position]),
                right=None if right is None else float(right[position]),
                rank=rank,
                shuffled=flag == "1" if flag in ("0", "1") else None,
            )
        )
    doubted = 0 if right is None else int((right < 0.5).sum())
    return Ranking(model, source, remembered, tuple(pairs), doubted, 1 if right is None else 2)


def to_csv(pairs: Sequence[RankedPair]) -> str:
    """The pairs as a table: rank, belief, right ("" where it is None), filepath, title, shuffled."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", "belief", "right", "filepath", "title", "shuffled"])
    for pair in pairs:
        flag = "" if pair.shuffled is None else int(pair.shuffled)
        right = "" if pair.right is None else f"{pair.right:.6f}"
        numbers = (pair.rank, f"{pair.belief:.6f}", right)
        writer.writerow([*numbers, *marked_row((pair.path, pair.caption)), flag])
    return text.getvalue()
