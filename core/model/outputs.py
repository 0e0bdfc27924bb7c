"""The outputs of a network on a batch; objectives compare the student's with the teacher's.

Legend: B batch (with several ranks: the rows of this rank), D embed, F fused width, K prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from core.data.batch import Mix
from core.model.towers.image import ImageFeatures
from core.model.towers.text import TextFeatures
from core.ranks.collectives import all_gather_with_grad


@dataclass(frozen=True)
class ViewOutput:
    """A network's output for one view of the batch."""

    image: Tensor  # (B, D) unit length
    fused: Tensor | None = None  # (B, F), image and text joined
    prototypes: Tensor | None = None  # (B, K) logits, not yet divided by a temperature
    mix: Mix | None = None  # how the images were interpolated
    number: int = 0  # index of the crop; student and teacher views of the same crop share it
    local: bool = False  # a small crop

    @cached_property
    def gathered_image(self) -> Tensor:
        """``image`` of all ranks, with gradient."""
        with torch.enable_grad():  # the result is cached, and the first caller may run without gradient
            return all_gather_with_grad(self.image)


@dataclass(frozen=True)
class Output:
    """The outputs of the student, or of the teacher, whose views are all ``distilled``."""

    text: Tensor  # (B, D) unit length
    logit_scale: Tensor  # scalar, already exponentiated
    clean: ViewOutput
    distilled: tuple[ViewOutput, ...] = field(default=())  # (clean,) without additional views
    logit_bias: Tensor | None = None  # scalar
    image_features: tuple[ImageFeatures, ...] = ()  # per view: the student's clean view, then the additional views
    text_features: TextFeatures | None = None
    pair_weights: Tensor | None = None  # (B,) weight of each pair in the losses; None: equal weights
    extra: Mapping[str, Any] = field(default_factory=dict)  # results that objectives share, by name

    @property
    def distilled_features(self) -> tuple[ImageFeatures, ...]:
        """The ``image_features`` of the distilled views."""
        return self.image_features[len(self.image_features) - len(self.distilled) :]

    @cached_property
    def gathered_text(self) -> Tensor:
        """``text`` of all ranks, with gradient."""
        with torch.enable_grad():
            return all_gather_with_grad(self.text)

    def with_extra(self, extra: Mapping[str, Any]) -> Output:
        """A copy with results that objectives share; None values are skipped."""
        return replace(self, extra={name: value for name, value in extra.items() if value is not None})
