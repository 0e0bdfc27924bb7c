"""Self-distillation of features: the student matches the teacher's features with InfoNCE or squared distance.

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
from core.objectives.parts.pairs import both_logits, one_hot_pairs
from core.objectives.parts.probabilities import cross_entropy
from core.ranks.collectives import all_gather_with_grad, overall_mean
from core.spec.config import DistillFeaturesConfig

MAX_SCALE = 100.0

Pair = tuple[Tensor, Tensor, Mix | None]  # features of student (B, D) and teacher (B, D), interpolation


class FeatureHead(nn.Module):
    """The learnt scale of similarities and, for fused features, a projection to the embedding width."""

    def __init__(self, temperature: float, fused_width: int | None, embed_dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))  # (1,): see core.checkpoint.scalars
        self.project = nn.Linear(fused_width, embed_dim, bias=False) if fused_width is not None else None

    def scale(self) -> Tensor:
        """The factor of similarities; a scalar, at most 100."""
        return self.log_scale.float().exp().clamp(max=MAX_SCALE).reshape(())


@dataclass(frozen=True)
class FeatureOutputs:
    """The learnt scale, and the fused features of each distilled view if the objective needs them."""

    scale: Tensor
    fused: tuple[Tensor, ...] = ()  # (B, D) unit length


class DistillFeatures(Objective):
    """InfoNCE between the student's features and the teacher's (COSMOS, Kim et al. 2025, equation 6).

    With f the student's unit vectors, g the teacher's, ``z = s * f @ g.T`` (B, B) and s a separate learnt scale that
    starts at 1 / temperature:

        loss = (cross_entropy(z, i) + cross_entropy(z.T, i)) / 2

    averaged over the distilled views and the kinds of features. Cross-modal: the student's image is matched to the
    teacher's text, the student's text to the teacher's image, and the fused pair to both. If an image is interpolated
    with share a from image i and 1 - a from image r(i), both are targets with these shares, in rows and columns.

    With distance squared the loss is ``mean |f - g|^2``, averaged in the same way (LDIFS, Mukhoti et al. 2024,
    "Fine-tuning can cripple your foundation model; preserving features may be the solution", which compares the
    features of several layers; here only those of the last). The target of an interpolated image is
    ``a g_i + (1 - a) g_r(i)``.
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
            raise ModelError("objectives.distill_features.on is fused, but the network has no fusion; set fusion.kind.")
        return FeatureHead(self.temperature, network.fusion.width, network.towers.embed_dim)

    def check_teacher(self, student: Network, teacher: Network) -> None:
        if self.on == "fused" and not self.cross:
            require_head(self.name, student, teacher)

    @property
    def vector_comparison_setting(self) -> str:
        return "weight"

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> FeatureOutputs | None:
        head = network.head(self.name)
        if head is None:
            return None
        assert isinstance(head, FeatureHead)
        if head.project is None:
            return FeatureOutputs(head.scale())
        fused = [head.project(view) for view in network.fused_views(output)]
        return FeatureOutputs(head.scale(), tuple(F.normalize(features.float(), dim=-1) for features in fused))

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> FeatureOutputs | None:
        """The teacher's fused features; None for other kinds, which need no head."""
        return self.head_outputs(network, batch, output) if self.on == "fused" and not self.cross else None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            pairs = self._pairs(student, teacher)
            cosines = torch.stack([(ours.float() * theirs.float()).sum(-1).mean() for ours, theirs, _ in pairs])
            report = {"diag/feature_cosine": cosines.mean().detach()}
            if self.squared:
                return torch.stack([self._squared_distance(*pair) for pair in pairs]).mean(), report
            scale = student.extra[self.name].scale
            loss = torch.stack([self._info_nce(scale, *pair) for pair in pairs]).mean()
        return loss, {"diag/feature_scale": scale.detach(), **report}

    def _pairs(self, student: Output, teacher: Output) -> list[Pair]:
        """The features to compare, for each view and kind."""
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
    def _squared_distance(features: Tensor, targets: Tensor, mix: Mix | None) -> Tensor:
        targets = targets.float() if mix is None else mix.blend(targets.float())
        return overall_mean((features.float() - targets).square().sum(-1))  # of (B,)

    @staticmethod
    def _info_nce(scale: Tensor, queries: Tensor, keys: Tensor, mix: Mix | None) -> Tensor:
        # (B, B) each
        rows, columns = both_logits(queries, keys, all_gather_with_grad(queries), all_gather_with_grad(keys), scale)
        if mix is None:
            row_targets, column_targets = one_hot_pairs(rows), one_hot_pairs(columns)
        else:
            row_targets, column_targets = mix.targets(len(rows), rows.device)
        return (cross_entropy(row_targets, rows) + cross_entropy(column_targets, columns)) / 2
