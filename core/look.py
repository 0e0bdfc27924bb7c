"""Held-out captions searched over held-out pictures, student beside teacher: what the window's Look place asks.

Flow: checkpoint -> encoder -> **look** -> worker -> panel. Vectors of the data opened last are kept in memory, those of
a few checkpoints before it too, so that going back and forth between two is immediate.

Legend: N pictures, M captions, D embed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from core.data.dataset import open_dataset
from core.encoder import Features, Loaded, Progress, encode_dataset, encode_texts, load_checkpoint
from core.errors import UserError
from core.evaluators.retrieval import ranks, summarise
from core.index.nearest import Exact
from core.rundir import RunDir

_KEPT = 4


@dataclass(frozen=True)
class Opened:
    """A checkpoint with a data set in its space."""

    loaded: Loaded
    paths: list[str]  # of each picture
    captions: list[str]
    first_caption: dict[int, str]  # of each picture that has one
    features: dict[str, Features]  # "student", "teacher"
    answer: dict[str, Any]


class Look:
    """Remembers what was opened last and searches in it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Opened] = OrderedDict()

    def open(self, run: str, progress: Progress, checkpoint: str = "best", data: str = "") -> dict[str, Any]:
        """Encode the run's validation data, or ``data``, with student and teacher.

        The answer has step, name, weights, pictures, captions, ranks of each caption's picture (1 is first) and recall
        for each network. Raises UserError when there is no checkpoint, or the data cannot be read.
        """
        run_dir = RunDir(Path(run))
        progress("loading the model", 0, 0)
        loaded = load_checkpoint(run_dir, checkpoint)
        source = data or loaded.config.data.val
        if not source:
            raise UserError(f"{run} has no validation data (data.val is empty); choose pairs to look at.")
        key = (str(run_dir.path.resolve()), loaded.name, source)
        if key not in self._kept:
            self._kept[key] = _encode(loaded, source, progress)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key].answer

    def search(
        self, progress: Progress, text: str | None = None, caption: int | None = None, k: int = 24
    ) -> dict[str, Any]:
        """The ``k`` pictures nearest to ``text``, or to caption number ``caption``, for each network.

        ``true_rank`` is the rank of the caption's own picture, 1 is first; None for free text.
        """
        if not self._kept:
            raise UserError("nothing is opened yet; choose a run first.")
        opened = next(reversed(self._kept.values()))
        if caption is not None and not 0 <= caption < len(opened.captions):
            raise UserError(f"there is no caption {caption}; there are {len(opened.captions)}.")
        answer: dict[str, Any] = {"true_rank": {}}
        for weights, features in opened.features.items():
            if caption is not None:
                query, true = features.texts[caption], int(features.text_to_image[caption])
                answer["true_rank"][weights] = opened.answer["ranks"][weights][caption]
            else:
                query, true = encode_texts(opened.loaded.networks[weights], [text or ""], opened.loaded.runtime)[0], -1
                answer["true_rank"][weights] = None
            answer[weights] = _nearest(opened, features, query, true, k)
        return answer


def _encode(loaded: Loaded, source: str, progress: Progress) -> Opened:
    network = loaded.networks["student"]
    towers = network.towers
    dataset = open_dataset(
        source, loaded.config.data, network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress
    )
    features: dict[str, Features] = {}
    order, recall = {}, {}
    for weights, one in loaded.networks.items():
        batch = loaded.config.validation.batch_size
        encoded = encode_dataset(one, dataset, loaded.runtime, batch, _named(progress, weights))
        by_image, by_text = ranks(encoded.images, encoded.texts, encoded.text_to_image)
        features[weights] = encoded
        order[weights] = [round(rank) for rank in by_text.expected().tolist()]
        recall[weights] = summarise(by_image, by_text)
    rows = features["student"].rows.tolist()
    paths = [str(dataset.path(row)) for row in rows]
    captions = [caption for row in rows for caption in dataset.captions_of(row)]
    owner = features["student"].text_to_image.tolist()
    answer = {
        "step": loaded.step,
        "name": loaded.name,
        "weights": list(loaded.networks),
        "pictures": len(paths),
        "captions": [
            {"caption": caption, "image": paths[owner[i]], "row": rows[owner[i]]} for i, caption in enumerate(captions)
        ],
        "ranks": order,
        "recall": recall,
    }
    first = dict(zip(reversed(owner), reversed(captions), strict=True))
    return Opened(loaded, paths, captions, first, features, answer)


def _named(progress: Progress, weights: str) -> Progress:
    return lambda doing, done, total: progress(f"{weights}: {doing}", done, total)


def _nearest(opened: Opened, features: Features, query: Tensor, true: int, k: int) -> list[dict[str, Any]]:
    everything = np.ones(len(features.images), np.bool_)
    scores, rows = Exact(features.images.numpy()).search(query.numpy(), k, everything)
    return [
        {
            "image": opened.paths[picture],
            "caption": opened.first_caption.get(picture, ""),
            "score": score,
            "rank": rank,
            "true": picture == true,
        }
        for rank, (score, picture) in enumerate(zip(scores.tolist(), rows.tolist(), strict=True), start=1)
    ]
