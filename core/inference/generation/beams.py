"""Beam search with one decoder row per beam.

Legend: R rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from core.inference.generation.caption import Caption, Progress, SpecialTokens, score_of
from core.inference.generation.decoding import TokenDecoder, check_finite
from core.inference.generation.processors import Processors
from core.model.towers.cache import stable_order
from core.spec.generation import GenerationSettings


@dataclass(frozen=True)
class _Beam:
    """A partial caption; ``total``: the score for ranking, including processors."""

    prefix: tuple[int, ...]
    log_probability: float = 0.0
    total: float = 0.0
    row: int = 0  # the decoder's row in the last step


@dataclass(frozen=True)
class _Candidate:
    """A continuation of a beam by one token."""

    beam: _Beam
    token: int
    log_probability: float
    total: float

    def extended_beam(self) -> _Beam:
        return _Beam((*self.beam.prefix, self.token), self.log_probability, self.total, self.beam.row)


@dataclass
class _ImageSearch:
    """The beams of one image and its finished captions; ``index`` is the image's position in the caller's batch."""

    index: int
    prompt_length: int  # number of tokens in the prefix
    settings: GenerationSettings
    beams: list[_Beam]
    finished: list[Caption] = field(default_factory=list)  # best first, at most ``settings.beams``

    def finish(self, prefix: tuple[int, ...], scores: _Beam | _Candidate, has_end: bool) -> None:
        score = score_of(scores.total, len(prefix) - self.prompt_length + has_end, self.settings.length_penalty)
        caption = Caption(prefix[1:], scores.log_probability, score, has_end)
        self.finished = sorted([*self.finished, caption], key=lambda c: -c.score)[: self.settings.beams]

    def is_settled(self) -> bool:
        """Whether no unfinished beam can change the result."""
        if not self.beams:
            return True
        if len(self.finished) < self.settings.beams:
            return False
        if self.settings.beam_stop == "enough":
            return True
        length = len(self.beams[0].prefix) - self.prompt_length
        # A beam's total can only decrease, but a longer caption may be divided by a larger length.
        if self.settings.beam_stop == "certain" and self.settings.length_penalty > 0:
            length = self.settings.max_tokens + 1 - self.prompt_length
        best = max(beam.total for beam in self.beams)
        return self.finished[-1].score >= score_of(best, length, self.settings.length_penalty)

    def advance(self, continuations: _Continuations, enders: Sequence[int]) -> None:
        """Extend the beams by one token; a finished search has no beams afterwards."""
        candidates = _rank(self.beams, continuations)
        self.beams = []
        for rank, candidate in enumerate(candidates):
            if candidate.token in enders:
                if rank < self.settings.beams:
                    self.finish(candidate.beam.prefix, candidate, True)
            elif len(self.beams) < self.settings.beams:
                self.beams.append(candidate.extended_beam())
        if self.beams and len(self.beams[0].prefix) > self.settings.max_tokens:
            for beam in self.beams:
                self.finish(beam.prefix, beam, False)
            self.beams = []
        elif self.is_settled():
            self.beams = []

    def best_captions(self) -> list[Caption]:
        """The best distinct captions; the same tokens may occur both ended and truncated."""
        captions: dict[tuple[int, ...], Caption] = {}
        for caption in self.finished:
            captions.setdefault(caption.tokens, caption)
        return list(captions.values())[: self.settings.captions]


@torch.inference_mode()
def search(
    decoder: TokenDecoder,
    images: Tensor,
    prefix: Sequence[int],
    settings: GenerationSettings,
    ids: SpecialTokens,
) -> Iterator[Progress]:
    """Search the most likely captions of ``images`` (B, 3, height, width) after ``prefix``; yields after each token."""
    state, logits = decoder.start(images, prefix, settings.beams, settings.max_tokens)
    searches = [
        _ImageSearch(index, len(prefix), settings, [_Beam(tuple(prefix), row=index)]) for index in range(len(images))
    ]
    prefix_of_row = [tuple(prefix)] * len(images)
    processors = Processors.of(settings, ids.enders)
    while True:
        continuations = _best_continuations(logits, prefix_of_row, settings.beams, processors)
        final = {}
        for image_search in searches:
            image_search.advance(continuations, ids.enders)
            if not image_search.beams:
                final[image_search.index] = image_search.best_captions()
        length = min(len(prefix_of_row[0]), settings.max_tokens)
        yield Progress(length, settings.max_tokens, final)
        searches = [image_search for image_search in searches if image_search.index not in final]
        if not searches:
            return
        parents, prefix_of_row = _assign_rows(searches)
        state.keep(parents)
        logits = state.step([row_prefix[-1] for row_prefix in prefix_of_row])


_Continuations = tuple[list[list[int]], list[list[float]], list[list[float]]]  # per row, best first


def _best_continuations(
    logits: Tensor, prefixes: Sequence[tuple[int, ...]], beams: int, processors: Processors
) -> _Continuations:
    """The most likely tokens of each row: tokens, log-probabilities, scores for ranking.

    Includes at least ``beams`` tokens that do not end the caption.
    """
    count = min((1 + len(processors.enders)) * beams, logits.shape[1])
    normaliser = logits.logsumexp(dim=-1, keepdim=True)  # (R, 1)
    check_finite(normaliser)
    if processors.idle(prefixes):
        values, tokens = logits.topk(count, dim=-1)  # (R, count)
        scores = values = values - normaliser
    else:
        log_probabilities = logits - normaliser
        scores, tokens = processors(log_probabilities, prefixes).topk(count, dim=-1)
        values = log_probabilities.gather(1, tokens)
    return tokens.tolist(), values.tolist(), scores.tolist()


def _rank(beams: Sequence[_Beam], continuations: _Continuations) -> list[_Candidate]:
    """All continuations of ``beams``, best first, without suppressed tokens."""
    tokens, values, scores = continuations
    candidates = [
        _Candidate(beam, token, beam.log_probability + value, beam.total + score)
        for beam in beams
        for token, value, score in zip(tokens[beam.row], values[beam.row], scores[beam.row], strict=True)
        if score > -math.inf
    ]
    return sorted(candidates, key=lambda candidate: -candidate.total)


def _assign_rows(searches: Sequence[_ImageSearch]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Assign a row to each beam, keeping most in place.

    Returns, for each new row, the old row to copy its cache from, and its prefix.
    """
    beams = [beam for image_search in searches for beam in image_search.beams]
    order = stable_order([beam.row for beam in beams])
    row_of = {index: row for row, index in enumerate(order)}
    first = 0
    for image_search in searches:
        image_search.beams = [replace(beam, row=row_of[first + i]) for i, beam in enumerate(image_search.beams)]
        first += len(image_search.beams)
    return [beams[index].row for index in order], [beams[index].prefix for index in order]
