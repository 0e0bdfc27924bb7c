"""Batches for a GPU: laid in pinned memory, and the same as for the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.data.dataset import open_dataset
from core.data.loader import Loader, RankPosition
from core.spec.config import override
from tests.core.cuda.device import ON_GPU
from tests.core.data.samples import tokenize
from tests.core.data.test_loader import tensors
from tests.core.variants import variant_config

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not (ON_GPU and torch.cuda.is_available()), reason="needs a GPU")]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_collated_in_pinned_memory(source: Path, workers: int) -> None:
    settings = [f"data.train={source}", f"data.workers={workers}", "optim.batch_size=16", "views.student.mix=either"]
    config = override(variant_config("sd-clip-every-step"), settings)
    dataset = open_dataset(source, config.data, 32, tokenize)
    plain = list(Loader(dataset, config, 32).batches(0, 3))
    torch.cuda.init()
    pinned = list(Loader(dataset, config, 32, position=RankPosition(on_gpu=True)).batches(0, 3))
    for one, other in zip(plain, pinned, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
        assert other.clean.images.is_pinned()
        assert other.texts.is_pinned()
