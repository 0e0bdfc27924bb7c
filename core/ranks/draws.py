"""Random number generators for a training step: one with the same values on every rank, and one per rank.

Flow: ``core.training.train_step`` seeds both before each step. Objectives draw masked words and negatives for the
global batch from ``shared_generator``; dropout uses torch's default generators, which must differ between ranks.
"""

from __future__ import annotations

import torch

from core.ranks.collectives import world_size

shared_generator = torch.Generator().manual_seed(0)
"""A CPU generator with the same values on every rank and in a single process."""


def seed_step(shared_seed: int, rank_seed: int) -> None:
    """Seed ``shared_generator`` and, with several ranks, torch's default generators with ``rank_seed``.

    In one process torch's generators continue, and checkpoints contain their state.
    """
    shared_generator.manual_seed(shared_seed)
    if world_size() > 1:
        torch.manual_seed(rank_seed)
