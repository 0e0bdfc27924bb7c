"""Self-supervision of images: pull two views of an image together, and views of other images apart.

Legend: B batch, P width of the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.ranks.collectives import all_gather_with_grad, first_row, world_size
from core.spec.config import ImageContrastiveConfig


class ImageContrastive(Objective):
    """NT-Xent of the student's first two additional views (SimCLR, Chen et al. 2020, equation 1; in SLIP, Mu 2022).

    With v the 2 B unit vectors of two views per image after a projection head, and u the temperature,

        loss = - mean_i log( exp(v_i v_p(i) / u) / sum_{j != i} exp(v_i v_j / u) )

    where p(i) is the other view of the same image. The head is SLIP's: three layers with batch norm.
    """

    name = "image_contrastive"
    config_class = ImageContrastiveConfig

    def __init__(self, config: ImageContrastiveConfig) -> None:
        super().__init__(config)
        self.temperature, self.width, self.hidden = config.temperature, config.width, config.hidden

    def build_head(self, network: Network) -> nn.Module:
        hidden = self.hidden
        return nn.Sequential(
            nn.Linear(network.towers.image_width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.width, bias=False),
        )

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Tensor:
        """The unit vectors (2, B, P) of the two views."""
        head = network.heads[self.name]
        projections = [head(features.before_projection) for features in output.image_features[1:3]]
        return torch.stack([F.normalize(vectors.float(), dim=-1) for vectors in projections])

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        projected: Tensor = student.extra[self.name]
        with torch.autocast(projected.device.type, enabled=False):
            vectors = projected.flatten(0, 1)  # (2 B, P)
            all_vectors = vectors if world_size() == 1 else all_gather_with_grad(projected, dim=1).flatten(0, 1)
            logits = vectors @ all_vectors.T / self.temperature
            row = self._global_rows(projected, logits.device)
            is_self = row[:, None] == torch.arange(len(all_vectors), device=logits.device)
            logits = logits.masked_fill(is_self, -torch.inf)
            positive = (row + len(all_vectors) // 2) % len(all_vectors)
            loss = F.cross_entropy(logits, positive)
            accuracy = (logits.argmax(dim=-1) == positive).float().mean()
        return loss, {"diag/image_contrastive_accuracy": accuracy}

    @staticmethod
    def _global_rows(projected: Tensor, device: torch.device) -> Tensor:
        """The positions of this rank's 2 b vectors among all ranks' 2 B: first views, then second views."""
        count = projected.shape[1]
        images = torch.arange(count, device=device) + first_row(count)
        return torch.cat([images, images + world_size() * count])
