"""Single images classified by a probe and among typed class names.

Flow: images dropped on the panel, names typed there -> ``session`` -> **trying**. Images and names are encoded
once, so that each key press is answered at once.

Legend: B images, D width of the features, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from core.checkpoint.opening import Model
from core.inference.captioning import CaptionModel
from core.inference.encoder import encode_layers
from core.inference.fusing import FusedEncoder, caption_batch
from core.inference.images import ImageInput, find_images, read_image
from core.metrics.classification.labels import prompt_name
from core.metrics.classification.probe import Probe
from core.metrics.inputs import full_precision, unit_rows
from core.model.eval_mode import evaluating
from core.spec.reporter import Progress

KEPT = 512  # images whose features are kept
_Key = tuple[str, int, str]  # path, time of change, features' name


class Tried:
    """Features of the images tried last with one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._features: OrderedDict[_Key, Tensor] = OrderedDict()

    def find_images(self, paths: Sequence[str], progress: Progress) -> list[ImageInput]:
        """The images that ``paths``, files and folders, stand for; files that are none have the reason."""
        return find_images(paths, progress).inputs

    def features(
        self, files: Sequence[ImageInput], layer: str, joining: FusedEncoder | None, progress: Progress
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Features (D,) of each readable image by its path, and why others cannot be read."""
        values: dict[str, Tensor] = {}
        refused: dict[str, str] = {}
        with evaluating(self.model.network):
            for number, item in enumerate(files, start=1):
                key = (item.path, _changed(item.path), layer if joining is None else joining.facts)
                if key not in self._features:
                    read = read_image(item, self.model.network.image_size, self.model.data)
                    if read.image is None:
                        refused[item.path] = read.error
                        continue
                    self._features[key] = self._encode(read.image[None], layer, joining)
                    progress("encoding images", number, len(files))
                self._features.move_to_end(key)
                values[item.path] = self._features[key]
        while len(self._features) > KEPT:
            self._features.popitem(last=False)
        return values, refused

    def _encode(self, image: Tensor, layer: str, joining: FusedEncoder | None) -> Tensor:
        if joining is None:
            return encode_layers(self.model.network, image, self.model.runtime, [layer])[layer][0]
        captions = (
            caption_batch(CaptionModel(self.model.subject.title, self.model), image)
            if joining.text == "caption"
            else []
        )
        return joining(image, captions)[0]


def best_by_probe(probe: Probe, features: Tensor, top: int) -> list[dict[str, Any]]:
    """The most likely classes of one image's ``features`` (D,)."""
    return best(probe.probabilities(features[None])[0], probe.classes, top)


def best_by_names(
    embedding: Tensor, names: Sequence[str], classes: Tensor, scale: float, top: int
) -> list[dict[str, Any]]:
    """The most likely of ``names``, embedded as ``classes`` (K, D), for one image's ``embedding`` (D,)."""
    with full_precision(embedding.device):
        logits = scale * unit_rows(embedding[None]) @ classes.T  # (1, K)
    return best(logits[0].softmax(dim=0), names, top)


def best(probabilities: Tensor, names: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The ``top`` classes by their probabilities (K,)."""
    values, indices = probabilities.topk(min(max(1, top), len(names)))
    return [
        {"class": names[index], "probability": value}
        for value, index in zip(values.tolist(), indices.tolist(), strict=True)
    ]


def typed(classes: Sequence[str]) -> list[str]:
    """The names without blanks and repetitions, as they were typed."""
    return list(dict.fromkeys(name.strip() for name in classes if prompt_name(name)))


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0
