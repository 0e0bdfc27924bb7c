"""Score processors that prevent early endings and repetition.

The repetition penalty is CTRL's (Keskar et al. 2019, arXiv 1909.05858); as usual, negative scores are multiplied, and
positive scores divided. Suppressed tokens get minus infinity.

Legend: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.spec.generation import GenerationSettings


@dataclass(frozen=True)
class Processors:
    """The score processors for given settings. Prefixes include the start token, to which penalties also apply."""

    enders: tuple[int, ...]  # tokens that end a caption
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0

    @classmethod
    def of(cls, settings: GenerationSettings, enders: tuple[int, ...]) -> Processors:
        return cls(enders, settings.min_tokens, settings.repetition_penalty, settings.no_repeat_ngram)

    def idle(self, prefixes: Sequence[Sequence[int]]) -> bool:
        """Whether no score would change."""
        long_enough = all(len(prefix) > self.min_tokens for prefix in prefixes)
        return long_enough and self.repetition_penalty == 1.0 and not self.no_repeat_ngram

    def __call__(self, scores: Tensor, prefixes: Sequence[Sequence[int]]) -> Tensor:
        """Processed scores (R, V); ``scores`` is not modified."""
        if self.idle(prefixes):
            return scores
        scores = scores.clone()
        if self.repetition_penalty != 1.0:
            penalise_repetition(scores, prefixes, self.repetition_penalty)
        rows, tokens = [], []
        for row, prefix in enumerate(prefixes):
            banned = repeating_tokens(prefix, self.no_repeat_ngram) if self.no_repeat_ngram else set()
            if len(prefix) <= self.min_tokens:  # the start token is not counted
                banned = banned | set(self.enders)
            if len(banned) >= scores.shape[1]:  # not all tokens may be banned
                banned = banned - {self.enders[0]}
            rows += [row] * len(banned)
            tokens += sorted(banned)
        if rows:
            scores[torch.tensor(rows, device=scores.device), torch.tensor(tokens, device=scores.device)] = -torch.inf
        return scores


def penalise_repetition(scores: Tensor, prefixes: Sequence[Sequence[int]], penalty: float) -> None:
    """Make the tokens of each row's prefix less likely, in place."""
    longest = max(len(prefix) for prefix in prefixes)
    seen = torch.tensor([[*p, *[p[0]] * (longest - len(p))] for p in prefixes], device=scores.device)  # (R, longest)
    values = scores.gather(1, seen)
    scores.scatter_(1, seen, torch.where(values < 0, values * penalty, values / penalty))


def repeating_tokens(prefix: Sequence[int], size: int) -> set[int]:
    """The tokens that would repeat an n-gram of ``size`` tokens in ``prefix``."""
    tail = list(prefix[len(prefix) - size + 1 :]) if size > 1 else []
    return {
        prefix[start + size - 1]
        for start in range(len(prefix) - size + 1)
        if list(prefix[start : start + size - 1]) == tail
    }
