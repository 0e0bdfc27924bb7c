"""Ensembles: the mean probabilities of several networks (Born-Again Networks' ensemble of generations).

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
def evaluate_ensemble(runs: Sequence[RunDir], source: str, label: str, progress: Progress) -> dict[str, Any]:
    """Metrics on ``source`` of each run's last student, and of their ensemble.

    Classifiers are averaged over probabilities (``top1``), other networks over cosines: retrieval with concatenated
    unit vectors. ``{"data", "each": [{...}], "together": {...}}``
    """
    member_metrics: list[dict[str, float]] = []
    probabilities: list[Tensor] = []
    images, texts = [], []
    labels = torch.empty(0)
    for position, run in enumerate(runs):
        progress("evaluating generations", position, len(runs))
        model = open_model(f"{run.path}@last", "student")
        network, data, towers, batch = model.network, model.data, model.network.towers, model.batch
        dataset = open_dataset(source, data, network.image_size, towers.tokenize, pad_id=towers.pad_id)
        if network.classes and label in dataset.label_names:
            batch_probabilities = []
            rows = []
            with evaluating(network):
                for batch_rows, pixels in evaluation_batches(dataset, network.image_size, batch):
                    with model.runtime.autocast():
                        logits = class_logits(network, pixels.to(model.runtime.device))
                    batch_probabilities.append(logits.softmax(dim=-1).cpu())
                    rows.append(batch_rows)
            labels = label_numbers(dataset, label, network.classes)[torch.cat(rows)]
            is_labelled = torch.tensor([bool(dataset.labels(row).get(label)) for row in torch.cat(rows).tolist()])
            labels = torch.where(is_labelled, labels, -2)
            probabilities.append(torch.cat(batch_probabilities))  # (N, C)
            member_metrics.append({"top1": _top1(probabilities[-1], labels)})
        else:
            features = encode_dataset(network, dataset, model.runtime, batch, lambda activity, done, total: None)
            images.append(features.images)
            texts.append(features.texts)
            owner = features.text_to_image
            member_metrics.append(retrieval_metrics(features.images, features.texts, owner))
    if probabilities:
        combined = {"top1": _top1(torch.stack(probabilities).mean(dim=0), labels)}
    else:
        combined = retrieval_metrics(torch.cat(images, dim=1), torch.cat(texts, dim=1), owner)
    return {"data": source, "each": member_metrics, "together": combined}


def _top1(probabilities: Tensor, labels: Tensor) -> float:
    """Accuracy over the labelled rows (``labels`` is not -2); an unknown class (-1) is never correct."""
    labelled = labels != -2
    correct = (probabilities.argmax(dim=-1) == labels) & labelled
    return float(correct.sum() / labelled.sum().clamp(min=1))
