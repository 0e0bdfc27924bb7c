"""The GPUs of this machine and who uses them: by NVML where its Python package is, else by ``nvidia-smi``.

NVML's package is ``nvidia-ml-py`` (module ``pynvml``); both tell indices and UUIDs that ``CUDA_VISIBLE_DEVICES``
takes.
"""

from __future__ import annotations

import importlib
import subprocess
from contextlib import suppress
from typing import Any

import psutil

from core.spec.machines.answers import Gpu

_MIB = 1 << 20
_FIELDS = "index,name,uuid,memory.total,memory.used,utilization.gpu"
_SECONDS = 15.0


def gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and what told them: "nvml", "nvidia-smi", or a sentence why none is known."""
    with suppress(ImportError):
        return _by_nvml(importlib.import_module("pynvml"))
    return _by_smi()


def _by_nvml(nvml: Any) -> tuple[list[Gpu], str]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], f"no NVIDIA driver ({error})"
    try:
        return [_nvml_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())], "nvml"
    except nvml.NVMLError as error:
        return [], f"NVML cannot tell: {error}"
    finally:
        nvml.nvmlShutdown()


def _nvml_gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    load: float | None = None
    users: list[str] = []
    with suppress(nvml.NVMLError):
        load = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    with suppress(nvml.NVMLError):
        users = [_user(process.pid) for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        memory=memory.total // _MIB,
        used=memory.used // _MIB,
        load=load,
        users=users,
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _by_smi() -> tuple[list[Gpu], str]:
    try:
        table = _smi(f"--query-gpu={_FIELDS}")
        users = _smi("--query-compute-apps=gpu_uuid,pid")
    except FileNotFoundError:
        return [], "no nvidia-smi and no nvidia-ml-py here"
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"nvidia-smi failed: {error}"
    found: dict[str, list[str]] = {}
    for uuid, pid, *_ in users:
        found.setdefault(uuid, []).append(_user(int(pid)))
    return [_smi_gpu(row, found.get(row[2], [])) for row in table if len(row) == 6 and row[0].isdigit()], "nvidia-smi"


def _smi(query: str) -> list[list[str]]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    done = subprocess.run(
        command, capture_output=True, timeout=_SECONDS, check=True, encoding="utf-8", errors="replace"
    )
    return [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def _smi_gpu(row: list[str], users: list[str]) -> Gpu:
    load = float(row[5]) / 100 if row[5].replace(".", "").isdigit() else None
    return Gpu(
        index=int(row[0]),
        name=row[1],
        uuid=row[2],
        memory=_number(row[3]),
        used=_number(row[4]),
        load=load,
        users=users,
    )


def _number(text: str) -> int:
    return int(float(text)) if text.replace(".", "").isdigit() else 0  # "[N/A]" where a device cannot tell


def _user(pid: int) -> str:
    """Whose process it is: "anna: python (4711)"."""
    try:
        process = psutil.Process(pid)
        return f"{process.username()}: {process.name()} ({pid})"
    except psutil.Error:
        return f"({pid})"
