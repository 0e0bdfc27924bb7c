"""Calibration: the gap between a classifier's confidence and its accuracy.

Legend: N rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15


def calibration_error(confidence: Tensor, hits: Tensor, bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1 (Guo et al. 2017, "On calibration of modern neural networks", equation 3).

    ``confidence`` (N,): probability of each prediction; ``hits`` (N,): whether it was correct. Bins have equal width
    and are weighted by their rows.
    """
    bin_index = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/bins], (1/bins, 2/bins], ...
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, bin_index, confidence.double() - hits.double())
    return float(gaps.abs().sum() / max(1, len(confidence)))
