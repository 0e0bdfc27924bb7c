"""Querying GPUs with the package nvidia-ml-py and a fake driver."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.remote import checks
from core.remote.gpus import gpus
from core.spec.machines.machine import Machine

GIB = 1 << 30
ME = psutil.Process().username()


@dataclass
class Device:
    """A GPU or MIG instance. An int in place of a value is NVML's error code."""

    name: str = "NVIDIA H100"
    uuid: str | int = "GPU-a"
    memory: tuple[int, int] | int = (80 * GIB, 1 << 20)
    load: int | None = 97
    pids: list[int] | int = field(default_factory=list)
    parts: dict[int, Device] = field(default_factory=dict)
    closed: int = 0


class Driver:
    """The C functions of libnvidia-ml that the package calls, by name; each returns an error code."""

    def __init__(self, nvml: Any, devices: list[Device], init: int = 0, lacks: tuple[str, ...] = ()) -> None:
        self.nvml, self.devices, self.init, self.lacks = nvml, devices, init, lacks
        self.opened = 0
        self.all = [*devices, *(part for one in devices for part in one.parts.values())]

    def function(self, name: str) -> Callable[..., int]:
        found = getattr(self, name, None)
        if found is None or name in self.lacks:
            raise self.nvml.NVMLError(self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return found  # type: ignore[no-any-return]

    def of(self, handle: Any) -> Device:
        return self.all[(ctypes.cast(handle, ctypes.c_void_p).value or 0) - 1]

    def give(self, place: Any, device: Device) -> int:
        ctypes.cast(place, ctypes.POINTER(ctypes.c_void_p))[0] = self.all.index(device) + 1
        return 0

    def nvmlInitWithFlags(self, flags: int) -> int:
        self.opened += not self.init
        return self.init

    def nvmlShutdown(self) -> int:
        self.opened -= 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = len(self.devices)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, place: Any) -> int:
        device = self.devices[index.value]
        return device.closed or self.give(place, device)

    def nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:
        current._obj.value = pending._obj.value = bool(self.of(handle).parts)
        return 0

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> int:
        count._obj.value = 7
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, place: Any) -> int:
        part = self.of(handle).parts.get(getattr(index, "value", index))
        return self.give(place, part) if part else int(self.nvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetName(self, handle: Any, buffer: Any, size: Any) -> int:
        buffer.value = self.of(handle).name.encode()
        return 0

    def nvmlDeviceGetUUID(self, handle: Any, buffer: Any, size: Any) -> int:
        uuid = self.of(handle).uuid
        if isinstance(uuid, int):
            return uuid
        buffer.value = uuid.encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, place: Any) -> int:
        memory = self.of(handle).memory
        if isinstance(memory, int):
            return memory
        place._obj.total, place._obj.used = memory
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: Any, place: Any) -> int:
        load = self.of(handle).load
        if load is None:
            return int(self.nvml.NVML_ERROR_NOT_SUPPORTED)
        place._obj.gpu = load
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, place: Any) -> int:
        pids = self.of(handle).pids
        if isinstance(pids, int):
            return pids
        if place is None:
            count._obj.value = len(pids)
            return int(self.nvml.NVML_ERROR_INSUFFICIENT_SIZE) if pids else 0
        count._obj.value = len(pids)
        for row, pid in zip(place, pids, strict=False):
            row.pid = pid
        return 0


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package nvidia-ml-py, with its library loaded."""
    found = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed here")
    monkeypatch.setattr(found, "nvmlLib", object())
    return found


@pytest.fixture
def driver(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Driver]:
    def make(*devices: Device, init: int = 0, lacks: tuple[str, ...] = ()) -> Driver:
        made = Driver(nvml, list(devices), init, lacks)
        monkeypatch.setattr(nvml, "_nvmlGetFunctionPointer", made.function)
        return made

    return make


def test_each_gpu_is_listed_with_memory_load_and_users(driver: Callable[..., Driver]) -> None:
    mine = psutil.Process()
    made = driver(
        Device(memory=(80 * GIB, 40 * GIB), pids=[mine.pid, mine.pid]),
        Device(uuid="GPU-b", load=0),
        Device(uuid="GPU-c"),
    )
    found, by, _ = gpus()
    assert by == "nvml"
    assert (found[0].name, found[0].uuid, found[0].device) == ("NVIDIA H100", "GPU-a", "0")
    assert (found[0].memory, found[0].used, found[0].load) == (80 * 1024, 40 * 1024, 0.97)
    assert found[0].users == [f"{ME}: {mine.name()} ({mine.pid})"]
    assert [gpu.free for gpu in found] == [False, True, True]
    assert made.opened == 0, "closed again"


def test_a_mig_gpu_is_listed_by_its_instances(driver: Callable[..., Driver], nvml: Any) -> None:
    small = Device("NVIDIA H100 MIG 1g.10gb", "MIG-1", (10 * GIB, 1 << 20), None)
    used = Device("NVIDIA H100 MIG 1g.10gb", "MIG-2", (10 * GIB, 9 * GIB), None, [4_000_000_000])
    driver(Device(load=None, parts={0: small, 2: used}), Device(uuid="GPU-b"))
    found, *_ = gpus()
    assert [(gpu.index, gpu.device, gpu.name) for gpu in found] == [
        (0, "MIG-1", "NVIDIA H100 MIG 1g.10gb, part 0"),
        (0, "MIG-2", "NVIDIA H100 MIG 1g.10gb, part 2"),
        (1, "1", "NVIDIA H100"),
    ]
    assert [gpu.free for gpu in found] == [True, False, True]
    assert found[1].users == ["(4000000000)"], "a process that is invisible to this user"


def test_unavailable_gpu_values_are_omitted(driver: Callable[..., Driver], nvml: Any) -> None:
    driver(Device(memory=nvml.NVML_ERROR_NOT_SUPPORTED, load=None, pids=nvml.NVML_ERROR_NO_PERMISSION))
    [gpu], *_ = gpus()
    assert (gpu.memory, gpu.load, gpu.users, gpu.free) == (0, None, [], True)
    driver(Device(pids=[os.getpid()]), lacks=("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMigMode"))
    [gpu], *_ = gpus()
    assert gpu.users == [], "a driver that is older than the package"


def test_a_broken_gpu_hides_no_other_and_is_reported(driver: Callable[..., Driver], nvml: Any, tmp_path: Path) -> None:
    lost = nvml.NVML_ERROR_GPU_IS_LOST
    driver(Device(uuid=lost, memory=lost), Device(uuid="GPU-b"), Device(closed=nvml.NVML_ERROR_NO_PERMISSION))
    found, by, errors = gpus()
    assert [gpu.device for gpu in found] == ["1"]
    assert (by, errors) == ("nvml", ["GPU 0: GPU is lost"])
    finding = checks._check_gpus(Machine(name="here"))
    assert not finding.works
    assert "GPU 0: GPU is lost" in finding.detail
    assert "See nvidia-smi" in finding.remedy


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("NVML_ERROR_LIBRARY_NOT_FOUND", "no NVIDIA driver (NVML Shared Library Not Found)"),
        ("NVML_ERROR_DRIVER_NOT_LOADED", "no NVIDIA driver (Driver Not Loaded)"),
        ("NVML_ERROR_LIB_RM_VERSION_MISMATCH", "restart the machine"),
    ],
)
def test_without_a_driver_there_are_no_gpus(driver: Callable[..., Driver], nvml: Any, code: str, message: str) -> None:
    driver(Device(), init=getattr(nvml, code))
    found, by, _ = gpus()
    assert found == []
    assert message in by
