"""Queries hardware and software of this machine: cores, memory, GPUs, versions, disk, Slurm partitions."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path

import psutil

from core.remote.gpus import gpus
from core.remote.slurm import Slurm
from core.spec.errors import UserError
from core.spec.installed import installed_version
from core.spec.machines.answers import Facts, Partition

_MIB = 1 << 20


def probe(runs: Path, slurm: Slurm) -> Facts:
    """The current state of this machine's hardware and software."""
    memory = psutil.virtual_memory()
    devices, source, errors = gpus()
    slurm_version, partitions = _partitions(slurm)
    return Facts(
        host=platform.node(),
        system=platform.platform(),
        cores=_cores(),
        memory=memory.total // _MIB,
        memory_free=memory.available // _MIB,
        load=_load_average(),
        gpus=devices,
        gpus_note="; ".join([source, *errors]),
        python=platform.python_version(),
        version=installed_version("sdgui") or "a checkout",
        torch=installed_version("torch"),
        runs=str(runs),
        disk_free=disk_free(runs),
        partitions=partitions,
        slurm=slurm_version,
        time=time.time(),
    )


def disk_free(folder: Path) -> int:
    """Free bytes on the disk of ``folder``, which need not exist; 0 if unknown."""
    for existing in (folder, *folder.parents):
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            continue
    return 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _partitions(slurm: Slurm) -> tuple[str, list[Partition]]:
    if not slurm.is_installed:
        return "", []
    try:
        return slurm.version(), slurm.partitions()
    except UserError:  # a login node without a controller; `check` reports it
        return "", []
