"""Parts of batches: what one process of the loader makes at a time.

Flow: the loader asks for parts of ``ROWS`` rows of each batch, from processes or from a thread, and joins them. A part
is a function of (data, config, step, rows) alone: views are drawn row by row, and what is drawn for a batch as a
whole (its interpolation) is added when it is joined.

Legend: B batch, b rows of a part, T tokens, S side of a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from core.data.batch import Batch, Mix, View
from core.data.draws import Floats, Integers, seed_of, uniforms
from core.data.errors import ImageError
from core.data.labelling import Labels
from core.data.orders import Order, Rows
from core.data.pairs import Pairs
from core.data.views.distortion import draw_distortion
from core.data.views.making import cut_view, draw_mix, view_side
from core.data.views.masks import draw_kept, draw_masks
from core.data.views.recipe import ViewRecipe
from core.spec.config import RunConfig, Teaching

ROWS = 128  # of a part
CAPTION, MIX = 1002, 1003  # purposes of draws, beside views
CLEAN, TEACHER, STUDENT = 0, 1, 2  # numbers of views; the student's further ones count on
TEACHERS, LOCAL = 100, 200  # the teacher's further views and the student's local ones

Span: TypeAlias = tuple[int, int, int]  # step, first row, row after the last


@dataclass
class LoadedPart:
    """Rows of a batch, and the images that proved unreadable on the way; no batch when none is readable."""

    batch: Batch | None
    broken: dict[int, str] = field(default_factory=dict)


class PartMaker(Dataset[LoadedPart]):
    """Makes rows ``first`` to ``last - 1`` of batch ``step``. Holds only what a loader process needs."""

    def __init__(
        self,
        dataset: Pairs,
        config: RunConfig,
        image_size: int,
        order: Order,
        labels: Labels | None,
        multiple: int,
        by_device: bool = False,
        plan: Teaching | None = None,
        left_out: Tensor | None = None,
    ) -> None:
        """``by_device``: views are only cropped here, and distorted by the device that a batch is sent to. ``plan``:
        which steps need the further views; by default all. ``left_out`` (N,) bool: rows that replace no other.
        """
        self._left_out = set() if left_out is None else set(left_out.nonzero().flatten().tolist())
        self.dataset, self.config, self.order, self.labels = dataset, config, order, labels
        self.size, self.multiple, self.by_device, self._plan = image_size, multiple, by_device, plan

    def __getitem__(self, span: Span) -> LoadedPart:
        return self.make(*self.order.take(*span), step=span[0] + 1)

    def make(self, wanted: Rows, passes: Integers, step: int) -> LoadedPart:
        """The rows ``wanted`` (b,) as they are shown in ``step`` (the first is 1), in the pass through the data that
        all, or each, belong to.
        """
        known = set(self.dataset.broken)
        decoded, rows = [], []
        for row in wanted.tolist():
            found = self.readable(row)
            if found is None:
                return LoadedPart(None, self.dataset.broken)
            rows.append(found[0])
            decoded.append(found[1])
        batch = self._batch(step, passes, np.array(rows), decoded)
        broken = {row: reason for row, reason in self.dataset.broken.items() if row not in known}
        return LoadedPart(batch, broken)

    def readable(self, row: int) -> tuple[int, Tensor] | None:
        """``row``, or the next row whose image can be read, and its image; None when there is no such row."""
        for ahead in range(len(self.dataset)):
            candidate = (row + ahead) % len(self.dataset)
            if candidate in self.dataset.broken or candidate in self._left_out:
                continue
            try:
                return candidate, self.dataset.image(candidate)
            except ImageError as error:
                self.dataset.mark_broken(candidate, error)
        return None

    def view(self, wanted: WantedView, epoch: Integers, rows: Rows, decoded: Sequence[Tensor]) -> View:
        """One view of ``rows`` (b,), whose decoded images these are; a function of its keys, row by row."""
        key = (self.config.seed, epoch, rows)
        side = view_side(wanted.recipe, self.size, self.multiple)
        images = cut_view(decoded, wanted.recipe, side, *key, wanted.number)  # (b, 3, S, S)
        distortion = draw_distortion(wanted.recipe, *key, wanted.number)
        if not self.by_device:
            images = images.contiguous()
            if distortion is not None:
                images, distortion = distortion.apply(images), None
        across = side // self.multiple
        mask = draw_masks(wanted.recipe, across, *key, wanted.number)
        kept = draw_kept(wanted.recipe, across, *key, wanted.number)
        return View(images, None, mask, wanted.number, wanted.local, distortion, kept)

    def _batch(self, step: int, epoch: Integers, rows: Rows, decoded: list[Tensor]) -> Batch:
        def views(wanted: Sequence[WantedView]) -> tuple[View, ...]:
            return tuple(self.view(one, epoch, rows, decoded) for one in wanted)

        chances = caption_chances(self.config.seed, epoch, rows)
        return Batch(
            rows=torch.from_numpy(rows),
            texts=self.dataset.some_tokens(rows, chances),
            clean=self.view(clean_view(self.config), epoch, rows, decoded),
            student=views(student_views(self.config)) if self._plan is None or self._plan.needs_views(step) else (),
            teacher=views(teacher_views(self.config)) if self._plan is None or self._plan.taught(step) else (),
            labels=None if self.labels is None else self.labels.of_rows[torch.from_numpy(rows)],
        )


@dataclass(frozen=True)
class WantedView:
    """A view that a config asks for: how it is made, and the number that its draws depend on."""

    recipe: ViewRecipe
    number: int
    local: bool = False


def clean_view(config: RunConfig) -> WantedView:
    """The one that carries the contrastive loss."""
    return WantedView(ViewRecipe.of(config.views.clean), CLEAN)


def student_views(config: RunConfig) -> list[WantedView]:
    """The student's further views: whole ones, then local ones."""
    views = config.views
    whole, local = ViewRecipe.of(views.student), ViewRecipe.of(views.local)
    return [WantedView(whole, STUDENT + i) for i in range(views.student.count)] + [
        WantedView(local, LOCAL + i, local=True) for i in range(views.local.count)
    ]


def teacher_views(config: RunConfig) -> list[WantedView]:
    """The teacher's own views. Shared ones are the student's, and are added when parts are joined."""
    views = config.views
    if not config.teacher.traits.exists or views.shared:
        return []
    recipe = ViewRecipe.of(views.teacher)
    return [WantedView(recipe, TEACHER if i == 0 else TEACHERS + i) for i in range(views.teacher.count)]


def caption_chances(seed: int, epoch: Integers, rows: Rows) -> Floats:
    """(b,) in [0, 1): which of its captions each of ``rows`` (b,) has in this pass."""
    return uniforms(1, seed, epoch, rows, CAPTION)[:, 0]


def mix_of(wanted: WantedView, side: int, seed: int, step: int, batch_size: int) -> Mix | None:
    """How a view with ``side`` pixels a side is interpolated in batch ``step``, as a whole; None when it is not."""
    generator = np.random.default_rng(seed_of(seed, step, wanted.number, MIX))
    return draw_mix(wanted.recipe, generator, batch_size, side)


class Joiner:
    """Parts of a batch as one, with the interpolation that is drawn for all of it."""

    def __init__(self, config: RunConfig, batch_size: int, pad_id: int, pinned: bool) -> None:
        """Of batches of ``batch_size`` rows, all processes'. ``pinned``: laid where a GPU fetches them itself."""
        self._config, self._batch_size, self._pad_id, self._pinned = config, batch_size, pad_id, pinned
        self._recipe = ViewRecipe.of(config.views.student)  # of interpolated views

    def __call__(self, step: int, parts: Sequence[Batch]) -> Batch:
        """Batch ``step`` from its parts in order."""
        first, views = parts[0], self._config.views
        student = tuple(
            self._view([part.student[i] for part in parts], None if one.local else self._mix(step, one))
            for i, one in enumerate(first.student)
        )
        teacher = tuple(self._view([part.teacher[i] for part in parts]) for i in range(len(first.teacher)))
        if self._config.teacher.traits.exists and views.shared:
            teacher = tuple(one.without_masks() for one in student if not one.local)
        return Batch(
            rows=self._joined([part.rows for part in parts]),
            texts=self._joined(self._padded([part.texts for part in parts])),
            clean=self._view([part.clean for part in parts]),
            student=student,
            teacher=teacher,
            labels=None
            if first.labels is None
            else self._joined([x for part in parts if (x := part.labels) is not None]),
        )

    def _mix(self, step: int, view: View) -> Mix | None:
        """Has the partners of the whole batch, also where this process has a share."""
        wanted, side = WantedView(self._recipe, view.number), view.images.shape[-1]
        return mix_of(wanted, side, self._config.seed, step, self._batch_size)

    def _view(self, parts: Sequence[View], mix: Mix | None = None) -> View:
        masks = [part.mask for part in parts if part.mask is not None]
        kept = [part.kept for part in parts if part.kept is not None]
        images = self._joined([part.images for part in parts])
        distortions = [part.distortion for part in parts if part.distortion is not None]
        return replace(
            parts[0],
            images=images,
            mix=mix,
            mask=self._joined(masks) if masks else None,
            kept=self._joined(kept) if kept else None,
            distortion=distortions[0].joined(*distortions[1:]) if distortions else None,
        )

    def _padded(self, texts: Sequence[Tensor]) -> list[Tensor]:
        longest = max(part.shape[1] for part in texts)
        return [torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=self._pad_id) for part in texts]

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor of all ``parts``."""
        if len(parts) == 1 and not self._pinned:
            return parts[0]
        if not self._pinned:
            return torch.cat(list(parts))
        shape = (sum(map(len, parts)), *parts[0].shape[1:])
        layout = torch.contiguous_format if parts[0].is_contiguous() else torch.channels_last
        out = torch.empty(shape, dtype=parts[0].dtype, pin_memory=True, memory_format=layout)
        return torch.cat(list(parts), out=out)
