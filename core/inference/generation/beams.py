"""Beam search and diverse beam search over rows that share what they have in common.

Beams of one picture that spell the same prefix (all of them at the start; those of groups that agree) are one row of
the decoder: the same result for less work.

Diverse beam search: Vijayakumar et al. 2018 (arXiv 1610.02424). Groups choose in turn at each position; a token costs
``diversity_penalty`` for each beam of an earlier group that chose it there. As in the paper's equation 8 the
penalty steers the choice and is not carried along.

Legend: R rows, V vocabulary, G beams per group.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from core.inference.generation.caption import Caption, Progress, SpecialTokens, score_of
from core.inference.generation.decoding import TokenDecoder, check_finite
from core.inference.generation.processors import Processors
from core.model.towers.cache import settle
from core.spec.generation import GenerationSettings


@dataclass(frozen=True)
class _Beam:
    """A beginning: its tokens, its log-probability, and the sum that the search ranks by (processors included)."""

    prefix: tuple[int, ...]
    log_probability: float = 0.0
    total: float = 0.0
    row: int = 0  # of the decoder, as it stood at the last step


@dataclass(frozen=True)
class _Choice:
    """One way to go on from a beam."""

    beam: _Beam
    token: int
    log_probability: float
    total: float

    def taken(self) -> _Beam:
        return _Beam((*self.beam.prefix, self.token), self.log_probability, self.total, self.beam.row)


@dataclass
class _Group:
    """Some beams of a picture that compete with each other, and the captions that ended among them."""

    size: int
    beams: list[_Beam]
    finished: list[Caption] = field(default_factory=list)  # best first, at most ``size``

    def finish(self, caption: Caption) -> None:
        self.finished = sorted([*self.finished, caption], key=lambda c: -c.score)[: self.size]

    def is_settled(self, settings: GenerationSettings, prompt: int) -> bool:
        """Whether the beams under way no longer matter."""
        if not self.beams:
            return True
        if len(self.finished) < self.size:
            return False
        if settings.beam_stop == "enough":
            return True
        length = len(self.beams[0].prefix) - prompt
        if settings.beam_stop == "certain" and settings.length_penalty > 0:  # sums only fall; lengths may grow
            length = settings.max_tokens + 1 - prompt
        best = max(beam.total for beam in self.beams)
        return self.finished[-1].score >= score_of(best, length, settings.length_penalty)


@dataclass
class _Picture:
    """The groups of one picture; ``index`` is its position in the caller's batch."""

    index: int
    prompt: int
    groups: list[_Group]

    def beams(self) -> list[_Beam]:
        return [beam for group in self.groups for beam in group.beams]

    def best_first(self, count: int) -> list[Caption]:
        """The best different captions of all groups."""
        captions: dict[tuple[int, ...], Caption] = {}
        for caption in sorted((c for group in self.groups for c in group.finished), key=lambda c: -c.score):
            captions.setdefault(caption.tokens, caption)
        return list(captions.values())[:count]


@torch.inference_mode()
def search(
    decoder: TokenDecoder,
    images: Tensor,
    prefixes: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ids: SpecialTokens,
) -> Iterator[Progress]:
    """The likeliest captions of ``images`` (B, 3, height, width), each after its prefix; yields after each token."""
    state, logits = decoder.start(images, prefixes, settings.beams, settings.max_tokens)
    size = settings.beams // settings.beam_groups
    pictures = []
    for index, prefix in enumerate(prefixes):
        root = _Beam(tuple(prefix), row=index)
        groups = [_Group(size, [root]) for _ in range(settings.beam_groups)]
        pictures.append(_Picture(index, len(prefix), groups))
    prefix_of_row = [tuple(prefix) for prefix in prefixes]
    processors = Processors.of(settings, ids.enders)
    while True:
        ways = _ways_on(logits, prefix_of_row, settings, processors)
        final = {}
        for picture in pictures:
            _advance(picture, ways, settings, ids)
            if not picture.beams():
                final[picture.index] = picture.best_first(settings.captions)
        done = min(max(len(prefix) for prefix in prefix_of_row), settings.max_tokens)
        yield Progress(done, settings.max_tokens, final)
        pictures = [picture for picture in pictures if picture.index not in final]
        if not pictures:
            return
        parents, prefix_of_row = _share_rows(pictures)
        state.keep(parents)
        logits = state.step([prefix[-1] for prefix in prefix_of_row])


_Ways = tuple[list[list[int]], list[list[float]], list[list[float]]]  # row by row, the best first


def _ways_on(
    logits: Tensor, prefixes: Sequence[tuple[int, ...]], settings: GenerationSettings, processors: Processors
) -> _Ways:
    """The likeliest tokens of each row, enough for any group: tokens, log-probabilities, scores to rank by.

    A group of G needs G that go on besides those that end each of its beams; and the penalty can push back no more
    tokens than there are beams in the other groups.
    """
    size = settings.beams // settings.beam_groups
    others = settings.beams - size if settings.diversity_penalty else 0
    count = min((1 + len(processors.enders)) * size + others, logits.shape[1])
    whole = logits.logsumexp(dim=-1, keepdim=True)  # (R, 1)
    check_finite(whole)
    if processors.idle(prefixes):
        values, tokens = logits.topk(count, dim=-1)  # (R, count)
        scores = values = values - whole
    else:
        log_probabilities = logits - whole
        scores, tokens = processors(log_probabilities, prefixes).topk(count, dim=-1)
        values = log_probabilities.gather(1, tokens)
    return tokens.tolist(), values.tolist(), scores.tolist()


def _advance(picture: _Picture, ways: _Ways, settings: GenerationSettings, ids: SpecialTokens) -> None:
    """Every group of ``picture`` takes one more token; groups that are through have no beams afterwards."""
    chosen: Counter[int] = Counter()
    for group in picture.groups:
        if not group.beams:
            continue
        ranked = _rank(group, ways, chosen, settings.diversity_penalty)
        group.beams = []
        for rank, choice in enumerate(ranked):
            if choice.token in ids.enders:
                if rank < group.size:
                    group.finish(_caption(choice.beam.prefix, choice, True, picture.prompt, settings))
            elif len(group.beams) < group.size:
                group.beams.append(choice.taken())
                chosen[choice.token] += 1
        if group.beams and len(group.beams[0].prefix) > settings.max_tokens:
            for beam in group.beams:
                group.finish(_caption(beam.prefix, beam, False, picture.prompt, settings))
            group.beams = []
        elif group.is_settled(settings, picture.prompt):
            group.beams = []


def _rank(group: _Group, ways: _Ways, chosen: Counter[int], penalty: float) -> list[_Choice]:
    """Ways to go on from the group's beams, the best first; suppressed ones are left out."""
    tokens, values, scores = ways
    ranked = []
    for beam in group.beams:
        for token, value, score in zip(tokens[beam.row], values[beam.row], scores[beam.row], strict=True):
            if score > -math.inf:
                choice = _Choice(beam, token, beam.log_probability + value, beam.total + score)
                ranked.append((choice.total - penalty * chosen[token], choice))
    ranked.sort(key=lambda pair: -pair[0])
    return [choice for _, choice in ranked]


def _caption(
    prefix: tuple[int, ...], sums: _Beam | _Choice, ended: bool, prompt: int, settings: GenerationSettings
) -> Caption:
    score = score_of(sums.total, len(prefix) - prompt + ended, settings.length_penalty)
    return Caption(prefix[1:], sums.log_probability, score, ended)


def _share_rows(pictures: Sequence[_Picture]) -> tuple[list[int], list[tuple[int, ...]]]:
    """One row for each different prefix of a picture: the rows to come from, and the prefixes; beams learn theirs."""
    parents: dict[tuple[int, tuple[int, ...]], int] = {}
    for picture in pictures:
        for beam in picture.beams():
            parents.setdefault((picture.index, beam.prefix), beam.row)
    keys = list(parents)
    order = settle([parents[key] for key in keys])
    row_of = {keys[index]: row for row, index in enumerate(order)}
    for picture in pictures:
        for group in picture.groups:
            group.beams = [replace(beam, row=row_of[picture.index, beam.prefix]) for beam in group.beams]
    return [parents[keys[index]] for index in order], [keys[index][1] for index in order]
