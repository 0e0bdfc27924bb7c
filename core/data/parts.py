"""Parts of batches: the unit of work of a loader process.

Flow: the loader requests parts of ``PART_ROWS`` rows of each batch from processes or a thread, and joins them. A part
is a function of (data, config, step, rows) alone: views are drawn row by row; random draws for the whole batch (the
interpolation) are made when its parts are joined.

Legend: B batch, b rows of a part, S side of a view.
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
from core.data.views.making import cut_view, view_side
from core.data.views.masks import draw_masks, draw_visible
from core.data.views.recipe import ViewRecipe
from core.spec.config import EVERY_STEP, RunConfig, TeacherSchedule

PART_ROWS = 128  # rows per part
CAPTION, MIX = 1002, 1003  # stream ids that keep random draws independent
CLEAN, TEACHER, STUDENT = 0, 1, 2  # numbers of views; additional student views are 3, 4, ...
TEACHERS, LOCAL = 100, 200  # first numbers of additional teacher views, and of the student's local views

Span: TypeAlias = tuple[int, int, int]  # step, first row, row after the last


@dataclass
class LoadedBatch:
    """A batch or a part of one (None if no image is readable), and the images that turned out to be unreadable.

    ``broken``: row -> reason.
    """

    batch: Batch | None
    broken: dict[int, str] = field(default_factory=dict)


class PartMaker(Dataset[LoadedBatch]):
    """Makes the part of a batch that a `Span` describes. Contains only what a loader process needs."""

    def __init__(
        self,
        dataset: Pairs,
        config: RunConfig,
        image_size: int,
        order: Order,
        labels: Labels | None,
        patch_side: int,
        device_distorts: bool = False,
        teacher_schedule: TeacherSchedule = EVERY_STEP,
        left_out: Tensor | None = None,
    ) -> None:
        """``device_distorts``: views are only cropped; the device distorts them later. ``teacher_schedule``: the
        steps that need additional views. ``left_out`` (N,) bool: rows that must not replace unreadable rows.
        """
        self._left_out = set() if left_out is None else set(left_out.nonzero().flatten().tolist())
        self.dataset, self.config, self.order, self.labels = dataset, config, order, labels
        self.size, self.patch_side = image_size, patch_side
        self._device_distorts, self._teacher_schedule = device_distorts, teacher_schedule

    def __getitem__(self, span: Span) -> LoadedBatch:
        return self.make(*self.order.take(*span), step=span[0] + 1)

    def make(self, batch_rows: Rows, epochs: Integers, step: int) -> LoadedBatch:
        """The part with ``batch_rows`` (b,) in ``step`` (from 1); ``epochs``: one number, or one per row."""
        broken_before = set(self.dataset.broken)
        decoded, rows = [], []
        for row in batch_rows.tolist():
            readable = self.next_readable(row)
            if readable is None:
                return LoadedBatch(None, self.dataset.broken)
            rows.append(readable[0])
            decoded.append(readable[1])
        batch = self._batch(step, epochs, np.array(rows), decoded)
        broken = {row: reason for row, reason in self.dataset.broken.items() if row not in broken_before}
        return LoadedBatch(batch, broken)

    def next_readable(self, row: int) -> tuple[int, Tensor] | None:
        """``row``, or the next row with a readable image; and its image. None if no row is readable."""
        for ahead in range(len(self.dataset)):
            candidate = (row + ahead) % len(self.dataset)
            if candidate in self.dataset.broken or candidate in self._left_out:
                continue
            try:
                return candidate, self.dataset.image(candidate)
            except ImageError as error:
                self.dataset.mark_broken(candidate, error)
        return None

    def view(self, spec: ViewSpec, epoch: Integers, rows: Rows, decoded: Sequence[Tensor]) -> View:
        """One view of ``rows`` (b,), cut from their ``decoded`` images; draws depend on each row's keys alone."""
        key = (self.config.seed, epoch, rows)
        side = view_side(spec.recipe, self.size, self.patch_side)
        images = cut_view(decoded, spec.recipe, side, *key, spec.number)  # (b, 3, S, S)
        distortion = draw_distortion(spec.recipe, *key, spec.number)
        if not self._device_distorts:
            images = images.contiguous()
            if distortion is not None:
                images, distortion = distortion.apply(images), None
        patches_per_side = side // self.patch_side
        mask = draw_masks(spec.recipe, patches_per_side, *key, spec.number)
        visible = draw_visible(spec.recipe, patches_per_side, *key, spec.number)
        return View(images, None, mask, spec.number, spec.local, distortion, visible)

    def _batch(self, step: int, epoch: Integers, rows: Rows, decoded: list[Tensor]) -> Batch:
        def views(specs: Sequence[ViewSpec]) -> tuple[View, ...]:
            return tuple(self.view(spec, epoch, rows, decoded) for spec in specs)

        chances = caption_chances(self.config.seed, epoch, rows)
        return Batch(
            rows=torch.from_numpy(rows),
            texts=self.dataset.caption_tokens(rows, chances),
            clean=self.view(clean_view(self.config), epoch, rows, decoded),
            student=views(student_views(self.config)) if self._teacher_schedule.needs_views(step) else (),
            teacher=views(teacher_views(self.config)) if self._teacher_schedule.is_active(step) else (),
            labels=None if self.labels is None else self.labels.of_rows[torch.from_numpy(rows)],
        )


@dataclass(frozen=True)
class ViewSpec:
    """A view that a config requires: its recipe, and the number on which its random draws depend."""

    recipe: ViewRecipe
    number: int
    local: bool = False


def clean_view(config: RunConfig) -> ViewSpec:
    """The view of the contrastive loss."""
    return ViewSpec(ViewRecipe.of(config.views.clean), CLEAN)


def student_views(config: RunConfig) -> list[ViewSpec]:
    """The student's additional views: global views, then local views."""
    views = config.views
    global_recipe, local = ViewRecipe.of(views.student), ViewRecipe.of(views.local)
    return [ViewSpec(global_recipe, STUDENT + i) for i in range(views.student.count)] + [
        ViewSpec(local, LOCAL + i, local=True) for i in range(views.local.count)
    ]


def teacher_views(config: RunConfig) -> list[ViewSpec]:
    """The teacher's views; empty if it shares the student's views, which are added when parts are joined."""
    views = config.views
    if not config.teacher.traits.exists or views.shared:
        return []
    recipe = ViewRecipe.of(views.teacher)
    return [ViewSpec(recipe, TEACHER if i == 0 else TEACHERS + i) for i in range(views.teacher.count)]


def caption_chances(seed: int, epoch: Integers, rows: Rows) -> Floats:
    """Numbers (b,) in [0, 1) that select a caption for each of ``rows`` (b,) in ``epoch``."""
    return uniforms(1, seed, epoch, rows, CAPTION)[:, 0]


def mix_of(spec: ViewSpec, side: int, seed: int, step: int, batch_size: int) -> Mix | None:
    """The interpolation of a view with ``side`` pixels per side in batch ``step``; None if ``spec`` has none."""
    generator = np.random.default_rng(seed_of(seed, step, spec.number, MIX))
    return draw_mix(spec.recipe, generator, batch_size, side)


def draw_mix(recipe: ViewRecipe, generator: np.random.Generator, batch: int, size: int) -> Mix | None:
    """A random interpolation of a batch's view with itself; None if ``recipe`` has none. ``size``: side in pixels.

    mixup: Zhang et al. 2018. cutmix: Yun et al. 2019, with the share recomputed from the clipped box. "either": one of
    the two, with equal probability. A share s below one half is replaced by 1 - s (MixMatch, Berthelot et al. 2019).
    """
    if recipe.mix == "none":
        return None
    blended = recipe.mix == "mixup" or (recipe.mix == "either" and generator.random() < 0.5)
    share = float(generator.beta(recipe.mix_alpha, recipe.mix_alpha))
    share = max(share, 1.0 - share)
    partner = torch.from_numpy(generator.permutation(batch))  # (B,)
    if blended:
        return Mix(partner, share)
    side = size * np.sqrt(1.0 - share)
    y, x = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(y + sign * side / 2), 0, size)) for sign in (-1, 1))
    left, right = (int(np.clip(round(x + sign * side / 2), 0, size)) for sign in (-1, 1))
    share = 1.0 - (bottom - top) * (right - left) / (size * size)
    return Mix(partner, share, (top, left, bottom, right))


class Joiner:
    """Joins the parts of a batch, and draws its interpolation."""

    def __init__(self, config: RunConfig, batch_size: int, pad_id: int, pinned: bool) -> None:
        """``batch_size``: rows of all processes together. ``pinned``: use pinned memory, for copies to a GPU."""
        self._config, self._batch_size, self._pad_id, self._pinned = config, batch_size, pad_id, pinned
        self._recipe = ViewRecipe.of(config.views.student)  # only student views are interpolated

    def __call__(self, step: int, parts: Sequence[Batch]) -> Batch:
        """Batch ``step`` from its parts in order."""
        first, views = parts[0], self._config.views
        student = tuple(
            self._view([part.student[i] for part in parts], None if view.local else self._mix(step, view))
            for i, view in enumerate(first.student)
        )
        teacher = tuple(self._view([part.teacher[i] for part in parts]) for i in range(len(first.teacher)))
        if self._config.teacher.traits.exists and views.shared:
            teacher = tuple(view.without_masks() for view in student if not view.local)
        return Batch(
            rows=self._join([part.rows for part in parts]),
            texts=self._join(self._pad_texts([part.texts for part in parts])),
            clean=self._view([part.clean for part in parts]),
            student=student,
            teacher=teacher,
            labels=None
            if first.labels is None
            else self._join([x for part in parts if (x := part.labels) is not None]),
        )

    def _mix(self, step: int, view: View) -> Mix | None:
        """The interpolation, with partners from the whole batch even if this process has only a share of it."""
        spec, side = ViewSpec(self._recipe, view.number), view.images.shape[-1]
        return mix_of(spec, side, self._config.seed, step, self._batch_size)

    def _view(self, parts: Sequence[View], mix: Mix | None = None) -> View:
        masks = [part.mask for part in parts if part.mask is not None]
        visible = [part.visible for part in parts if part.visible is not None]
        images = self._join([part.images for part in parts])
        distortions = [part.distortion for part in parts if part.distortion is not None]
        return replace(
            parts[0],
            images=images,
            mix=mix,
            mask=self._join(masks) if masks else None,
            visible=self._join(visible) if visible else None,
            distortion=distortions[0].join(*distortions[1:]) if distortions else None,
        )

    def _pad_texts(self, texts: Sequence[Tensor]) -> list[Tensor]:
        longest = max(part.shape[1] for part in texts)
        return [torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=self._pad_id) for part in texts]

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor of all ``parts``."""
        if len(parts) == 1 and not self._pinned:
            return parts[0]
        if not self._pinned:
            return torch.cat(list(parts))
        shape = (sum(map(len, parts)), *parts[0].shape[1:])
        layout = torch.contiguous_format if parts[0].is_contiguous() else torch.channels_last
        out = torch.empty(shape, dtype=parts[0].dtype, pin_memory=True, memory_format=layout)
        return torch.cat(list(parts), out=out)
