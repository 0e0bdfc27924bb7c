"""How well captions fit images according to a two-stream model.

Flow: features of all pairs by a pretrained model -> **model_fit** -> `core.objectives.weighting.words`.

Legend: P pairs, R reference pairs, D embed, B pairs of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from core.objectives.weighting.evidence import MAX_REFERENCE_PAIRS

_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class ModelFit:
    """Unit vectors of the images and captions of P pairs by a model with logit scale ``scale``."""

    images: Tensor  # (P, D) float32
    texts: Tensor  # (P, D) float32
    scale: float

    def subset(self, pairs: Tensor) -> ModelFit:
        """The fit among ``pairs`` alone."""
        return ModelFit(self.images[pairs], self.texts[pairs], self.scale)

    def measures(self, captions: Tensor) -> Tensor:
        """Two measures (2, P) float64 of each image with the caption whose index is in ``captions`` (P,).

        The log probability of the caption among all captions, given the image, and of the image among all images,
        given the caption. Beyond `MAX_REFERENCE_PAIRS` pairs, probabilities are among an evenly spaced sample.
        """
        logits = self.scale * (self.images * self.texts[captions]).sum(dim=1).double()
        return torch.stack([logits - self._image_norms, logits - self._text_norms[captions]])

    @cached_property
    def _image_norms(self) -> Tensor:
        """The log of the denominator of each image's probabilities, (P,)."""
        return self._log_sums(self.images, self.texts)

    @cached_property
    def _text_norms(self) -> Tensor:
        """The log of the denominator of each caption's probabilities, (P,)."""
        return self._log_sums(self.texts, self.images)

    def _log_sums(self, vectors: Tensor, others: Tensor) -> Tensor:
        """The log of the sum of exp(logit) over the reference pairs of ``others``, (P,) float64."""
        P = len(others)
        reference = others
        if P > MAX_REFERENCE_PAIRS:
            reference = others[torch.linspace(0, P - 1, MAX_REFERENCE_PAIRS).long()]
        return torch.cat(
            [(self.scale * block @ reference.T).logsumexp(dim=1) for block in vectors.split(_BLOCK_ROWS)]
        ).double()
