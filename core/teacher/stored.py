"""Teacher features that are computed once before training, so that targets need no forward pass.

Flow: ``core.training.assembly`` encodes the training data with an initial or frozen network and stores the result here.

MobileCLIP (Vasu et al. 2024) stores features of several augmented views. This teacher stores only the features of full
images, which suits weak augmentation: the student's crop learns the feature of the full image.

Legend: N rows (images), C captions, B batch, T tokens, D embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.spec.config import TeacherConfig
from core.teacher.teacher import HeadOutputs, Teacher


@dataclass(frozen=True)
class StoredFeatures:
    """Features of the training data, and the tokens by which the caption of a row in a batch is identified."""

    images: Tensor  # (N, D) unit length; 0 for unreadable images
    texts: Tensor  # (C, D) unit length, grouped by row
    tokens: Tensor  # (C, T), padded
    first_caption: Tensor  # (N,) int64, position of each row's first caption
    max_captions: int  # maximum number of captions per row
    pad_id: int

    def to(self, device: torch.device) -> StoredFeatures:
        """A copy on ``device``."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def caption_positions(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The position (B,) of each caption in the stored texts, without synchronising.

        ``tokens`` (B, T): the captions; ``rows`` (B,): their rows. A caption that differs from all captions of its row
        gets the position of the first.
        """
        C, length = self.tokens.shape
        padding = (0, max(0, length - tokens.shape[1]))
        padded = F.pad(tokens, padding, value=self.pad_id)[:, :length]  # tokens after ``length`` are padding
        end = torch.cat([self.first_caption[1:], self.first_caption.new_tensor([C])])[rows]
        position = self.first_caption[rows]
        for offset in range(1, self.max_captions):
            candidate = (self.first_caption[rows] + offset).minimum(end - 1)
            position = torch.where((self.tokens[candidate] == padded).all(dim=1), candidate, position)
        return position


class StoredTeacher(Teacher):
    """A teacher that returns stored ``features`` instead of a fixed network's forward pass."""

    moves = False
    networks: tuple[Network, ...] = ()

    def __init__(self, config: TeacherConfig, features: StoredFeatures, network: Network) -> None:
        super().__init__(config)
        self._features = features
        self._scale = network.towers.logit_scale.detach().clone()
        bias = network.towers.logit_bias
        self._bias = None if bias is None else bias.detach().clone()

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        features = self._features
        view = ViewOutput(features.images[batch.rows].float(), number=batch.clean.number)  # (B, D)
        texts = features.texts[features.caption_positions(batch.rows, batch.texts)].float()  # (B, D)
        return Output(texts, self._scale, view, (view,), logit_bias=self._bias)

    def state_dict(self) -> dict[str, Tensor]:
        """Empty, since the features are recomputed when a run is resumed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
