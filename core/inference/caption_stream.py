"""Captions of many images, in batches that begin small, so that the first caption comes at once.

Flow: ``gather`` -> **stream** on a ``CaptionModel`` -> the verb's files, or the panel's list. Reading runs ahead in a
thread. Want of memory makes batches smaller, then moves the model to the CPU; what is done is not done again.

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
from core.inference.images import Found, Read, read_ahead
from core.model.runtime import is_out_of_memory
from core.spec.generation import GenerationSettings

FIRST = 1  # images in the first batch; each next one has GROWTH times as many
GROWTH = 4
LARGEST_ROWS = 256  # captions under way at once, all images' beams or candidates together
LARGEST = 64
SECONDS_BETWEEN = 0.05  # between two reports within a batch; each is a chance to break off

Progress = Callable[[str, int, int], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Captioned:
    """The captions of one image, or why it has none; ``index`` counts what was gathered."""

    index: int
    path: str
    captions: list[dict[str, Any]] = field(default_factory=list)
    refused: str = ""


def caption_images(
    model: CaptionModel,
    found: Sequence[Found],
    settings: GenerationSettings,
    progress: Progress,
    tell: Tell,
    batch: int = 0,
) -> Generator[Captioned, None, None]:
    """Each of ``found`` once, as soon as it is captioned or refused; within a batch in any order.

    ``batch`` bounds the images taken together (0: by the beams). ``tell`` gets a note where the memory did not
    suffice. ``progress`` is called after each token and may raise to end the work. Raises GenerationError for settings
    that the model cannot follow.
    """
    most = batch or largest_batch(settings)
    run = _Run(model, settings, len(found), progress, tell)
    size = min(FIRST, most)
    # The next batch is read while one is captioned, and no more: reading takes the processor from the first caption.
    with closing(read_ahead(found, model.side, model.data, lambda: min(GROWTH * size, 2 * most))) as reading:
        waiting: list[tuple[int, Read]] = []
        for index, read in enumerate(reading):
            if read.image is None:
                run.done += 1
                yield Captioned(index, read.path, refused=read.refused)
            else:
                waiting.append((index, read))
            if len(waiting) == size:
                yield from run.batch(waiting)
                waiting, size = [], min(GROWTH * size, most)
        yield from run.batch(waiting)


def largest_batch(settings: GenerationSettings) -> int:
    """The batch size where memory does not limit it."""
    rows = {"beam": settings.beams, "sample": settings.captions, "greedy": 1}[settings.search]
    return max(1, min(LARGEST, LARGEST_ROWS // rows))


class _Run:
    """State over all batches: the model, its settings, and how many images are done."""

    def __init__(
        self, model: CaptionModel, settings: GenerationSettings, total: int, progress: Progress, tell: Tell
    ) -> None:
        self._model, self._settings, self._total = model, settings, total
        self._progress, self._tell = progress, tell
        self._told = 0.0
        self.done = 0

    def batch(self, waiting: list[tuple[int, Read]]) -> Iterator[Captioned]:
        """Captions of all of ``waiting``, in as many parts as the memory allows."""
        while waiting:
            part = waiting[: self._model.most or len(waiting)]
            finished: set[int] = set()
            exhausted = False
            try:
                for index, made in self._captions(part):
                    finished.add(index)
                    yield made
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                exhausted = True
            if exhausted:  # out of the handler: its traceback holds the tensors
                yield from self._make_room(part, finished)
            waiting = [item for item in waiting if item[0] not in finished]

    def _captions(self, part: list[tuple[int, Read]]) -> Iterator[tuple[int, Captioned]]:
        images = torch.stack([read.image for _, read in part if read.image is not None])  # (B, 3, S, S)
        self._progress("captioning", self.done, self._total)
        made = self._model.captions(images, self._settings, self._step)
        for position, captions in made:
            index, read = part[position]
            self.done += 1
            yield index, Captioned(index, read.path, captions)
        self._progress("captioning", self.done, self._total)

    def _step(self, _done: int, _total: int) -> None:
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN:
            self._told = now
            self._progress("captioning", self.done, self._total)

    def _make_room(self, part: list[tuple[int, Read]], finished: set[int]) -> Iterator[Captioned]:
        """Smaller batches; on the CPU when one image is too much; without the image when that is on the CPU."""
        free_memory()
        left = [item for item in part if item[0] not in finished]
        if len(part) > 1 and left:
            self._model.most = max(1, len(part) // 2)
            self._tell(
                f"not enough memory for {len(part)} images at once; continuing with {self._model.most} at a time."
            )
        elif not self._model.on_cpu:
            self._model.move_to_cpu()
            self._tell("not enough GPU memory for one image; continuing on the CPU, more slowly.")
        else:
            index, read = left[0]
            finished.add(index)
            self.done += 1
            yield Captioned(index, read.path, refused="there is not enough memory to caption it")
