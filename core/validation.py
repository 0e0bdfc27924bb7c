"""Retrieval on held-out pairs, student and teacher apart: the numbers and samples of ``evaluated`` events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.data.dataset import PairDataset
from core.encoder import Features, Progress, encode_dataset
from core.evaluators.retrieval import retrieval_metrics
from core.model.network import Network
from core.runtime import Runtime

_SAMPLE_CAPTIONS = 4
_SAMPLE_HITS = 5


def validate(
    networks: Mapping[str, Network], dataset: PairDataset, runtime: Runtime, split: str, batch: int, progress: Progress
) -> tuple[dict[str, float], dict[str, Features]]:
    """Metrics named ``<split>/<student|teacher>/image_to_text_R@1`` and so on, and the features they come from."""
    values: dict[str, float] = {}
    features: dict[str, Features] = {}
    for weights, network in networks.items():
        encoded = encode_dataset(
            network, dataset, runtime, batch, lambda what, done, of: progress("validating", done, of)
        )
        metrics = retrieval_metrics(encoded.images, encoded.texts, encoded.text_to_image)
        values.update({f"{split}/{weights}/{name}": value for name, value in metrics.items()})
        features[weights] = encoded
    return values, features


def best_score(values: Mapping[str, float]) -> float:
    """What the best checkpoint is chosen by: the greater of student's and teacher's mean recall."""
    return max(value for name, value in values.items() if name.endswith("/mean_recall"))


def retrieval_sample(dataset: PairDataset, features: Mapping[str, Features]) -> dict[str, Any]:
    """A few captions, evenly spread, with the pictures that each network finds first, as plain data.

    ``{"student": [{"caption", "image", "hits": [{"image", "score", "true"}, ...]}, ...], "teacher": ...}``
    """
    sample: dict[str, Any] = {}
    for weights, encoded in features.items():
        M = len(encoded.texts)
        rows, owner = encoded.rows.tolist(), encoded.text_to_image.tolist()
        paths = [str(dataset.path(row)) for row in rows]
        captions = [caption for row in rows for caption in dataset.captions_of(row)]
        chosen = sorted({round(i * (M - 1) / max(1, _SAMPLE_CAPTIONS - 1)) for i in range(min(M, _SAMPLE_CAPTIONS))})
        scores = encoded.texts[chosen] @ encoded.images.T  # (captions, N)
        best = scores.topk(min(_SAMPLE_HITS, scores.shape[1]), dim=1)
        sample[weights] = [
            {
                "caption": captions[caption],
                "image": paths[owner[caption]],
                "hits": [
                    {"image": paths[picture], "score": score, "true": picture == owner[caption]}
                    for picture, score in zip(best.indices[i].tolist(), best.values[i].tolist(), strict=True)
                ],
            }
            for i, caption in enumerate(chosen)
        ]
    return sample
