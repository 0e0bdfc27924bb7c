"""What the loader hands to a training step.

Legend: B batch, H W picture height and width, T tokens of the longest caption in the batch.
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
    """One view of each picture of a batch; ``mix`` is applied by the model, after normalisation."""

    images: Tensor  # (B, 3, H, W) uint8
    mix: Mix | None = None


@dataclass(frozen=True)
class Batch:
    """One step's pairs. ``teacher`` is None when the teacher sees the clean view itself."""

    rows: Tensor  # (B,) int64, row numbers in the data set
    texts: Tensor  # (B, T) int64, padded with the tokenizer's pad id
    clean: View
    student: tuple[View, ...] = ()
    teacher: View | None = None
    labels: Tensor | None = None  # (B,) int64, -1 for rows without one; None where no label is asked for

    def first(self, size: int) -> Batch:
        """The first ``size`` pairs, not interpolated; a smaller batch to try memory with."""

        def view(one: View) -> View:
            return View(one.images[:size])

        return Batch(
            rows=self.rows[:size],
            texts=self.texts[:size],
            clean=view(self.clean),
            student=tuple(view(one) for one in self.student),
            teacher=view(self.teacher) if self.teacher else None,
            labels=None if self.labels is None else self.labels[:size],
        )

    def map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with ``move`` applied to every tensor (to a device, pinned)."""

        def view(one: View) -> View:
            mix = replace(one.mix, partner=move(one.mix.partner)) if one.mix else None
            return View(move(one.images), mix)

        return Batch(
            rows=move(self.rows),
            texts=move(self.texts),
            clean=view(self.clean),
            student=tuple(view(one) for one in self.student),
            teacher=view(self.teacher) if self.teacher else None,
            labels=None if self.labels is None else move(self.labels),
        )
