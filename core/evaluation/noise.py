"""Which pairs of a data set are doubted: ranked by how little a trained model believes them.

Flow: run folder and data -> checkpoint -> **noise** -> ``python -m core noise``, the Noise panel, a study's measure.
What is asked of the features is ``core.objectives.weighting.evidence``. A run that remembered its pairs while it learnt
(``belief.action``) has more to say of its own training data than its last weights have: by then the wrong pairs are
learnt by heart. Then the memory is what counts, with the last word of the weights added.

Legend: P pairs (captions with their pictures), D embed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoint import files as checkpoint
from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset, open_dataset
from core.inference.encoder import encode_dataset, finite
from core.objectives.weighting.belief import probability_right
from core.objectives.weighting.evidence import evidence
from core.spec.cells import marked_row
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve, weights_in

SHUFFLED = "shuffled"  # the label column that says which captions were dealt out, 1 or 0
MOST = 0.5  # share of pairs that are doubted at most


@dataclass(frozen=True)
class JudgedPair:
    """One caption of one picture; ``rank`` 1 is the least believed."""

    row: int
    path: str
    caption: str
    belief: float  # 0 to 1
    right: float  # probability, by a mixture of two components
    rank: int
    shuffled: bool | None  # where the data say so


@dataclass(frozen=True)
class Judgement:
    """All pairs of a source, the least believed first."""

    model: str
    data: str
    remembered: bool  # whether the memory of training was heard
    pairs: tuple[JudgedPair, ...]
    doubted: int  # pairs that are more probably wrong than right

    @property
    def shuffled(self) -> int | None:
        """How many captions were shuffled; None where the data do not say."""
        known = [pair.shuffled for pair in self.pairs if pair.shuffled is not None]
        return sum(known) if known else None

    def precision(self) -> float | None:
        """Share of the shuffled among as many of the least believed as there are shuffled ones; None without any."""
        count = self.shuffled
        if not count:
            return None
        return sum(bool(pair.shuffled) for pair in self.pairs[:count]) / count

    def summary(self) -> dict[str, Any]:
        """Plain figures."""
        return {
            "model": self.model,
            "data": self.data,
            "pairs": len(self.pairs),
            "remembered": self.remembered,
            "doubted": self.doubted,
            "shuffled": self.shuffled,
            "precision": self.precision(),
        }


def judge_run(run: RunDir, data: str, progress: Progress, which: str = "last", weights: str = "") -> Judgement:
    """Rank the pairs of ``data`` (by default the run's training data) by checkpoint ``which``.

    ``weights``: "student" or "teacher" alone; by default both are heard. Raises UserError when there is no such
    checkpoint, network or data.
    """
    progress("loading the model", 0, 0)
    name = resolve(run, which)
    models = [open_model(f"{run.path}@{name}", one) for one in ([weights] if weights else weights_in(run, name))]
    source = data or models[0].data.train
    if not source:
        raise UserError(f"{run.path} names no training data; give --data SOURCE.")
    dataset = _opened(models[0], source, progress)
    evidences = []
    for model in models:
        network = model.network
        features = encode_dataset(network, dataset, model.runtime, model.batch, progress)
        for vectors in (features.images, features.texts, network.logit_scale.detach()):  # ranks would hide a NaN
            finite(vectors, model.subject.model)
        images = features.images[features.text_to_image]  # (P, D)
        evidences.append(evidence(images, features.texts, float(network.logit_scale.detach())))
        rows = features.rows[features.text_to_image]
    belief = torch.stack(evidences).mean(dim=0)
    single = len(rows) == len(rows.unique())  # what is remembered is of pictures, and tells several captions not apart
    memory = _memory(run, name, models[0].data.train, source, dataset) if single and not weights else None
    if memory is not None:
        remembered, judged = memory
        belief = remembered[rows].lerp(belief, 2.0 / (judged + 2.0))
    return _judgement(models[0].subject.model, source, dataset, rows, belief, memory is not None)


def _opened(model: Model, source: str, progress: Progress) -> PairDataset:
    towers = model.network.towers
    dataset = open_dataset(
        source, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=None
    )
    if len(dataset.captions) < 3:
        raise UserError(f"{source} has {len(dataset.captions)} pairs; at least 3 are needed to doubt any.")
    return dataset


def _memory(run: RunDir, name: str, trained: str, source: str, dataset: PairDataset) -> tuple[Tensor, float] | None:
    """Evidence remembered from training (N,) and how often it was asked; None for other data or without one."""
    if not trained or Path(trained).resolve() != Path(source).resolve():
        return None
    state = checkpoint.load_weights(run, name, "state", torch.device("cpu"))
    memory, judged = state.get("belief.memory"), state.get("belief.judged")
    if memory is None or judged is None or len(memory) != len(dataset) or not int(judged):
        return None
    return memory, float(judged)


def _judgement(
    model: str, source: str, dataset: PairDataset, rows: Tensor, belief: Tensor, remembered: bool
) -> Judgement:
    right = probability_right(belief, 0.0, MOST)
    captions = [dataset.captions[i] for row in rows.unique().tolist() for i in dataset.caption_span(row)]
    pairs = []
    for rank, place in enumerate(belief.argsort(stable=True).tolist(), 1):
        row = int(rows[place])
        flag = dataset.labels(row).get(SHUFFLED, "")
        pairs.append(
            JudgedPair(
                row=row,
                path=str(dataset.path(row)),
                caption=captions[place],
                belief=float(belief[place]),
                right=float(right[place]),
                rank=rank,
                shuffled=flag == "1" if flag in ("0", "1") else None,
            )
        )
    return Judgement(model, source, remembered, tuple(pairs), int((right < 0.5).sum()))


def to_csv(pairs: Sequence[JudgedPair]) -> str:
    """The pairs as a table: rank, belief, right, filepath, title, shuffled."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", "belief", "right", "filepath", "title", "shuffled"])
    for pair in pairs:
        flag = "" if pair.shuffled is None else int(pair.shuffled)
        numbers = (pair.rank, f"{pair.belief:.6f}", f"{pair.right:.6f}")
        writer.writerow([*numbers, *marked_row((pair.path, pair.caption)), flag])
    return text.getvalue()
