"""Matrix products of few rows with large weights, at the speed at which the weights can be read.

Decoding one token multiplies a handful of rows with every weight of the decoder, so its floor is the memory's
bandwidth. ``F.linear`` on a CPU in float32 calls a general matrix product that reaches a quarter of it for a few rows.
Here the same product is laid out so that the library picks a better kernel; no weight is copied or repacked. Which
layout that is depends on the maker of the processor, and on nothing that is measured at run time: the same machine
always adds in the same order.

Legend: R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model.towers.block import Kernels

_FEW = 4096  # more rows are bound by arithmetic alone: leave them to F.linear
_VERY_FEW = 4  # up to here the weight times the few columns beats oneDNN, for short rows
_SHORT = 1024
# MKL on an Intel processor: strips of the weight, each a product of its own, read it at twice the speed of other ways.
_STRIPS = 32
_STRIPPED = 16  # more rows are better left to oneDNN

_Onednn = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _onednn() -> _Onednn | None:
    """oneDNN's float32 product on plain weights, where this torch has it and it computes what it should."""
    if not torch.backends.mkldnn.is_available():
        return None

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], None)
        return result

    x, weight, bias = torch.eye(3, 4), torch.arange(8.0).view(2, 4), torch.ones(2)
    try:
        right = torch.allclose(product(x, weight, bias), F.linear(x, weight, bias))
    except (AttributeError, RuntimeError, TypeError):  # another torch: the op is not public
        return None
    return product if right else None


def _by_intel() -> bool:
    """Whether the processor is Intel's, as far as this torch can tell."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "intel" in str(known.get("cpu_name", "")).lower()


_ONEDNN = _onednn()
_INTEL = _by_intel()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` (..., K) times ``weight`` (N, K) transposed, plus ``bias`` (N,): (..., N), contiguous."""
    if not _is_plain(x) or weight.shape[0] % 2:
        return F.linear(x, weight, bias)
    return _of_rows(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)


def _of_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows, inputs = x.shape
    outputs = weight.shape[0]
    if _INTEL and rows <= _STRIPPED:
        return _in_strips(x, weight, bias)
    if rows == 1 or (rows <= _VERY_FEW and (inputs <= _SHORT or _ONEDNN is None)):
        halves = weight.unflatten(0, (2, outputs // 2))  # (2, N/2, K)
        product = torch.bmm(halves, x.t().expand(2, inputs, rows)).view(outputs, rows).t()  # (R, N)
        return torch.add(product, bias, out=x.new_empty(rows, outputs)) if bias is not None else product.contiguous()
    if _ONEDNN is not None:
        return _ONEDNN(x, weight, bias)
    return F.linear(x, weight, bias)


def _in_strips(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows, inputs = x.shape
    outputs = weight.shape[0]
    if rows == 1 or outputs % _STRIPS:
        return F.linear(x, weight, bias)
    strips = weight.unflatten(0, (_STRIPS, outputs // _STRIPS)).transpose(1, 2)  # (strips, K, N / strips)
    product = torch.bmm(x.expand(_STRIPS, rows, inputs), strips).transpose(0, 1)  # (R, strips, N / strips)
    if bias is None:
        return product.reshape(rows, outputs)
    made = x.new_empty(rows, outputs)
    torch.add(product, bias.view(_STRIPS, -1), out=made.view(rows, _STRIPS, -1))
    return made


def project(x: Tensor, matrix: Tensor) -> Tensor:
    """``x`` (R, K) times ``matrix`` (K, N), as the vocabulary's projection is stored: (R, N)."""
    rows, inputs = x.shape
    outputs = matrix.shape[1]
    if not _is_plain(x) or (_INTEL and rows <= _VERY_FEW):
        return x @ matrix
    if rows > 1 and _ONEDNN is not None:
        return _ONEDNN(x, matrix.t(), None)
    if outputs % 2:
        return x @ matrix
    halves = matrix.unflatten(1, (2, outputs // 2)).transpose(0, 1)  # (2, K, N/2)
    return torch.bmm(x.expand(2, rows, inputs), halves).transpose(0, 1).reshape(rows, outputs)


def _is_plain(x: Tensor) -> bool:
    return x.numel() <= _FEW * x.shape[-1] and x.dtype is torch.float32 and x.device.type == "cpu"


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, allowed, is_causal=causal)


FEW_ROWS = Kernels(linear, project, _fused_attention)
