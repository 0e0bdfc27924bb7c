"""Captions a batch of images: ``generate`` returns all captions, ``caption_steps`` reports progress after each token.

Legend: B images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from core.inference.generation import beams, independent
from core.inference.generation.caption import Caption, Progress, SpecialTokens
from core.inference.generation.coca import CocaDecoder
from core.inference.generation.decoding import TokenDecoder
from core.spec.generation import GenerationError, GenerationSettings


def generate(
    model: nn.Module | TokenDecoder,
    images: Tensor,
    settings: GenerationSettings,
    *,
    prompt: Sequence[int] = (),
    ids: SpecialTokens | None = None,
) -> list[list[Caption]]:
    """Captions of ``images`` (B, 3, height, width; normalised for the model), best first.

    ``model`` is an open_clip CoCa, or a ``CocaDecoder`` for it, which saves some milliseconds per call. Under autocast,
    the text side runs in autocast's precision, otherwise in the model's precision. ``prompt``: the tokens of
    ``settings.prompt``, without the start token. ``ids`` defaults to CLIP's tokens and the model's padding. Beam search
    returns distinct captions, so there may be fewer than requested. Raises GenerationError for an incompatible model or
    incompatible settings.
    """
    captions: dict[int, Sequence[Caption]] = {}
    for progress in caption_steps(model, images, settings, prompt=prompt, ids=ids):
        captions.update(progress.captions)
    return [list(captions[index]) for index in range(len(images))]


def caption_steps(
    model: nn.Module | TokenDecoder,
    images: Tensor,
    settings: GenerationSettings,
    *,
    prompt: Sequence[int] = (),
    ids: SpecialTokens | None = None,
) -> Iterator[Progress]:
    """Generate captions one token at a time; each step contains the captions that became final. See `generate`.

    Closing the iterator cancels the search and frees the caches.
    """
    ids = ids or SpecialTokens(pad=_pad_id(model))
    if not len(images):
        return iter(())
    decoder: TokenDecoder = CocaDecoder(model, _autocast_dtype(images)) if isinstance(model, nn.Module) else model
    ids.check(decoder.vocabulary)
    prefix = (ids.start, *prompt)
    _check(decoder, prefix, settings)
    search = beams.search if settings.search == "beam" else independent.search
    return search(decoder, images, prefix, settings, ids)


def _check(decoder: TokenDecoder, prefix: Sequence[int], settings: GenerationSettings) -> None:
    room = decoder.context - 2  # the start and the end token
    if settings.max_tokens > room:
        raise GenerationError(
            f"max_tokens {settings.max_tokens} exceeds the model's context; set it to {room} or less."
        )
    if len(prefix) > settings.max_tokens:
        raise GenerationError(
            f"the prompt has {len(prefix) - 1} tokens, but a caption has at most {settings.max_tokens}; "
            f"shorten the prompt, or raise max_tokens."
        )
    unknown = [token for token in prefix if not 0 <= token < decoder.vocabulary]
    if unknown:
        raise GenerationError(f"the prompt's token {unknown[0]} is outside the vocabulary of {decoder.vocabulary}.")


def _pad_id(model: nn.Module | TokenDecoder) -> int:
    pad = getattr(model, "pad_id", 0)
    return pad if isinstance(pad, int) else 0


def _autocast_dtype(images: Tensor) -> torch.dtype | None:
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
