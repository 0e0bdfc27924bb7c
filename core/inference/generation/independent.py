"""Greedy search and sampling: rows are independent, and removed when they end.

All images use the same series of uniform random numbers, which depends only on the seed, so that captions are
reproducible and do not depend on the batch.

Legend: B images, R rows, V vocabulary, C tokens that may be drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.inference.generation.caption import Caption, Progress, SpecialTokens, score_of
from core.inference.generation.decoding import TokenDecoder, check_finite
from core.inference.generation.processors import Processors
from core.model.towers.cache import stable_order
from core.spec.generation import GenerationSettings

_FIRST_TOKENS = 1024  # tokens tried first for top-p; the vocabulary is sorted only if they do not suffice


@dataclass
class _Row:
    """A partial caption."""

    image: int
    candidate: int
    prefix: list[int]
    prompt: int  # length of the initial prefix
    log_probability: float = 0.0
    ended: bool = False

    def caption(self, length_penalty: float) -> Caption:
        length = len(self.prefix) - self.prompt + self.ended
        score = score_of(self.log_probability, length, length_penalty)
        return Caption(tuple(self.prefix[1:]), self.log_probability, score, self.ended)


@dataclass
class _ImageCaptions:
    """The final captions of one image."""

    count: int
    captions: dict[int, Caption] = field(default_factory=dict)  # candidate number -> caption

    def best_first(self) -> list[Caption]:
        samples = [self.captions[candidate] for candidate in sorted(self.captions)]
        return sorted(samples, key=lambda caption: -caption.score)


@torch.inference_mode()
def search(
    decoder: TokenDecoder,
    images: Tensor,
    prefix: Sequence[int],
    settings: GenerationSettings,
    ids: SpecialTokens,
) -> Iterator[Progress]:
    """Generate greedy or sampled captions of ``images`` (B, 3, height, width); yields after each token."""
    total = settings.max_tokens
    count = settings.captions if settings.search == "sample" else 1
    state, logits = decoder.start(images, prefix, count, total)
    rows = [
        _Row(image, candidate, list(prefix), len(prefix)) for image in range(len(images)) for candidate in range(count)
    ]
    if count > 1:
        state.keep([row.image for row in rows])
        logits = logits.repeat_interleave(count, dim=0)
    per_image = [_ImageCaptions(count) for _ in images]
    processors = Processors.of(settings, ids.enders)
    noise = uniform(settings.seed, count, decoder.context) if settings.search == "sample" else None
    while True:
        normaliser = logits.logsumexp(dim=-1)  # (R,)
        check_finite(normaliser)
        tokens = _choose(logits, rows, settings, processors, noise)
        log_probabilities = logits.gather(1, tokens[:, None])[:, 0] - normaliser
        for row, token, log_probability in zip(rows, tokens.tolist(), log_probabilities.tolist(), strict=True):
            row.log_probability += log_probability
            row.ended = token in ids.enders
            if not row.ended:
                row.prefix.append(token)
        length = max(len(row.prefix) for row in rows) - 1
        alive = [i for i, row in enumerate(rows) if not row.ended and len(row.prefix) <= total]
        yield Progress(length, total, _finish(rows, alive, per_image, settings.length_penalty))
        if not alive:
            return
        if len(alive) < len(rows):
            alive = [alive[index] for index in stable_order(alive)]
            state.keep(alive)
            rows = [rows[index] for index in alive]
        logits = state.step([row.prefix[-1] for row in rows])


def _finish(
    rows: list[_Row], alive: list[int], per_image: list[_ImageCaptions], length_penalty: float
) -> dict[int, list[Caption]]:
    """Store ended captions; returns the captions of images that are now complete."""
    final = {}
    living = set(alive)
    for index, row in enumerate(rows):
        if index not in living:
            image = per_image[row.image]
            image.captions[row.candidate] = row.caption(length_penalty)
            if len(image.captions) == image.count:
                final[row.image] = image.best_first()
    return final


def _choose(
    logits: Tensor, rows: list[_Row], settings: GenerationSettings, processors: Processors, noise: Tensor | None
) -> Tensor:
    """The next token of each row, (R,)."""
    scores = processors(logits, [row.prefix for row in rows])
    if noise is None:
        return scores.argmax(dim=-1)
    candidate = torch.tensor([row.candidate for row in rows])
    position = torch.tensor([len(row.prefix) - row.prompt for row in rows])
    return sample_tokens(
        scores / settings.temperature, noise[candidate, position].to(scores.device), settings.top_k, settings.top_p
    )


def uniform(seed: int, candidates: int, positions: int) -> Tensor:
    """Random numbers in [0, 1), (candidates, positions); the first numbers do not depend on how many are drawn."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(candidates, positions, dtype=torch.float64, generator=generator)


def sample_tokens(scores: Tensor, noise: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """One token per row of ``scores`` (R, V), by inverse transform sampling at ``noise`` (R,) in [0, 1)."""
    normaliser = scores.logsumexp(dim=-1, keepdim=True)  # (R, 1)
    values, tokens = scores, None
    if 0 < top_k < scores.shape[1]:
        values, tokens = scores.topk(top_k, dim=-1)  # (R, C), most likely first
        normaliser = values.logsumexp(dim=-1, keepdim=True)
    elif top_p < 1.0:
        values, tokens = _most_likely(scores, normaliser, top_p)
    probabilities = (values - normaliser).double().exp()
    if top_p < 1.0:  # the nucleus of Holtzman et al. 2020 (arXiv 1904.09751): the fewest tokens that reach top_p
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    cdf = probabilities.cumsum(dim=-1)
    index = torch.searchsorted(cdf, noise[:, None] * cdf[:, -1:], right=True).clamp_(max=cdf.shape[1] - 1)
    return (index if tokens is None else tokens.gather(1, index))[:, 0]


def _most_likely(scores: Tensor, normaliser: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The scores and tokens, most likely first, that include a nucleus of ``top_p``."""
    values, tokens = scores.topk(min(_FIRST_TOKENS, scores.shape[1]), dim=-1)
    if bool(((values - normaliser).exp().sum(dim=-1) > top_p).all()):
        return values, tokens
    return scores.sort(dim=-1, descending=True)
