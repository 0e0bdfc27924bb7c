"""Networks judged together: the mean of their probabilities (Born-Again Networks' ensemble of generations).

Legend: G networks, N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.data.labelling import label_numbers
from core.data.loader import evaluation_batches
from core.inference.encoder import encode_dataset
from core.metrics.retrieval import retrieval_metrics
from core.model.eval_mode import evaluating
from core.objectives.classification import class_logits
from core.spec.run.folder import RunDir

Progress = Callable[[str, int, int], None]


@torch.no_grad()
def judge_together(runs: Sequence[RunDir], source: str, label: str, progress: Progress) -> dict[str, Any]:
    """Each run's last student alone, and all together, on ``source``.

    Those that classify are judged by their mean probabilities (``top1``), others by retrieval with their unit vectors
    side by side, which is the mean of their cosines. ``{"data", "each": [{...}], "together": {...}}``
    """
    each: list[dict[str, float]] = []
    chances: list[Tensor] = []
    images, texts = [], []
    wanted = torch.empty(0)
    for place, run in enumerate(runs):
        progress("evaluating generations", place, len(runs))
        model = open_model(f"{run.path}@last", "student")
        network, data, towers, batch = model.network, model.data, model.network.towers, model.batch
        dataset = open_dataset(source, data, network.image_size, towers.tokenize, pad_id=towers.pad_id)
        if network.classes and label in dataset.label_names:
            found = []
            rows = []
            with evaluating(network):
                for some, pixels in evaluation_batches(dataset, network.image_size, batch):
                    with model.runtime.autocast():
                        logits = class_logits(network, pixels.to(model.runtime.device))
                    found.append(logits.softmax(dim=-1).cpu())
                    rows.append(some)
            wanted = label_numbers(dataset, label, network.classes)[torch.cat(rows)]
            known = torch.tensor([bool(dataset.labels(row).get(label)) for row in torch.cat(rows).tolist()])
            wanted = torch.where(known, wanted, -2)
            chances.append(torch.cat(found))  # (N, C)
            each.append({"top1": _top1(chances[-1], wanted)})
        else:
            features = encode_dataset(network, dataset, model.runtime, batch, lambda what, done, of: None)
            images.append(features.images)
            texts.append(features.texts)
            owner = features.text_to_image
            each.append(retrieval_metrics(features.images, features.texts, owner))
    if chances:
        together = {"top1": _top1(torch.stack(chances).mean(dim=0), wanted)}
    else:
        together = retrieval_metrics(torch.cat(images, dim=1), torch.cat(texts, dim=1), owner)
    return {"data": source, "each": each, "together": together}


def _top1(chances: Tensor, wanted: Tensor) -> float:
    """Share of the labelled rows (``wanted`` is not -2) that are right; an unknown class (-1) is never right."""
    labelled = wanted != -2
    right = (chances.argmax(dim=-1) == wanted) & labelled
    return float(right.sum() / labelled.sum().clamp(min=1))
