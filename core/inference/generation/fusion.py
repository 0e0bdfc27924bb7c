"""FusionDecoder: captions from networks whose fusion is the language model (BLIP, mPLUG, BLIP-2).

Flow: ``caption_decoder(network)`` returns the decoder of a network for the search algorithms. The image is encoded
once. The whole prefix is run again for each token, since a fusion with queries or merged layers has little to cache,
and captions are short.

Legend: B images, R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.inference.generation.caption import SpecialTokens
from core.inference.generation.coca import CocaDecoder
from core.inference.generation.decoding import PrefixRows, TokenDecoder
from core.model.network import Network
from core.model.towers.image import ImageFeatures
from core.spec.generation import GenerationError

HEAD_NAME = "captioning"


class FusionDecoder:
    """Generates tokens with a network that has a word head on its fusion."""

    def __init__(self, network: Network) -> None:
        """Raises GenerationError if the network was not trained to caption through its fusion."""
        if network.fusion is None or HEAD_NAME not in network.heads:
            raise GenerationError(
                "this network cannot generate captions with its fusion; train one that can, such as the preset blip."
            )
        self.network = network
        self.pad_id = network.towers.pad_id
        self._end = SpecialTokens().end

    @property
    def context(self) -> int:
        return self.network.towers.context_length

    @property
    def vocabulary(self) -> int:
        return self.network.towers.vocabulary

    @torch.inference_mode()
    def start(
        self, images: Tensor, prefix: Sequence[int], rows_per_image: int, length: int
    ) -> tuple[FusionRows, Tensor]:
        """Start with one row per image, for normalised ``images`` (B, 3, S, S); returns rows and logits (B, V)."""
        rows = FusionRows(self, self.network.towers.encode_image(images), prefix, len(images))
        return rows, rows.run()

    def next_word(self, image: ImageFeatures, prefixes: Sequence[Sequence[int]]) -> Tensor:
        """Next-word logits (R, V) after equally long prefixes, for ``image`` features with one row per prefix."""
        # The end token marks the end of each row; earlier tokens do not attend to it.
        tokens = torch.tensor([[*prefix, self._end] for prefix in prefixes], device=image.pooled.device)
        text = self.network.towers.encode_text(tokens, all_tokens=True)
        words = self.network.join(image, text, every_word=True, causal=True).words
        assert words is not None
        logits: Tensor = self.network.heads[HEAD_NAME](words[:, tokens.shape[1] - 2])
        return logits.float()


class FusionRows(PrefixRows):
    """Rows of a FusionDecoder, with their prefixes and images."""

    def __init__(self, decoder: FusionDecoder, image: ImageFeatures, prefix: Sequence[int], images: int) -> None:
        super().__init__(prefix, images)
        self._decoder, self._image = decoder, image

    def run(self) -> Tensor:
        """Logits (R, V) after the prefixes."""
        owners = torch.tensor(self.owners, device=self._image.pooled.device)
        return self._decoder.next_word(self._image.rows(owners), self.prefixes)


def caption_decoder(network: Network, dtype: torch.dtype | None = None) -> TokenDecoder:
    """The decoder of ``network``: its fusion if it was trained to caption, otherwise CoCa's decoder.

    ``dtype`` applies to CoCa's text side. Raises GenerationError if the network has neither.
    """
    if HEAD_NAME in network.heads:
        return FusionDecoder(network)
    return CocaDecoder(network.towers.clip, dtype)
