"""What a search gives: captions with their scores, and how far it is.

Legend: B images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.spec.generation import GenerationError


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that mark a caption's start, its end and padding; the defaults are CLIP's byte-pair tokenizer's.

    Padding ends a caption like the end token does, as in open_clip: models are not trained to go on after it.
    """

    start: int = 49406
    end: int = 49407
    pad: int = 0

    @property
    def enders(self) -> tuple[int, ...]:
        return (self.end,) if self.pad in (self.end, self.start) else (self.end, self.pad)

    def check(self, vocabulary: int) -> None:
        """GenerationError unless the model knows these ids."""
        if self.start in (self.end, self.pad):
            raise GenerationError(
                f"the start token {self.start} is also the end or padding; give the tokenizer's own ids."
            )
        for name, value in (("start", self.start), ("end", self.end), ("pad", self.pad)):
            if not 0 <= value < vocabulary:
                raise GenerationError(
                    f"the {name} token {value} is outside the model's vocabulary of {vocabulary}; "
                    f"give the ids of the tokenizer that the model was trained with."
                )


@dataclass(frozen=True)
class Caption:
    """One caption of an image."""

    tokens: tuple[int, ...]  # prompt included, start and end not
    log_probability: float  # of what follows the prompt, the end token included where the model ended it; in nats
    score: float  # what the search ranked by: log-probability, penalties included, over length ** length_penalty
    ended: bool  # False: cut at max_tokens


@dataclass(frozen=True)
class Progress:
    """After each token: the longest row's tokens so far, of at most ``total``, and captions that became final."""

    done: int
    total: int
    captions: Mapping[int, Sequence[Caption]] = field(default_factory=dict)  # by image, best first


def score_of(log_probability: float, length: int, penalty: float) -> float:
    """A sum of log-probabilities over its length to the power ``penalty`` (Wu et al. 2016, arXiv 1609.08144, in its
    common short form)."""
    return log_probability / math.pow(max(length, 1), penalty)
