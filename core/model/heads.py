"""Heads that map a representation to logits over prototypes, or over words.

Flow: an objective builds its head and stores it in ``network.heads[name]``, so that the optimiser trains it, the
teacher averages it and checkpoints contain it.

Legend: B batch, K prototypes, F fused width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROTOTYPES = "prototypes"  # name of the shared prototype head, which the network itself applies to each view


class PrototypeHead(nn.Module):
    """DINO's head (Caron et al. 2021, section 3.1): a feed-forward with a bottleneck, normalised, then unit prototypes.

    The logits are cosines, so that no prototype is preferred for its length. They are computed in float32: after
    division by a teacher temperature of 0.04, bfloat16's error would be as large as relevant differences.
    """

    def __init__(self, in_dim: int, prototypes: int, hidden: int | None = None, bottleneck: int | None = None) -> None:
        super().__init__()
        self.frozen = False  # if True, the prototypes get no gradient
        hidden = min(4 * in_dim, 2048) if hidden is None else hidden
        bottleneck = min(in_dim, 256) if bottleneck is None else bottleneck
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=bottleneck**-0.5)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):  # equals DINO's 0.02 at DINO's width of 2048
                nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Cosines of ``x`` (B, in_dim) with each prototype, (B, K) float32."""
        x = self.mlp(x)
        with torch.autocast(x.device.type, enabled=False):
            prototypes = self.prototypes.detach() if self.frozen else self.prototypes
            return F.linear(F.normalize(x.float(), dim=-1), F.normalize(prototypes.float(), dim=-1))


class WordHead(nn.Module):
    """Vocabulary logits from fused token states (the head of BERT, Devlin et al. 2019, untied)."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.words = nn.Linear(width, vocabulary)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        nn.init.zeros_(self.words.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., F) to (..., V)."""
        logits: Tensor = self.words(self.transform(x))
        return logits
