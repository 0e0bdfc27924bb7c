"""Made-up outputs of networks, and the plain arithmetic that objectives are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Mix
from core.model.outputs import Output, ViewOutput

Rows = list[list[float]]


def unit(generator: torch.Generator, batch: int, width: int) -> Tensor:
    return F.normalize(torch.randn(batch, width, generator=generator), dim=-1)


def output_of(
    batch: int,
    width: int,
    seed: int,
    mixes: tuple[Mix | None, ...] = (None,),
    scale: float = 10.0,
    bias: float | None = None,
    extra: Mapping[str, Any] | None = None,
    prototypes: int = 0,
) -> Output:
    """An output with a distilled view for each of ``mixes``."""
    generator = torch.Generator().manual_seed(seed)
    views = tuple(
        ViewOutput(
            unit(generator, batch, width),
            prototypes=torch.randn(batch, prototypes, generator=generator) if prototypes else None,
            mix=mix,
        )
        for mix in mixes
    )
    clean = ViewOutput(unit(generator, batch, width))
    text = unit(generator, batch, width)
    logit_bias = None if bias is None else torch.tensor(bias)
    return Output(text, torch.tensor(scale), clean, views, logit_bias, extra=extra or {})


def mix_of(batch: int, share: float, seed: int = 0) -> Mix:
    return Mix(torch.randperm(batch, generator=torch.Generator().manual_seed(seed)), share)


def softmax(scores: list[float]) -> list[float]:
    greatest = max(scores)
    raised = [math.exp(score - greatest) for score in scores]
    return [one / sum(raised) for one in raised]


def similarities(image: Tensor, text: Tensor, scale: float) -> Rows:
    return [[scale * sum(a * b for a, b in zip(row, column, strict=True)) for column in text.tolist()]
            for row in image.tolist()]  # fmt: skip


def transposed(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def cross_entropy(target: list[float], scores: list[float]) -> float:
    return -sum(q * math.log(p) for q, p in zip(target, softmax(scores), strict=True) if q > 0)


def kl(target: list[float], scores: list[float]) -> float:
    return cross_entropy(target, scores) + sum(q * math.log(q) for q in target if q > 0)


def blended(rows: Rows, mix: Mix | None) -> Rows:
    """Row i: ``share`` of row i and the rest of its partner's."""
    if mix is None:
        return rows
    partner = mix.partner.tolist()
    return [
        [mix.share * own + (1 - mix.share) * other for own, other in zip(rows[i], rows[partner[i]], strict=True)]
        for i in range(len(rows))
    ]


def one_hot(batch: int) -> Rows:
    return [[float(i == j) for j in range(batch)] for i in range(batch)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
