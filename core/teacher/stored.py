"""A teacher's features that are computed once, before training: targets that cost no forward pass.

Flow: ``core.training.assembly`` has an initial or frozen network encode the training data, and keeps its features here.

MobileCLIP (Vasu et al. 2024) stores the features of several augmented views; here it is one, the whole image, which
suits weak augmentation: the student's crop then learns the feature of the whole.

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
    """Features of the training data, and what tells which caption of a row a batch has."""

    images: Tensor  # (N, D) unit length; 0 where an image cannot be read
    texts: Tensor  # (C, D) unit length, those of a row in succession
    tokens: Tensor  # (C, T), padded
    first: Tensor  # (N,) int64, the position of each row's first caption
    most: int  # captions that a row has
    pad_id: int

    def to(self, device: torch.device) -> StoredFeatures:
        """The same on ``device``."""
        images, texts, tokens, first = (part.to(device) for part in (self.images, self.texts, self.tokens, self.first))
        return replace(self, images=images, texts=texts, tokens=tokens, first=first)

    def captions(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """(B,) Positions of the captions ``tokens`` (B, T) of ``rows`` (B,); found without waiting for the device."""
        C, length = self.tokens.shape
        padding = (0, max(0, length - tokens.shape[1]))
        wanted = F.pad(tokens, padding, value=self.pad_id)[:, :length]  # what is beyond is padding
        last = torch.cat([self.first[1:], self.first.new_tensor([C])])[rows]
        position = self.first[rows]
        for step in range(1, self.most):
            other = (self.first[rows] + step).minimum(last - 1)
            position = torch.where((self.tokens[other] == wanted).all(dim=1), other, position)
        return position


class StoredTeacher(Teacher):
    """Gives the ``features`` of a network that does not change, as it would in a forward pass of whole images."""

    moves = False
    networks: tuple[Network, ...] = ()

    def __init__(self, config: TeacherConfig, features: StoredFeatures, network: Network) -> None:
        super().__init__(config)
        self._features = features
        self._scale = network.towers.logit_scale.detach().clone()
        bias = network.towers.logit_bias
        self._bias = None if bias is None else bias.detach().clone()

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        stored = self._features
        view = ViewOutput(stored.images[batch.rows].float(), number=batch.clean.number)  # (B, D)
        texts = stored.texts[stored.captions(batch.rows, batch.texts)].float()  # (B, D)
        return Output(texts, self._scale, view, (view,), logit_bias=self._bias)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the features are computed anew where a run is resumed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
