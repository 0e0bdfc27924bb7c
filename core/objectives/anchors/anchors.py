"""Anchors: the features of given texts or images stay near the initial model's.

Flow: before training, ``core.training.assembly`` calls ``prepare``, which encodes the anchors with the initial weights.
In each step the student encodes a few of them.

Legend: N anchors, A anchors per step, D embed.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from core.data.batch import Batch
from core.data.dataset import Progress
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.ranks.collectives import overall_mean, rank, world_size
from core.ranks.draws import shared_generator
from core.ranks.transfer import to_device
from core.spec.config import AnchorsConfig, RunConfig

BATCH_SIZE = 256  # anchors that are encoded at once before training


class Anchors(Objective):
    """The squared distance between the student's and the initial model's features of given anchors.

    With f the student's unit vectors and g the initial model's, of A anchors drawn in each step:
    ``loss = mean |f - g|^2``. It extends the distillation of features (LDIFS, Mukhoti et al. 2024) to texts or images
    that are not training data.
    """

    activity: ClassVar[str]  # for the progress of ``prepare``

    def __init__(self, config: AnchorsConfig) -> None:
        super().__init__(config)
        self.source, self.per_step = config.source, config.per_step
        # Not saved in checkpoints: they are computed again when a run is resumed.
        self.register_buffer("features", torch.zeros(0, 0), persistent=False)  # (N, D)
        self.features: Tensor
        self.inputs: Tensor  # (N, ...), texts or images for `encode`

    @abstractmethod
    def read_inputs(self, network: Network, config: RunConfig, progress: Progress) -> Tensor:
        """The anchors as inputs of `encode`. Raises DataError if there are none."""

    @abstractmethod
    def encode(self, network: Network, inputs: Tensor) -> Tensor:
        """Unit vectors (A, D) of A ``inputs``."""

    def prepare(self, network: Network, config: RunConfig, progress: Progress) -> None:
        self.inputs = self.read_inputs(network, config, progress)
        features = []
        with torch.no_grad(), evaluating(network):
            for inputs in self.inputs.split(BATCH_SIZE):
                features.append(self.encode(network, to_device(inputs, network.logit_scale.device)).float())
                progress(self.activity, sum(map(len, features)), len(self.inputs))
        self.features = torch.cat(features)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """The student's and the initial model's features of this rank's anchors, (A, D) each."""
        drawn = torch.randint(len(self.inputs), (self.per_step,), generator=shared_generator)
        own_anchors = drawn[rank() :: world_size()]  # this rank's share
        inputs = to_device(self.inputs[own_anchors], self.features.device)
        return self.encode(network, inputs), self.features[to_device(own_anchors, self.features.device)]

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        features, initial = student.extra[self.name]
        with torch.autocast(features.device.type, enabled=False):
            distances = (features.float() - initial).square().sum(-1)  # (A,)
            loss = overall_mean(distances)
        return loss, {f"diag/{self.name}_cosine": 1 - loss.detach() / 2}  # |f - g|^2 = 2 - 2 f g for unit vectors
