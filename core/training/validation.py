"""Validation of student and teacher: the metrics of ``evaluated`` events and the content of ``sample`` events."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from core.data.dataset import PairDataset
from core.data.labelling import label_numbers
from core.data.loader import evaluation_batches
from core.inference.encoder import Features, encode_with_each
from core.metrics.classification.accuracy import hit_probability
from core.metrics.retrieval import retrieval_metrics
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.runtime import Runtime
from core.objectives.classification import class_logits
from core.spec.config import ObjectivesConfig
from core.spec.reporter import Progress

_SAMPLE_CAPTIONS = 4
_SAMPLE_HITS = 5


def validate(
    networks: Mapping[str, Network],
    dataset: PairDataset,
    runtime: Runtime,
    split: str,
    batch: int,
    progress: Progress,
    label: str = "",
) -> tuple[dict[str, float], dict[str, Features]]:
    """Metrics named ``<split>/<student|teacher>/image_to_text_R@1`` etc., and the features that they are computed from.

    A network with a classification head is also evaluated on the rows of ``dataset`` that have a class in the column
    ``label``: ``.../top1``.
    """
    values: dict[str, float] = {}
    features: dict[str, Features] = {}

    def report(_activity: str, finished: int, total: int) -> None:
        progress("validating", finished, total)

    for group in _group_by_image_size(networks):
        features |= encode_with_each(group, dataset, runtime, batch, report)
        classifying = {role: network for role, network in group.items() if network.classes}
        if classifying and label in dataset.label_names:
            shares = top1(classifying, dataset, runtime, batch, progress, label)
            values |= {f"{split}/{role}/top1": share for role, share in shares.items()}
    for role, encoded in features.items():
        metrics = retrieval_metrics(encoded.images, encoded.texts, encoded.text_to_image)
        values.update({f"{split}/{role}/{name}": value for name, value in metrics.items()})
    return values, features


def _group_by_image_size(networks: Mapping[str, Network]) -> list[dict[str, Network]]:
    """Groups ``networks`` by image size; each image is decoded once per group."""
    groups: dict[int, dict[str, Network]] = {}
    for role, network in networks.items():
        groups.setdefault(network.image_size, {})[role] = network
    return list(groups.values())


@torch.no_grad()
def top1(
    networks: Mapping[str, Network], dataset: PairDataset, runtime: Runtime, batch: int, progress: Progress, label: str
) -> dict[str, float]:
    """The accuracy of each network's classification head on the labelled images of ``dataset``.

    All networks have the same image size. Unknown classes count as wrong; unlabelled rows are skipped. Ties count with
    their expected accuracy in random order.
    """
    class_numbers = {role: label_numbers(dataset, label, network.classes) for role, network in networks.items()}
    labelled = torch.tensor([bool(dataset.labels(row).get(label)) for row in range(len(dataset))])
    correct_counts = dict.fromkeys(networks, 0.0)
    count = finished = 0
    (size,) = {network.image_size for network in networks.values()}
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(evaluating(network))
        for rows, images in evaluation_batches(dataset, size, batch):
            for role, network in networks.items():
                with runtime.autocast():
                    logits = class_logits(network, images.to(runtime.device))
                targets = class_numbers[role][rows]
                hits = hit_probability(logits.float().cpu(), targets.clamp_min(0)) * (targets >= 0)
                correct_counts[role] += float(hits[labelled[rows]].sum())
            count += int(labelled[rows].sum())
            finished += len(rows)
            progress("validating", finished, len(dataset))
    return {role: correct / max(1, count) for role, correct in correct_counts.items()}


def best_score(
    values: Mapping[str, float],
    objectives: ObjectivesConfig,
    share_done: float,
    keep: float = 0.0,
    initial: Mapping[str, float] | None = None,
) -> tuple[float, str]:
    """The score for selecting the best checkpoint, and its network: "student" or "teacher".

    The score is the higher of the two mean recalls on validation data or, if retrieval is not trained, of the two
    accuracies; ties go to the teacher. If neither is computed, the score is ``share_done``, the completed share of
    training (0 to 1), with network "", so that the last checkpoint is the best.

    If a network retains less than the share ``keep`` of the ``initial`` mean recall on a retained data set, its score
    is negative: its share minus ``keep``.
    """
    metric = "/mean_recall" if trains_retrieval(objectives) else "/top1"
    scores = []
    for name, value in values.items():
        if name.startswith("val/") and name.endswith(metric):
            network = name.split("/")[-2]
            surplus = retained_share(values, initial or {}, network) - keep if keep else 0.0
            scores.append((value if surplus >= 0 else surplus, network))
    if scores:
        return max(scores)  # ties are decided by name: student < teacher
    surplus = retained_share(values, initial or {}, "student") - keep
    return (surplus, "") if keep and surplus < 0 else (share_done, "")


def retained_share(values: Mapping[str, float], initial: Mapping[str, float], network: str) -> float:
    """The lowest ratio of ``network``'s mean recall to ``initial`` on retained data sets; 1 if there are none."""
    shares = [
        values[name.replace("/student/", f"/{network}/")] / before
        for name, before in initial.items()
        if name.startswith("retain/") and name.endswith("/student/mean_recall") and before > 0
    ]
    return min(shares, default=1.0)


def trains_retrieval(objectives: ObjectivesConfig) -> bool:
    """Whether any objective aligns the embeddings of images and captions."""
    return any(objective.weight > 0 and objective.trains_retrieval() for _, objective in objectives)


def retrieval_sample(dataset: PairDataset, features: Mapping[str, Features]) -> dict[str, Any]:
    """Evenly spaced sample captions with the top images of each network, as plain data.

    ``{"student": [{"caption", "image", "hits": [{"image", "score", "true"}, ...]}, ...], "teacher": ...}``
    """
    sample: dict[str, Any] = {}
    for role, encoded in features.items():
        M = len(encoded.texts)
        rows, owner = encoded.rows.tolist(), encoded.text_to_image.tolist()
        paths = [str(dataset.path(row)) for row in rows]
        captions = [caption for row in rows for caption in dataset.captions_of(row)]
        count = min(M, _SAMPLE_CAPTIONS)
        positions = [round(i * (M - 1) / max(1, count - 1)) for i in range(count)]
        scores = encoded.texts[positions] @ encoded.images.T  # (captions, N)
        best = scores.topk(min(_SAMPLE_HITS, scores.shape[1]), dim=1)
        sample[role] = [
            {
                "caption": captions[caption],
                "image": paths[owner[caption]],
                "hits": [
                    {"image": paths[image], "score": score, "true": image == owner[caption]}
                    for image, score in zip(best.indices[i].tolist(), best.values[i].tolist(), strict=True)
                ],
            }
            for i, caption in enumerate(positions)
        ]
    return sample
