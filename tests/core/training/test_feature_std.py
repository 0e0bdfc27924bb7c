"""The diagnostic of collapse: about 1 for spread features, 0 for equal ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from core.training.train_step import feature_std


def test_spread_features_have_std_1_and_collapsed_ones_0() -> None:
    torch.manual_seed(0)
    spread = F.normalize(torch.randn(512, 64), dim=1)
    assert feature_std(spread).item() == pytest.approx(1.0, abs=0.02)
    assert feature_std(spread[:1].expand(512, 64)).item() == pytest.approx(0.0, abs=1e-6)
    by_hand = (spread.var(dim=0, unbiased=False).sqrt().sum() / 64 * 8).item()
    assert feature_std(spread).item() == pytest.approx(by_hand, rel=1e-5)
