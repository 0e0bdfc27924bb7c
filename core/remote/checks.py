"""Checks the requirements of a run on this machine, and suggests remedies.

Flow: *Check* in the window, or ``sdgui-core machines check`` -> `check` -> one ``Finding`` per line.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from core.data.errors import DataError
from core.data.inspection.statistics import fingerprint
from core.data.sources.opening import open_source
from core.remote.gpus import gpus
from core.remote.probe import disk_free
from core.remote.slurm import Slurm
from core.spec.config import RunConfig, parse_config, retained_sets
from core.spec.errors import UserError, is_full
from core.spec.installed import installed_version
from core.spec.machines.answers import DataFacts, Finding
from core.spec.machines.machine import Machine
from core.spec.paths import expand_user, is_file, is_folder, split_run
from core.spec.reading import excerpt
from core.spec.run.model_names import INTERPOLATED, OPEN_CLIP

_MIN_FREE_BYTES = 2 << 30  # below this, a checkpoint may not fit
_REQUIRED = ("torch", "open_clip_torch", "torchvision", "safetensors", "faiss-cpu")


def check(machine: Machine, runs: Path, slurm: Slurm, config: str = "") -> list[Finding]:
    """Check everything that a run on this machine needs; with a config, also its data and weights."""
    python = Finding(name="Python", works=True, detail=f"{sys.version.split()[0]} in {sys.prefix}")
    findings = [python, _check_packages(), _check_runs_folder(runs), _check_disk(runs), _check_gpus(machine)]
    if machine.launcher == "slurm":
        findings += _check_slurm(machine, slurm)
    return findings + (check_data(config) if config else [])


def _check_packages() -> Finding:
    missing = [name for name in _REQUIRED if not installed_version(name)]
    detail = ", ".join(f"{name} {version}" for name in ("sdgui", "torch") if (version := installed_version(name)))
    detail = detail or "sdgui from a checkout"
    if missing:
        remedy = f"Missing: {', '.join(missing)}. Press Install on the machine's page."
        return Finding(name="Packages", works=False, detail=detail, remedy=remedy)
    return Finding(name="Packages", works=True, detail=detail)


def _check_runs_folder(runs: Path) -> Finding:
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        remedy = "Free some space on its disk." if is_full(error) else "Choose another runs folder."
        detail = f"{runs}: {error.strerror}"
        return Finding(name="Runs folder", works=False, detail=detail, remedy=remedy)
    return Finding(name="Runs folder", works=True, detail=str(runs))


def _check_disk(runs: Path) -> Finding:
    free = disk_free(runs)
    detail = f"{free / 2**30:.1f} GB free"
    if free < _MIN_FREE_BYTES:
        remedy = "Checkpoints may not fit: free some space, or choose a runs folder on another disk."
        return Finding(name="Disk", works=False, detail=detail, remedy=remedy)
    return Finding(name="Disk", works=True, detail=detail)


def _check_gpus(machine: Machine) -> Finding:
    if machine.launcher == "slurm":
        return Finding(name="GPUs", works=True, detail="assigned by Slurm")
    devices, source, errors = gpus()
    if not devices and not errors:
        return Finding(name="GPUs", works=True, detail=f"none: {source}; runs train on the CPU")
    free = sum(gpu.free for gpu in devices)
    detail = f"{len(devices)}, {free} free: {', '.join(gpu.name for gpu in devices)}" if devices else "none"
    if errors:
        consequence = "The other GPUs are used." if devices else "Runs train on the CPU."
        remedy = f"{consequence} See nvidia-smi, or ask the administrator to reset or replace the GPU."
        return Finding(name="GPUs", works=False, detail="; ".join([detail, *errors]), remedy=remedy)
    return Finding(name="GPUs", works=True, detail=detail)


def _check_slurm(machine: Machine, slurm: Slurm) -> list[Finding]:
    if not slurm.is_installed:
        remedy = (
            "Launch directly, or add to the machine's setup the command that puts sbatch on PATH, such as module load "
            "slurm."
        )
        return [Finding(name="Slurm", works=False, detail="sbatch not found", remedy=remedy)]
    try:
        partitions = slurm.partitions()
        findings = [Finding(name="Slurm", works=True, detail=slurm.version())]
    except UserError as error:
        remedy = "Ask the cluster's administrator, or try again later."
        return [Finding(name="Slurm", works=False, detail=str(error), remedy=remedy)]
    names = [partition.name for partition in partitions]
    if machine.partition and not set(machine.partition.split(",")) <= set(names):
        remedy = f"Choose one of {', '.join(names)}."
        findings.append(Finding(name="Partition", works=False, detail=f"no {machine.partition}", remedy=remedy))
    else:
        detail = "; ".join(
            f"{partition.name}: {partition.idle} of {partition.nodes} nodes idle, at most {partition.time}"
            for partition in partitions
            if partition.name in machine.partition.split(",") or (not machine.partition and partition.default)
        )
        findings.append(Finding(name="Partition", works=True, detail=detail or "the default"))
    scontrol = shutil.which("scontrol") is not None
    remedy = "" if scontrol else "Jobs cannot requeue themselves without scontrol; add scontrol to PATH."
    findings.append(Finding(name="Requeueing", works=scontrol, detail="scontrol" if scontrol else "", remedy=remedy))
    return findings


def check_data(config: str) -> list[Finding]:
    """Check whether the data and weights of a config exist on this machine. Raises UserError for an invalid config."""
    parsed = parse_config(config, "the config")
    findings = [_check_source(title, path) for title, path in _sources(parsed) if path]
    if not (parsed.data.train or parsed.data.dataset):
        remedy = "Set data.train to the training data: a CSV, a JSON, or a folder of images."
        findings.append(Finding(name="Training data", works=False, detail="data.train is empty.", remedy=remedy))
    paths = {
        "Architecture": parsed.towers.architecture,
        "Weights": parsed.towers.pretrained,
        "Teacher": parsed.teacher.checkpoint,
        "Text anchors": parsed.objectives.text_anchors.source,
        "Image anchors": parsed.objectives.image_anchors.source,
    }
    for title, names in paths.items():
        findings += [_check_path(title, name.strip()) for name in names.split(";") if _is_path(name.strip())]
    return findings


def _sources(config: RunConfig) -> list[tuple[str, str]]:
    data = config.data
    if data.dataset:  # only the user's dataset function knows what these names refer to
        return []
    retained = [("Retained data", path) for path in retained_sets(data.retain).values()]
    return [("Training data", data.train), ("Validation data", data.val), ("Test data", data.test), *retained]


def _check_source(title: str, path: str) -> Finding:
    remedy = "Enter the path of the data on this machine, or copy the data to this machine."
    try:
        source = open_source(path)
    except DataError as error:
        return Finding(name=title, works=False, detail=excerpt(str(error), 1000), remedy=remedy)
    if not source.rows:
        return Finding(name=title, works=False, detail=f"{path} has no rows", remedy=remedy)
    return Finding(name=title, works=True, detail=f"{path}: {len(source.rows)} images")


def data_facts(paths: Mapping[str, str]) -> list[DataFacts]:
    """Count the pairs and compute a digest of the data at each of ``paths``."""
    facts = []
    for name, path in paths.items():
        try:
            rows = open_source(path).rows
        except DataError as error:
            facts.append(DataFacts(name=name, problem=excerpt(str(error), 1000)))
        else:
            facts.append(DataFacts(name=name, pairs=len(rows), digest=fingerprint(rows)))
    return facts


def _is_path(name: str) -> bool:
    return name.startswith(("/", "~", "./", "../")) or (
        os.sep in name and not name.startswith((OPEN_CLIP, INTERPOLATED, "hf-hub:"))
    )


def _check_path(title: str, name: str) -> Finding:
    path, _ = split_run(name) or (expand_user(name), "")
    if is_folder(path) or is_file(path):
        return Finding(name=title, works=True, detail=excerpt(name))
    remedy = "Enter the path on this machine, or copy the file to this machine."
    return Finding(name=title, works=False, detail=f"{name} does not exist", remedy=remedy)
