"""The loss of anchors, from single encodings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from core.data.draws import seed_of
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.training.loop import Loop
from core.training.train_step import STEP_STREAM


def check_losses(loop: Loop, initial: Network, name: str, inputs: Sequence[Tensor]) -> None:
    """Train ``loop``, whose objective ``name`` draws four of ``inputs`` per step, and check each step's loss.

    It is the mean squared distance of their features to those of the network ``initial``.
    """
    encode = Network.encode_images if name == "image_anchors" else Network.encode_texts
    losses = []
    for step, batch in enumerate(loop.parts.loader.batches(0, loop.total_steps), 1):
        generator = torch.Generator().manual_seed(seed_of(loop.config.seed, step, STEP_STREAM))
        drawn = [inputs[i] for i in torch.randint(len(inputs), (4,), generator=generator).tolist()]
        with torch.no_grad(), evaluating(initial), evaluating(loop.network):
            wanted = sum(float((encode(loop.network, x) - encode(initial, x)).square().sum()) / 4 for x in drawn)
        report = loop.train_step(batch)
        losses.append(float(report[f"train/{name}"]))
        assert losses[-1] == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        assert float(report[f"diag/{name}_cosine"]) == pytest.approx(1 - losses[-1] / 2)
    assert losses[0] < 1e-6 < losses[-1], "the student starts at the initial features"
