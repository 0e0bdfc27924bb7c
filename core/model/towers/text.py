"""Features of captions at each level of open_clip's text towers.

Flow: ``core.model.towers.towers.Towers.encode_text`` calls ``TextTower.encode``. Captions are trimmed to the longest
caption of the batch; results equal open_clip's for captions padded to the full context.

Legend: B batch, D embed, T tokens, L sequence (T, or T + 1 with a class token), Wt width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.hf_model import ClsPooler, HFTextEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.towers.transformer import AttentionMask, ResidualBlock, run_blocks


@dataclass(frozen=True)
class TextFeatures:
    """The text tower's features of a batch of captions."""

    pooled: Tensor  # (B, D) projected, not normalised
    before_projection: Tensor  # (B, Wt) the pooled token after the final norm
    pooled_position: Tensor  # (B,) int64, position of the pooled token
    padding: Tensor  # (B, L) bool, True where a token is padding
    tokens: Tensor | None = None  # (B, L, Wt) after the final norm, if requested
    words: Tensor | None = None  # (B, T, Wt) states of the token ids as input for CoCa's decoder, if requested

    def rows(self, index: Tensor) -> TextFeatures:
        """The captions at ``index`` (N,)."""
        return self.map(lambda values: values[index])

    def map(self, change: Callable[[Tensor], Tensor]) -> TextFeatures:
        """A copy with ``change`` applied to every tensor."""
        return TextFeatures(
            change(self.pooled),
            change(self.before_projection),
            change(self.pooled_position),
            change(self.padding),
            None if self.tokens is None else change(self.tokens),
            None if self.words is None else change(self.words),
        )


class TextTower:
    """Runs the text tower of ``clip``, whose layers are attributes of ``clip`` (CLIP) or of ``clip.text`` (others)."""

    def __init__(self, clip: Any, text_cfg: dict[str, Any]) -> None:
        self._tower: Any = getattr(clip, "text", clip)
        self._is_hugging_face = isinstance(self._tower, HFTextEncoder)
        self.context_length = int(text_cfg.get("context_length", 77))
        if self._is_hugging_face:
            config = self._tower.config
            self.pad_id, self.width = int(config.pad_token_id or 0), int(config.hidden_size)
            self.vocabulary = int(config.vocab_size)
            return
        tower = self._tower
        self.pad_id = int(getattr(tower, "pad_id", text_cfg.get("pad_id", 0)))
        self.width = int(tower.transformer.width)
        self.vocabulary = int(tower.token_embedding.num_embeddings)
        self._pool: str = getattr(tower, "pool_type", None) or tower.text_pool_type
        self._eos_id: int = tower.eos_id if hasattr(tower, "eos_id") else tower.text_eos_id
        self._has_class_token = getattr(tower, "cls_emb", None) is not None
        self._causal = tower.attn_mask is not None
        self._masks_padding = self._has_class_token or getattr(tower, "use_pad_mask", False)
        # These towers attend to padding, so captions cannot be trimmed.
        self._needs_padding = self._pool == "last" or not (self._causal or self._masks_padding)

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks in order; empty for Hugging Face encoders without a list of layers."""
        if not self._is_hugging_face:
            return list(self._tower.transformer.resblocks)
        layers = getattr(getattr(self._tower.transformer, "encoder", None), "layer", ())
        return [layer for layer in layers if isinstance(layer, nn.Module)]

    @property
    def causal(self) -> bool:
        """Whether tokens attend only to earlier tokens."""
        return not self._is_hugging_face and self._causal

    def encode(
        self, tokens: Tensor, all_tokens: bool, hidden: Tensor | None = None, mask_token: Tensor | None = None
    ) -> TextFeatures:
        """Features of ``tokens`` (B, T); ``hidden`` tokens (B, T) get the embedding ``mask_token`` (1, 1, Wt)."""
        if self._is_hugging_face:
            return self._encode_hugging_face(tokens, hidden, mask_token)
        length = tokens.shape[1]
        tokens = self._pad(tokens)
        position = self._pooled_position(tokens)
        mask, padding = self._attention_mask(tokens, position)
        blocks = self._tower.transformer.resblocks
        embedded = self._embed(tokens, hidden, mask_token)
        states: Tensor | None = None
        words: Tensor | None = None
        if all_tokens or not isinstance(blocks[-1], ResidualBlock):
            x = run_blocks(blocks, embedded, mask)
            states = self._tower.ln_final(x)
            words = x[:, :-1] if self._has_class_token else states  # open_clip normalises only the class token
            pooled = states[torch.arange(len(position), device=position.device), position]
        else:
            x = run_blocks(blocks[:-1], embedded, mask)
            pooled = self._tower.ln_final(blocks[-1](x, mask=mask, position=position)[0])
        if not all_tokens or words is None:
            return TextFeatures(self._project(pooled), pooled, position, padding)
        return TextFeatures(self._project(pooled), pooled, position, padding, states, words[:, :length])

    def _pad(self, tokens: Tensor) -> Tensor:
        """``tokens`` (B, T) with the padding that affects the result, if any.

        CoCa's published mask is shifted by one: unless the caption fills the context, the class token attends to the
        first padding token instead of to itself. One column of padding reproduces this behaviour.
        """
        missing = self.context_length - tokens.shape[1]
        is_shifted = self._has_class_token and not self._tower.correct_cls_mask
        columns = missing if self._needs_padding else min(missing, 1) if is_shifted else 0
        return F.pad(tokens, (0, columns), value=self.pad_id) if columns > 0 else tokens

    def _pooled_position(self, tokens: Tensor) -> Tensor:
        """The position of the pooled token in each sequence, (B,)."""
        batch, length = tokens.shape
        if self._has_class_token:
            return torch.full((batch,), length, device=tokens.device)
        if self._pool == "argmax":  # the end token has the highest id
            return tokens.argmax(dim=-1)
        if self._pool == "eos":
            return (tokens == self._eos_id).int().argmax(dim=-1)
        return torch.full((batch,), 0 if self._pool == "first" else length - 1, device=tokens.device)

    def _attention_mask(self, tokens: Tensor, position: Tensor) -> tuple[AttentionMask, Tensor]:
        """Which tokens each token may attend to; and which tokens are padding, (B, L)."""
        padding = tokens == self.pad_id
        if self._has_class_token:
            padding = F.pad(padding, (0, 1), value=False)
        elif self._pool in ("argmax", "eos"):  # the padding id may also be the id of a token
            padding = torch.arange(tokens.shape[1], device=tokens.device) > position[:, None]
        if not self._masks_padding:
            return AttentionMask(causal=self._causal), padding
        valid = tokens != self.pad_id
        if self._has_class_token:
            valid = F.pad(valid, (0, 1) if self._tower.correct_cls_mask else (1, 0), value=True)
        length = valid.shape[1]
        allowed = valid[:, None, :].expand(-1, length, -1)  # (B, L, L)
        if self._causal:
            allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        return AttentionMask(allowed=allowed), padding

    def _embed(self, tokens: Tensor, hidden: Tensor | None, mask_token: Tensor | None) -> Tensor:
        """Token and position embeddings. (B, L, Wt)"""
        tower = self._tower
        x = _hide(tower.token_embedding(tokens), hidden, mask_token)
        positions = tower.positional_embedding[: tokens.shape[1]]
        if self._has_class_token:  # the class token has the last position of the full context
            x = torch.cat([x, tower.cls_emb.expand(len(x), 1, -1)], dim=1)
            positions = torch.cat([positions, tower.positional_embedding[-1:]])
        embedded: Tensor = x + positions
        return embedded

    def _project(self, pooled: Tensor) -> Tensor:
        projection = self._tower.text_projection
        if projection is None:
            return pooled
        projected: Tensor = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return projected

    def _encode_hugging_face(self, tokens: Tensor, hidden: Tensor | None, mask_token: Tensor | None) -> TextFeatures:
        tower = self._tower
        padding = tokens == self.pad_id
        mask = (~padding).long()
        if hidden is None:
            out = tower.transformer(input_ids=tokens, attention_mask=mask)
        else:
            embedded = _hide(tower.transformer.get_input_embeddings()(tokens), hidden, mask_token)
            out = tower.transformer(inputs_embeds=embedded, attention_mask=mask)
        state = tower.pooler(out, mask)
        position = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        states: Tensor = out.last_hidden_state
        skip = int(tower.pooler.cls_token_position) if isinstance(tower.pooler, ClsPooler) else None
        words = states if skip is None else torch.cat([states[:, :skip], states[:, skip + 1 :]], dim=1)
        return TextFeatures(tower.proj(state), state, position, padding, states, words)


def _hide(embedded: Tensor, hidden: Tensor | None, mask_token: Tensor | None) -> Tensor:
    """``embedded`` (B, L, Wt) with ``mask_token`` (1, 1, Wt) where ``hidden`` (B, T) is True; T is at most L."""
    if hidden is None or mask_token is None:
        return embedded
    hidden = F.pad(hidden, (0, embedded.shape[1] - hidden.shape[1]), value=False)
    return torch.where(hidden[..., None], mask_token.to(embedded.dtype), embedded)
