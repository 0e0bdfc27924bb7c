"""The command ``machines`` and its subcommands, and ``remote`` (the other end of a connection)."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import Any

from core.cli.homes import add_home
from core.cli.terminal import Subparsers, one_line, say

_LAUNCHERS = ("direct", "torchrun", "slurm")
_PYTHON_HELP = (
    "path of Python on the machine (default: the one that `machines install` set up, otherwise that of the sdgui-core "
    "found there)"
)
# Options of ``machines add``: name, help, type.
_SETTINGS: tuple[tuple[str, str, type], ...] = (
    ("host", "ssh name (default: NAME)", str),
    ("python", _PYTHON_HELP, str),
    ("setup", "shell commands to run first, such as 'module load cuda'; \\n separates lines", str),
    ("runs", "runs folder (default: ~/sdgui-runs)", str),
    ("at-once", "maximum number of parallel runs if the machine has no GPU", int),
    ("nodes", "nodes of a Slurm job", int),
    ("processes", "torchrun processes per node (default: one per GPU)", int),
    ("gpus", "GPUs per node of a Slurm job", int),
    ("cpus", "CPU cores per process of a Slurm job (default: 8 with a GPU, otherwise the cluster's default)", int),
    ("partition", "Slurm partition", str),
    ("time", "time limit of a Slurm job, such as 2-00:00:00", str),
    ("warning", "seconds before the time limit at which a Slurm job saves and requeues itself", int),
    ("sbatch", "additional #SBATCH lines, separated by \\n", str),
)


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    machines = subparsers.add_parser("machines", help="machines that runs can be launched on")
    commands = machines.add_subparsers(metavar="WHAT", required=True)
    listing = commands.add_parser("list", help="list all machines")
    listing.set_defaults(handler=_list)
    addition = commands.add_parser("add", help="add a machine, or change its settings")
    addition.add_argument("name", metavar="NAME", help="any name; also the ssh name, unless --host is given")
    for name, text, kind in _SETTINGS:
        addition.add_argument(f"--{name}", type=kind, help=text)
    addition.add_argument("--launcher", choices=_LAUNCHERS, help="how runs are started (default: direct)")
    addition.set_defaults(handler=_add)
    for name, text, handler in (
        ("remove", "remove a machine from the list; its runs are not deleted", _remove),
        ("show", "show cores, memory, GPUs and their users, disk, partitions", _show),
        ("check", "check whether runs can be launched, and show how to fix problems", _check),
        ("install", "install sdgui on a machine, over ssh", _install),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", metavar="NAME")
        command.set_defaults(handler=handler)
    for name in ("list", "show", "check"):
        commands.choices[name].add_argument("--json", action="store_true", help="print as JSON")
    for command in commands.choices.values():
        add_home(command)

    remote = subparsers.add_parser("remote", help="answer the requests (JSON on stdin) of a window on another computer")
    remote.add_argument("--runs", default="~/sdgui-runs", metavar="DIR", help="runs folder (default: ~/sdgui-runs)")
    remote.set_defaults(handler=_remote)


def _remote(arguments: argparse.Namespace) -> int:
    from core.remote.server import serve

    return serve(arguments.runs)


def _list(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine_list import MachineList

    machines = MachineList(arguments.home).machines()
    if arguments.json:
        print(json.dumps([machine.model_dump() for machine in machines], indent=1))
        return 0
    for machine in machines:
        print(f"{machine.name}\t{machine.host}\t{machine.launcher}\t{machine.runs}")
    if not machines:
        say("no machines yet; add one with sdgui-core machines add NAME")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine import Machine
    from core.spec.machines.machine_list import MachineError, MachineList
    from core.spec.reading import validate

    machines = MachineList(arguments.home)
    existing = next((machine for machine in machines.machines() if machine.name == arguments.name), None)
    raw: dict[str, Any] = existing.model_dump() if existing else {"name": arguments.name, "host": arguments.name}
    for name in [*(setting[0].replace("-", "_") for setting in _SETTINGS), "launcher"]:
        value = getattr(arguments, name)
        if value is not None:
            # line breaks are typed as \n
            raw[name] = value.replace("\\n", "\n") if name in ("setup", "sbatch") else value
    machines.put(validate(Machine, raw, f"the machine {arguments.name}", error=MachineError))
    name = arguments.name
    say(f"{'changed' if existing else 'added'}: {name}; check it with sdgui-core machines check {name}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine_list import MachineList

    MachineList(arguments.home).remove(arguments.name)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machines import Machines

    with closing(Machines(arguments.home)) as machines:
        facts = machines.host(arguments.name).probe().result()
    if arguments.json:
        print(facts.model_dump_json(indent=1))
        return 0
    load = "" if facts.load is None else f", load {facts.load:.1f}"
    print(one_line(f"{facts.host}: {facts.system}"))
    print(f"{facts.cores} cores{load}, {facts.memory_free / 1024:.0f} of {facts.memory / 1024:.0f} GB of memory free")
    for gpu in facts.gpus:
        users = ", ".join(gpu.users) or ("free" if gpu.free else "in use")
        load = "" if gpu.load is None else f", {gpu.load:.0%} load"
        print(one_line(f"GPU {gpu.index}: {gpu.name}, {gpu.used} of {gpu.memory} MiB{load}: {users}"))
    if not facts.gpus:
        print(one_line(f"no GPU: {facts.gpus_note}"))
    print(one_line(f"sdgui {facts.version}, torch {facts.torch or 'missing'}, Python {facts.python}"))
    print(one_line(f"runs in {facts.runs}, {facts.disk_free / 2**30:.0f} GB free"))
    for partition in facts.partitions:
        gpus = f", {partition.gpus}" if partition.gpus else ""
        nodes = f"{partition.idle} of {partition.nodes} nodes idle"
        print(one_line(f"partition {partition.name}: {nodes}, at most {partition.time}{gpus}"))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machines import Machines

    with closing(Machines(arguments.home)) as machines:
        findings = machines.host(arguments.name).check().result()
    if arguments.json:
        print(json.dumps([finding.model_dump() for finding in findings], indent=1))
    else:
        for finding in findings:
            remedy = f"  {finding.remedy}" if finding.remedy else ""
            print(one_line(f"{'ok  ' if finding.works else 'FAIL'}  {finding.name}: {finding.detail}{remedy}"))
    return 0 if all(finding.works for finding in findings) else 1


def _install(arguments: argparse.Namespace) -> int:
    from core.spec.machines.install import install, without_configured_python
    from core.spec.machines.machine_list import MachineList

    machines = MachineList(arguments.home)
    machine = machines.find(arguments.name)
    install(machine, print)
    if machine.python:
        machines.put(without_configured_python(machine))
    return 0
