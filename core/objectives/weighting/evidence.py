"""Evidence that a caption matches its image, from the features of all pairs.

Flow: features of all pairs -> **evidence** -> ``core.evaluation.noise``.

Four measures, each converted to a rank so that they have equal weight (ranks are smoothed, so that rounding errors
have little effect):

- *pair*: log-probability of the caption given the image among all captions, and the reverse;
- *neighbours*: whether the most similar images have similar captions, and the reverse. The pair itself is left out,
  so that memorised pairs do not count;
- *overlap*: the probability that the image and the caption, each drawing a similar pair, draw the same pair;
- *agreement*: the cosine of these two distributions over pairs.

Legend: N pairs, R reference pairs, D embed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.ranks.transfer import to_device

NEIGHBOURS = 20
SHARPNESS = 40.0  # inverse temperature of the distributions over similar pairs
NEIGHBOUR_SHARPNESS = 20.0  # inverse temperature of the weights of neighbours
MAX_REFERENCE_PAIRS = 16384
BLOCK_ROWS = 4096
SMOOTHING = 0.1  # smoothing width of a rank, in standard deviations of the values


@torch.no_grad()
def evidence(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Evidence (N,) of the pairs of unit vectors ``images`` and ``texts`` (N, D), from 0 (least likely to match) to 1.

    ``scale`` is the network's logit scale. Beyond `MAX_REFERENCE_PAIRS`, an evenly spaced sample is the reference.
    """
    N = len(images)
    if N < 3:
        return torch.ones(N, device=images.device)
    device = images.device
    images, texts = images.float(), texts.float()
    reference = torch.arange(N) if N <= MAX_REFERENCE_PAIRS else torch.linspace(0, N - 1, MAX_REFERENCE_PAIRS).long()
    reference = to_device(reference, images.device)
    reference_pairs = (images, texts) if N <= MAX_REFERENCE_PAIRS else (images[reference], texts[reference])
    parts = []
    for start in range(0, N, BLOCK_ROWS):
        rows = torch.arange(start, min(start + BLOCK_ROWS, N), device=images.device)
        itself = rows[:, None] == reference[None]  # a pair is no evidence for itself
        # If one block has all pairs, the same objects are passed as pairs and reference, which `_other_logits` detects.
        pairs_of_block = (images, texts) if len(rows) == N else (images[rows], texts[rows])
        parts.append(torch.stack(_measures(*pairs_of_block, *reference_pairs, itself, scale)))
    pair, by_image, by_text, overlap, agreement = _spread_values(torch.cat(parts, dim=1))  # (N,) each
    measures = torch.stack([pair, _standard(by_image) + _standard(by_text), overlap, agreement])  # (4, N)
    return ranks(measures).mean(dim=0).float().to(device)


def to_double(values: Tensor) -> Tensor:
    """``values`` in float64; moved to the CPU if their device has no float64 (Apple's GPUs)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _spread_values(measures: Tensor) -> Tensor:
    """The five measures (5, n) as float64, with overlap and agreement as log odds.

    Overlap and agreement cluster near 0 and 1; log odds spread these values, and preserve their order.
    """
    wide = to_double(measures)
    return torch.cat([wide[:3], wide[3:].logit(eps=1e-6)])


def ranks(values: Tensor) -> Tensor:
    """The rank of each of ``values`` (..., N) in its row, from 0 for the smallest to 1; (..., N) float64.

    Equal values share their mean rank, and values within a `SMOOTHING` of each other have nearly equal ranks.
    """
    return (count_below(values, values) - 0.5) / max(1, values.shape[-1] - 1)  # each value counts itself as one half


def count_below(values: Tensor, reference: Tensor) -> Tensor:
    """The number of ``reference`` values (..., R) below each of ``values`` (..., n): (..., n) float64.

    A reference value counts 1 if it is more than `SMOOTHING` below, 0 if it is more than `SMOOTHING` above, and
    linearly in between: the empirical distribution, smoothed with a uniform kernel (Azzalini 1981). Infinite reference
    values do not count.
    """
    values, reference = to_double(values).contiguous(), to_double(reference).sort(dim=-1).values
    finite_mask = reference.isfinite()
    finite = torch.where(finite_mask, reference, 0.0)
    count = finite_mask.sum(dim=-1, keepdim=True).clamp_min(1)
    mean = finite.sum(dim=-1, keepdim=True) / count
    spread = (torch.where(finite_mask, finite - mean, 0.0).square().sum(dim=-1, keepdim=True) / count).sqrt()
    step = torch.maximum(SMOOTHING * spread, 1e-6 * finite.abs().amax(dim=-1, keepdim=True)).clamp_min(1e-30)
    first = torch.searchsorted(reference, values - step)
    end = torch.searchsorted(reference, values + step, right=True)
    sums = F.pad(finite.cumsum(dim=-1), (1, 0))
    near, sum_near = end - first, sums.gather(-1, end) - sums.gather(-1, first)  # count and sum within a step
    return first + near / 2 + (near * values - sum_near) / (2 * step)


def _measures(
    image: Tensor, text: Tensor, images: Tensor, texts: Tensor, left_out: Tensor, scale: Tensor | float
) -> list[Tensor]:
    """The measures of the pairs ``image`` and ``text`` (n, D) against the reference ``images`` and ``texts`` (R, D).

    (n,) each; higher is better. There is one measure of neighbours per modality. ``left_out`` (n, R): comparisons to
    exclude.
    """
    exclusion = left_out.to(image.dtype) * -1e4
    image_cosines = (image @ images.T).add_(exclusion)
    text_cosines = (text @ texts.T).add_(exclusion)
    neighbours = _neighbours(image_cosines, text_cosines), _neighbours(text_cosines, image_cosines)
    by_image, by_text = (cosines.mul_(SHARPNESS).softmax(1) for cosines in (image_cosines, text_cosines))
    overlap = torch.linalg.vecdot(by_image, by_text)
    lengths = torch.linalg.vector_norm(by_image, dim=1) * torch.linalg.vector_norm(by_text, dim=1)
    own_logit = scale * (image * text).sum(dim=1)
    to_text, to_image = _other_logits(image, text, images, texts, exclusion, scale)
    pair = -F.softplus(to_text - own_logit) - F.softplus(to_image - own_logit)  # log p = -log(1 + exp(others - own))
    return [pair, *neighbours, overlap, overlap / lengths]


def _other_logits(
    image: Tensor, text: Tensor, images: Tensor, texts: Tensor, exclusion: Tensor, scale: Tensor | float
) -> tuple[Tensor, Tensor]:
    """The logsumexp of all logits except the pair's own, over captions and over images; (n,) each."""
    logits = (scale * image @ texts.T).add_(exclusion)
    if image is images and text is texts:  # ``logits`` has all images, so its columns give the second result
        return logits.logsumexp(1), logits.logsumexp(0)
    return logits.logsumexp(1), (scale * text @ images.T).add_(exclusion).logsumexp(1)


def _neighbours(cosines: Tensor, other_modality: Tensor) -> Tensor:
    """The mean cosine in the ``other_modality`` (n, R) of each pair's nearest neighbours by ``cosines`` (n, R)."""
    similarity, indices = cosines.topk(min(NEIGHBOURS, cosines.shape[1] - 1), dim=1)
    weights = (NEIGHBOUR_SHARPNESS * similarity).softmax(dim=1)
    return (other_modality.gather(1, indices).clamp_min(-1) * weights).sum(dim=1)


def _standard(values: Tensor) -> Tensor:
    """Standardised ``values`` (N,)."""
    return (values - values.mean()) / values.std().clamp_min(1e-6)
