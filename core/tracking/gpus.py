"""Reads names and current load of NVIDIA GPUs with NVML (package ``nvidia-ml-py``). Empty without NVML or a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Nvml:
    """An NVML session, open until ``close``. ``Nvml.open`` returns None if the driver or the package is missing."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    @classmethod
    def open(cls) -> Nvml | None:
        try:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
            return cls(nvml)
        except Exception:  # noqa: BLE001  no package, no driver, a version mismatch, a GPU that fell off the bus
            return None

    def close(self) -> None:
        with suppress(Exception):
            self._nvml.nvmlShutdown()

    def facts(self) -> dict[str, Any]:
        """GPU names and driver version, for provenance."""
        names = [as_text(self._nvml.nvmlDeviceGetName(handle)) for handle in self.handles]
        return {"gpus": names, "driver": as_text(self._nvml.nvmlSystemGetDriverVersion())} if names else {}

    def values(self) -> dict[str, float]:
        """Utilisation, memory, power and temperature of each GPU, without unreported values."""
        nvml, values = self._nvml, dict[str, float]()
        queries: dict[str, Callable[[Any], float]] = {
            "percent": lambda handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "memory_gib": lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**30,
            "power_w": lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "temperature_c": lambda handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        }
        for index, handle in enumerate(self.handles):
            for name, query in queries.items():
                with suppress(Exception):  # a value that this GPU does not report
                    values[f"gpu{index}_{name}"] = float(query(handle))
        return values


def gpu_facts() -> dict[str, Any]:
    """``gpus`` and ``driver`` of this machine; {} if there is no GPU or no NVML."""
    nvml = Nvml.open()
    if nvml is None:
        return {}
    try:
        return nvml.facts()
    except Exception:  # noqa: BLE001  provenance is best effort
        return {}
    finally:
        nvml.close()


def as_text(value: str | bytes) -> str:
    """A text of NVML; some versions of ``nvidia-ml-py`` return bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
