"""Classification of single images by a probe or among typed class names.

Flow: images dropped on the panel, names typed in it -> ``session`` -> **trying**. Images and names are encoded only
once, so that answers to key presses are immediate.

Legend: D width of the features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from core.checkpoint.opening import Model
from core.inference.captioning import CaptionModel
from core.inference.encoder import encode_layers
from core.inference.fusing import FusedEncoder, caption_batch
from core.inference.images import ImageInput, read_image
from core.metrics.classification.labels import prompt_name
from core.metrics.inputs import full_precision, unit_rows
from core.model.eval_mode import evaluating
from core.spec.reporter import Progress
from core.worker.session import Recent, modified_at

MAX_CACHED = 512  # images with cached features


class TriedImages:
    """Features of recently tried images from one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        # path, modification time and name of the features -> features
        self._features: Recent[tuple[str, int, str], Tensor] = Recent(MAX_CACHED)

    def features(
        self, files: Sequence[ImageInput], layer: str, encoder: FusedEncoder | None, progress: Progress
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Features (D,) of each readable image by path, and the errors of others."""
        values: dict[str, Tensor] = {}
        errors: dict[str, str] = {}
        with evaluating(self.model.network):
            for number, item in enumerate(files, start=1):
                key = (item.path, modified_at(item.path), layer if encoder is None else encoder.cache_key)
                if key not in self._features:
                    loaded = read_image(item, self.model.network.image_size, self.model.data)
                    if loaded.image is None:
                        errors[item.path] = loaded.error
                        continue
                    self._features.put(key, self._encode(loaded.image[None], layer, encoder))
                    progress("encoding images", number, len(files))
                values[item.path] = self._features[key]
        return values, errors

    def _encode(self, image: Tensor, layer: str, encoder: FusedEncoder | None) -> Tensor:
        if encoder is None:
            return encode_layers(self.model.network, image, self.model.runtime, [layer])[layer][0]
        captions = (
            caption_batch(CaptionModel(self.model.subject.title, self.model), image)
            if encoder.text == "caption"
            else []
        )
        return encoder(image, captions)[0]


def top_by_names(
    embedding: Tensor, names: Sequence[str], classes: Tensor, scale: float, top: int
) -> list[dict[str, Any]]:
    """The most likely of ``names``, embedded as ``classes`` (K, D), for one image's ``embedding`` (D,)."""
    with full_precision(embedding.device):
        logits = scale * unit_rows(embedding[None]) @ classes.T  # (1, K)
    return top_classes(logits[0].softmax(dim=0), names, top)


def top_classes(probabilities: Tensor, names: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The ``top`` classes by their probabilities (K,)."""
    values, indices = probabilities.topk(min(max(1, top), len(names)))
    return [
        {"class": names[index], "probability": value}
        for value, index in zip(values.tolist(), indices.tolist(), strict=True)
    ]


def clean_names(classes: Sequence[str]) -> list[str]:
    """The typed names, stripped and without duplicates."""
    return list(dict.fromkeys(name.strip() for name in classes if prompt_name(name)))
