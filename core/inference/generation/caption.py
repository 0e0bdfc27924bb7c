"""The results of a search: captions with scores, and progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.spec.generation import GenerationError


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of start, end and padding tokens, by default of CLIP's byte-pair tokenizer.

    Like in open_clip, padding also ends a caption, since models are not trained to continue after padding.
    """

    start: int = 49406
    end: int = 49407
    pad: int = 0

    @property
    def enders(self) -> tuple[int, ...]:
        return (self.end,) if self.pad in (self.end, self.start) else (self.end, self.pad)

    def check(self, vocabulary: int) -> None:
        """Raise GenerationError unless the ids are valid for a vocabulary of this size."""
        if self.start in (self.end, self.pad):
            raise GenerationError(
                f"the start token {self.start} is also the end or padding; pass the tokenizer's own ids."
            )
        for name, value in (("start", self.start), ("end", self.end), ("pad", self.pad)):
            if not 0 <= value < vocabulary:
                raise GenerationError(
                    f"the {name} token {value} is outside the model's vocabulary of {vocabulary}; "
                    f"pass the ids of the tokenizer that the model was trained with."
                )


@dataclass(frozen=True)
class Caption:
    """One caption of an image."""

    tokens: tuple[int, ...]  # with prompt, without start and end tokens
    log_probability: float  # in nats, of the tokens after the prompt, including the end token
    score: float  # for ranking: log-probability with penalties / length ** length_penalty
    ended: bool  # False: truncated at max_tokens


@dataclass(frozen=True)
class Progress:
    """Progress after a token: the length of the longest row, its maximum ``total``, and captions that became final."""

    length: int
    total: int
    captions: Mapping[int, Sequence[Caption]] = field(default_factory=dict)  # image -> captions, best first


def score_of(log_probability: float, length: int, penalty: float) -> float:
    """The log-probability / length ** ``penalty`` (Wu et al. 2016, arXiv 1609.08144, in its common short form)."""
    return log_probability / math.pow(max(length, 1), penalty)
