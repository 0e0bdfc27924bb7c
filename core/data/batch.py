"""What the loader hands to a training step.

Legend: B batch, H W image height and width, T tokens of the longest caption in the batch,
P patches, k kept ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from core.ranks.collectives import first_row, size, taken
from core.ranks.transfer import sent


@dataclass(frozen=True)
class Mix:
    """Interpolation of a batch with itself: image i is ``share`` of itself and the rest of image ``partner[i]``.

    ``share`` is at least one half, so that a mixed image still mostly shows its own pair (MixMatch). For cutmix,
    ``box`` (top, left, bottom, right; pixels) is where the partner is pasted, and ``share`` is the area left.

    Of several ranks each has the partners of the whole batch, and the rows of its own: ``values`` below are these.
    """

    partner: Tensor  # (B,) int64, on the CPU where there are several ranks
    share: float
    box: tuple[int, int, int, int] | None = None

    def blend(self, values: Tensor) -> Tensor:
        """Rows of ``values`` (B, ...) interpolated by ``share``, as targets and mixup images are."""
        return torch.lerp(self.partners(values), values, self.share)

    def blend_columns(self, values: Tensor) -> Tensor:
        """Columns of ``values`` (any rows, B), one for each image of the whole batch, interpolated alike."""
        return torch.lerp(values[:, self.partner], values, self.share)

    def partners(self, values: Tensor) -> Tensor:
        """Of ``values`` (B, ...) the row of each one's partner."""
        return values[self.partner] if size() == 1 else taken(values, self.partner.chunk(size()))

    def targets(self, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """What this rank's ``rows`` are a share of: of its images the captions, of its captions the images.

        (b, B) each: row i of the first has ``share`` at i and the rest at its partner; the second has the columns of
        that for the whole batch.
        """
        partner = self.partner.to(device)
        every = torch.arange(len(partner), device=device)
        own = every[first_row(rows) :][:rows, None]  # (b, 1)
        itself = (own == every).float()
        by_row = (partner[own[:, 0], None] == every).float()
        by_column = (partner == own).float()
        return torch.lerp(by_row, itself, self.share), torch.lerp(by_column, itself, self.share)

    def apply(self, images: Tensor) -> Tensor:
        """Interpolated images of float ``images`` (B, 3, H, W)."""
        if self.box is None:
            return self.blend(images)
        top, left, bottom, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = self.partners(images[:, :, top:bottom, left:right])
        return mixed


class Distorts(Protocol):
    """What is still to be done to the images of a view (``core.data.views.distortion``)."""

    def apply(self, images: Tensor) -> Tensor:
        """``images`` (B, 3, H, W) uint8 distorted, on the device that they are on."""

    def rows(self, start: int, stop: int) -> Self:
        """The same for some of the images."""

    def joined(self, *others: Any) -> Self:
        """The same for these images, then for those of ``others``."""


@dataclass(frozen=True)
class View:
    """One view of each image of a batch; ``mix`` is applied by the model, after normalisation.

    Views with the same ``number`` are the same crop: the student's, and what the teacher sees of it.
    """

    images: Tensor  # (B, 3, H, W) uint8; channels last in memory on the way to a GPU
    mix: Mix | None = None
    mask: Tensor | None = None  # (B, P) bool, the patches that are hidden from the student
    number: int = 0
    local: bool = False  # a small crop, which may have a smaller side
    distortion: Distorts | None = None  # drawn, and applied once the images are on the device
    kept: Tensor | None = None  # (B, k) int64, the patches that the student reads; None: all

    def without_masks(self) -> View:
        """The same images as the teacher sees them: nothing hidden or left out, nothing interpolated."""
        return replace(self, mix=None, mask=None, kept=None)

    def map(self, move: Callable[[Tensor], Tensor]) -> View:
        """The same with ``move`` applied to every tensor."""
        mix = replace(self.mix, partner=move(self.mix.partner)) if self.mix and size() == 1 else self.mix
        mask = None if self.mask is None else move(self.mask)
        kept = None if self.kept is None else move(self.kept)
        return replace(self, images=move(self.images), mix=mix, mask=mask, kept=kept)


@dataclass(frozen=True)
class Batch:
    """One step's pairs. ``teacher`` is empty when the teacher sees the clean view itself."""

    rows: Tensor  # (B,) int64, row numbers in the data set
    texts: Tensor  # (B, T) int64, padded with the tokenizer's pad id
    clean: View
    student: tuple[View, ...] = ()  # whole ones, then local ones
    teacher: tuple[View, ...] = ()
    labels: Tensor | None = None  # (B,) int64, -1 for rows without one; None where no label is asked for
    source: Batch | None = None  # of a batch on a device, the one in the host's memory that it is a copy of

    @property
    def on_host(self) -> Batch:
        """The same in the host's memory: what is drawn by it, and how many there are of what, is known at once."""
        return self if self.source is None else self.source

    def sent(self, device: torch.device) -> Batch:
        """The batch on ``device`` with its views distorted; itself where it is so already. Nothing waits for a GPU."""
        views = (self.clean, *self.student, *self.teacher)
        if self.rows.device == device and not any(view.distortion for view in views):
            return self
        made: dict[int, Tensor] = {}  # what two views share is sent and distorted once

        def move(tensor: Tensor) -> Tensor:
            if id(tensor) not in made:
                made[id(tensor)] = sent(tensor, device).contiguous()
            return made[id(tensor)]

        def distorted(view: View) -> View:
            if id(view.images) not in made and view.distortion is not None:
                made[id(view.images)] = view.distortion.apply(sent(view.images, device).contiguous())
            return replace(view.map(move), distortion=None)

        return replace(self._changed(move, distorted), source=self)

    def first(self, size: int) -> Batch:
        """The first ``size`` pairs, not interpolated; a smaller batch to try memory with."""

        def view(one: View) -> View:
            distortion = one.distortion and one.distortion.rows(0, size)
            return replace(one, mix=None, distortion=distortion).map(lambda tensor: tensor[:size])

        source = None if self.source is None else self.source.first(size)
        return replace(self._changed(lambda tensor: tensor[:size], view), source=source)

    def with_words(self, count: int, pad_id: int) -> Batch:
        """The same with captions of ``count`` tokens at least, padded."""
        missing = max(0, count - self.texts.shape[1])
        return self if missing == 0 else replace(self, texts=F.pad(self.texts, (0, missing), value=pad_id))

    def map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with ``move`` applied to every tensor (to a device, pinned)."""
        return self._changed(move, lambda one: one.map(move))

    def _changed(self, move: Callable[[Tensor], Tensor], view: Callable[[View], View]) -> Batch:
        return Batch(
            rows=move(self.rows),
            texts=move(self.texts),
            clean=view(self.clean),
            student=tuple(view(one) for one in self.student),
            teacher=tuple(view(one) for one in self.teacher),
            labels=None if self.labels is None else move(self.labels),
            source=self.source,
        )
