"""What the loader hands to a training step.

Legend: B batch, H W picture height and width, T tokens of the longest caption in the batch,
P patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """Interpolation of a batch with itself: picture i is ``share`` of itself and the rest of picture ``partner[i]``.

    ``share`` is at least one half, so that a mixed picture still mostly shows its own pair (MixMatch). For cutmix,
    ``box`` (top, left, bottom, right; pixels) is where the partner is pasted, and ``share`` is the area left.
    """

    partner: Tensor  # (B,) int64
    share: float
    box: tuple[int, int, int, int] | None = None

    def blend(self, values: Tensor) -> Tensor:
        """Rows of ``values`` (B, ...) interpolated by ``share``, as targets and mixup pictures are."""
        return torch.lerp(values[self.partner], values, self.share)

    def apply(self, images: Tensor) -> Tensor:
        """Interpolated pictures of float ``images`` (B, 3, H, W)."""
        if self.box is None:
            return self.blend(images)
        top, left, bottom, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[self.partner, :, top:bottom, left:right]
        return mixed


@dataclass(frozen=True)
class View:
    """One view of each picture of a batch; ``mix`` is applied by the model, after normalisation.

    Views with the same ``number`` are the same crop: the student's, and what the teacher sees of it.
    """

    images: Tensor  # (B, 3, H, W) uint8
    mix: Mix | None = None
    mask: Tensor | None = None  # (B, P) bool, the patches that are hidden from the student
    number: int = 0
    local: bool = False  # a small crop, which may have a smaller side

    def whole(self) -> View:
        """The same pictures as the teacher sees them: nothing hidden, nothing interpolated."""
        return replace(self, mix=None, mask=None)

    def map(self, move: Callable[[Tensor], Tensor]) -> View:
        """The same with ``move`` applied to every tensor."""
        mix = replace(self.mix, partner=move(self.mix.partner)) if self.mix else None
        mask = None if self.mask is None else move(self.mask)
        return replace(self, images=move(self.images), mix=mix, mask=mask)


@dataclass(frozen=True)
class Batch:
    """One step's pairs. ``teacher`` is empty when the teacher sees the clean view itself."""

    rows: Tensor  # (B,) int64, row numbers in the data set
    texts: Tensor  # (B, T) int64, padded with the tokenizer's pad id
    clean: View
    student: tuple[View, ...] = ()  # whole ones, then local ones
    teacher: tuple[View, ...] = ()
    labels: Tensor | None = None  # (B,) int64, -1 for rows without one; None where no label is asked for

    def first(self, size: int) -> Batch:
        """The first ``size`` pairs, not interpolated; a smaller batch to try memory with."""

        def view(one: View) -> View:
            return replace(one, mix=None).map(lambda tensor: tensor[:size])

        return self._changed(lambda tensor: tensor[:size], view)

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
        )
