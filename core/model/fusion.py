"""Image and text joined into one representation by cross-attention.

Flow: ``core.model.network`` hands over the pooled text token and the picture's patches; the fused state goes to the
prototypes, whose softmax the student learns from the teacher.

Legend: B batch, P patches, F fused width, H heads, d width of a head.
"""

from __future__ import annotations

from torch import Tensor, nn

from core.model.attention import attend


class CrossAttentionBlock(nn.Module):
    """Pre-norm cross-attention and feed-forward (4x), each with a residual, for one query a pair."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, state: Tensor, patches: Tensor) -> Tensor:
        """``state`` (B, F) attends to ``patches`` (B, P, F). (B, F)"""
        batch, count, width = patches.shape
        head_dim = width // self.heads
        query = self.query(self.norm_query(state)).view(batch, self.heads, 1, head_dim)
        shape = (batch, count, self.heads, head_dim)
        key, value = (part.view(shape).transpose(1, 2) for part in self.key_value(patches).chunk(2, dim=-1))
        state = state + self.out(attend(query, key, value).flatten(1))
        joined: Tensor = state + self.mlp(self.norm_mlp(state))
        return joined


class CrossAttentionFusion(nn.Module):
    """Text tokens attend to image tokens; the state of the pooled text token is the pair (as in ALBEF's fusion).

    Text tokens do not attend to each other here, the text tower has done that: no other token reaches the pooled
    one, so its query is the only one computed, and padding cannot matter.
    """

    def __init__(self, text_width: int, image_width: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.project_text = nn.Linear(text_width, width)
        self.project_image = nn.Linear(image_width, width)
        self.norm_image = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(CrossAttentionBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, text: Tensor, patches: Tensor) -> Tensor:
        """``text`` (B, text_width), the pooled token's state; ``patches`` (B, P, image_width). (B, F)"""
        state = self.project_text(text)
        patches = self.norm_image(self.project_image(patches))  # (B, P, F)
        for block in self.blocks:
            state = block(state, patches)
        fused: Tensor = self.norm(state)
        return fused
