"""The verbs of machines: ``machines`` lists, adds, checks and installs; ``remote`` is what a connection speaks with."""

from __future__ import annotations

import argparse
import json
from typing import Any

from core.cli.homes import add_home, home_folder
from core.cli.terminal import Verbs, one_line, say

_LAUNCHERS = ("direct", "torchrun", "slurm")
# Options of ``machines add``: name, help, type.
_SETTINGS: tuple[tuple[str, str, type], ...] = (
    ("host", "its name for ssh (default: NAME)", str),
    ("python", "path of the Python there (default: what install made, else the sdgui-core found there)", str),
    ("setup", "lines of shell before anything is run there, such as 'module load cuda'", str),
    ("runs", "runs folder there (default: ~/sdgui-runs)", str),
    ("at-once", "runs at a time where there is no GPU", int),
    ("nodes", "nodes a Slurm job", int),
    ("processes", "processes a node, of torchrun (default: one a GPU)", int),
    ("gpus", "GPUs a node, of a Slurm job", int),
    ("cpus", "CPU cores for each process of a Slurm job; 0: 8 where it has a GPU, else the cluster's default", int),
    ("partition", "Slurm's partition", str),
    ("time", "time limit of a Slurm job, such as 2-00:00:00", str),
    ("warning", "seconds before the time limit in which a Slurm job saves and requeues itself", int),
    ("sbatch", "further #SBATCH lines", str),
)


def add(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    machines = verbs.add_parser("machines", help="machines that runs can be launched on")
    what = machines.add_subparsers(metavar="WHAT", required=True)
    one = what.add_parser("list", help="the machines that were added")
    one.add_argument("--json", action="store_true", help="print as JSON")
    one.set_defaults(verb=_list)
    one = what.add_parser("add", help="add a machine, or change its settings")
    one.add_argument("name", metavar="NAME", help="any name; also its name for ssh, unless --host is given")
    for name, text, kind in _SETTINGS:
        one.add_argument(f"--{name}", type=kind, help=text)
    one.add_argument("--launcher", choices=_LAUNCHERS, help="how runs are started there (default: direct)")
    one.set_defaults(verb=_add)
    for name, text, verb in (
        ("remove", "take a machine off the list; its runs stay", _remove),
        ("show", "what it has: cores, memory, GPUs and who uses them, disk, partitions", _show),
        ("check", "what works there, what does not, and what to do about it", _check),
        ("install", "set up the environment there, over ssh", _install),
    ):
        one = what.add_parser(name, help=text)
        one.add_argument("name", metavar="NAME")
        if name in ("show", "check"):
            one.add_argument("--json", action="store_true", help="print as JSON")
        one.set_defaults(verb=verb)
    for parser in what.choices.values():
        add_home(parser)

    remote = verbs.add_parser("remote", help="serve a window on another computer: JSON requests on stdin")
    remote.add_argument("--runs", default="~/sdgui-runs", metavar="DIR", help="runs folder (default: ~/sdgui-runs)")
    remote.set_defaults(verb=_remote)


def _remote(arguments: argparse.Namespace) -> int:
    from core.remote.server import serve

    return serve(arguments.runs)


def _list(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine_list import MachineList

    machines = MachineList(home_folder(arguments.home)).machines()
    if arguments.json:
        print(json.dumps([one.model_dump() for one in machines], indent=1))
        return 0
    for one in machines:
        print(f"{one.name}\t{one.host}\t{one.launcher}\t{one.runs}")
    if not machines:
        say("no machines yet; add one with sdgui-core machines add NAME")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine import Machine
    from core.spec.machines.machine_list import MachineError, MachineList
    from core.spec.reading import checked

    machines = MachineList(home_folder(arguments.home))
    there = next((one for one in machines.machines() if one.name == arguments.name), None)
    raw: dict[str, Any] = there.model_dump() if there else {"name": arguments.name, "host": arguments.name}
    for name in [*(setting[0].replace("-", "_") for setting in _SETTINGS), "launcher"]:
        value = getattr(arguments, name)
        if value is not None:
            raw[name] = value.replace("\\n", "\n") if isinstance(value, str) else value
    machines.put(checked(Machine, raw, f"the machine {arguments.name}", error=MachineError))
    say(f"{'changed' if there else 'added'}: {arguments.name}; sdgui-core machines check {arguments.name} looks at it")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machine_list import MachineList

    MachineList(home_folder(arguments.home)).remove(arguments.name)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machines import Machines

    machines = Machines(home_folder(arguments.home))
    try:
        facts = machines.host(arguments.name).probe().result()
    finally:
        machines.close()
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
        print(one_line(f"no GPU: {facts.gpus_by}"))
    print(one_line(f"sdgui {facts.version}, torch {facts.torch or 'missing'}, Python {facts.python}"))
    print(one_line(f"runs in {facts.runs}, {facts.disk_free / 2**30:.0f} GB free"))
    for one in facts.partitions:
        gpus = f", {one.gpus}" if one.gpus else ""
        print(one_line(f"partition {one.name}: {one.idle} of {one.nodes} nodes idle, at most {one.time}{gpus}"))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from core.spec.machines.machines import Machines

    machines = Machines(home_folder(arguments.home))
    try:
        findings = machines.host(arguments.name).check().result()
    finally:
        machines.close()
    if arguments.json:
        print(json.dumps([one.model_dump() for one in findings], indent=1))
    else:
        for one in findings:
            remedy = f"  {one.remedy}" if one.remedy else ""
            print(one_line(f"{'ok  ' if one.works else 'FAIL'}  {one.what}: {one.found}{remedy}"))
    return 0 if all(one.works for one in findings) else 1


def _install(arguments: argparse.Namespace) -> int:
    from core.spec.machines.install import install, installed
    from core.spec.machines.machine_list import MachineList

    machines = MachineList(home_folder(arguments.home))
    machine = machines.find(arguments.name)
    install(machine, print)
    if machine.python:
        machines.put(installed(machine))
    return 0
