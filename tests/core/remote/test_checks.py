"""The checks of a machine one by one, of the data that a config refers to, and the facts that a machine reports."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image

from core.data.inspection.statistics import fingerprint
from core.data.sources.opening import open_source
from core.remote import checks
from core.remote import probe as probe_module
from core.remote.probe import probe
from core.remote.slurm import Slurm, SlurmError
from core.spec.config import override
from core.spec.machines.answers import Gpu, Partition
from core.spec.machines.machine import Machine
from core.spec.presets import preset_config

NEAR = Machine(name="near")
ALL = {"sdgui": "1", "torch": "2", "open_clip_torch": "3", "torchvision": "4", "safetensors": "5", "faiss-cpu": "6"}


class Cluster(Slurm):
    """A fake Slurm with two partitions, or one that fails."""

    there, words = True, ""

    @property
    def is_installed(self) -> bool:
        return self.there

    def version(self) -> str:
        return "23.11"

    def partitions(self) -> list[Partition]:
        if self.words:
            raise SlurmError(self.words)
        return [
            Partition(name="low", default=True, nodes=4, idle=1, time="1-00:00:00"),
            Partition(name="high", nodes=2, idle=2, time="infinite"),
        ]


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with all that is needed except a GPU."""
    monkeypatch.setattr(checks, "installed_version", lambda name: ALL.get(name, ""))
    monkeypatch.setattr(checks, "disk_free", lambda runs: 3 << 30)
    monkeypatch.setattr(checks, "gpus", lambda: ([], "no driver", []))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("healthy")
def test_a_complete_machine_needs_no_remedy(tmp_path: Path) -> None:
    found = checks.check(NEAR, tmp_path / "a" / "b", Cluster())
    assert [one.name for one in found] == ["Python", "Packages", "Runs folder", "Disk", "GPUs"]
    assert all(one.works and not one.remedy for one in found)
    assert [one.detail for one in found[1:]] == [
        "sdgui 1, torch 2",
        str(tmp_path / "a" / "b"),
        "3.0 GB free",
        "none: no driver; runs train on the CPU",
    ]
    cluster = checks.check(NEAR.model_copy(update={"launcher": "slurm"}), tmp_path, Cluster())
    assert [(one.name, one.works, one.detail) for one in cluster[4:]] == [
        ("GPUs", True, "assigned by Slurm"),
        ("Slurm", True, "23.11"),
        ("Partition", True, "low: 1 of 4 nodes idle, at most 1-00:00:00"),
        ("Requeueing", True, "scontrol"),
    ]


@pytest.mark.usefixtures("healthy")
def test_each_missing_part_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: number for name, number in ALL.items() if name not in ("sdgui", "torch", "faiss-cpu")}
    monkeypatch.setattr(checks, "installed_version", lambda name: few.get(name, ""))
    monkeypatch.setattr(checks, "disk_free", lambda runs: (2 << 30) - 1)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(
        checks,
        "gpus",
        lambda: ([Gpu(index=0, name="A"), Gpu(index=1, name="B", users=["x"])], "nvml", ["GPU 2: is lost"]),
    )
    found = checks.check(NEAR, tmp_path / "file", Cluster())
    wrong = {one.name: (one.detail, one.remedy) for one in found if not one.works}
    assert wrong["Packages"] == (
        "sdgui from a checkout",
        "Missing: torch, faiss-cpu. Press Install on the machine's page.",
    )
    assert wrong["Runs folder"] == (f"{tmp_path / 'file'}: File exists", "Choose another runs folder.")
    assert wrong["Disk"][1].startswith("Checkpoints may not fit")
    assert wrong["GPUs"][0] == "2, 1 free: A, B; GPU 2: is lost"
    monkeypatch.setattr(checks, "disk_free", lambda runs: 2 << 30)
    monkeypatch.setattr(checks, "gpus", lambda: ([Gpu(index=0, name="A")], "nvml", []))
    assert checks._check_disk(tmp_path).works
    assert (checks._check_gpus(NEAR).works, checks._check_gpus(NEAR).detail) == (True, "1, 1 free: A")


@pytest.mark.parametrize(
    ("partition", "works", "found"),
    [
        ("high", True, "high: 2 of 2 nodes idle, at most infinite"),
        ("low,high", True, "low: 1 of 4 nodes idle, at most 1-00:00:00; high: 2 of 2 nodes idle, at most infinite"),
        ("low,none", False, "no low,none"),
        ("none", False, "no none"),
    ],
)
def test_partitions_that_the_cluster_lacks(
    monkeypatch: pytest.MonkeyPatch, partition: str, works: bool, found: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    machine = NEAR.model_copy(update={"launcher": "slurm", "partition": partition})
    slurm, chosen, requeueing = checks._check_slurm(machine, Cluster())
    assert slurm.works
    assert (chosen.works, chosen.detail, chosen.remedy) == (works, found, "" if works else "Choose one of low, high.")
    assert not requeueing.works
    assert "scontrol" in requeueing.remedy


def test_a_missing_or_unresponsive_cluster() -> None:
    absent, away = Cluster(), Cluster()
    absent.there, away.words = False, "The controller is away."
    for slurm, said in ((absent, "sbatch not found"), (away, "The controller is away.")):
        (one,) = checks._check_slurm(NEAR, slurm)
        assert (one.name, one.works, one.detail) == ("Slurm", False, said)
        assert one.remedy


def test_the_paths_of_a_config_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "pairs.csv").write_text("filepath,title\na.png,one\na.png,two\n")
    (tmp_path / "weights.pt").write_bytes(b"")
    settings = [f"data.train={tmp_path / 'pairs.csv'}", f"data.val={tmp_path / 'gone.csv'}"]
    config = override(preset_config("clip", "tiny"), [*settings, "towers.pretrained=~/weights.pt"])
    found = {one.name: one for one in checks.check_data(config.to_json())}
    assert set(found) == {"Training data", "Validation data", "Weights"}
    assert found["Training data"].works
    pairs = str(tmp_path / "pairs.csv")
    assert found["Training data"].detail == f"{pairs}: {len(open_source(pairs).rows)} images"
    assert not found["Validation data"].works
    assert found["Validation data"].remedy.startswith("Enter the path of the data")
    assert (found["Weights"].works, found["Weights"].detail) == (True, "~/weights.pt")
    assert not checks._check_path("Weights", "/" + "x" * 300).works
    missing = checks._check_path("Weights", "/no/where")
    assert (missing.works, missing.detail) == (False, "/no/where does not exist")
    names = ("/a", "~/a", "./a", "../a", "a/b", "open_clip:a/b", "interpolated:a/b@0.5", "hf-hub:a/b", "a")
    assert [checks._is_path(name) for name in names] == [True] * 5 + [False] * 4
    facts = checks.data_facts({"one": pairs, "two": str(tmp_path / "gone.csv")})
    rows = open_source(pairs).rows
    assert (facts[0].name, facts[0].pairs, facts[0].digest) == ("one", len(rows), fingerprint(rows))
    assert (facts[1].name, facts[1].pairs, bool(facts[1].problem)) == ("two", 0, True)


def test_facts_describe_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total=(7 << 20) + 5, available=3 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(probe_module, "gpus", lambda: ([Gpu(index=3)], "nvml", ["GPU 4: lost"]))
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 2.5, 3.5))
    monkeypatch.setattr(probe_module, "installed_version", lambda name: {"torch": "2.9"}.get(name, ""))
    facts = probe(tmp_path / "runs", Cluster())
    assert (facts.memory, facts.memory_free, facts.load) == (7, 3, 1.5)
    assert (facts.gpus, facts.gpus_note) == ([Gpu(index=3)], "nvml; GPU 4: lost")
    assert (facts.version, facts.torch, facts.python) == ("a checkout", "2.9", platform.python_version())
    assert (facts.slurm, facts.partitions) == ("23.11", Cluster().partitions())
    assert (facts.host, facts.system, facts.runs) == (platform.node(), platform.platform(), str(tmp_path / "runs"))
    assert facts.cores == len(os.sched_getaffinity(0))
    assert abs(facts.time - time.time()) < 60
    assert facts.disk_free > 0
