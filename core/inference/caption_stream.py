"""Captions many images, in batches that start small, so that the first caption appears quickly.

Flow: ``find_images`` -> ``caption_images`` with a ``CaptionModel`` -> files, or the panel's list. A thread reads ahead.
If memory runs out, batches get smaller, then the model moves to the CPU; finished captions are kept.

Legend: B batch, S side of the images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch

from core.inference.captioning import CaptionModel, free_memory
from core.inference.images import ImageInput, LoadedImage, read_ahead
from core.spec.failures import is_out_of_memory
from core.spec.generation import GenerationSettings
from core.spec.reporter import Progress

FIRST_BATCH = 1  # images in the first batch; each batch is GROWTH times the previous one
GROWTH = 4
MAX_ROWS = 256  # concurrent captions: beams or candidates of all images
MAX_BATCH = 64
REPORT_INTERVAL_S = 0.05  # interval between progress reports within a batch; each may cancel

Log = Callable[[str], None]


@dataclass(frozen=True)
class CaptionResult:
    """The captions of one image, or the ``error``; ``index``: position of the image in the input."""

    index: int
    path: str
    captions: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


def caption_images(
    model: CaptionModel,
    inputs: Sequence[ImageInput],
    settings: GenerationSettings,
    progress: Progress,
    log: Log,
    batch: int = 0,
) -> Generator[CaptionResult, None, None]:
    """Yield captions, or the error, for each of ``inputs`` as soon as they are known; in any order within a batch.

    ``batch``: maximum number of images per batch (0: depends on the beams). ``log`` is called if memory runs out.
    ``progress`` is called after each token, and may raise to cancel. Raises GenerationError for settings that the model
    does not support.
    """
    max_batch = batch or largest_batch(settings)
    run = _CaptionRun(model, settings, len(inputs), progress, log)
    batch_size = min(FIRST_BATCH, max_batch)
    # Reads ahead only as many images as the next batch may have, since reading competes for the CPU with the captions.
    with closing(
        read_ahead(inputs, model.side, model.data, lambda: min(GROWTH * batch_size, 2 * max_batch))
    ) as reading:
        pending: list[tuple[int, LoadedImage]] = []
        for index, loaded in enumerate(reading):
            if loaded.image is None:
                run.finished += 1
                yield CaptionResult(index, loaded.path, error=loaded.error)
            else:
                pending.append((index, loaded))
            if len(pending) == batch_size:
                yield from run.caption_all(pending)
                pending, batch_size = [], min(GROWTH * batch_size, max_batch)
        yield from run.caption_all(pending)


def largest_batch(settings: GenerationSettings) -> int:
    """The batch size, unless memory limits it."""
    rows = {"beam": settings.beams, "sample": settings.captions, "greedy": 1}[settings.search]
    return max(1, min(MAX_BATCH, MAX_ROWS // rows))


class _CaptionRun:
    """The state across batches: the model, its settings, and the number of finished images."""

    def __init__(
        self, model: CaptionModel, settings: GenerationSettings, total: int, progress: Progress, log: Log
    ) -> None:
        self._model, self._settings, self._total = model, settings, total
        self._progress, self._log = progress, log
        self._last_report = 0.0
        self.finished = 0

    def caption_all(self, pending: list[tuple[int, LoadedImage]]) -> Iterator[CaptionResult]:
        """Yield captions for all ``pending`` images, in as many parts as memory requires."""
        while pending:
            part = pending[: self._model.max_batch or len(pending)]
            finished: set[int] = set()
            out_of_memory = False
            try:
                for index, captioned in self._caption_part(part):
                    finished.add(index)
                    yield captioned
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                out_of_memory = True
            if out_of_memory:  # outside the handler, whose traceback still references the tensors
                yield from self._handle_out_of_memory(part, finished)
            pending = [item for item in pending if item[0] not in finished]

    def _caption_part(self, part: list[tuple[int, LoadedImage]]) -> Iterator[tuple[int, CaptionResult]]:
        images = torch.stack([loaded.image for _, loaded in part if loaded.image is not None])  # (B, 3, S, S)
        self._progress("captioning", self.finished, self._total)
        steps = self._model.captions(images, self._settings, self._report_token)
        for position, captions in steps:
            index, loaded = part[position]
            self.finished += 1
            yield index, CaptionResult(index, loaded.path, captions)
        self._progress("captioning", self.finished, self._total)

    def _report_token(self, *_: int) -> None:
        seconds = time.monotonic()
        if seconds - self._last_report >= REPORT_INTERVAL_S:
            self._last_report = seconds
            self._progress("captioning", self.finished, self._total)

    def _handle_out_of_memory(self, part: list[tuple[int, LoadedImage]], finished: set[int]) -> Iterator[CaptionResult]:
        """Halves the batch; for a single image, moves to the CPU; on the CPU, reports the image as failed."""
        free_memory()
        remaining = [item for item in part if item[0] not in finished]
        if not remaining:
            return
        if len(part) > 1:
            self._model.max_batch = max(1, len(part) // 2)
            self._log(f"not enough memory for {len(part)} images per batch; continuing with {self._model.max_batch}.")
        elif not self._model.on_cpu:
            self._model.move_to_cpu()
            self._log("not enough GPU memory for one image; continuing on the CPU, more slowly.")
        else:
            index, loaded = remaining[0]
            finished.add(index)
            self.finished += 1
            yield CaptionResult(index, loaded.path, error="not enough memory to caption it")
