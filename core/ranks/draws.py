"""Random draws in a step over ranks: those that every rank makes alike, and those that each makes for itself.

Flow: ``core.training.train_step`` seeds both before each step; objectives draw masked words and negatives for the whole
batch from ``shared``, and dropout draws from torch's own generators, which must not be the same on each rank.
"""

from __future__ import annotations

import torch

from core.ranks.collectives import size

shared = torch.Generator().manual_seed(0)
"""In the host's memory: the same numbers on every rank, and in one process."""


def seed_step(everyone: int, own: int) -> None:
    """Seed what all ranks draw alike with ``everyone``; over several ranks torch's generators with this one's ``own``.

    In one process torch's generators go on, and their state is in the checkpoint.
    """
    shared.manual_seed(everyone)
    if size() > 1:
        torch.manual_seed(own)
