"""Where tensors live and in which precision they are computed: what ``runtime`` in a RunConfig comes to here."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from core.spec.config import RuntimeConfig
from core.spec.errors import UserError

# Torch has a class of its own for its allocator on CUDA alone: these are said by its other ones, by CUDA and NCCL,
# and by cuBLAS and cuDNN, which ask the driver themselves.
_NO_MEMORY = ("can't allocate memory", "out of memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")


class RuntimeUnavailable(UserError):
    """A device or precision that this machine does not have."""


@dataclass(frozen=True)
class Runtime:
    """A device and a precision."""

    device: torch.device
    precision: str  # "fp32" or "bf16"

    def autocast(self) -> AbstractContextManager[None]:
        """bfloat16 for the matrix products, when that is the precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def describe(self) -> str:
        """The device as people name it: "cpu, 2 threads", "NVIDIA H100"."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            number = torch.get_num_threads()
            return f"cpu, {number} {'thread' if number == 1 else 'threads'}"
        return self.device.type


def set_up(config: RuntimeConfig, gpu: int = 0) -> Runtime:
    """Choose device and precision, and set the number of threads; ``gpu`` is the number of the GPU, if it is one.

    Raises RuntimeUnavailable when a device was asked for by name and is not here.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.tf32:
        torch.set_float32_matmul_precision("high")
    device = _device(config.device)
    if device.type != "cpu":  # with its number, as tensors there name it: "cuda" is not equal to "cuda:0"
        device = torch.device(device.type, gpu if device.type == "cuda" else 0)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    return Runtime(device, precision)


def _device(name: str) -> torch.device:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in here.items() if available)
    elif not here[name]:
        raise RuntimeUnavailable(f"runtime.device is {name}, and this machine has none; set it to auto or cpu.")
    return torch.device(name)


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 products in hardware, so that they are worth their lower precision."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a failure was for want of memory, on a GPU or in the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _NO_MEMORY)
