"""Draws the views of student and teacher for some images, with the trainer's code.

Flow: a config, a step and images -> ``ViewMaker.draw`` -> `PartMaker`, which the loader's processes call ->
pixels as input of the towers, with mixes and their partners, masks and captions.

Each image is in one batch per epoch. Its views at a step are the views of its batch in that step's epoch, with the same
partners. No model is loaded: the architecture determines input and patch size.

Legend: n images, S side of a view, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from core.data.batch import Mix, View
from core.data.dataset import PairDataset
from core.data.errors import DataError
from core.data.labelling import label_rows
from core.data.loader import usable_cores
from core.data.orders import EpochOrder, Order, Rows, batch_order
from core.data.pairs import Pairs
from core.data.parts import (
    PartMaker,
    ViewSpec,
    caption_chances,
    clean_view,
    mix_of,
    student_views,
    teacher_views,
)
from core.data.shard_pairs import ShardPairs
from core.data.views.making import view_side
from core.spec.config import RunConfig, teacher_schedule
from core.worker.session import Recent

MAX_IMAGES = 64
CACHED_IMAGES = 256  # decoded images in memory
CACHED_VIEWS = 2048  # views of single images in memory
MAX_THREADS = 4  # maximum, for about a dozen images
PIXELS_PER_PART = 4 * 224**2  # number of a view's pixels that are distorted together, to fit the CPU's cache

Place = tuple[int, int]  # a batch, counted from 0, and a position in it
ImageView = tuple[Tensor, Tensor | None, Tensor | None]  # a view of one image: (3, S, S), hidden (P,), kept (k,)


class CachedImages(Pairs):
    """Caches decoded images and drawn views, since most stay the same while settings change."""

    @cached_property
    def views(self) -> Recent[tuple[Hashable, ...], ImageView]:
        """Views of single images, by all their inputs."""
        return Recent(CACHED_VIEWS)

    @cached_property
    def _images(self) -> Recent[int, Tensor]:
        return Recent(CACHED_IMAGES)

    def image(self, row: int) -> Tensor:
        load = partial(super().image, row)  # type: ignore[safe-super]  # of the sibling class
        return self._images.get(row, load)


class CachedPairs(CachedImages, PairDataset):
    """A `PairDataset` whose images are decoded once."""


class CachedShards(CachedImages, ShardPairs):
    """`ShardPairs` whose images are decoded once."""


@dataclass(frozen=True)
class Mixed:
    """How an image is interpolated: ``share`` of it remains, the rest is from the image ``row``.

    ``box`` (top, left, bottom, right): the pasted rectangle (cutmix); None if the images are blended (mixup).
    """

    row: int
    share: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class ShownView:
    """One view of n images, for ``who`` ("student", "teacher" or "both").

    ``images`` (n, 3, S, S) uint8, interpolated; ``mask`` (n, P) bool, hidden patches; ``left_out`` (n, P)
    bool, dropped patches.
    """

    title: str
    who: str
    local: bool
    images: Tensor
    mask: Tensor | None
    left_out: Tensor | None
    mixed: tuple[Mixed | None, ...]


@dataclass(frozen=True)
class DrawnViews:
    """All views of ``rows`` (n,): the requested rows, or the next readable ones."""

    rows: list[int]
    epoch: int
    batches: list[int]  # the batch of each image
    captions: list[str]  # the caption of each image in this epoch
    shown: list[ShownView]
    skipped: list[int]  # rows in no batch of this epoch, since the last, partial batch is dropped


class ViewMaker:
    """Draws views of the images of ``dataset`` by one config."""

    def __init__(self, dataset: CachedImages, config: RunConfig, image_size: int, patch: int) -> None:
        """``patch``: the side of a patch in pixels. Raises DataError if the config needs labels that are missing."""
        batch_size = min(config.optim.batch_size, len(dataset))
        self.config = config.model_copy(update={"optim": config.optim.model_copy(update={"batch_size": batch_size})})
        self.dataset, self.size, self.patch = dataset, image_size, patch
        labels = label_rows(dataset, config.data, config.seed)
        self.order: Order = batch_order(len(dataset), dataset.shard_rows, self.config, labels)
        self._maker = PartMaker(dataset, self.config, image_size, self.order, labels, patch)
        self._threads = min(MAX_THREADS, usable_cores())

    @property
    def by_choice(self) -> bool:
        """Whether images can be chosen. With shards or an unlabelled ratio, the images of a batch are shown instead."""
        return isinstance(self.order, EpochOrder)

    def draw(self, step: int, rows: Sequence[int] = (), most: int = MAX_IMAGES) -> DrawnViews:
        """The views of ``rows`` in the epoch of ``step``; without rows, the first ``most`` images of batch ``step``.

        Raises DataError if none can be read.
        """
        epoch = step // self.order.steps_per_epoch
        if not rows or not isinstance(self.order, EpochOrder):
            places = [(step, position) for position in range(min(most, self.order.batch_size))]
            return self._draw(epoch, places, [])
        size, first_batch = self.order.batch_size, epoch * self.order.steps_per_epoch
        used_rows = self.order.order(epoch)[: self.order.steps_per_epoch * size].tolist()
        positions = {row: position for position, row in enumerate(used_rows)}
        places = [
            (first_batch + positions[row] // size, positions[row] % size) for row in rows[:most] if row in positions
        ]
        return self._draw(epoch, places, [row for row in rows if row not in positions])

    def _draw(self, epoch: int, places: Sequence[Place], skipped: list[int]) -> DrawnViews:
        readable = [self._readable(*place) for place in places]
        rows, epochs = [row for row, _ in readable], [epoch_of_row for _, epoch_of_row in readable]
        with ThreadPoolExecutor(self._threads, "views") as pool:
            views = (
                [self._draw_planned(view, places, readable, pool) for view in self._planned_views()] if readable else []
            )
        captions = self._captions(np.array(rows, np.int64), np.array(epochs, np.int64))
        return DrawnViews(rows, epoch, [batch for batch, _ in places], captions, views, skipped)

    def _readable(self, batch: int, position: int) -> tuple[int, int]:
        """The row at a place, or the next readable row as in the loader, and its epoch."""
        rows, epochs = self.order.take(batch, position, position + 1)
        readable = self._maker.next_readable(int(rows[0]))
        if readable is None:
            raise DataError(f"No image of {self.dataset.origin} can be read; check the files.")
        return readable[0], int(np.atleast_1d(np.asarray(epochs))[0])

    def _planned_views(self) -> Iterator[_PlannedView]:
        """All views of a step and who sees them, consistent with `Joiner` and `Network.forward_teacher`."""
        views, has_teacher = self.config.views, self.config.teacher.traits.exists
        clean, further, teacher_only = clean_view(self.config), student_views(self.config), teacher_views(self.config)
        teacher_sees_clean = has_teacher and not views.shared and not teacher_only
        teacher_interval = self.config.teacher.every if has_teacher else 1
        student_interval = 1 if teacher_schedule(self.config).views_without_teacher else teacher_interval
        is_shared = teacher_sees_clean and views.clean.keep == 1.0 and teacher_interval == 1
        yield _PlannedView("Clean", "both" if is_shared else "student", clean)
        local = [view for view in further if view.local]
        global_views = [view for view in further if not view.local]
        for title, group in (("Student", global_views), ("Local", local)):
            yield from (
                _PlannedView(_title(title, i, group, student_interval), "student", view)
                for i, view in enumerate(group, 1)
            )
        if teacher_sees_clean and not is_shared:
            yield _PlannedView(_title("Clean", 1, [clean], teacher_interval), "teacher", clean, as_whole=True)
        yield from (
            _PlannedView(_title("Teacher", i, teacher_only, teacher_interval), "teacher", view)
            for i, view in enumerate(teacher_only, 1)
        )
        if has_teacher and views.shared:
            for i, view in enumerate(global_views, 1):
                yield _PlannedView(_title("Student", i, global_views, teacher_interval), "teacher", view, as_whole=True)

    def _draw_planned(
        self, plan: _PlannedView, places: Sequence[Place], drawn: Sequence[tuple[int, int]], pool: Executor
    ) -> ShownView:
        """The view ``plan`` of the images ``drawn`` (row, epoch) at ``places``, as input of the tower."""
        view, side = plan.spec, view_side(plan.spec.recipe, self.size, self.patch)
        mixes = [] if plan.as_whole else self._mixes(view, side, places)
        pairs = zip(places, mixes, strict=False)  # no mixes where the view is not interpolated
        partners = [self._readable(batch, int(mix.partner[position])) for (batch, position), mix in pairs]
        drawn_views = self._draw_images(view, side, [*drawn, *partners], pool)
        own_views, partner_views = drawn_views[: len(drawn)], drawn_views[len(drawn) :]
        images, mixed = [image for image, _, _ in own_views], list[Mixed | None]([None] * len(own_views))
        for index, mix in enumerate(mixes):
            images[index] = _blend(images[index], partner_views[index][0], mix)
            mixed[index] = Mixed(partners[index][0], mix.share, mix.box)
        mask = left_out = None
        if not plan.as_whole:
            mask, left_out = _masked_patches(own_views), _dropped_patches(own_views, (side // self.patch) ** 2)
        return ShownView(plan.title, plan.who, view.local, torch.stack(images), mask, left_out, tuple(mixed))

    def _mixes(self, view: ViewSpec, side: int, places: Sequence[Place]) -> list[Mix]:
        """The interpolation of each image; empty for views without interpolation."""
        batches = dict.fromkeys(batch for batch, _ in places)
        mixes = {batch: mix_of(view, side, self.config.seed, batch, self.order.batch_size) for batch in batches}
        return [mix for batch, _ in places if (mix := mixes[batch]) is not None]

    def _draw_images(
        self, view_config: ViewSpec, side: int, images: Sequence[tuple[int, int]], pool: Executor
    ) -> list[ImageView]:
        """A view of each of ``images`` (row, epoch). Only missing views are drawn."""
        cache = self.dataset.views
        keys = {image: (view_config, side, self.patch, self.config.seed, *image) for image in images}
        cached = {image: cache[key] for image, key in keys.items() if key in cache}
        missing = [image for image in keys if image not in cached]
        decoded = {row: self.dataset.image(row) for row, _ in missing}

        def draw(part: Sequence[tuple[int, int]]) -> View:
            rows, epochs = (np.array(column, np.int64) for column in zip(*part, strict=True))
            return self._maker.view(view_config, epochs, rows, [decoded[row] for row, _ in part])

        # The same number of parts per thread, limited in size.
        rounds = max(1, math.ceil(len(missing) / (self._threads * max(1, PIXELS_PER_PART // side**2))))
        size = max(1, math.ceil(len(missing) / (self._threads * rounds)))
        parts = [missing[first : first + size] for first in range(0, len(missing), size)]
        for part, view in zip(parts, pool.map(draw, parts), strict=True):
            for index, image in enumerate(part):
                hidden = None if view.mask is None else view.mask[index]
                places = None if view.visible is None else view.visible[index]
                cached[image] = cache.put(keys[image], (view.images[index].clone(), hidden, places))
        return [cached[image] for image in images]

    def _captions(self, rows: Rows, epochs: Rows) -> list[str]:
        chances = caption_chances(self.config.seed, epochs, rows).tolist() if len(rows) else []
        every = [self.dataset.captions_of(row) for row in rows.tolist()]
        return [
            captions[int(chance * len(captions))] if captions else ""
            for captions, chance in zip(every, chances, strict=True)
        ]


@dataclass(frozen=True)
class _PlannedView:
    """A view and who sees it; ``as_whole``: without masks, dropped patches or interpolation."""

    title: str
    who: str
    spec: ViewSpec
    as_whole: bool = False


def _title(name: str, number: int, group: Sequence[ViewSpec], interval: int) -> str:
    """A title such as "Student 2, every 3 steps", with number and frequency if needed."""
    title = f"{name} {number}" if len(group) > 1 else name
    return f"{title}, every {interval} steps" if interval > 1 else title


def _masked_patches(drawn_views: Sequence[ImageView]) -> Tensor | None:
    """The masked patches (n, P) bool; None if there are no masks."""
    masks = [mask for _, mask, _ in drawn_views if mask is not None]
    return torch.stack(masks) if masks else None


def _dropped_patches(drawn_views: Sequence[ImageView], patches: int) -> Tensor | None:
    """The dropped patches (n, P) bool; None if every patch is kept."""
    kept_patches = [visible for _, _, visible in drawn_views if visible is not None]
    if not kept_patches:
        return None
    return torch.ones(len(kept_patches), patches, dtype=torch.bool).scatter_(1, torch.stack(kept_patches), False)


def _blend(image: Tensor, partner: Tensor, mix: Mix) -> Tensor:
    """``image`` interpolated like the tower's input, (3, S, S) uint8."""
    pair = replace(mix, partner=torch.tensor([1, 0])).apply(torch.stack([image, partner]).float())
    return pair[0].round().clamp(0, 255).to(torch.uint8)
