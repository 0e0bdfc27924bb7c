"""Uniformity: vectors are spread evenly over the sphere.

Legend: B batch, D embed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.model.outputs import Output
from core.objectives.objective import Objective, Report
from core.spec.config.pairs import UniformityConfig


class Uniformity(Objective):
    """The logarithm of the mean Gaussian potential of all pairs (Wang and Isola 2020, equation 3), for t the sharpness:

        loss = log mean_{i != j} exp(- t |x_i - x_j|^2)

    averaged over the clean pictures and their captions.
    """

    name = "uniformity"
    config_class = UniformityConfig

    def __init__(self, config: UniformityConfig) -> None:
        super().__init__(config)
        self.sharpness = config.sharpness

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        with torch.autocast(student.text.device.type, enabled=False):
            spread = [
                (-self.sharpness * torch.pdist(vectors.float()) ** 2).exp().mean().log()
                for vectors in (student.clean.image, student.text)
            ]
            loss = torch.stack(spread).mean()
        return loss, {"diag/uniformity": loss.detach()}
