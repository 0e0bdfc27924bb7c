"""Texts of the Machines panel (hardware, GPUs, the queue) and the host aliases of the ssh config. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError
from core.spec.machines.answers import Facts, Gpu
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machine import Machine
from core.spec.paths import expand_user
from core.spec.reading import MEGABYTE, read_bytes
from sdgui.runs.live import RunProgress
from sdgui.store.records import Run
from sdgui.widgets.formats import count_with_unit, duration, percent_done

_MAX_INCLUDE_DEPTH = 8
_MAX_CONFIG_FILES = 200


@dataclass(frozen=True)
class QueueRow:
    """A training or queued run. ``position``: 1 for the next to start; None for a training run."""

    run_id: int
    name: str
    position: int | None
    state: str
    machine: str
    devices: str
    progress: str
    owner: str
    refusal: str = ""  # why the run cannot be moved or removed from here; "" if it can


def gib_text(mebibytes: float) -> str:
    """MiB as text in GiB, such as ``61.9 GiB``."""
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes < 100 * 1024 else f"{mebibytes / 1024:.0f} GiB"


def summary(facts: Facts | None, state: ConnectionState, is_local: bool) -> str:
    """The line below a machine's name in the list."""
    if facts is None:
        return state.message or {"connecting": "Connecting…", "off": "Not connected yet"}.get(state.kind, "")
    if not is_local and state.kind in ("waiting", "refused"):
        return "Unreachable" if state.kind == "waiting" else "Needs attention"
    if facts.gpus:
        free = sum(gpu.free for gpu in facts.gpus)
        return f"{count_with_unit(len(facts.gpus), 'GPU')}, {free} free"
    if facts.partitions:
        return f"Slurm, {count_with_unit(len(facts.partitions), 'partition')}"
    return f"{count_with_unit(facts.cores, 'core')}, no GPU"


def state_line(machine: Machine, facts: Facts | None, state: ConnectionState) -> str:
    """The sentence below a machine's heading."""
    if state.kind == "waiting" and state.retry:
        return f"{state.message} Retrying in {duration(state.retry)}."
    if state.message and state.kind != "ready":
        return state.message
    if machine.is_local:
        return "Runs started here are separate processes and keep running when the window is closed."
    if facts is None:
        return f"Connecting to {machine.host}…" if state.kind in ("connecting", "off") else f"ssh {machine.host}"
    return f"Connected with ssh {machine.host}."


def fact_rows(facts: Facts) -> list[tuple[str, str]]:
    """Label and value of each fact about a machine."""
    load = "" if facts.load is None else f", load {facts.load:.1f}"
    rows = [
        ("Processor", f"{count_with_unit(facts.cores, 'core')}{load}"),
        ("Memory", f"{gib_text(facts.memory_free)} of {gib_text(facts.memory)} free"),
        ("Python", facts.python or "not found"),
        ("sdgui", facts.version or "not installed"),
        ("PyTorch", facts.torch or "not installed"),
        ("Runs folder", f"{facts.runs} ({gib_text(facts.disk_free / 2**20)} free)"),
    ]
    if facts.system:
        rows.insert(0, ("System", facts.system))
    if facts.slurm:
        names = ", ".join(f"{partition.name}{'*' if partition.default else ''}" for partition in facts.partitions)
        rows.append(("Slurm", f"{facts.slurm}; partitions: {names}" if names else facts.slurm))
    if not facts.gpus:
        rows.append(("GPUs", f"none ({facts.gpus_note})" if facts.gpus_note else "none"))
    return rows


def gpu_row(gpu: Gpu) -> tuple[str, str, str, str, str]:
    """The cells of a GPU: index, name, memory, load and users."""
    load = "" if gpu.load is None else f"{100 * gpu.load:.0f} %"
    users = ", ".join(gpu.users) or ("free" if gpu.free else "in use")
    return str(gpu.index), gpu.name, f"{gib_text(gpu.used)} of {gib_text(gpu.memory)}", load, users


def queue_rows(
    alive: Iterable[Run],
    waiting: Iterable[Run],
    names: Mapping[int, str],
    progress: Mapping[int, RunProgress],
    local_name: str,
) -> list[QueueRow]:
    """Training runs, then queued ones, in order. ``local_name``: the name of this computer."""
    rows = []
    for run in alive:
        run_progress = progress.get(run.id)
        state = run_progress.state if run_progress is not None else run.state
        if not state.alive:
            continue
        has_steps = run_progress is not None and run_progress.total_steps > 0
        text = (
            f"{percent_done(run_progress.step, run_progress.total_steps)} %"
            if run_progress is not None and has_steps
            else ""
        )
        rows.append(_queue_row(run, names, None, str(state), run.devices, text, local_name))
    for position, run in enumerate(waiting, 1):
        rows.append(_queue_row(run, names, position, "queued", run.devices_asked or "first free", "", local_name))
    return rows


def _queue_row(
    run: Run, names: Mapping[int, str], position: int | None, state: str, devices: str, progress: str, local_name: str
) -> QueueRow:
    machine = run.machine or (local_name if run.is_local else run.owner_host)
    name = names.get(run.id, f"run {run.key}")
    return QueueRow(run.id, name, position, state, machine, devices, progress, run.owner, run.refusal)


def move_entries(order: Sequence[int], rows: Sequence[int], target: int) -> list[int]:
    """``order`` with the entries at ``rows`` moved before position ``target`` (``len(order)``: to the end)."""
    moving = [order[row] for row in sorted(rows)]
    rows_above = [item for item in order[:target] if item not in moving]
    return rows_above + moving + [item for item in order[target:] if item not in moving]


def ssh_names(config: Path) -> list[str]:
    """The host aliases in an ssh config file, in order, without patterns; [] if the file is missing."""
    hosts: dict[str, None] = {}
    seen: set[Path] = set()

    def read(path: Path, depth: int) -> None:
        if depth > _MAX_INCLUDE_DEPTH or len(seen) >= _MAX_CONFIG_FILES or path in seen:
            return
        seen.add(path)
        try:
            text = read_bytes(path, MEGABYTE, error=UserError).decode("utf-8", "replace")
        except (OSError, UserError):
            return
        for line in text.splitlines():
            word, _, value = line.strip().replace("=", " ", 1).partition(" ")
            names = [name.strip('"') for name in value.split()]
            if word.lower() == "host":
                hosts.update({name: None for name in names if not set(name) & set("*?!")})
            elif word.lower() == "include":
                for name in names:
                    for part in _included(config.parent, name):
                        read(part, depth + 1)

    read(config, 0)
    return list(hosts)


def _included(folder: Path, name: str) -> list[Path]:
    path = expand_user(name)
    try:
        root = Path(path.anchor) if path.is_absolute() else folder
        return sorted(root.glob(str(path.relative_to(path.anchor))))[:_MAX_CONFIG_FILES]
    except (OSError, ValueError, NotImplementedError):
        return []
