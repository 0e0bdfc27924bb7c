"""Fast matrix products of few rows with large weights, which are limited by memory bandwidth.

Decoding one token multiplies a few rows with every weight of the decoder, so memory bandwidth limits the speed. For few
rows, ``F.linear`` in float32 on a CPU reaches a quarter of this bandwidth. These functions arrange products so that the
library uses a faster kernel; weights are not copied or repacked. The arrangement depends on the processor's vendor, not
on run-time measurements, so that the order of summation on a machine is deterministic.

Legend: R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from core.model.towers.block import Kernels

_MAX_ROWS = 4096  # with more rows, arithmetic is the limit and F.linear is used
_MAX_COLUMN_ROWS = 4  # up to this many short rows, weight times columns is faster than oneDNN
_SHORT_INPUTS = 1024
# MKL on Intel processors: separate products of strips of the weight are twice as fast as other arrangements.
_STRIPS = 32
_MAX_STRIP_ROWS = 16  # with more rows oneDNN is faster

_Onednn = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _onednn() -> _Onednn | None:
    """oneDNN's float32 product on plain weights; None if this torch does not have it, or its result is incorrect."""
    if not torch.backends.mkldnn.is_available():
        return None

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], None)
        return result

    x, weight, bias = torch.eye(3, 4), torch.arange(8.0).view(2, 4), torch.ones(2)
    try:
        is_correct = torch.allclose(product(x, weight, bias), F.linear(x, weight, bias))
    except (AttributeError, RuntimeError, TypeError):  # the operator is private and may change
        return None
    return product if is_correct else None


def _is_intel() -> bool:
    """Whether torch reports an Intel processor."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "intel" in str(capabilities.get("cpu_name", "")).lower()


_ONEDNN = _onednn()
_INTEL = _is_intel()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` (..., K) times ``weight`` (N, K) transposed, plus ``bias`` (N,); (..., N), contiguous."""
    if not _is_plain(x) or weight.shape[0] % 2:
        return F.linear(x, weight, bias)
    return _multiply_rows(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)


def _multiply_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows, inputs = x.shape
    outputs = weight.shape[0]
    if _INTEL and rows <= _MAX_STRIP_ROWS:
        return _multiply_strips(x, weight, bias)
    if rows == 1 or (rows <= _MAX_COLUMN_ROWS and (inputs <= _SHORT_INPUTS or _ONEDNN is None)):
        halves = weight.unflatten(0, (2, outputs // 2))  # (2, N/2, K)
        product = torch.bmm(halves, x.t().expand(2, inputs, rows)).view(outputs, rows).t()  # (R, N)
        return torch.add(product, bias, out=x.new_empty(rows, outputs)) if bias is not None else product.contiguous()
    if _ONEDNN is not None:
        return _ONEDNN(x, weight, bias)
    return F.linear(x, weight, bias)


def _multiply_strips(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows, inputs = x.shape
    outputs = weight.shape[0]
    if rows == 1 or outputs % _STRIPS:
        return F.linear(x, weight, bias)
    strips = weight.unflatten(0, (_STRIPS, outputs // _STRIPS)).transpose(1, 2)  # (strips, K, N / strips)
    product = torch.bmm(x.expand(_STRIPS, rows, inputs), strips).transpose(0, 1)  # (R, strips, N / strips)
    if bias is None:
        return product.reshape(rows, outputs)
    out = x.new_empty(rows, outputs)
    torch.add(product, bias.view(_STRIPS, -1), out=out.view(rows, _STRIPS, -1))
    return out


def project(x: Tensor, matrix: Tensor) -> Tensor:
    """``x`` (R, K) times ``matrix`` (K, N), which has the layout of the vocabulary projection; (R, N)."""
    rows, inputs = x.shape
    outputs = matrix.shape[1]
    if not _is_plain(x) or (_INTEL and rows <= _MAX_COLUMN_ROWS):
        return x @ matrix
    if rows > 1 and _ONEDNN is not None:
        return _ONEDNN(x, matrix.t(), None)
    if outputs % 2:
        return x @ matrix
    halves = matrix.unflatten(1, (2, outputs // 2)).transpose(0, 1)  # (2, K, N/2)
    return torch.bmm(x.expand(2, rows, inputs), halves).transpose(0, 1).reshape(rows, outputs)


def _is_plain(x: Tensor) -> bool:
    return x.numel() <= _MAX_ROWS * x.shape[-1] and x.dtype is torch.float32 and x.device.type == "cpu"


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, allowed, is_causal=causal)


FEW_ROWS = Kernels(linear, project, _fused_attention)
