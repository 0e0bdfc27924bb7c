"""Evidence that a caption belongs to its image, from what the network has learnt of all pairs.

Flow: features of all pairs -> **evidence** -> ``core.evaluation.noise``.

Four measures, each turned into a rank so that none outweighs another (a rank that rounding cannot change by a place:
two that are nearly equal have nearly the same one):

- *pair*: log-probability of the caption given the image among all captions, and the reverse;
- *neighbours*: whether the most similar images have similar captions, and the reverse. The pair itself is left out,
  so that memorised pairs do not count;
- *overlap*: the probability that an image and a caption, each asked for a similar pair, name the same one;
- *agreement*: the cosine of these two distributions.

Legend: N pairs, R pairs that they are compared with, D embed, K neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.ranks.transfer import to_device

NEIGHBOURS = 20
SHARPNESS = 40.0  # of the distributions over similar pairs
REFERENCE = 16384  # pairs that each is compared with, at most
BLOCK = 4096
STEP = 0.1  # of a rank, in standard deviations of what is ranked


@torch.no_grad()
def evidence(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Evidence (N,) of the pairs of unit vectors ``images`` and ``texts`` (N, D), from 0 (least likely to match) to 1.

    ``scale`` is the network's logit scale. Beyond `REFERENCE` pairs, each is compared with an even sample of them.
    """
    N = len(images)
    if N < 3:
        return torch.ones(N, device=images.device)
    device = images.device
    images, texts = images.float(), texts.float()
    reference = torch.arange(N) if N <= REFERENCE else torch.linspace(0, N - 1, REFERENCE).long()
    reference = to_device(reference, images.device)
    others = (images, texts) if N <= REFERENCE else (images[reference], texts[reference])
    parts = []
    for start in range(0, N, BLOCK):
        rows = torch.arange(start, min(start + BLOCK, N), device=images.device)
        itself = rows[:, None] == reference[None]  # a pair is not its own evidence
        judged = (images, texts) if len(rows) == N else (images[rows], texts[rows])
        parts.append(torch.stack(_measures(*judged, *others, itself, scale)))
    pair, by_image, by_text, overlap, agreement = _spaced(torch.cat(parts, dim=1))  # (N,) each
    measures = torch.stack([pair, _standard(by_image) + _standard(by_text), overlap, agreement])  # (4, N)
    return ranks(measures).mean(dim=0).float().to(device)


def in_double(values: Tensor) -> Tensor:
    """``values`` in float64; on the CPU where their device has none (Apple's GPUs)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _spaced(measures: Tensor) -> Tensor:
    """The five measures (5, n) such that none has most of its values close together: (5, n) float64.

    Overlap and agreement crowd near 0 and near 1, and become log odds; their order stays.
    """
    wide = in_double(measures)
    return torch.cat([wide[:3], wide[3:].logit(eps=1e-6)])


def ranks(values: Tensor) -> Tensor:
    """Rank of each of ``values`` (..., N) within its row, from 0 for the smallest to 1: (..., N) float64.

    Equal ones share the mean of their places, and those within a `STEP` of each other nearly do.
    """
    return (below(values, values) - 0.5) / max(1, values.shape[-1] - 1)  # each is half below itself


def below(values: Tensor, others: Tensor) -> Tensor:
    """How many of ``others`` (..., R) are below each of ``values`` (..., n): (..., n) float64.

    One that is more than a `STEP` above counts 0, one more than a step below 1, and in between it rises evenly, so that
    the count is continuous: the empirical distribution, smoothed by a uniform kernel (Azzalini 1981). Those that are
    infinite are not there.
    """
    values, others = in_double(values).contiguous(), in_double(others).sort(dim=-1).values
    there = others.isfinite()
    finite = torch.where(there, others, 0.0)
    count = there.sum(dim=-1, keepdim=True).clamp_min(1)
    mean = finite.sum(dim=-1, keepdim=True) / count
    spread = (torch.where(there, finite - mean, 0.0).square().sum(dim=-1, keepdim=True) / count).sqrt()
    step = torch.maximum(STEP * spread, 1e-6 * finite.abs().amax(dim=-1, keepdim=True)).clamp_min(1e-30)
    first = torch.searchsorted(others, values - step)
    last = torch.searchsorted(others, values + step, right=True)
    sums = F.pad(finite.cumsum(dim=-1), (1, 0))
    near, sum_near = last - first, sums.gather(-1, last) - sums.gather(-1, first)
    return first + near / 2 + (near * values - sum_near) / (2 * step)


def _measures(
    image: Tensor, text: Tensor, images: Tensor, texts: Tensor, left_out: Tensor, scale: Tensor | float
) -> list[Tensor]:
    """Each measure of the pairs ``image`` and ``text`` (n, D) against R others ``images`` and ``texts`` (R, D).

    More is better; (n,) each, neighbours by either modality. ``left_out`` (n, R): what is not compared.
    """
    others = left_out.to(image.dtype) * -1e4
    like_image = (image @ images.T).add_(others)
    like_text = (text @ texts.T).add_(others)
    neighbours = _neighbours(like_image, like_text), _neighbours(like_text, like_image)
    by_image, by_text = (like.mul_(SHARPNESS).softmax(1) for like in (like_image, like_text))
    overlap = torch.linalg.vecdot(by_image, by_text)
    lengths = torch.linalg.vector_norm(by_image, dim=1) * torch.linalg.vector_norm(by_text, dim=1)
    own = scale * (image * text).sum(dim=1)
    to_text, to_image = _other_logits(image, text, images, texts, others, scale)
    pair = -F.softplus(to_text - own) - F.softplus(to_image - own)  # log p = -log(1 + exp(others - own))
    return [pair, *neighbours, overlap, overlap / lengths]


def _other_logits(
    image: Tensor, text: Tensor, images: Tensor, texts: Tensor, others: Tensor, scale: Tensor | float
) -> tuple[Tensor, Tensor]:
    """The log of the summed exponentials of all logits but a pair's own: to the captions, to the images. (n,) each"""
    logits = (scale * image @ texts.T).add_(others)
    if image is images and text is texts:
        return logits.logsumexp(1), logits.logsumexp(0)
    return logits.logsumexp(1), (scale * text @ images.T).add_(others).logsumexp(1)


def _neighbours(nearest: Tensor, judged: Tensor) -> Tensor:
    """How alike the nearest by one modality are in the other. (n,)"""
    alike, which = nearest.topk(min(NEIGHBOURS, nearest.shape[1] - 1), dim=1)
    return (judged.gather(1, which).clamp_min(-1) * (20 * alike).softmax(dim=1)).sum(dim=1)


def _standard(values: Tensor) -> Tensor:
    """``values`` (N,) of all pairs in standard deviations from their mean."""
    return (values - values.mean()) / values.std().clamp_min(1e-6)
