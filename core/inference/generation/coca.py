"""CocaDecoder: token-by-token generation with an open_clip CoCa and key-value caches.

Flow: ``start`` encodes the images, computes their keys and values for each cross-attention, and runs the prompt; each
``CachedRows.step`` runs one token per row; ``CachedRows.keep`` selects the rows that continue. Only the logits of the
last position are computed. They equal the logits of the module's own forward pass on the full prefix.

CoCa (Yu et al. 2022, arXiv 2205.01917): a causal text tower (its class token is skipped, since no other token attends
to it), then a decoder of alternating self- and cross-attention blocks and a projection onto the vocabulary.

Legend: B images, R rows, L prompt positions, D width, S image tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.inference.generation.decoding import CachedRows
from core.model.towers.block import Block, Norm
from core.model.towers.cache import CachePosition, KeyValueCache
from core.model.towers.decoder import MultimodalDecoder
from core.model.towers.transformer import AttentionMask
from core.spec.generation import GenerationError

_ENCODE_BATCH = 16  # images encoded in one pass


class CocaDecoder:
    """Generates tokens with the weights of an open_clip ``CoCa``, which may be trained between captions.

    ``model`` needs ``visual`` (images to a latent and tokens), ``text`` (a causal ``TextTransformer``) and
    ``text_decoder`` (a ``MultimodalTransformer``). With ``dtype``, the weights of the text side are copied in this
    precision; otherwise nothing is copied. Raises GenerationError for a text tower that does not support caching.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None = None) -> None:
        self._model = model
        text, decoder = _towers(model)
        self._embedding = text.get_submodule("token_embedding").get_parameter("weight").detach()
        self._positions = text.get_parameter("positional_embedding").detach()
        self._class_token = getattr(text, "cls_emb", None) is not None
        self._shifted_mask = not getattr(text, "correct_cls_mask", False)
        pad = getattr(text, "pad_id", 0)
        self._pad_id = pad if isinstance(pad, int) else 0
        with torch.no_grad():  # blocks keep references to the weights
            self._text = [Block(block, dtype) for block in text.get_submodule("transformer.resblocks").children()]
            self._text_norm = None if self._class_token else Norm(text.get_submodule("ln_final"))
            self._decoder = MultimodalDecoder(decoder, dtype)
        self.dtype = self._decoder.projection.dtype
        self.vocabulary = min(self._decoder.projection.shape[1], self._embedding.shape[0])
        room = self._positions.shape[0] - self._class_token
        limit = getattr(decoder, "context_length", room)
        self.context = min(room, limit) if isinstance(limit, int) else room

    @property
    def device(self) -> torch.device:
        return self._decoder.projection.device

    @torch.inference_mode()
    def start(
        self, images: Tensor, prefix: Sequence[int], rows_per_image: int, length: int
    ) -> tuple[CachedRows, Tensor]:
        """Start with one row per image; returns the state and logits (B, V).

        ``images`` (B, 3, height, width) are normalised. Each row begins with ``prefix``, whose first token is the start
        token. Caches have room for ``rows_per_image`` rows of ``length`` tokens.
        """
        memory = self._image_cache(images)
        text, decoder = (
            self._cache(blocks, len(images) * rows_per_image, length) for blocks in (self._text, self._decoder.blocks)
        )
        state = CachedRows(text, decoder, memory, len(images), len(prefix), self._step)
        tokens = torch.tensor([list(prefix)], device=self.device)  # (1, L)
        state.masked_keys = self._masked_keys(tokens, state.text.store.shape[4])
        x = F.embedding(tokens, self._embedding) + self._positions[: state.length]  # (1, L, D)
        x = x.repeat(len(images), 1, 1)
        x = self._run(x, state, CachePosition(state.length), AttentionMask(causal=state.length > 1))
        return state, self._logits(x[:, -1])

    @torch.inference_mode()
    def _step(self, state: CachedRows, tokens: Sequence[int]) -> Tensor:
        """Append ``tokens``, one per row; returns the next logits (R, V)."""
        x = F.embedding(torch.tensor(tokens, device=self.device), self._embedding) + self._positions[state.length]
        state.length += 1
        x = self._run(x[:, None], state, CachePosition(state.length), AttentionMask())  # (R, 1, D)
        return self._logits(x[:, 0])

    def _encode(self, images: Tensor) -> Tensor:
        """Image tokens (B, S, D)."""
        visual = self._model.get_submodule("visual")
        training = [module for module in visual.modules() if module.training]
        visual.eval()  # disables patch dropout
        try:
            encoded = visual(images.to(self.device))
        finally:
            for module in training:
                module.training = True
        if not isinstance(encoded, tuple):
            raise GenerationError("the image tower returns no tokens; set output_tokens in its vision_cfg.")
        tokens: Tensor = encoded[1]
        return tokens.to(self.dtype)

    def _image_cache(self, images: Tensor) -> KeyValueCache:
        """The images' keys and values for each cross-attention, computed in small batches to limit memory."""
        memory: KeyValueCache | None = None
        for first in range(0, len(images), _ENCODE_BATCH):
            tokens = self._encode(images[first : first + _ENCODE_BATCH])  # (b, S, D)
            if memory is None:
                memory = self._cache(self._decoder.cross, len(images), tokens.shape[1])
            part = slice(first, first + len(tokens))
            with torch.autocast(self.device.type, enabled=False):
                for pair, layer in zip(self._decoder.keys_values_of_layers(tokens), memory.layers, strict=True):
                    for new, store in zip(pair, layer, strict=True):
                        store[part] = new
        assert memory is not None
        return memory

    def _cache(self, blocks: list[Block], entries: int, positions: int) -> KeyValueCache:
        heads, width = blocks[0].heads, blocks[0].head_width
        return KeyValueCache(len(blocks), entries, heads, positions, width, self.dtype, self.device)

    def _masked_keys(self, tokens: Tensor, room: int) -> Tensor | None:
        """A mask (1, room) of the text tower's keys that padding in the prompt (1, L) masks; None if it has no padding.

        A tower with a class token masks padding. open_clip's published weights were trained with this mask shifted by
        one (the token after the padding is masked), unless ``correct_cls_mask`` is set.
        """
        padding = tokens == self._pad_id
        if not self._class_token or not bool(padding.any()):
            return None
        shift = int(self._shifted_mask)
        return F.pad(padding, (shift, room - padding.shape[1]), value=False)[:, :room]

    def _run(self, x: Tensor, state: CachedRows, position: CachePosition, mask: AttentionMask) -> Tensor:
        """The states (R, L, D) of new tokens ``x`` (R, L, D) after the text tower and the decoder."""
        text_mask = _exclude_masked(mask, state.masked_keys, x.shape[1], position.end)
        x = x.to(self.dtype)
        with torch.autocast(self.device.type, enabled=False):
            for block, cache in zip(self._text, state.text.layers, strict=True):
                x = block.attend_words(x, text_mask, cache, position)
            if self._text_norm is not None:
                x = self._text_norm(x)
            return self._decoder.states(x, state.images.layers, mask, state.decoder, position, state.layout)

    def _logits(self, x: Tensor) -> Tensor:
        """The logits (R, V) float32 from states (R, D)."""
        with torch.autocast(self.device.type, enabled=False):
            return self._decoder.logits(x)[:, : self.vocabulary].float()


def _exclude_masked(mask: AttentionMask, masked_keys: Tensor | None, length: int, end: int) -> AttentionMask:
    """``mask`` for ``length`` new tokens, which also excludes ``masked_keys`` (1, room)."""
    if masked_keys is None:
        return mask
    allowed = ~masked_keys[:, None, :end]  # (1, 1, end)
    if mask.causal:
        allowed = allowed & torch.ones(length, end, dtype=torch.bool, device=allowed.device).tril()
    return AttentionMask(allowed=allowed)


def _towers(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The text tower and the multimodal decoder. Raises GenerationError if they cannot be cached."""
    text, decoder = getattr(model, "text", None), getattr(model, "text_decoder", None)
    if not isinstance(text, nn.Module) or not isinstance(decoder, nn.Module):
        raise GenerationError(f"{type(model).__name__} has no caption decoder; choose a CoCa architecture.")
    if getattr(text, "token_embedding", None) is None:
        raise GenerationError(
            f"the text tower {type(text).__name__} is not causal, so keys and values cannot be cached; choose a CoCa "
            "with open_clip's own text tower, such as coca_ViT-B-32 or coca_ViT-L-14."
        )
    if getattr(text, "attn_mask", None) is None:
        raise GenerationError("the text tower has no causal mask; captioning needs an architecture with one.")
    return text, decoder
