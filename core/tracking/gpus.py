"""Reads names and current load of NVIDIA GPUs with NVML (package ``nvidia-ml-py``). Empty without NVML or a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Nvml:
    """An NVML session, open until ``close``. ``Nvml.open`` returns None without a driver or the package."""

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
        names = [_text(self._nvml.nvmlDeviceGetName(handle)) for handle in self.handles]
        return {"gpus": names, "driver": _text(self._nvml.nvmlSystemGetDriverVersion())} if names else {}

    def values(self) -> dict[str, float]:
        """Utilisation, memory, power and temperature of each GPU, without unreported values."""
        nvml, values = self._nvml, dict[str, float]()
        for index, handle in enumerate(self.handles):
            for name, query in (
                ("percent", lambda h: nvml.nvmlDeviceGetUtilizationRates(h).gpu),
                ("memory_gib", lambda h: nvml.nvmlDeviceGetMemoryInfo(h).used / 2**30),
                ("power_w", lambda h: nvml.nvmlDeviceGetPowerUsage(h) / 1000),
                ("temperature_c", lambda h: nvml.nvmlDeviceGetTemperature(h, nvml.NVML_TEMPERATURE_GPU)),
            ):
                _read(values, f"gpu{index}_{name}", query, handle)
        return values


def gpu_facts() -> dict[str, Any]:
    """``gpus`` and ``driver`` of this machine; {} without NVML or a GPU."""
    nvml = Nvml.open()
    if nvml is None:
        return {}
    try:
        return nvml.facts()
    except Exception:  # noqa: BLE001  provenance is best effort
        return {}
    finally:
        nvml.close()


def _read(values: dict[str, float], name: str, query: Callable[[Any], float], handle: Any) -> None:
    with suppress(Exception):  # a value that this GPU does not report
        values[name] = float(query(handle))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
