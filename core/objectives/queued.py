"""Base of objectives that may also compare with the teacher's features of previous batches.

Legend: D embed, Q queued pairs.
"""

from __future__ import annotations

from core.model.network import Network
from core.objectives.objective import Objective
from core.objectives.parts.queue import FeatureQueue
from core.spec.config import ContrastiveConfig, DistillSimilarityConfig


class QueuedObjective(Objective):
    """``queue`` holds Q pairs of features (Q, D) if ``config.queue`` is above 0, else it is None."""

    queue: FeatureQueue | None

    def __init__(self, config: ContrastiveConfig | DistillSimilarityConfig) -> None:
        super().__init__(config)
        self.queue_size = config.queue
        self.queue = None

    def build_buffers(self, network: Network) -> None:
        if self.queue_size > 0:
            self.queue = FeatureQueue(self.queue_size, network.towers.embed_dim)

    @property
    def compares_vectors(self) -> str:
        return "queue" if self.queue_size > 0 else ""
