"""The objectives of an experiment: those with a weight, in the order of the definition."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from core.config import RunConfig
from core.objectives.contrastive import Contrastive
from core.objectives.distillation import DistillPrototypes, DistillSimilarity
from core.objectives.objective import Objective


class Objectives(nn.Module):
    """Objectives by name; its state dict holds their buffers as ``<name>.<buffer>``."""

    def __init__(self, objectives: list[Objective]) -> None:
        super().__init__()
        for objective in objectives:
            self.add_module(objective.name, objective)

    def __iter__(self) -> Iterator[Objective]:
        return (child for child in self.children() if isinstance(child, Objective))

    def __len__(self) -> int:
        return len(self._modules)


def build_objectives(config: RunConfig) -> Objectives:
    """Every objective with a weight above 0."""
    settings = config.objectives
    every: list[Objective] = [
        Contrastive(settings.contrastive),
        DistillSimilarity(settings.distill_similarity),
        DistillPrototypes(settings.distill_prototypes),
    ]
    return Objectives([objective for objective in every if objective.weight > 0])
