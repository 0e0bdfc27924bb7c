"""How well a device is used: floating-point operations of a step against the device's peak, and its memory.

Flow: the loop counts the operations of its first step once, where the device's peak is known, and reports with the
losses the share of the peak that it reaches (MFU; Chowdhery et al. 2022, PaLM, appendix B) and the memory in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from core.model.runtime import Runtime

T = TypeVar("T")

# Torch has formulas for the attention kernels of GPUs only; without these, attention on a CPU counts as nothing.
_CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value)
    ),
}

# Dense products a second, in 1e12: of bfloat16 with float32 sums, and of float32 without tensor cores, by the makers'
# data sheets; of TF32 it is half of bfloat16's.
_PEAKS = {
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


def peak(name: str, precision: str) -> float | None:
    """Operations a second that the device ``name`` has at most in "bf16", "tf32" or "fp32"; None if unknown."""
    found = [one for one in _PEAKS if f" {one} " in f" {name.replace('-', ' ')} "]
    if not found:
        return None
    bf16, fp32 = _PEAKS[max(found, key=len)]  # "H100 PCIe" is not "H100"
    return 1e12 * {"bf16": bf16, "tf32": bf16 / 2, "fp32": fp32}[precision]


def device_peak(runtime: Runtime) -> float | None:
    """That of the device a run is on; None on a CPU, and where it is not known."""
    if runtime.device.type != "cuda":
        return None
    tf32 = runtime.precision == "fp32" and torch.get_float32_matmul_precision() != "highest"
    return peak(runtime.describe(), "tf32" if tf32 else runtime.precision)


def counted(work: Callable[[], T]) -> tuple[T, int]:
    """What ``work`` gives, and the floating-point operations of its matrix products, convolutions and attention.

    Compiled blocks run as they are written. What activation checkpointing or a micro-batch computes again is counted
    again.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole attention layer, which has no formula
    try:
        with torch.compiler.set_stance("force_eager"), counter:
            made = work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return made, int(counter.get_total_flops())


def memory_gib(device: torch.device) -> float:
    """GiB in use: the most that was allocated on a GPU since the last call; of a CPU what the process holds."""
    if device.type == "cuda":
        most = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return most / 2**30
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**30
    return float(psutil.Process().memory_info().rss) / 2**30
