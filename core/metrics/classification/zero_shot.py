"""Zero-shot classification: predicts the class whose prompts are most similar to the image.

Flow: class names and templates -> `ClassEmbedder` (encodes each class once) -> `zero_shot` with image features. The
Classify panel keeps its embedder, so that a new class costs only one small batch.

The embedding of a class is the mean of its prompts' unit embeddings, scaled to unit length (Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", 2021, section 3.1.4). A class with several names gets the
mean of the names' embeddings, also scaled.

Legend: N images, K classes, D embed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor

from core.metrics.classification.accuracy import Classification, check_rows, classify
from core.metrics.classification.labels import Labels, prompt_name
from core.metrics.classification.prompts import prompts
from core.metrics.classification.tensor_file import read_tensors
from core.metrics.inputs import EvaluationError, Progress, check_features, full_precision, no_progress, unit_rows
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE, parse_json, validate_as

EncodeTexts = Callable[[list[str]], Tensor]
"""Maps prompts to projected features (n, D), not necessarily of unit length."""

LOGIT_SCALE = 100.0  # CLIP's scale, used for models without one
CACHE_VERSION = 1
BLOCK_ROWS = 8192
_MAX_CACHE_BYTES = 512 * MEGABYTE
_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[str])


class ClassEmbedder:
    """Embeds classes with one model and one set of templates; each class is encoded once.

    With a ``cache`` folder, embeddings are stored as safetensors, in a file named after ``model_digest`` and the
    templates; an unreadable file is replaced.
    """

    def __init__(
        self,
        encode_texts: EncodeTexts,
        templates: Sequence[str],
        model_digest: str,
        cache: Path | None = None,
        batch: int = 256,
    ) -> None:
        if not templates:
            raise EvaluationError("zero-shot classification needs at least one prompt template.")
        self.templates = tuple(templates)
        self.encoded = 0  # prompts encoded so far
        self._encode, self._batch = encode_texts, batch
        key = json.dumps([CACHE_VERSION, model_digest, self.templates], ensure_ascii=False)
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        self._file = cache / f"classes-{digest}.safetensors" if cache else None
        self._features: dict[str, Tensor] = self._load()

    def embed(self, classes: Sequence[str], keep: bool = True, progress: Progress = no_progress) -> Tensor:
        """Unit embeddings (K, D) of ``classes``. ``keep``: store new embeddings in the cache (False while typing)."""
        names = [prompt_name(name) for name in classes]
        if not all(names):
            raise EvaluationError("a class name is empty; give each class a name.")
        missing = [name for name in dict.fromkeys(names) if name not in self._features]
        if missing:
            self._features.update(zip(missing, self._encode_classes(missing, progress), strict=True))
            if keep:
                self._save()
        return torch.stack([self._features[name] for name in names])

    def embed_named(
        self, names: Sequence[Sequence[str]], keep: bool = True, progress: Progress = no_progress
    ) -> Tensor:
        """Unit embeddings (K, D) of classes with one or more names each; each name is encoded once."""
        flat = [name for class_names in names for name in class_names]
        embeddings = self.embed(flat, keep, progress).split([len(class_names) for class_names in names])
        return unit_rows(torch.stack([class_names.mean(dim=0) for class_names in embeddings]))

    def _encode_classes(self, names: Sequence[str], progress: Progress) -> Tensor:
        """The embeddings (K, D) of classes; a batch may contain prompts of several classes."""
        texts = [text for name in names for text in prompts(name, self.templates)]
        sums: Tensor | None = None
        for start in range(0, len(texts), self._batch):
            progress(start / len(texts), "encoding classes")
            part = texts[start : start + self._batch]
            with torch.no_grad():
                features = unit_rows(check_features(self._encode(part), "prompt features").cpu())  # (b, D)
            if len(features) != len(part):
                raise EvaluationError(f"the model returned {len(features)} features for {len(part)} prompts.")
            sums = torch.zeros(len(names), features.shape[1]) if sums is None else sums
            sums.index_add_(0, torch.arange(start, start + len(part)) // len(self.templates), features)
            self.encoded += len(part)
        progress(1.0, "encoding classes")
        assert sums is not None  # there is at least one name and one template
        return unit_rows(sums)

    def _load(self) -> dict[str, Tensor]:
        if self._file is None:
            return {}
        names: list[str] = []

        def check(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> None:
            text = metadata.get("classes", "")
            stored = validate_as(_NAMES, parse_json(text, "class names"), "class names")
            names.extend(stored)
            shape = shapes.get("embeddings", ())
            if len(shape) != 2 or len(names) != shape[0]:
                raise EvaluationError("the embeddings do not match the class names.")

        try:
            tensors = read_tensors(self._file, _MAX_CACHE_BYTES, check, EvaluationError)
        except (FileNotFoundError, UserError):
            return {}  # an unusable cache is recomputed
        embeddings = tensors["embeddings"].float()
        return dict(zip(names, embeddings, strict=True)) if embeddings.isfinite().all() else {}

    def _save(self) -> None:
        if self._file is None:
            return
        content = save(
            {"embeddings": torch.stack(list(self._features.values()))},
            {"classes": json.dumps(list(self._features)), "templates": json.dumps(self.templates)},
        )
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, content)
        except OSError as error:
            raise EvaluationError(
                f"cannot write the cache {self._file}: {error.strerror}; choose another folder."
            ) from error


class CachedTextEncoder:
    """Caches the results of ``encode``: stores the newest ``capacity`` features in half precision.

    After a template or a name is edited, only the affected prompts are encoded again.
    """

    def __init__(self, encode: EncodeTexts, capacity: int = 100_000) -> None:
        self.encoded = 0  # texts encoded so far
        self._encode, self._capacity = encode, capacity
        self._features: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        missing = [text for text in dict.fromkeys(texts) if text not in self._features]
        if missing:
            self.encoded += len(missing)
            self._features.update(zip(missing, unit_rows(self._encode(missing).float()).cpu().half(), strict=True))
        features = torch.stack([self._features[text] for text in texts]).float()
        for text in [*self._features][: max(0, len(self._features) - self._capacity)]:  # removes the oldest
            del self._features[text]
        return features


def zero_shot(
    image_features: Tensor,
    labels: Labels,
    class_embeddings: Tensor,
    logit_scale: float = LOGIT_SCALE,
    progress: Progress = no_progress,
) -> Classification:
    """Classify the labelled rows of ``image_features`` (N, D) by ``class_embeddings`` (K, D).

    ``logit_scale`` affects only the probabilities. Raises EvaluationError for features that are not finite or do not
    fit the classes.
    """
    images = check_features(check_rows(image_features, labels, "image features"), "image features")
    return classify(labels, class_logits(images, class_embeddings, logit_scale, progress))


def class_logits(
    images: Tensor, class_embeddings: Tensor, logit_scale: float = LOGIT_SCALE, progress: Progress = no_progress
) -> Iterator[Tensor]:
    """Scaled cosines of ``images`` (N, D) with each class, in blocks of rows: (n, K)."""
    classes = unit_rows(check_features(class_embeddings, "class embeddings")).to(images.device)
    if images.shape[1] != classes.shape[1]:
        raise EvaluationError(
            f"image features have {images.shape[1]} dimensions, but class embeddings have {classes.shape[1]}; encode "
            "both with the same model, after the projection."
        )
    for start in range(0, len(images), BLOCK_ROWS):
        progress(start / len(images), "classifying")
        with full_precision(images.device):
            logits = logit_scale * unit_rows(images[start : start + BLOCK_ROWS]) @ classes.T  # (n, K)
        yield logits
    progress(1.0, "classifying")
