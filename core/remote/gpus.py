"""The GPUs of this machine and their users: by NVML if its package ``nvidia-ml-py`` is installed, else by
``nvidia-smi``.

Both number GPUs in PCI bus order and report UUIDs; ``CUDA_VISIBLE_DEVICES`` accepts either. A GPU in MIG mode is listed
as its instances, which are addressed by UUID only.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import psutil

from core.spec.machines.answers import Gpu

_MIB = 1 << 20
_FIELDS = "index,name,uuid,memory.total,memory.used,utilization.gpu"
_TIMEOUT_SECONDS = 15.0
_GPU_LINE = re.compile(r"GPU \d+: .*\(UUID: (GPU-[^)]+)\)")
_MIG_LINE = re.compile(r"\s+(MIG .*?)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")
_PROCESSES = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")


def gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and their source: "nvml" or "nvidia-smi" with errors of single GPUs, or the reason for none."""
    with suppress(ImportError):
        return _by_nvml(importlib.import_module("pynvml"))
    return _by_smi()


# By NVML
def _by_nvml(nvml: Any) -> tuple[list[Gpu], str]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if type(error).__name__ == "NVMLError_LibRmVersionMismatch":
            return [], f"{error} The driver was updated since the machine was started; restart it."
        return [], f"no NVIDIA driver ({error})"
    devices: list[Gpu] = []
    source = "nvml"
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:  # a GPU that fell off the bus, or is not permitted, must not hide the others
                devices += _nvml_gpus(nvml, index)
            except nvml.NVMLError as error:
                if type(error).__name__ == "NVMLError_NoPermission":
                    continue
                source += f"; GPU {index}: {error}"
    except nvml.NVMLError as error:
        source = f"NVML failed: {error}"
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return devices, source


def _nvml_gpus(nvml: Any, index: int) -> list[Gpu]:
    """The GPU, or its MIG instances."""
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
        name=_text(_query(nvml, lambda: nvml.nvmlDeviceGetName(handle), "")) + part,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
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
    for name in _PROCESSES:
        processes = _query(nvml, partial(_call, nvml, name, handle), None)
        if processes is not None:
            return [_user(pid) for pid in sorted({process.pid for process in processes})]
    return []


def _call(nvml: Any, name: str, handle: Any) -> Any:
    return getattr(nvml, name)(handle)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


# By nvidia-smi
def _by_smi() -> tuple[list[Gpu], str]:
    try:
        table = _query_smi(f"--query-gpu={_FIELDS}")
    except FileNotFoundError:
        return [], "neither nvidia-smi nor nvidia-ml-py found"
    except subprocess.CalledProcessError as error:
        output = " ".join((error.stdout or error.stderr or "").split())  # errors are on stdout
        return [], f"nvidia-smi failed: {output[:300] or error}"
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"nvidia-smi failed: {error}"
    users: dict[str, list[str]] = {}
    parts: dict[str, list[tuple[str, str]]] = {}
    with suppress(OSError, subprocess.SubprocessError):
        for uuid, pid, *_ in _query_smi("--query-compute-apps=gpu_uuid,pid"):
            users.setdefault(uuid, []).append(_user(int(pid)) if pid.isdigit() else "a process")
    with suppress(OSError, subprocess.SubprocessError):
        parts = _smi_parts(_run_smi("-L"))
    devices: list[Gpu] = []
    for row in table:
        if len(row) == 6 and row[0].isdigit():
            devices += _smi_gpus(row, users, parts.get(row[2]))
    return devices, "nvidia-smi"


def _query_smi(query: str) -> list[list[str]]:
    output = _run_smi(query, "--format=csv,noheader,nounits")
    return [[part.strip() for part in line.split(",")] for line in output.splitlines() if "," in line]


def _run_smi(*options: str) -> str:
    process = subprocess.run(
        ["nvidia-smi", *options],
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=True,
        encoding="utf-8",
        errors="replace",
    )
    return process.stdout


def _smi_parts(listing: str) -> dict[str, list[tuple[str, str]]]:
    """UUID of a GPU in MIG mode -> name and UUID of each instance, from ``nvidia-smi -L``."""
    parts_by_gpu: dict[str, list[tuple[str, str]]] = {}
    gpu_uuid = ""
    for line in listing.splitlines():
        if gpu := _GPU_LINE.match(line):
            gpu_uuid = gpu[1]
        elif part := _MIG_LINE.match(line):
            parts_by_gpu.setdefault(gpu_uuid, []).append((f"{part[1]}, part {part[2]}", part[3]))
    return parts_by_gpu


def _smi_gpus(row: list[str], users: dict[str, list[str]], parts: list[tuple[str, str]] | None) -> list[Gpu]:
    """The GPU of a row, or its MIG instances. A user of the GPU may be on any instance, so none counts as free then."""
    index, name, uuid = int(row[0]), row[1], row[2]
    gpu_users = users.get(uuid, [])
    if parts:
        return [
            Gpu(index=index, name=f"{name} {part}", uuid=part_uuid, users=users.get(part_uuid, gpu_users))
            for part, part_uuid in parts
        ]
    load = float(row[5]) / 100 if row[5].replace(".", "").isdigit() else None
    return [
        Gpu(index=index, name=name, uuid=uuid, memory=_number(row[3]), used=_number(row[4]), load=load, users=gpu_users)
    ]


def _number(text: str) -> int:
    return int(float(text)) if text.replace(".", "").isdigit() else 0  # may be "[N/A]"


def _user(pid: int) -> str:
    """A process and its owner, as "anna: python (4711)"; less if this user or container may not see it."""
    owner, name = "", ""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with suppress(psutil.Error):
            name = process.name()
        owner = process.username()
    return f"{f'{owner}: ' if owner else ''}{name} ({pid})".strip()
