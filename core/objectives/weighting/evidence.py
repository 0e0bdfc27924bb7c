"""Evidence that a caption belongs to its picture, from what the network has learnt of all pairs.

Flow: features of all pairs -> **evidence** -> ``core.objectives.weighting.belief`` in training,
``core.evaluation.noise`` afterwards.

Four measures, each turned into a rank so that none outweighs another:

- *pair*: log-probability of the caption given the picture among all captions, and the reverse;
- *neighbours*: whether the most similar pictures have similar captions, and the reverse. The pair itself is left out,
  so that memorised pairs do not count;
- *overlap*: the probability that a picture and a caption, each asked for a similar pair, name the same one;
- *agreement*: the cosine of these two distributions.

Legend: N pairs, R pairs that they are compared with, D embed, K neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.data.transfer import sent

NEIGHBOURS = 20
SHARPNESS = 40.0  # of the distributions over similar pairs
REFERENCE = 16384  # pairs that each is compared with, at most
BLOCK = 4096


@torch.no_grad()
def evidence(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Evidence (N,) of the pairs of unit vectors ``images`` and ``texts`` (N, D), from 0 (least likely to match) to 1.

    ``scale`` is the network's logit scale. Beyond `REFERENCE` pairs, each is compared with an even sample of them.
    """
    N = len(images)
    if N < 3:
        return torch.ones(N, device=images.device)
    images, texts = images.float(), texts.float()
    reference = torch.arange(N) if N <= REFERENCE else torch.linspace(0, N - 1, REFERENCE).long()
    reference = sent(reference, images.device)
    parts = []
    for start in range(0, N, BLOCK):
        rows = torch.arange(start, min(start + BLOCK, N), device=images.device)
        parts.append(torch.stack(_measures(images, texts, rows, reference, scale)))
    pair, by_image, by_text, overlap, agreement = torch.cat(parts, dim=1)  # (N,) each
    measures = torch.stack([pair, _standard(by_image) + _standard(by_text), overlap, agreement])  # (4, N)
    return ranks(measures).mean(dim=0)


def ranks(values: Tensor) -> Tensor:
    """Rank of each of ``values`` (..., N) within its row, evenly spaced from 0 for the smallest to 1: (..., N)."""
    return values.argsort(dim=-1, stable=True).argsort(dim=-1).float() / max(1, values.shape[-1] - 1)


def _measures(images: Tensor, texts: Tensor, rows: Tensor, reference: Tensor, scale: Tensor | float) -> list[Tensor]:
    """Each measure of ``rows`` against the pairs ``reference``."""
    itself = rows[:, None] == reference[None]  # a pair is not its own evidence
    return measures_of(images[rows], texts[rows], images[reference], texts[reference], itself, scale)


def measures_of(
    image: Tensor, text: Tensor, images: Tensor, texts: Tensor, left_out: Tensor, scale: Tensor | float
) -> list[Tensor]:
    """Each measure of the pairs ``image`` and ``text`` (n, D) against R others ``images`` and ``texts`` (R, D).

    More is better; neighbours by either modality; (n,) each. ``left_out`` (n, R): what is not compared.
    """
    others = left_out.to(image.dtype) * -1e4
    own = scale * (image * text).sum(dim=1)
    to_text, to_image = scale * image @ texts.T, scale * text @ images.T
    pair = 2 * own - torch.logaddexp(own, (to_text + others).logsumexp(1))
    pair = pair - torch.logaddexp(own, (to_image + others).logsumexp(1))
    like_image = image @ images.T + others
    like_text = text @ texts.T + others
    neighbours = _neighbours(like_image, like_text), _neighbours(like_text, like_image)
    by_image, by_text = (SHARPNESS * like_image).softmax(1), (SHARPNESS * like_text).softmax(1)
    product = (by_image * by_text).sum(dim=1)
    agreement = torch.nn.functional.cosine_similarity(by_image, by_text)
    return [pair, *neighbours, product, agreement]


def _neighbours(nearest: Tensor, judged: Tensor) -> Tensor:
    """How alike the nearest by one modality are in the other. (n,)"""
    alike, which = nearest.topk(min(NEIGHBOURS, nearest.shape[1] - 1), dim=1)
    return (judged.gather(1, which).clamp_min(-1) * (20 * alike).softmax(dim=1)).sum(dim=1)


def _standard(values: Tensor) -> Tensor:
    """``values`` (N,) of all pairs in standard deviations from their mean."""
    return (values - values.mean()) / values.std().clamp_min(1e-6)
