"""System metrics: which there are, that each is reported once, and that they cost next to nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from core.tracking.gpus import Nvml
from core.tracking.system import SystemMonitor, SystemSampler


def test_a_sample_covers_machine_and_process(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path)
    values = sampler.sample()
    sampler.close()
    assert {"cpu_percent", "memory_percent", "process_cpu_percent", "process_memory_gib"} <= set(values)
    assert 0 < values["memory_percent"] <= 100
    assert values["disk_free_gib"] > 0
    assert 0 < values["process_memory_gib"] < 1000
    assert all(value >= 0 for value in values.values())


def test_each_sample_is_taken_once_and_ranks_are_named(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "rank-1.json").write_text(json.dumps({"process_cpu_percent": 90.0}), encoding="utf-8")
    for rank, content in ((2, "no JSON"), (3, '["a"]'), (4, '{"a": "b"}')):
        (tmp_path / "system" / f"rank-{rank}.json").write_text(content, encoding="utf-8")
    sampled, seen = threading.Event(), list[Mapping[str, float]]()

    def report(values: Mapping[str, float]) -> None:
        seen.append(values)
        sampled.set()

    with SystemMonitor(0.05, tmp_path, report=report):
        assert sampled.wait(60)
    assert seen[0]["system/rank1/process_cpu_percent"] == 90.0
    assert not any(f"rank{rank}" in name for name in seen[0] for rank in (2, 3, 4))
    own = SystemMonitor(0.05, tmp_path)
    with own:
        while not (values := own.take()):
            time.sleep(0.01)
    assert "system/cpu_percent" in values
    with SystemMonitor(0, tmp_path) as never:
        assert never.take() == {}


def test_a_machine_that_hides_its_load_is_not_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> float:
        raise FileNotFoundError(2, "No such file or directory", "/proc/stat")

    errors: list[object] = []
    monkeypatch.setattr(psutil, "cpu_percent", hidden)
    monkeypatch.setattr(threading, "excepthook", errors.append)
    with SystemMonitor(0.01, tmp_path) as monitor:
        monitor._thread.join(60)
    assert errors == []


def test_other_ranks_leave_their_samples_in_the_run_folder(tmp_path: Path) -> None:
    file = tmp_path / "system" / "rank-3.json"
    with SystemMonitor(0.05, tmp_path, rank=3, local_rank=1):
        while not file.exists():
            time.sleep(0.01)
    assert set(json.loads(file.read_text(encoding="utf-8"))) == {"process_cpu_percent", "process_memory_gib"}


class FakeNvml:
    """One GPU that does not tell its power."""

    NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"H100"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.1"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> object:
        return type("Rates", (), {"gpu": 80})

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> object:
        return type("Memory", (), {"used": 2 << 30})

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 60

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        raise RuntimeError("not supported")


def test_a_gpu_reports_the_available_values() -> None:
    nvml = Nvml(FakeNvml())
    assert nvml.facts() == {"gpus": ["H100"], "driver": "550.1"}
    assert nvml.values() == {"gpu0_percent": 80.0, "gpu0_memory_gib": 2.0, "gpu0_temperature_c": 60.0}
