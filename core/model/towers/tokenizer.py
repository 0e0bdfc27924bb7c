"""Captions to token ids and back, independent of the weights, for use in loader processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from open_clip.model import CLIPTextCfg
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from core.model.errors import ModelError
from core.model.towers.downloading import downloaded_tokenizer
from core.spec.reading import excerpt


class Tokenizer:
    """The tokenizer of an architecture's ``text_cfg``, built on first use. Picklable.

    A tokenizer of transformers is loaded from downloaded files, without running code in them.
    """

    def __init__(self, text_cfg: Mapping[str, Any], context_length: int) -> None:
        self._text_cfg, self._context_length = dict(text_cfg), context_length
        self._tokenizer: SimpleTokenizer | HFTokenizer | None = None

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[dict[str, Any], int]]:
        return Tokenizer, (self._text_cfg, self._context_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids of captions, truncated and padded: (N, context) int64. Raises ModelError like ``open_clip``."""
        tokens: Tensor = self.open_clip()(list(texts))
        vocabulary = self._text_cfg.get("vocab_size", CLIPTextCfg.vocab_size)
        if len(tokens) and int(tokens.max()) >= vocabulary and not self._text_cfg.get("hf_model_name"):
            raise ModelError(
                f"text_cfg.vocab_size is {vocabulary}, which is too small for the tokenizer; choose another model."
            )
        return tokens.long()

    def open_clip(self) -> SimpleTokenizer | HFTokenizer:
        """open_clip's tokenizer. Raises ModelError if its files or packages are missing."""
        if self._tokenizer is None:
            self._tokenizer = _build(self._text_cfg, self._context_length)
        return self._tokenizer


def _build(text_cfg: dict[str, Any], context_length: int) -> SimpleTokenizer | HFTokenizer:
    name = text_cfg.get("hf_tokenizer_name")
    options = text_cfg.get("tokenizer_kwargs") or {}
    if not name:
        return SimpleTokenizer(context_length=context_length, **options) if options else _clip_tokenizer(context_length)
    folder = downloaded_tokenizer(name)  # a name instead of a path could match a local folder or contact the hub
    try:
        return HFTokenizer(
            str(folder),
            context_length=context_length,
            tokenizer_mode=text_cfg.get("tokenizer_mode"),
            **options,
            trust_remote_code=False,
            local_files_only=True,
        )
    except ImportError as error:
        raise ModelError(f"the tokenizer {name} needs transformers; run: pip install transformers") from error
    except Exception as error:  # transformers raises many types of errors
        raise ModelError(f"the tokenizer {name} in {folder} cannot be used: {excerpt(str(error))}.") from error


@cache
def _clip_tokenizer(context_length: int) -> SimpleTokenizer:
    """CLIP's tokenizer; shared by all models of a process, as parsing its 49,000 merges takes a quarter of a second."""
    return SimpleTokenizer(context_length=context_length)
