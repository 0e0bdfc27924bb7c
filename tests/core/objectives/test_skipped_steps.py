"""A step whose numbers are not finite is skipped; what objectives remember of it must not spoil those that follow."""

from __future__ import annotations

import torch

from core.objectives.parts.centring import Centring
from core.objectives.parts.queue import FeatureQueue

NAN = torch.full((2, 4), torch.nan)


def unit(rows: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, 4, generator=torch.Generator().manual_seed(rows)), dim=1)


def test_the_queue_is_unchanged() -> None:
    queue = FeatureQueue(4, 4)
    queue.push(unit(4), unit(4).flip(0))
    before = queue.image.clone()
    mixed = torch.cat([NAN[:1], unit(1)])
    queue.push(mixed, unit(2))
    assert torch.equal(queue.image[0], before[0])
    assert torch.equal(queue.image[1], unit(1)[0])
    assert queue.image.isfinite().all()
    assert queue.text.isfinite().all()


def test_the_centre_is_unchanged() -> None:
    targets = Centring(4)
    targets.update(torch.ones(2, 4))
    targets.update(torch.cat([NAN, torch.ones(1, 4)]))
    assert torch.equal(targets.centre, torch.full((4,), 0.1))
