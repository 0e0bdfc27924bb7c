"""Captions to token ids and back, apart from the weights, so that a loader process can have it by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from core.model.errors import ModelError


class Tokenizer:
    """The tokenizer that an architecture's ``text_cfg`` names, built when it is first asked. Picklable."""

    def __init__(self, text_cfg: Mapping[str, Any], context_length: int) -> None:
        self._text_cfg, self._context_length = dict(text_cfg), context_length
        self._built: SimpleTokenizer | HFTokenizer | None = None

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[dict[str, Any], int]]:
        return Tokenizer, (self._text_cfg, self._context_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Captions as token ids, cut and padded to the context length: (N, context) int64."""
        tokens: Tensor = self.words()(list(texts))
        return tokens.long()

    def words(self) -> SimpleTokenizer | HFTokenizer:
        """open_clip's tokenizer. ModelError when what it needs is missing."""
        if self._built is None:
            self._built = _build(self._text_cfg, self._context_length)
        return self._built


def _build(text_cfg: dict[str, Any], context_length: int) -> SimpleTokenizer | HFTokenizer:
    name = text_cfg.get("hf_tokenizer_name")
    options = text_cfg.get("tokenizer_kwargs") or {}
    if not name:
        return SimpleTokenizer(context_length=context_length, **options)
    try:
        return HFTokenizer(
            name, context_length=context_length, tokenizer_mode=text_cfg.get("tokenizer_mode"), **options
        )
    except ImportError as error:
        raise ModelError(f"the tokenizer {name} needs the package transformers; pip install transformers.") from error
    except OSError as error:
        raise ModelError(
            f"the tokenizer {name} could not be downloaded; give hf_tokenizer_name in the architecture's JSON a local "
            "folder that holds it."
        ) from error
