"""What a network makes of a batch; objectives compare the student's with the teacher's.

Legend: B batch, D embed, F fused width, K prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from core.data.batch import Mix


@dataclass(frozen=True)
class ViewOutput:
    """One view of the batch as one network sees it."""

    image: Tensor  # (B, D) unit length
    fused: Tensor | None = None  # (B, F), image and text joined
    prototypes: Tensor | None = None  # (B, K) logits, not yet divided by a temperature
    mix: Mix | None = None  # how the pictures were interpolated


@dataclass(frozen=True)
class Output:
    """A batch through the student, or through the teacher (whose ``distilled`` is its one view)."""

    text: Tensor  # (B, D) unit length
    logit_scale: Tensor  # scalar, already exponentiated
    clean: ViewOutput
    distilled: tuple[ViewOutput, ...] = field(default=())  # (clean,) when there are no further views
    logit_bias: Tensor | None = None  # scalar
