"""FusionDecoder: captions from a network whose language model is its fusion (BLIP, mPLUG, BLIP-2).

Flow: ``caption_decoder(network)`` gives a search what it needs, whichever way the network learnt to caption. The
image is encoded once. The words so far run anew for each new one: the queries and merged layers of a fusion leave
little to keep, and captions are short.

Legend: B images, R rows, P patches, T tokens of the longest row, V vocabulary.
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

HEAD = "captioning"


class FusionDecoder:
    """A network with a head over words behind its fusion; ``pad_id`` as CoCa's."""

    def __init__(self, network: Network, ids: SpecialTokens | None = None) -> None:
        """GenerationError when the network has not learnt to caption through its fusion."""
        if network.fusion is None or HEAD not in network.heads:
            raise GenerationError(
                "this network does not caption through its fusion; train one that does, such as blip."
            )
        self.network = network
        self.pad_id = network.towers.pad_id
        self._end = (ids or SpecialTokens(pad=self.pad_id)).end

    @property
    def context(self) -> int:
        return self.network.towers.context_length

    @property
    def vocabulary(self) -> int:
        return self.network.towers.vocabulary

    @torch.inference_mode()
    def start(
        self, images: Tensor, prefixes: Sequence[Sequence[int]], rows_per_image: int, length: int
    ) -> tuple[FusionRows, Tensor]:
        """Begin with one row per image: ``images`` (B, 3, S, S) normalised. The rows, and logits (B, V)."""
        rows = FusionRows(self, self.network.towers.encode_image(images), prefixes)
        return rows, rows.run()

    def next_word(self, image: ImageFeatures, prefixes: Sequence[Sequence[int]]) -> Tensor:
        """Logits (R, V) of the word after each prefix, for images of as many rows."""
        device = image.pooled.device
        longest = max(len(prefix) for prefix in prefixes) + 1
        # The end token marks how far a row reaches; no word before it sees it.
        filled = [[*prefix, self._end] + [self.pad_id] * (longest - len(prefix) - 1) for prefix in prefixes]
        text = self.network.towers.encode_text(torch.tensor(filled, device=device), all_tokens=True)
        words = self.network.join(image, text, every_word=True, causal=True).words
        assert words is not None
        last = torch.tensor([len(prefix) - 1 for prefix in prefixes], device=device)
        logits: Tensor = self.network.heads[HEAD](words[torch.arange(len(last), device=device), last])
        return logits.float()


class FusionRows(PrefixRows):
    """Rows under way: their words, and which image each is of."""

    def __init__(self, decoder: FusionDecoder, image: ImageFeatures, prefixes: Sequence[Sequence[int]]) -> None:
        super().__init__(prefixes)
        self._decoder, self._image = decoder, image

    def run(self) -> Tensor:
        """Logits (R, V) after the words so far."""
        owners = torch.tensor(self.owners, device=self._image.pooled.device)
        return self._decoder.next_word(self._image.rows(owners), self.prefixes)


def caption_decoder(
    network: Network, dtype: torch.dtype | None = None, ids: SpecialTokens | None = None
) -> TokenDecoder:
    """What a search needs to caption with ``network``: its fusion where that has learnt to, else CoCa's decoder.

    ``dtype`` is that of CoCa's text side. GenerationError when it can do neither.
    """
    if HEAD in network.heads:
        return FusionDecoder(network, ids)
    return CocaDecoder(network.towers.clip, dtype)
