"""NVIDIA GPUs by NVML (package ``nvidia-ml-py``): their names, and their load now; nothing where either is missing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Nvml:
    """NVML, open until ``close``. ``Nvml.open`` gives None where there is no driver or no package."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    @classmethod
    def open(cls) -> Nvml | None:
        try:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
            return cls(nvml)
        except Exception:  # noqa: BLE001  no package, no driver, one of another version, a GPU off the bus
            return None

    def close(self) -> None:
        with suppress(Exception):
            self._nvml.nvmlShutdown()

    def facts(self) -> dict[str, Any]:
        """Names and driver, for provenance."""
        names = [_text(self._nvml.nvmlDeviceGetName(handle)) for handle in self.handles]
        return {"gpus": names, "driver": _text(self._nvml.nvmlSystemGetDriverVersion())} if names else {}

    def values(self) -> dict[str, float]:
        """Use, memory, power and temperature of each GPU that tells them."""
        nvml, values = self._nvml, dict[str, float]()
        for index, handle in enumerate(self.handles):
            for name, read in (
                ("percent", lambda h: nvml.nvmlDeviceGetUtilizationRates(h).gpu),
                ("memory_gib", lambda h: nvml.nvmlDeviceGetMemoryInfo(h).used / 2**30),
                ("power_w", lambda h: nvml.nvmlDeviceGetPowerUsage(h) / 1000),
                ("temperature_c", lambda h: nvml.nvmlDeviceGetTemperature(h, nvml.NVML_TEMPERATURE_GPU)),
            ):
                _read(values, f"gpu{index}_{name}", read, handle)
        return values


def gpu_facts() -> dict[str, Any]:
    """``gpus`` and ``driver`` of this machine; {} without NVML or a GPU."""
    nvml = Nvml.open()
    if nvml is None:
        return {}
    try:
        return nvml.facts()
    except Exception:  # noqa: BLE001  provenance does without
        return {}
    finally:
        nvml.close()


def _read(values: dict[str, float], name: str, read: Callable[[Any], float], handle: Any) -> None:
    with suppress(Exception):  # a value that this GPU does not tell
        values[name] = float(read(handle))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
