"""Device utilisation: floating-point operations of a step relative to the device's peak, and memory in use.

Flow: the loop counts the operations of its first steps, if the device's peak is known, and reports the model FLOPs
utilisation (MFU; Chowdhery et al. 2022, PaLM, appendix B) and memory with the losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from core.model.runtime import Runtime

T = TypeVar("T")

# Torch has formulas for GPU attention kernels only; without these, attention on a CPU would not be counted.
_CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value)
    ),
}

# Dense TFLOPS of bfloat16 with float32 accumulation, and of float32 without tensor cores, from the manufacturers'
# data sheets; TF32 has half of bfloat16's.
_PEAK_TFLOPS = {
    "B200": (2250.0, 75.0),
    "H200": (989.0, 67.0),
    "H100 PCIe": (756.0, 51.0),
    "H100 NVL": (835.0, 60.0),
    "H100": (989.0, 67.0),
    "GH200": (989.0, 67.0),
    "A100": (312.0, 19.5),
    "A800": (312.0, 19.5),
    "A40": (149.7, 37.4),
    "A30": (165.0, 10.3),
    "A10G": (70.0, 31.2),
    "A10": (125.0, 31.2),
    "L40S": (362.0, 91.6),
    "L40": (181.0, 90.5),
    "L4": (121.0, 30.3),
    "RTX A6000": (154.8, 38.7),
    "RTX 6000 Ada": (364.2, 91.1),
    "RTX 5090": (209.5, 104.8),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
}


def peak_flops(name: str, precision: str) -> float | None:
    """The peak operations per second of the device ``name`` in "bf16", "tf32" or "fp32"; None if unknown."""
    matches = [model for model in _PEAK_TFLOPS if f" {model} " in f" {name.replace('-', ' ')} "]
    if not matches:
        return None
    bf16, fp32 = _PEAK_TFLOPS[max(matches, key=len)]  # "H100" is also a part of "H100 PCIe"
    return 1e12 * {"bf16": bf16, "tf32": bf16 / 2, "fp32": fp32}[precision]


def device_peak_flops(runtime: Runtime) -> float | None:
    """The peak operations per second of a run's device, in its precision; None on a CPU or if unknown."""
    if runtime.device.type != "cuda":
        return None
    tf32 = runtime.precision == "fp32" and torch.get_float32_matmul_precision() != "highest"
    return peak_flops(runtime.describe(), "tf32" if tf32 else runtime.precision)


def count_operations(work: Callable[[], T]) -> tuple[T, int]:
    """The result of ``work``, and the floating-point operations of its matrix products, convolutions and attention.

    Compiled blocks run eagerly. Recomputation by activation checkpointing or micro-batches is counted too.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    fastpath_was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused attention kernel has no formula
    try:
        with torch.compiler.set_stance("force_eager"), counter:
            result = work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath_was_enabled)
    return result, int(counter.get_total_flops())


def memory_gib(device: torch.device) -> float:
    """GiB in use: on a GPU the peak since the last call, on a CPU the memory of the process."""
    if device.type == "cuda":
        peak_bytes = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak_bytes / 2**30
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**30
    return float(psutil.Process().memory_info().rss) / 2**30
