"""A check of this machine: one list of what works, what does not, and what to do about it.

Flow: *Check* in the window, or ``sdgui-core machines check`` -> ``check`` -> a ``Finding`` a line.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from core.data.errors import DataError
from core.data.inspection.fingerprint import fingerprint
from core.data.sources.opening import open_source
from core.remote.gpus import gpus
from core.remote.probe import disk_free, version
from core.remote.slurm import Slurm
from core.spec.config import RunConfig, parse_config, retained_sets
from core.spec.errors import UserError
from core.spec.machines.answers import DataFacts, Finding
from core.spec.machines.machine import Machine
from core.spec.paths import expand_user, is_folder, split_run
from core.spec.reading import excerpt

_LITTLE = 2 << 30  # bytes of free disk below which checkpoints are unlikely to fit
_NEEDED = ("torch", "open_clip_torch", "torchvision", "safetensors", "faiss-cpu")


def check(machine: Machine, runs: Path, slurm: Slurm, config: str = "") -> list[Finding]:
    """Everything that a run on this machine needs; with a config its data and weights too."""
    found = [_python(), _packages(), _runs_folder(runs), _disk(runs), _gpus(machine)]
    if machine.launcher == "torchrun":
        found.append(_torchrun())
    if machine.launcher == "slurm":
        found += _slurm(machine, slurm)
    return found + (check_data(config) if config else [])


def _python() -> Finding:
    told = f"{sys.version.split()[0]} in {sys.prefix}"
    return Finding(name="Python", works=True, detail=told)


def _packages() -> Finding:
    missing = [name for name in _NEEDED if not version(name)]
    told = ", ".join(f"{name} {version(name)}" for name in ("sdgui", "torch") if version(name)) or "a checkout"
    if missing:
        remedy = f"Missing: {', '.join(missing)}. Press Install there."
        return Finding(name="Packages", works=False, detail=told, remedy=remedy)
    return Finding(name="Packages", works=True, detail=told)


def _runs_folder(runs: Path) -> Finding:
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        remedy = "Free some space there." if error.errno in (28, 122) else "Choose another runs folder."
        told = f"{runs}: {error.strerror}"
        return Finding(name="Runs folder", works=False, detail=told, remedy=remedy)
    return Finding(name="Runs folder", works=True, detail=str(runs))


def _disk(runs: Path) -> Finding:
    free = disk_free(runs)
    told = f"{free / 2**30:.1f} GB free"
    if free < _LITTLE:
        remedy = "Checkpoints may not fit: free some space, or choose a runs folder on another disk."
        return Finding(name="Disk", works=False, detail=told, remedy=remedy)
    return Finding(name="Disk", works=True, detail=told)


def _gpus(machine: Machine) -> Finding:
    if machine.launcher == "slurm":
        return Finding(name="GPUs", works=True, detail="given out by Slurm")
    found, by = gpus()
    if not found:
        return Finding(name="GPUs", works=True, detail=f"none: {by}; runs train on the CPU")
    free = sum(gpu.free for gpu in found)
    told = f"{len(found)}, {free} free: {', '.join(gpu.name for gpu in found)}"
    if broken := by.partition("; ")[2]:
        remedy = "The others are used; nvidia-smi says more, and who runs the machine can reset or replace it."
        return Finding(name="GPUs", works=False, detail=f"{told}; {broken}", remedy=remedy)
    return Finding(name="GPUs", works=True, detail=told)


def _torchrun() -> Finding:
    if version("torch"):
        return Finding(name="torchrun", works=True, detail=f"torch {version('torch')}")
    return Finding(name="torchrun", works=False, remedy="torch is missing. Press Install there.")


def _slurm(machine: Machine, slurm: Slurm) -> list[Finding]:
    if not slurm.found:
        remedy = "Launch directly, or add to the setup what makes sbatch found (module load slurm)."
        return [Finding(name="Slurm", works=False, detail="no sbatch here", remedy=remedy)]
    try:
        known = slurm.partitions()
        found = [Finding(name="Slurm", works=True, detail=slurm.version())]
    except UserError as error:
        remedy = "Ask who runs the cluster, or try again later."
        return [Finding(name="Slurm", works=False, detail=str(error), remedy=remedy)]
    names = [one.name for one in known]
    if machine.partition and not set(machine.partition.split(",")) <= set(names):
        remedy = f"Choose one of {', '.join(names)}."
        found.append(Finding(name="Partition", works=False, detail=f"no {machine.partition}", remedy=remedy))
    else:
        chosen = [one for one in known if one.name == machine.partition or (not machine.partition and one.default)]
        told = ", ".join(f"{one.name}: {one.idle} of {one.nodes} nodes idle, at most {one.time}" for one in chosen)
        found.append(Finding(name="Partition", works=True, detail=told or "the default"))
    scontrol = shutil.which("scontrol") is not None
    remedy = "" if scontrol else "A job cannot put itself back into the queue without scontrol; add it to PATH."
    found.append(Finding(name="Requeueing", works=scontrol, detail="scontrol" if scontrol else "", remedy=remedy))
    return found


def check_data(config: str) -> list[Finding]:
    """Whether the data and weights that a config names are here. UserError when it cannot be read."""
    wanted = parse_config(config, "the config")
    found = [_source(what, path) for what, path in _sources(wanted) if path]
    weights: tuple[tuple[str, Callable[[RunConfig], str]], ...] = (
        ("Architecture", lambda one: one.towers.architecture),
        ("Weights", lambda one: one.towers.pretrained),
        ("Teacher", lambda one: one.teacher.checkpoint),
    )
    for what, get in weights:
        found += [_path(what, part.strip()) for part in get(wanted).split(";") if _is_path(part.strip())]
    return found


def _sources(config: RunConfig) -> list[tuple[str, str]]:
    data = config.data
    if data.dataset:  # what its names mean, only the user's own code knows
        return []
    retained = [("Retained data", path) for path in retained_sets(data.retain).values()]
    return [("Training data", data.train), ("Validation data", data.val), ("Test data", data.test), *retained]


def _source(what: str, path: str) -> Finding:
    remedy = "Give the path that the data have on that machine, or copy them there."
    try:
        source = open_source(path)
    except DataError as error:
        return Finding(name=what, works=False, detail=excerpt(str(error), 1000), remedy=remedy)
    if not source.rows:
        return Finding(name=what, works=False, detail=f"{excerpt(path)} has no rows", remedy=remedy)
    return Finding(name=what, works=True, detail=f"{excerpt(path)}: {len(source.rows)} images")


def data_facts(paths: Mapping[str, str]) -> list[DataFacts]:
    """What lies at each of these paths, by its name."""
    found = []
    for name, path in paths.items():
        try:
            rows = open_source(path).rows
        except DataError as error:
            found.append(DataFacts(name=name, problem=excerpt(str(error), 1000)))
        else:
            found.append(DataFacts(name=name, pairs=len(rows), digest=fingerprint(rows)))
    return found


def _is_path(name: str) -> bool:
    return name.startswith(("/", "~", "./", "../")) or (
        os.sep in name and not name.startswith(("open_clip:", "hf-hub:"))
    )


def _path(what: str, name: str) -> Finding:
    path, _ = split_run(name) or (expand_user(name), "")
    if is_folder(path) or path.is_file():
        return Finding(name=what, works=True, detail=excerpt(name))
    remedy = "Give the path that it has on that machine, or copy it there."
    return Finding(name=what, works=False, detail=f"{excerpt(name)} is not there", remedy=remedy)
