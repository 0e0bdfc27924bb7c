"""The verbs of runs, here and on other machines: ``runs launch pause stop resume logs fetch``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home, find_run, home_folder, runs, runs_folder
from core.cli.terminal import Verbs, one_line, say
from core.spec.errors import UserError
from core.spec.machines.record import LONGEST_SCRIPT
from core.spec.reading import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.spec.chain import Chain
    from core.spec.config import RunConfig
    from core.spec.machines.answers import Finding
    from core.spec.run.folder import RunDir


def add(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    listing = verbs.add_parser("runs", help="list, show or compare runs")
    what = listing.add_subparsers(metavar="WHAT", required=True)
    one = what.add_parser("list", help="all runs: state, step, best validation, machine")
    one.add_argument("--on", default="", metavar="MACHINE", help="the runs in the runs folder of this machine")
    one.set_defaults(verb=_list)
    one = what.add_parser("show", help="one run with the last and best of each metric")
    one.add_argument("run", metavar="RUN")
    one.set_defaults(verb=_show)
    one = what.add_parser(
        "compare", help="where configs, code, packages, machines and data differ; metrics side by side"
    )
    one.add_argument("runs", nargs="+", metavar="RUN")
    one.set_defaults(verb=_compare)
    for parser in what.choices.values():
        parser.add_argument("--json", action="store_true", help="print as JSON")
        parser.add_argument("--cached", action="store_true", help="as heard last, without asking other machines")
        add_home(parser)

    launch = verbs.add_parser("launch", help="start a run as a program of its own, here or on a machine")
    launch.add_argument("config", type=Path, metavar="CONFIG.json", help="a config, or a chain of them")
    launch.add_argument("--on", default="", metavar="MACHINE", help="a machine of `machines list` (default: here)")
    launch.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="override fields")
    launch.add_argument("--devices", default="", metavar="0,1", help="GPUs that it may use (default: all)")
    launch.add_argument("--script", type=Path, metavar="FILE", help="sbatch script in place of the machine's own")
    launch.add_argument("--print-script", action="store_true", help="print the sbatch script, and start nothing")
    launch.add_argument("--unchecked", action="store_true", help="do not look first whether the data are there")
    launch.set_defaults(verb=_launch)

    for name, text in (("pause", "save the state and end the process"), ("stop", "stop a run; its state is saved")):
        one = verbs.add_parser(name, help=text)
        one.add_argument("run", metavar="RUN")
        one.set_defaults(verb=_ask, what=name)
        if name == "stop":
            one.add_argument("--kill", action="store_true", help="end it at once, without saving (scancel on Slurm)")
    resume = verbs.add_parser("resume", help="go on with a run that ended, where it was")
    resume.add_argument("run", metavar="RUN")
    resume.set_defaults(verb=_resume)
    again = verbs.add_parser("reproduce", help="what a run was made of that is not the same now, and the run again")
    again.add_argument("run", metavar="RUN")
    again.add_argument("--output", type=Path, metavar="FILE", help="write its config here")
    again.add_argument("--launch", action="store_true", help="start it again on this computer, as a new run")
    again.add_argument("--json", action="store_true", help="print what differs as JSON")
    again.set_defaults(verb=_reproduce)
    logs = verbs.add_parser("logs", help="what a run printed")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("--follow", action="store_true", help="go on until it ends")
    logs.add_argument("--events", action="store_true", help="its events as JSON lines instead")
    logs.set_defaults(verb=_logs)
    fetch = verbs.add_parser("fetch", help="fetch a checkpoint of a run from its machine")
    fetch.add_argument("run", metavar="RUN")
    fetch.add_argument("checkpoint", nargs="?", default="last", help="best, last, a step or a name (default: last)")
    fetch.set_defaults(verb=_fetch)
    for name in ("launch", "pause", "stop", "resume", "reproduce", "logs", "fetch"):
        add_home(verbs.choices[name])


def _list(arguments: argparse.Namespace) -> int:
    if arguments.on:
        return _list_on(arguments)
    from core.cli.run_tables import listed_rows, read_row, table

    home = home_folder(arguments.home)
    found = runs(home)
    _catch_up(arguments, home, found)
    if arguments.json:
        print(json.dumps([read_row(run).plain() for run in found], indent=1))
        return 0
    rows = listed_rows(home, found)
    lines = [("run", "state", "step", "best", "machine")]
    for row in rows:
        best = f"{row.best[1].best:.4f} @{row.best[1].best_step}" if row.best else ""
        lines.append((row.name, row.state, f"{row.step}/{row.total_steps}", best, row.machine))
    if rows:
        print(table(lines))
    else:
        say(f"no runs yet in {runs_folder(home)}; start one with sdgui-core launch CONFIG.json")
    return 0


def _catch_up(arguments: argparse.Namespace, home: Path, found: Sequence[RunDir]) -> None:
    from core.cli.local_runs import catch_up

    if not arguments.cached:
        catch_up(home, found)


def _list_on(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import table
    from core.spec.machines.machines import Machines

    machines = Machines(home_folder(arguments.home))
    try:
        found = machines.host(arguments.on).runs().result()
    finally:
        machines.close()
    if arguments.json:
        print(json.dumps([one.model_dump(mode="json") for one in found], indent=1))
        return 0
    rows = [("run", "state", "step"), *((one.name, one.state.value, f"{one.step}/{one.total_steps}") for one in found)]
    print(table(rows))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import read_row, table

    home = home_folder(arguments.home)
    run = find_run(home, arguments.run)
    _catch_up(arguments, home, [run])
    row = read_row(run)
    if arguments.json:
        print(json.dumps(row.plain(), indent=1))
        return 0
    where = f" on {row.machine}" if row.machine else ""
    print(one_line(f"{row.name}: {row.experiment}, {row.state}{where}, step {row.step}/{row.total_steps}"))
    print(one_line(row.folder))
    if row.note:
        print(one_line(row.note))
    if not row.metrics:
        return 0
    lines = [("metric", "last", "@", "best", "@")]
    for name, one in sorted(row.metrics.items()):
        lines.append((name, f"{one.last:.5g}", str(one.last_step), f"{one.best:.5g}", str(one.best_step)))
    print(table(lines))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import changed_fields, read_row, table
    from core.spec.run.provenance import differing, read_provenance

    home = home_folder(arguments.home)
    folders = [find_run(home, name) for name in arguments.runs]
    _catch_up(arguments, home, folders)
    fields, rows = changed_fields(folders), [read_row(run) for run in folders]
    environment = differing([read_provenance(run) for run in folders])
    if arguments.json:
        plain = {"fields": fields, "environment": environment, "runs": [row.plain() for row in rows]}
        print(json.dumps(plain, indent=1))
        return 0
    lines = [("", *(row.name for row in rows))]
    for name, values in (*fields.items(), *environment.items()):
        lines.append((name, *("" if value is None else str(value) for value in values)))
    for name in sorted({name for row in rows for name in row.metrics}):
        shown = [f"{row.metrics[name].best:.5g}" if name in row.metrics else "" for row in rows]
        lines.append((f"best {name}", *shown))
    print(table(lines))
    return 0


def _launch(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import start_chain_here, start_here
    from core.spec.chain import is_chain, read_chain
    from core.spec.config import override, read_config, with_absolute_paths
    from core.spec.run.folder import RunDir, new_name

    chain = read_chain(arguments.config).changed(arguments.set) if is_chain(arguments.config) else None
    config = chain.stages[0].config if chain else override(read_config(arguments.config), arguments.set)
    home, devices = home_folder(arguments.home), [one for one in arguments.devices.split(",") if one]
    folder = runs_folder(home) / new_name(chain.name if chain else config.name)
    if arguments.on:
        return _launch_there(arguments, folder, config, chain, devices)
    if arguments.script or arguments.print_script:
        raise UserError("a script is for Slurm: name a machine with --on.")
    if chain is not None:
        start_chain_here(folder, chain, devices)
    else:
        start_here(RunDir(folder), with_absolute_paths(config).to_json(), devices)
    print(folder)
    return 0


def _launch_there(
    arguments: argparse.Namespace, folder: Path, config: RunConfig, chain: Chain | None, devices: Sequence[str]
) -> int:
    from core.spec.chain import ChainDir, write_chain
    from core.spec.errors import writing
    from core.spec.machines.machines import Machines
    from core.spec.machines.remote_runs import RemoteRuns
    from core.spec.run.folder import RunDir

    run = ChainDir(folder).stage(chain, 0) if chain else RunDir(folder)
    script = _script(arguments.script) if arguments.script else ""
    remote = RemoteRuns(Machines(home_folder(arguments.home)))
    try:
        host = remote.machines.host(arguments.on)
        if arguments.print_script:
            stage = run.path.name if chain else ""
            print(host.script(folder.name, devices, stage=stage).result(), end="")
            return 0
        if not arguments.unchecked:
            _refuse_missing(host.check_data(config.to_json()).result())
        if chain is not None:
            with writing(folder, UserError):
                write_chain(folder, chain)
        remote.launch(run, arguments.on, config.to_json(), devices, script)
    finally:
        remote.close()
    print(folder)
    return _handed_over(run)


def _script(path: Path) -> str:
    try:
        return read_text(path, LONGEST_SCRIPT, error=UserError)
    except FileNotFoundError as error:
        raise UserError(f"there is no script {path}; give the file of an sbatch script.") from error


def _handed_over(run: RunDir) -> int:
    """0; 1 with a word on stderr where the machine could not be reached yet."""
    from core.spec.chain import run_label
    from core.spec.machines.record import read_record

    record = read_record(run)
    if record is None or not record.waiting:
        return 0
    say(
        f"{record.machine} could not be reached; the run is handed over when the window, or sdgui-core logs "
        f"{run_label(run.path)} --follow, reaches it again"
    )
    return 1


def _refuse_missing(findings: Sequence[Finding]) -> None:
    """Raise UserError with all that the machine does not have."""
    wrong = [f"{one.what}: {one.found} {one.remedy}" for one in findings if not one.works]
    if wrong:
        raise UserError("\n".join(wrong))


def _ask(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import ask_here
    from core.spec.machines.machines import Machines
    from core.spec.machines.record import read_record

    home = home_folder(arguments.home)
    run = find_run(home, arguments.run)
    record, kill = read_record(run), bool(getattr(arguments, "kill", False))
    if record is None:
        ask_here(run, arguments.what, kill)
        say(one_line(f"{run.path.name}: {_asked_for(arguments.what, kill)}"))
        return 0
    machines = Machines(home)
    try:
        host = machines.host(record.machine)
        folder = _there(run)
        asked = host.end(folder, "kill") if kill else host.control(folder, arguments.what)
        state = asked.result().state
        say(one_line(f"{run.path.name}: {_asked_for(arguments.what, kill) if state.alive else state.value}"))
    finally:
        machines.close()
    return 0


def _asked_for(what: str, kill: bool) -> str:
    """What the trainer is doing now that it was asked to end: it saves its state first, which takes a while."""
    return "killed" if kill else "pausing" if what == "pause" else "stopping"


def _there(run: RunDir) -> str:
    from core.spec.machines.record import read_record

    record = read_record(run)
    if record is None or not record.folder:
        raise UserError(f"{run.path.name} has not reached its machine yet; open the window, or launch it again.")
    return record.folder


def _resume(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import resume_here
    from core.spec.machines.machines import Machines
    from core.spec.machines.mirror import InUse
    from core.spec.machines.record import read_record
    from core.spec.machines.remote_runs import RemoteRuns

    home = home_folder(arguments.home)
    run = find_run(home, arguments.run)
    if read_record(run) is None:
        resume_here(run)
        return 0
    remote = RemoteRuns(Machines(home))
    try:
        remote.resume(run)
    except InUse:  # the window follows it, and sees what it does there
        remote.resume_unfollowed(run)
    finally:
        remote.close()
    return _handed_over(run)


def _reproduce(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import reproduce

    home = home_folder(arguments.home)
    return reproduce(home, find_run(home, arguments.run), arguments.output, arguments.launch, arguments.json)


def _logs(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import follow_logs

    home = home_folder(arguments.home)
    return follow_logs(home, find_run(home, arguments.run), arguments.follow, arguments.events)


def _fetch(arguments: argparse.Namespace) -> int:
    from core.spec.machines.fetching import fetch_checkpoint
    from core.spec.machines.machines import Machines
    from core.spec.machines.record import no_record, read_record

    home = home_folder(arguments.home)
    run = find_run(home, arguments.run)
    record = read_record(run)
    if record is None:
        raise UserError(no_record(run))
    machines = Machines(home)
    terminal = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if terminal:
            print(f"\r{done / 2**20:.0f} of {total / 2**20:.0f} MB", end="", file=sys.stderr, flush=True)

    try:
        print(fetch_checkpoint(machines.host(record.machine), run, arguments.checkpoint, show))
    finally:
        machines.close()
    return 0
