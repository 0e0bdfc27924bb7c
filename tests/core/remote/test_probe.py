"""The facts that a machine reports: hardware, versions, free disk space and Slurm partitions."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from core.remote import probe as probe_module
from core.remote.probe import probe
from core.spec.errors import UserError
from core.spec.machines.answers import Gpu, Partition


class Cluster:
    def __init__(self, found: bool, refuses: bool = False) -> None:
        self.is_installed, self._refuses = found, refuses

    def version(self) -> str:
        return "23.11"

    def partitions(self) -> list[Partition]:
        if self._refuses:
            raise UserError("The controller is away.")
        return [Partition(name="low")]


def test_facts_describe_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=(7 << 20) + 5, available=3 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(probe_module, "gpus", lambda: ([Gpu(index=3)], "nvml", ["GPU 4: lost"]))
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 2.5, 3.5))
    monkeypatch.setattr(probe_module, "installed_version", lambda name: {"torch": "2.9"}.get(name, ""))
    slurm: Any = Cluster(found=True)
    facts = probe(tmp_path / "runs", slurm)
    assert (facts.memory, facts.memory_free, facts.load) == (7, 3, 1.5)
    assert (facts.gpus, facts.gpus_note) == ([Gpu(index=3)], "nvml; GPU 4: lost")
    assert (facts.version, facts.torch, facts.python) == ("a checkout", "2.9", platform.python_version())
    assert (facts.slurm, facts.partitions) == ("23.11", [Partition(name="low")])
    assert (facts.host, facts.system, facts.runs) == (platform.node(), platform.platform(), str(tmp_path / "runs"))
    assert facts.cores == len(os.sched_getaffinity(0))
    assert abs(facts.time - time.time()) < 60
    assert facts.disk_free > 0
