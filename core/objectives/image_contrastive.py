"""Self-supervision of images: two views of one are pulled together, those of others apart.

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
from core.ranks.collectives import first_row, gathered, size
from core.spec.config import ImageContrastiveConfig


class ImageContrastive(Objective):
    """NT-Xent between the student's first two further views (SimCLR, Chen et al. 2020, equation 1; in SLIP, Mu 2022).

    With v the 2 B unit vectors behind a projection head, both views of each image, and u the temperature,

        loss = - mean_i log( exp(v_i v_p(i) / u) / sum_{j != i} exp(v_i v_j / u) )

    where p(i) is the other view of the same image. The head is SLIP's: three layers with batch norm.
    """

    name = "image_contrastive"
    config_class = ImageContrastiveConfig

    def __init__(self, config: ImageContrastiveConfig) -> None:
        super().__init__(config)
        self.temperature, self.width, self.hidden = config.temperature, config.width, config.hidden

    def build_head(self, network: Network) -> nn.Module:
        wide = self.hidden
        return nn.Sequential(
            nn.Linear(network.towers.image_width, wide, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Linear(wide, wide, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Linear(wide, self.width, bias=False),
        )

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Tensor:
        """(2, B, P) unit vectors of the two views."""
        head = network.heads[self.name]
        both = [head(features.before_projection) for features in output.image_features[1:3]]
        return torch.stack([F.normalize(one.float(), dim=-1) for one in both])

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        projected: Tensor = student.extra[self.name]
        with torch.autocast(projected.device.type, enabled=False):
            vectors = projected.flatten(0, 1)  # (2 B, P)
            every = vectors if size() == 1 else gathered(projected, dim=1).flatten(0, 1)
            logits = vectors @ every.T / self.temperature
            own = self._numbers(projected, logits.device)
            itself = own[:, None] == torch.arange(len(every), device=logits.device)
            logits = logits.masked_fill(itself, -torch.inf)
            other = (own + len(every) // 2) % len(every)
            loss = F.cross_entropy(logits, other)
            right = (logits.argmax(dim=-1) == other).float().mean()
        return loss, {"diag/image_contrastive_right": right}

    @staticmethod
    def _numbers(projected: Tensor, device: torch.device) -> Tensor:
        """The numbers of this rank's 2 b vectors among the 2 B of all: first views, then second ones."""
        count = projected.shape[1]
        images = torch.arange(count, device=device) + first_row(count)
        return torch.cat([images, images + size() * count])
