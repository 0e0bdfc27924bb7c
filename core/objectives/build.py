"""The objectives of an experiment, and the network that holds what they learn.

Flow: definition -> ``build_network`` (towers, fusion, a head for each objective that has one) and ``build_objectives``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from core.data.batch import Batch
from core.model.network import Network, build_backbone
from core.model.outputs import Output
from core.objectives.captioning import Captioning, DistillCaptions
from core.objectives.classification import NAME as CLASSIFICATION
from core.objectives.classification import Classification
from core.objectives.consistency import Consistency
from core.objectives.contrastive import Contrastive
from core.objectives.distill_features import DistillFeatures
from core.objectives.distill_logits import DistillLogits
from core.objectives.distill_prototypes import DistillPrototypes
from core.objectives.distill_similarity import DistillSimilarity
from core.objectives.image_contrastive import ImageContrastive
from core.objectives.masked_patches import MaskedPatches
from core.objectives.masked_words import MaskedWords
from core.objectives.matching import Matching
from core.objectives.objective import Objective
from core.objectives.parts.schedule import ObjectiveValues
from core.spec.config import RunConfig

# Buffers that had another name in former checkpoints.
RENAMED = {"distill_prototypes.centre": "distill_prototypes.targets.centre"}


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

    def load_buffers(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state_dict`` gave, now or when a buffer still had its former name."""
        self.load_state_dict({RENAMED.get(name, name): value for name, value in state.items()})

    def active(self, taught: bool) -> Objectives:
        """Those that count now: where nobody teaches yet, those that need no teacher."""
        return self if taught else Objectives([one for one in self if not one.taught])

    @property
    def ask_teacher(self) -> bool:
        """Whether any of them needs what the teacher makes of a batch."""
        return any(one.asks_teacher for one in self)

    @property
    def need_views(self) -> bool:
        """Whether any of them reads the student's further views."""
        return any(one.needs_views for one in self)

    @property
    def need_prototypes(self) -> bool:
        """Whether any of them reads what the network's own prototypes say."""
        return any(one.needs_prototypes for one in self)

    def begin_step(self, network: Network, now: Mapping[str, ObjectiveValues]) -> None:
        """Tell each what the schedules say of this step, before the networks see a batch."""
        for one in self:
            one.begin_step(network, now[one.name])

    def look(self, network: Network, batch: Batch, output: Output) -> Output:
        """The student's ``output`` with what each objective asks for besides."""
        return output.with_extra({one.name: one.look(network, batch, output) for one in self})

    def look_as_teacher(self, network: Network, batch: Batch, output: Output) -> Output:
        """The same of the teacher's."""
        return output.with_extra({one.name: one.look_as_teacher(network, batch, output) for one in self})


def build_network(config: RunConfig, model_cfg: dict[str, Any], classes: Sequence[str] = ()) -> Network:
    """The network of an experiment with random weights, the same for the same state of torch's generator.

    ``classes``: what a classifying experiment tells apart. Raises ModelError when the architecture cannot be built, or
    keeps no patches for the fusion.
    """
    return add_heads(build_backbone(config, model_cfg), config, classes)


def add_heads(network: Network, config: RunConfig, classes: Sequence[str] = ()) -> Network:
    """``network`` with a head for each objective that learns parts of its own."""
    network.classes = tuple(classes)
    for objective in build_objectives(config):
        network.text_tokens |= objective.needs_text_tokens
        network.patch_tokens |= objective.needs_patches
        head = objective.build_head(network)
        if head is not None:
            network.heads[objective.name] = head
    if CLASSIFICATION not in network.heads:  # the data have labels that nothing learns
        network.classes = ()
    return network


def build_objectives(config: RunConfig, network: Network | None = None) -> Objectives:
    """Every objective with a weight above 0; with what it remembers from step to step where ``network`` is given."""
    settings = config.objectives
    every: list[Objective] = [
        Contrastive(settings.contrastive),
        Captioning(settings.captioning),
        Matching(settings.matching),
        MaskedWords(settings.masked_words),
        DistillSimilarity(settings.distill_similarity),
        DistillPrototypes(settings.distill_prototypes),
        MaskedPatches(settings.masked_patches, settings.distill_prototypes),
        DistillCaptions(settings.distill_captions, settings.captioning),
        DistillFeatures(settings.distill_features),
        DistillLogits(settings.distill_logits),
        ImageContrastive(settings.image_contrastive),
        Classification(settings.classification),
        Consistency(settings.consistency),
    ]
    objectives = Objectives([objective for objective in every if objective.weight > 0])
    if network is not None:
        for objective in objectives:
            objective.build_buffers(network)
    return objectives
