"""The GPUs of this machine and who uses them: by NVML where its Python package is, else by ``nvidia-smi``.

NVML's package is ``nvidia-ml-py`` (module ``pynvml``). Both number GPUs by their place on the PCI bus and tell UUIDs,
either of which ``CUDA_VISIBLE_DEVICES`` takes. A GPU that is divided (MIG) is listed as its parts, which are taken by
UUID alone.
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
_SECONDS = 15.0
_WHOLE = re.compile(r"GPU \d+: .*\(UUID: (GPU-[^)]+)\)")
_PART = re.compile(r"\s+(MIG .*?)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")
_PROCESSES = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")


def gpus() -> tuple[list[Gpu], str]:
    """The GPUs, and what told them: "nvml" or "nvidia-smi", with what is wrong with a GPU; or why none is known."""
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
    found: list[Gpu] = []
    by = "nvml"
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:  # one that fell off the bus, or is kept from this user, hides no other
                found += _nvml_gpus(nvml, index)
            except nvml.NVMLError as error:
                if type(error).__name__ == "NVMLError_NoPermission":
                    continue
                by += f"; GPU {index}: {error}"
    except nvml.NVMLError as error:
        by = f"NVML cannot tell: {error}"
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return found, by


def _nvml_gpus(nvml: Any, index: int) -> list[Gpu]:
    """The GPU, or its parts."""
    whole = nvml.nvmlDeviceGetHandleByIndex(index)
    if not _tell(nvml, lambda: nvml.nvmlDeviceGetMigMode(whole)[0], 0):
        return [_nvml_gpu(nvml, index, whole)]
    return [_nvml_gpu(nvml, index, part, f", part {number}") for number, part in _parts(nvml, whole)]


def _parts(nvml: Any, whole: Any) -> Iterator[tuple[int, Any]]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(whole)):
        with suppress(nvml.NVMLError):  # no such part is made
            yield number, nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, number)


def _nvml_gpu(nvml: Any, index: int, handle: Any, part: str = "") -> Gpu:
    memory = _tell(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)  # none where it is the computer's own
    return Gpu(
        index=index,
        name=_text(_tell(nvml, lambda: nvml.nvmlDeviceGetName(handle), "")) + part,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        memory=memory.total // _MIB if memory else 0,
        used=memory.used // _MIB if memory else 0,
        load=_tell(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, None),
        users=_users(nvml, handle),
    )


def _tell(nvml: Any, ask: Callable[[], Any], otherwise: Any) -> Any:
    """What is asked; ``otherwise`` where the GPU, its driver or the package cannot tell."""
    mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
    try:
        return ask()
    except (nvml.NVMLError, mismatch, AttributeError):
        return otherwise


def _users(nvml: Any, handle: Any) -> list[str]:
    for name in _PROCESSES:
        found = _tell(nvml, partial(_call, nvml, name, handle), None)
        if found is not None:
            return [_user(pid) for pid in sorted({process.pid for process in found})]
    return []


def _call(nvml: Any, name: str, handle: Any) -> Any:
    return getattr(nvml, name)(handle)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


# By nvidia-smi
def _by_smi() -> tuple[list[Gpu], str]:
    try:
        table = _smi(f"--query-gpu={_FIELDS}")
    except FileNotFoundError:
        return [], "no nvidia-smi and no nvidia-ml-py here"
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stdout or error.stderr or "").split())  # it complains on stdout
        return [], f"nvidia-smi failed: {said[:300] or error}"
    except (OSError, subprocess.SubprocessError) as error:
        return [], f"nvidia-smi failed: {error}"
    users: dict[str, list[str]] = {}
    parts: dict[str, list[tuple[str, str]]] = {}
    with suppress(OSError, subprocess.SubprocessError):
        for uuid, pid, *_ in _smi("--query-compute-apps=gpu_uuid,pid"):
            users.setdefault(uuid, []).append(_user(int(pid)) if pid.isdigit() else "a process")
    with suppress(OSError, subprocess.SubprocessError):
        parts = _smi_parts(_said("-L"))
    found: list[Gpu] = []
    for row in table:
        if len(row) == 6 and row[0].isdigit():
            found += _smi_gpus(row, users, parts.get(row[2]))
    return found, "nvidia-smi"


def _smi(query: str) -> list[list[str]]:
    said = _said(query, "--format=csv,noheader,nounits")
    return [[part.strip() for part in line.split(",")] for line in said.splitlines() if "," in line]


def _said(*options: str) -> str:
    done = subprocess.run(
        ["nvidia-smi", *options], capture_output=True, timeout=_SECONDS, check=True, encoding="utf-8", errors="replace"
    )
    return done.stdout


def _smi_parts(listed: str) -> dict[str, list[tuple[str, str]]]:
    """UUID of a divided GPU -> name and UUID of each part, by ``nvidia-smi -L``."""
    found: dict[str, list[tuple[str, str]]] = {}
    whole = ""
    for line in listed.splitlines():
        if gpu := _WHOLE.match(line):
            whole = gpu[1]
        elif part := _PART.match(line):
            found.setdefault(whole, []).append((f"{part[1]}, part {part[2]}", part[3]))
    return found


def _smi_gpus(row: list[str], users: dict[str, list[str]], parts: list[tuple[str, str]] | None) -> list[Gpu]:
    """The GPU of a row, or its parts; whoever uses the GPU may be on any part, so that none counts as free then."""
    index, name, uuid = int(row[0]), row[1], row[2]
    on_it = users.get(uuid, [])
    if parts:
        return [
            Gpu(index=index, name=f"{name} {part}", uuid=part_uuid, users=users.get(part_uuid, on_it))
            for part, part_uuid in parts
        ]
    load = float(row[5]) / 100 if row[5].replace(".", "").isdigit() else None
    return [
        Gpu(index=index, name=name, uuid=uuid, memory=_number(row[3]), used=_number(row[4]), load=load, users=on_it)
    ]


def _number(text: str) -> int:
    return int(float(text)) if text.replace(".", "").isdigit() else 0  # "[N/A]" where a device cannot tell


def _user(pid: int) -> str:
    """Whose process it is: "anna: python (4711)"; less where this user, or this container, may not see it."""
    owner, name = "", ""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with suppress(psutil.Error):
            name = process.name()
        owner = process.username()
    return f"{f'{owner}: ' if owner else ''}{name} ({pid})".strip()
