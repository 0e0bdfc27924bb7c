"""Self-distillation of features: the student's are those of the teacher, or tell its one of the same pair from others.

Legend: B batch, D embed, F fused width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.batch import Batch, Mix
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require, require_head
from core.objectives.parts.pairs import both_logits, pair_rows
from core.objectives.parts.probabilities import cross_entropy
from core.ranks.collectives import gathered, overall_mean
from core.spec.config import DistillFeaturesConfig

MAX_SCALE = 100.0

Pair = tuple[Tensor, Tensor, Mix | None]  # the student's features (B, D), the teacher's (B, D), how mixed


class FeatureHead(nn.Module):
    """The learnt scale of the similarities, and for fused features the projection into the common space."""

    def __init__(self, temperature: float, fused_width: int | None, embed_dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))  # (1,): see core.checkpoint.names
        self.project = nn.Linear(fused_width, embed_dim, bias=False) if fused_width is not None else None

    def scale(self) -> Tensor:
        """What similarities are multiplied by; scalar, at most 100."""
        return self.log_scale.float().exp().clamp(max=MAX_SCALE).reshape(())


@dataclass(frozen=True)
class FeatureOutputs:
    """The learnt scale, and the fused features of each distilled view where they are asked for."""

    scale: Tensor
    fused: tuple[Tensor, ...] = ()  # (B, D) unit length


class DistillFeatures(Objective):
    """InfoNCE between the student's features and the teacher's (COSMOS, Kim et al. 2025, equation 6).

    With f the student's unit vectors, g the teacher's, ``z = s * f @ g.T`` (B, B) and s a scale of its own, learnt from
    1 / temperature:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    averaged over the distilled views and the kinds of features. Cross-modal: the student's image finds the teacher's
    text, its text the teacher's image, its fused pair both. An interpolated image, a of i and 1 - a of r(i), has both
    as its targets in these shares, and the columns alike.

    With distance squared the loss is ``mean |f - g|^2`` instead, averaged alike (LDIFS, Mukhoti et al. 2024,
    "Fine-tuning can cripple your foundation model; preserving features may be the solution", here of the last features
    alone); the target of an interpolated image is ``a g_i + (1 - a) g_r(i)``.
    """

    name = "distill_features"
    config_class = DistillFeaturesConfig

    def __init__(self, config: DistillFeaturesConfig) -> None:
        super().__init__(config)
        self.on, self.cross, self.temperature = config.on, config.cross, config.temperature
        self.squared = config.distance == "squared"

    def build_head(self, network: Network) -> nn.Module | None:
        if self.on != "fused":
            return None if self.squared else FeatureHead(self.temperature, None, network.towers.embed_dim)
        if network.fusion is None:
            raise ModelError("objectives.distill_features.on is fused and there is no fusion; set fusion.kind.")
        return FeatureHead(self.temperature, network.fusion.width, network.towers.embed_dim)

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.on == "fused" and not self.cross:
            require_head(self.name, student, teacher)

    @property
    def compares_vectors(self) -> str:
        return "weight"

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> FeatureOutputs | None:
        head = network.head(self.name)
        if head is None:
            return None
        assert isinstance(head, FeatureHead)
        if head.project is None:
            return FeatureOutputs(head.scale())
        fused = [head.project(joined) for joined in network.fused_views(output)]
        return FeatureOutputs(head.scale(), tuple(F.normalize(one.float(), dim=-1) for one in fused))

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> FeatureOutputs | None:
        """Only fused features go through a head; a trained teacher need have none for the others."""
        return self.head_outputs(network, batch, output) if self.on == "fused" and not self.cross else None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            pairs = self._pairs(student, teacher)
            alike = torch.stack([(one.float() * two.float()).sum(-1).mean() for one, two, _ in pairs]).mean()
            report = {"diag/feature_cosine": alike.detach()}
            if self.squared:
                return torch.stack([self._squared(*pair) for pair in pairs]).mean(), report
            scale = student.extra[self.name].scale
            loss = torch.stack([self._contrast(scale, *pair) for pair in pairs]).mean()
        return loss, {"diag/feature_scale": scale.detach(), **report}

    def _pairs(self, student: Output, teacher: Output) -> list[Pair]:
        """The features that are compared, for each view and kind."""
        image, text = teacher.distilled[0].image, teacher.text
        pairs: list[Pair] = []
        if self.on in ("image", "both"):
            pairs += [(view.image, text if self.cross else image, view.mix) for view in student.distilled]
        if self.on in ("text", "both"):
            pairs.append((student.text, image if self.cross else text, None))
        if self.on == "fused":
            keys = (image, text) if self.cross else teacher.extra[self.name].fused
            views = zip(student.extra[self.name].fused, student.distilled, strict=True)
            pairs += [(fused, key, view.mix) for fused, view in views for key in keys]
        return pairs

    @staticmethod
    def _squared(features: Tensor, targets: Tensor, mix: Mix | None) -> Tensor:
        targets = targets.float() if mix is None else mix.blend(targets.float())
        return overall_mean((features.float() - targets).square().sum(-1))  # of (B,)

    @staticmethod
    def _contrast(scale: Tensor, queries: Tensor, keys: Tensor, mix: Mix | None) -> Tensor:
        found, finding = both_logits(queries, keys, gathered(queries), gathered(keys), scale)  # (B, B) each
        targets = (pair_rows(found), pair_rows(finding)) if mix is None else mix.targets(len(found), found.device)
        return (cross_entropy(targets[0], found) + cross_entropy(targets[1], finding)) / 2
