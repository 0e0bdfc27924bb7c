"""The Caption panel's session in a worker: the verbs ``caption_open``, ``caption`` and ``caption_close``.

Flow: panel -> worker -> **session** -> ``caption_stream`` -> a partial answer per image -> panel. The most recent
models stay in memory, so that two can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from core.checkpoint.opening import model_key
from core.inference.caption_stream import caption_images
from core.inference.captioning import CaptionModel, free_memory, open_caption_model
from core.inference.images import find_images
from core.spec.errors import UserError
from core.spec.reporter import Reporter
from core.worker.session import Recent, Session, Verb

MAX_MODELS = 2  # models in memory


class CaptionSession(Session):
    """Handles requests about captions."""

    def __init__(self, capacity: int = MAX_MODELS) -> None:
        self._models: Recent[tuple[str, ...], CaptionModel] = Recent(capacity, on_removed=free_memory)

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {"caption_open": self.caption_open, "caption": self.caption, "caption_close": self.caption_close}

    def caption_open(self, progress: Reporter, model: str, weights: str = "") -> dict[str, Any]:
        """Load a model (see ``core.checkpoint.opening.open_model`` for names) unless it is in memory.

        The answer has ``model, pretrained, weights, step, digest, precision`` (provenance), ``device``, ``max_tokens``
        (the longest caption), ``image_size`` and ``notes``. Raises UserError if there is no such
        model, or it has no caption decoder.
        """
        captioner = self._model(model, weights, progress)
        progress("fingerprinting the model", 0, 0)
        return {
            **captioner.provenance(),
            "device": captioner.describe(),
            "max_tokens": captioner.max_tokens,
            "image_size": captioner.side,
            "notes": list(captioner.notes),
        }

    def caption(
        self,
        progress: Reporter,
        model: str,
        paths: list[str],
        weights: str = "",
        settings: dict[str, Any] | None = None,
        n: int | None = None,
        batch: int = 0,
    ) -> dict[str, Any]:
        """Caption files and all images in folders, with ``settings`` (of GenerationSettings) and ``n`` candidates.

        First a partial answer ``{"collected": number of images, "skipped": number of other files}``; then for each
        image, as soon as it is captioned, ``{"index", "path", "captions": [{"text", "log_prob", "score", "tokens",
        "ended"}]}`` or ``{"index", "path", "error"}``; ``{"note"}`` when memory ran out. The answer has ``captioned``,
        ``failed`` (number of failed images), ``skipped``, ``seconds``, ``notes``, ``settings`` and ``provenance``.
        Raises UserError for invalid models and settings.
        """
        captioner = self._model(model, weights, progress)
        generation = captioner.settings(settings or {}, n)
        started = time.monotonic()
        images = find_images(_check_paths(paths), progress)
        progress.partial({"collected": len(images.inputs), "skipped": images.skipped})
        notes = list(captioner.notes)

        def add_note(note: str) -> None:
            notes.append(note)
            progress.partial({"note": note})

        captioned = failures = 0
        with closing(caption_images(captioner, images.inputs, generation, progress, add_note, batch)) as stream:
            for item in stream:
                outcome: dict[str, Any] = {"error": item.error} if item.error else {"captions": item.captions}
                captioned, failures = captioned + (not item.error), failures + bool(item.error)
                progress.partial({"index": item.index, "path": item.path, **outcome})
        return {
            "captioned": captioned,
            "failed": failures,
            "skipped": images.skipped,
            "seconds": time.monotonic() - started,
            "notes": notes,
            "settings": generation.model_dump(mode="json"),
            "provenance": captioner.provenance(),
        }

    def caption_close(self, progress: Reporter) -> dict[str, Any]:
        """Close all models and free their memory. ``closed`` in the answer is their number."""
        closed = len(self._models)
        self._models.drop(lambda key: True)
        return {"closed": closed}

    def _model(self, name: str, weights: str, progress: Reporter) -> CaptionModel:
        def load() -> CaptionModel:
            progress("loading the model", 0, 0)
            return open_caption_model(name, weights, progress)

        return self._models.get(model_key(name, weights), load)


def _check_paths(paths: Any) -> list[str]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UserError("paths must be a list of files and folders.")
    return paths
