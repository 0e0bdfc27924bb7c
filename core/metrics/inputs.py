"""Error type, progress and input checks for all evaluators.

An evaluator is a pure function from features or tokens to numbers. Its callers encode images and texts, and present the
numbers (`core.evaluation.report`).

Legend: N rows, D feature width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from core.spec.errors import UserError

Progress = Callable[[float, str], None]
"""Called with the completed share (0 to 1) and the current activity; an exception that it raises reaches the caller."""


class EvaluationError(UserError):
    """An evaluation that is not possible; the message contains the value and the remedy."""


def no_progress(share: float, activity: str) -> None:
    """The default `Progress`: does nothing."""


def check_features(features: Tensor, subject: str) -> Tensor:
    """``features`` (N, D) as float32 on its device, without gradient.

    ``subject``: what messages call the features, such as "image features". Raises EvaluationError if they are empty,
    not a matrix, or contain NaN or infinity.
    """
    if features.ndim != 2:
        raise EvaluationError(f"{subject} must be a matrix with a row per item, not of shape {tuple(features.shape)}.")
    if features.numel() == 0:
        raise EvaluationError(
            f"there are no {subject} to evaluate (shape {tuple(features.shape)}); check the data source."
        )
    features = features.detach().float()
    bad_rows = (~torch.isfinite(features).all(dim=1)).nonzero().flatten()
    if len(bad_rows):
        examples = ", ".join(str(row) for row in bad_rows[:5].tolist()) + (", ..." if len(bad_rows) > 5 else "")
        raise EvaluationError(
            f"{len(bad_rows)} of {len(features)} {subject} contain NaN or infinity (rows {examples}); "
            "the model diverged or ran in too low a precision: evaluate an earlier checkpoint, or in fp32."
        )
    return features


def unit_rows(features: Tensor) -> Tensor:
    """``features`` (N, D) with rows scaled to unit length; a row of zeros stays zero."""
    return torch.nn.functional.normalize(features, dim=1, eps=1e-12)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in full float32, whatever the trainer has set, since small differences decide ranks."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def part_of(progress: Progress, start: float, end: float, activity: str = "") -> Progress:
    """A `Progress` for one stage of a longer task: 0 to 1 of the stage is reported as ``start`` to ``end``."""
    return lambda share, step: progress(start + (end - start) * share, activity or step)
