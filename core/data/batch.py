"""A batch of views, as the loader passes it to a training step.

Legend: B batch, H W image height and width, T tokens of the longest caption in the batch,
P patches, k visible patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.views.distortion import Distortion
from core.ranks.collectives import fetch_rows, first_row, world_size
from core.ranks.transfer import to_device


@dataclass(frozen=True)
class Mix:
    """Interpolation of a batch with itself: ``share`` of image i and ``1 - share`` of image ``partner[i]``.

    ``share`` is at least one half, so that a mixed image shows mostly image i (MixMatch). For cutmix, the partner
    is pasted into ``box`` (top, left, bottom, right; pixels), and ``share`` is the remaining area.

    With several ranks, ``partner`` covers the whole batch; the methods' ``values`` are the rows of this rank.
    """

    partner: Tensor  # (B,) int64, on the CPU if there are several ranks
    share: float
    box: tuple[int, int, int, int] | None = None

    def blend(self, values: Tensor) -> Tensor:
        """Rows of ``values`` (B, ...), targets or mixup images, interpolated by ``share``."""
        return torch.lerp(self.partners(values), values, self.share)

    def blend_columns(self, values: Tensor) -> Tensor:
        """Columns of ``values`` (any rows, B), one per image of the whole batch, interpolated by ``share``."""
        return torch.lerp(values[:, self.partner], values, self.share)

    def partners(self, values: Tensor) -> Tensor:
        """(B, ...): the row of ``values`` (B, ...) that belongs to each image's partner."""
        return values[self.partner] if world_size() == 1 else fetch_rows(values, self.partner.chunk(world_size()))

    def targets(self, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Target distributions of this rank's ``rows`` images over captions, and of its captions over images.

        (b, B) each. In the first, row i has ``share`` at i and ``1 - share`` at its partner. The second contains this
        rank's rows of the whole batch's matrix, transposed.
        """
        partner = self.partner.to(device)
        columns = torch.arange(len(partner), device=device)
        local_rows = columns[first_row(rows) :][:rows, None]  # (b, 1)
        is_self = (local_rows == columns).float()
        is_partner_by_row = (partner[local_rows[:, 0], None] == columns).float()
        is_partner_by_column = (partner == local_rows).float()
        return torch.lerp(is_partner_by_row, is_self, self.share), torch.lerp(is_partner_by_column, is_self, self.share)

    def apply(self, images: Tensor) -> Tensor:
        """Interpolated images of float ``images`` (B, 3, H, W)."""
        if self.box is None:
            return self.blend(images)
        top, left, bottom, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = self.partners(images[:, :, top:bottom, left:right])
        return mixed


@dataclass(frozen=True)
class View:
    """One view of each image of a batch. The model applies ``mix`` after normalisation.

    Views of student and teacher with the same ``number`` are the same crop.
    """

    images: Tensor  # (B, 3, H, W) uint8; channels last in memory on the way to a GPU
    mix: Mix | None = None
    mask: Tensor | None = None  # (B, P) bool, the patches that are hidden from the student
    number: int = 0
    local: bool = False  # a small crop, which may have a smaller side
    distortion: Distortion | None = None  # applied once the images are on the device
    visible: Tensor | None = None  # (B, k) int64, the patches that the student reads; None: all

    def without_masks(self) -> View:
        """The images as the teacher sees them: no patch masked or dropped, nothing interpolated."""
        return replace(self, mix=None, mask=None, visible=None)

    def map(self, move: Callable[[Tensor], Tensor]) -> View:
        """The view with ``move`` applied to every tensor."""
        mix = replace(self.mix, partner=move(self.mix.partner)) if self.mix and world_size() == 1 else self.mix
        mask = None if self.mask is None else move(self.mask)
        visible = None if self.visible is None else move(self.visible)
        return replace(self, images=move(self.images), mix=mix, mask=mask, visible=visible)


@dataclass(frozen=True)
class Batch:
    """One step's pairs. ``teacher`` is empty when the teacher sees the clean view itself."""

    rows: Tensor  # (B,) int64, row numbers in the data set
    texts: Tensor  # (B, T) int64, padded with the tokenizer's pad id
    clean: View
    student: tuple[View, ...] = ()  # global views, then local ones
    teacher: tuple[View, ...] = ()
    labels: Tensor | None = None  # (B,) int64, -1 for rows without a label; None if the config sets no data.label
    source: Batch | None = None  # the batch in host memory that this one was copied from

    @property
    def on_host(self) -> Batch:
        """The batch in host memory, whose values can be read without waiting for the device."""
        return self if self.source is None else self.source

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device`` with distorted views; this batch if nothing changes. Does not wait for a GPU."""
        views = (self.clean, *self.student, *self.teacher)
        if self.rows.device == device and not any(view.distortion for view in views):
            return self
        on_device: dict[int, Tensor] = {}  # by identity: images that two views share are copied and distorted once

        def move(tensor: Tensor) -> Tensor:
            if id(tensor) not in on_device:
                on_device[id(tensor)] = to_device(tensor, device).contiguous()
            return on_device[id(tensor)]

        def distorted(view: View) -> View:
            if id(view.images) not in on_device and view.distortion is not None:
                on_device[id(view.images)] = view.distortion.apply(to_device(view.images, device).contiguous())
            return replace(view.map(move), distortion=None)

        return replace(self._with_changes(move, distorted), source=self)

    def first(self, size: int) -> Batch:
        """The first ``size`` pairs without interpolation, to probe memory with a smaller batch."""

        def view(full_view: View) -> View:
            distortion = full_view.distortion and full_view.distortion.rows(0, size)
            return replace(full_view, mix=None, distortion=distortion).map(lambda tensor: tensor[:size])

        source = None if self.source is None else self.source.first(size)
        return replace(self._with_changes(lambda tensor: tensor[:size], view), source=source)

    def with_text_length(self, count: int, pad_id: int) -> Batch:
        """The batch with its captions padded to at least ``count`` tokens."""
        missing = max(0, count - self.texts.shape[1])
        return self if missing == 0 else replace(self, texts=F.pad(self.texts, (0, missing), value=pad_id))

    def map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with ``move`` applied to every tensor."""
        return self._with_changes(move, lambda view: view.map(move))

    def _with_changes(self, move: Callable[[Tensor], Tensor], convert: Callable[[View], View]) -> Batch:
        return Batch(
            rows=move(self.rows),
            texts=move(self.texts),
            clean=convert(self.clean),
            student=tuple(convert(view) for view in self.student),
            teacher=tuple(convert(view) for view in self.teacher),
            labels=None if self.labels is None else move(self.labels),
            source=self.source,
        )
