"""The device and precision of a run, resolved from ``runtime`` in a RunConfig."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from core.spec.config import RuntimeConfig
from core.spec.errors import UserError


class RuntimeUnavailable(UserError):
    """This machine does not have the requested device or precision."""


@dataclass(frozen=True)
class Runtime:
    """A device and a precision."""

    device: torch.device
    precision: str  # "fp32" or "bf16"

    def autocast(self) -> AbstractContextManager[None]:
        """A context that computes matrix products in bfloat16 if ``precision`` is "bf16"."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def describe(self) -> str:
        """A readable name of the device, such as "cpu, 2 threads" or "NVIDIA H100"."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            number = torch.get_num_threads()
            return f"cpu, {number} {'thread' if number == 1 else 'threads'}"
        return self.device.type


def set_up(config: RuntimeConfig, gpu: int = 0) -> Runtime:
    """Select device and precision, and set the number of threads; ``gpu``: index of the CUDA device.

    Raises RuntimeUnavailable if this machine does not have the device of ``config``.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.tf32:
        torch.set_float32_matmul_precision("high")
    device = _device(config.device)
    if device.type != "cpu":  # tensor.device includes the index, and "cuda" does not equal "cuda:0"
        device = torch.device(device.type, gpu if device.type == "cuda" else 0)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    return Runtime(device, precision)


def _device(name: str) -> torch.device:
    available_devices = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in available_devices.items() if available)
    elif not available_devices[name]:
        raise RuntimeUnavailable(
            f"this machine has no {name} device; set runtime.device to auto or cpu (it is {name} now)."
        )
    return torch.device(name)


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 products in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False
