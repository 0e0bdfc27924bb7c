"""Queries the GPUs of this machine and their users with NVML.

NVML numbers GPUs in PCI bus order and reports UUIDs; ``CUDA_VISIBLE_DEVICES`` accepts either. A GPU in MIG mode is
listed as its instances, which are addressed by UUID only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil

from core.spec.machines.answers import Gpu
from core.tracking.gpus import as_text

_MIB = 1 << 20


def gpus() -> tuple[list[Gpu], str, list[str]]:
    """The GPUs, their source ("nvml", or why there is no NVML), and errors such as "GPU 1: GPU is lost"."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return [], "nvidia-ml-py is not installed", []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if type(error).__name__ == "NVMLError_LibRmVersionMismatch":
            return [], f"{error} The driver was updated after the machine was started; restart the machine.", []
        return [], f"no NVIDIA driver ({error})", []
    devices: list[Gpu] = []
    errors: list[str] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:  # a GPU that is lost or not permitted must not hide the others
                devices += _nvml_gpus(nvml, index)
            except nvml.NVMLError as error:
                if type(error).__name__ == "NVMLError_NoPermission":
                    continue
                errors.append(f"GPU {index}: {error}")
    except nvml.NVMLError as error:
        errors.append(str(error))
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return devices, "nvml", errors


def _nvml_gpus(nvml: Any, index: int) -> list[Gpu]:
    """The GPU ``index``, or its MIG instances."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    if not _query(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0], 0):
        return [_nvml_gpu(nvml, index, handle)]
    return [_nvml_gpu(nvml, index, part, f", part {number}") for number, part in _parts(nvml, handle)]


def _parts(nvml: Any, handle: Any) -> Iterator[tuple[int, Any]]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError):  # no such instance
            yield number, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)


def _nvml_gpu(nvml: Any, index: int, handle: Any, part: str = "") -> Gpu:
    memory = _query(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)  # None for shared memory
    return Gpu(
        index=index,
        name=as_text(_query(nvml, lambda: nvml.nvmlDeviceGetName(handle), "")) + part,
        uuid=as_text(nvml.nvmlDeviceGetUUID(handle)),
        memory=memory.total // _MIB if memory else 0,
        used=memory.used // _MIB if memory else 0,
        load=_query(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, None),
        users=_users(nvml, handle),
    )


def _query(nvml: Any, query: Callable[[], Any], default: Any) -> Any:
    """The result of ``query``; ``default`` if the GPU, its driver or the package does not support it."""
    mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
    try:
        return query()
    except (nvml.NVMLError, mismatch, AttributeError):
        return default


def _users(nvml: Any, handle: Any) -> list[str]:
    processes = _query(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle), [])
    return [_user(pid) for pid in sorted({process.pid for process in processes})]


def _user(pid: int) -> str:
    """A process and its owner, as "anna: python (4711)", with less detail if they are not visible."""
    owner, name = "", ""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with suppress(psutil.Error):
            name = process.name()
        owner = process.username()
    return f"{f'{owner}: ' if owner else ''}{name} ({pid})".strip()
