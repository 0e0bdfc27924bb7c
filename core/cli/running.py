"""The commands for local and remote runs: ``runs launch pause stop resume logs fetch``."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home, find_run, runs, runs_folder
from core.cli.runs import foreign, reporting, watching
from core.cli.terminal import Subparsers, comma_separated, one_line, say
from core.spec.errors import UserError
from core.spec.machines.record import MAX_SCRIPT_LENGTH
from core.spec.paths import expand_user, is_folder
from core.spec.reading import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.spec.chain import Chain
    from core.spec.config import RunConfig
    from core.spec.machines.answers import Finding
    from core.spec.run.folder import RunDir

_START_HELP = {
    "launch": "start a run in the background, on this computer or a machine",
    "continue": "continue training from a checkpoint of a run, as a new run with the same settings",
    "fork": "start a new run with changed settings from a checkpoint of a run",
    "fine-tune": "start a new run with only the weights of a checkpoint",
}


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    listing = subparsers.add_parser("runs", help="list, show or compare runs")
    commands = listing.add_subparsers(metavar="WHAT", required=True)
    command = commands.add_parser("list", help="list all runs: state, step, best validation, machine")
    command.set_defaults(handler=_list)
    command = commands.add_parser("show", help="show a run with the last and best value of each metric")
    command.add_argument("run", metavar="RUN")
    command.set_defaults(handler=_show)
    command = commands.add_parser("compare", help="compare configs, code, packages, machines, data and metrics of runs")
    command.add_argument("runs", nargs="+", metavar="RUN")
    command.set_defaults(handler=_compare)
    for parser in commands.choices.values():
        parser.add_argument("--json", action="store_true", help="print as JSON")
        parser.add_argument("--cached", action="store_true", help="do not contact other machines; show the last state")
        add_home(parser)
    watching.add(commands)
    foreign.add(commands)
    reporting.add(commands)

    _add_launching(subparsers)
    for name, text in (("pause", "pause a run: save its state and exit"), ("stop", "stop a run and save its state")):
        command = subparsers.add_parser(name, help=text)
        command.add_argument("run", metavar="RUN")
        command.set_defaults(handler=_stop_or_pause, what=name, kill=False)
        if name == "stop":
            command.add_argument("--kill", action="store_true", help="kill the run without saving (scancel on Slurm)")
    resume = subparsers.add_parser("resume", help="resume a run from its last checkpoint")
    resume.add_argument("run", metavar="RUN")
    resume.set_defaults(handler=_resume)
    reproduce = subparsers.add_parser(
        "reproduce", help="compare code, packages and data with a run's; start the run again"
    )
    reproduce.add_argument("run", metavar="RUN")
    reproduce.add_argument("--output", type=Path, metavar="FILE", help="write the run's config to FILE")
    reproduce.add_argument("--launch", action="store_true", help="start the run again on this computer, as a new run")
    reproduce.add_argument("--json", action="store_true", help="print the differences as JSON")
    reproduce.set_defaults(handler=_reproduce)
    logs = subparsers.add_parser("logs", help="print a run's output")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("--follow", action="store_true", help="continue until the run ends")
    logs.add_argument("--events", action="store_true", help="print the run's events as JSON lines instead")
    logs.set_defaults(handler=_logs)
    fetch = subparsers.add_parser("fetch", help="fetch a checkpoint of a run from its machine")
    fetch.add_argument("run", metavar="RUN")
    fetch.add_argument("checkpoint", nargs="?", default="last", help="best, last, a step or a name (default: last)")
    fetch.set_defaults(handler=_fetch)
    for name in (*_START_HELP, "pause", "stop", "resume", "reproduce", "logs", "fetch"):
        add_home(subparsers.choices[name])


def _add_launching(subparsers: Subparsers) -> None:
    for name, text in _START_HELP.items():
        launch = subparsers.add_parser(name, help=text)
        launch.set_defaults(handler=_launch if name == "launch" else _start_from, kind=name, set=[])
        if name == "launch":
            launch.add_argument("config", type=Path, metavar="CONFIG.json", help="a config, or a chain of configs")
        else:
            launch.add_argument("run", metavar="RUN[@STEP]", help="an earlier run, and its checkpoint (default: last)")
        if name != "continue":
            launch.add_argument("--set", nargs="+", action="extend", metavar="FIELD=VALUE", help="override fields")
        launch.add_argument(
            "--on", default="", metavar="MACHINE", help="a machine of `machines list` (default: this computer)"
        )
        launch.add_argument(
            "--devices", type=comma_separated, default=[], metavar="0,1", help="GPUs to use (default: all)"
        )
        launch.add_argument(
            "--script", type=Path, metavar="FILE", help="sbatch script to use instead of the generated one"
        )
        launch.add_argument("--print-script", action="store_true", help="only print the sbatch script")
        launch.add_argument("--unchecked", action="store_true", help="do not check whether the data exists")


def _list(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import UNREADABLE, listed_rows, row_or_problem, table

    listed_runs = runs(arguments.home)
    _catch_up(arguments, listed_runs)
    if arguments.json:
        print(json.dumps([row_or_problem(run).to_data() for run in listed_runs], indent=1))
        return 0
    rows = listed_rows(arguments.home, listed_runs)
    lines = [("run", "state", "step", "best", "machine")]
    for row in rows:
        best = f"{row.best[1].best:.4f} @{row.best[1].best_step}" if row.best else ""
        lines.append((row.name, row.state, f"{row.step}/{row.total_steps}", best, row.machine))
    if rows:
        print(table(lines))
        for row in rows:
            if row.state == UNREADABLE:
                say(one_line(row.note))
    else:
        say(f"no runs yet in {runs_folder(arguments.home)}; start one with sdgui-core launch CONFIG.json")
    return 0


def _catch_up(arguments: argparse.Namespace, listed_runs: Sequence[RunDir]) -> None:
    from core.cli.local_runs import catch_up

    if not arguments.cached:
        catch_up(arguments.home, listed_runs)


def _show(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import read_row, table

    run = find_run(arguments.home, arguments.run)
    _catch_up(arguments, [run])
    row = read_row(run)
    if arguments.json:
        print(json.dumps(row.to_data(), indent=1))
        return 0
    on_machine = f" on {row.machine}" if row.machine else ""
    print(one_line(f"{row.name}: {row.experiment}, {row.state}{on_machine}, step {row.step}/{row.total_steps}"))
    print(one_line(row.folder))
    if row.note:
        print(one_line(row.note))
    if not row.metrics:
        return 0
    lines = [("metric", "last", "@", "best", "@")]
    for name, metric in sorted(row.metrics.items()):
        lines.append((name, f"{metric.last:.5g}", str(metric.last_step), f"{metric.best:.5g}", str(metric.best_step)))
    print(table(lines))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from core.cli.run_tables import comparison, table

    folders = [find_run(arguments.home, name) for name in arguments.runs]
    _catch_up(arguments, folders)
    differing = comparison(folders)
    if arguments.json:
        print(json.dumps(differing, indent=1))
        return 0
    rows = differing["runs"]
    lines = [("", *(row["name"] for row in rows))]
    for name, values in (*differing["fields"].items(), *differing["environment"].items()):
        lines.append((name, *("" if value is None else str(value) for value in values)))
    for name in sorted({name for row in rows for name in row["metrics"]}):
        best = [row["metrics"].get(name, {}).get("best") for row in rows]
        lines.append((f"best {name}", *("" if value is None else f"{value:.5g}" for value in best)))
    print(table(lines))
    return 0


def _launch(arguments: argparse.Namespace) -> int:
    from core.spec.chain import is_chain, read_chain
    from core.spec.config import override, read_config

    chain = read_chain(arguments.config).with_settings(arguments.set) if is_chain(arguments.config) else None
    config = chain.stages[0].config if chain else override(read_config(arguments.config), arguments.set)
    return _launch_config(arguments, config, chain)


def _start_from(arguments: argparse.Namespace) -> int:
    """Continue, fork or fine-tune a run as a new one."""
    from core.spec.config import override, read_config
    from core.spec.run.lineage import started_from
    from core.spec.run.model_names import resolve

    name, at, step = arguments.run.rpartition("@")
    if not at or is_folder(expand_user(arguments.run)):  # the name of a folder may contain an @
        name, step = arguments.run, "last"
    run = find_run(arguments.home, name)
    config = started_from(read_config(run.config), run, resolve(run, step), arguments.kind)
    return _launch_config(arguments, override(config, arguments.set))


def _launch_config(arguments: argparse.Namespace, config: RunConfig, chain: Chain | None = None) -> int:
    from core.cli.local_runs import start_local_chain, start_local_run
    from core.remote.checks import check_data
    from core.spec.config import with_absolute_paths
    from core.spec.run.folder import RunDir, new_name

    devices = arguments.devices
    folder = runs_folder(arguments.home) / new_name(chain.name if chain else config.name)
    if arguments.on:
        return _launch_remote(arguments, folder, config, chain)
    if arguments.script or arguments.print_script:
        raise UserError("a script is for Slurm; choose a machine with --on.")
    local_config = with_absolute_paths(config).to_json()
    if not arguments.unchecked:
        _check_findings(check_data(local_config))
    if chain is not None:
        start_local_chain(folder, chain, devices)
    else:
        start_local_run(RunDir(folder), local_config, devices)
    print(folder)
    return 0


def _launch_remote(arguments: argparse.Namespace, folder: Path, config: RunConfig, chain: Chain | None) -> int:
    from core.spec.chain import ChainDir, write_chain
    from core.spec.errors import writing
    from core.spec.machines.machines import Machines
    from core.spec.machines.remote_runs import RemoteRuns
    from core.spec.run.folder import RunDir

    run = ChainDir(folder).stage(chain, 0) if chain else RunDir(folder)
    script = _script(arguments.script) if arguments.script else ""
    with closing(RemoteRuns(Machines(arguments.home))) as remote:
        host = remote.machines.host(arguments.on)
        if arguments.print_script:
            stage = run.path.name if chain else ""
            print(host.script(folder.name, arguments.devices, stage=stage).result(), end="")
            return 0
        if not arguments.unchecked:
            _check_findings(host.check_data(config.to_json()).result())
        if chain is not None:
            with writing(folder, UserError):
                write_chain(folder, chain)
        remote.launch(run, arguments.on, config.to_json(), arguments.devices, script)
    print(folder)
    return _report_delivery(run)


def _script(path: Path) -> str:
    try:
        return read_text(path, MAX_SCRIPT_LENGTH, error=UserError)
    except FileNotFoundError as error:
        raise UserError(f"the script {path} does not exist; choose the file of an sbatch script.") from error


def _report_delivery(run: RunDir) -> int:
    """Return 0 if the run has reached its machine; otherwise 1, with a message on stderr."""
    from core.spec.chain import run_label
    from core.spec.machines.record import read_record

    record = read_record(run)
    if record is None or not record.waiting:
        return 0
    say(
        f"{record.machine} could not be reached; the run is sent once the window, or sdgui-core logs "
        f"{run_label(run.path)} --follow, reaches the machine"
    )
    return 1


def _check_findings(findings: Sequence[Finding]) -> None:
    """Raise UserError, listing everything that does not work on the run's machine."""
    problems = [f"{finding.name}: {finding.detail} {finding.remedy}" for finding in findings if not finding.works]
    if problems:
        raise UserError("\n  ".join(problems))


def _stop_or_pause(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import end_local_run
    from core.spec.machines.machines import Machines
    from core.spec.machines.record import read_record

    run = find_run(arguments.home, arguments.run)
    record, kill = read_record(run), arguments.kill
    # The trainer first saves its state, which takes a while.
    state = "killed" if kill else "pausing" if arguments.what == "pause" else "stopping"
    if record is None:
        end_local_run(run, arguments.what, kill)
    elif not record.folder:
        raise UserError(f"{run.path.name} has not reached its machine yet; open the window, or launch it again.")
    else:
        with closing(Machines(arguments.home)) as machines:
            host = machines.host(record.machine)
            answer = host.end(record.folder, "kill") if kill else host.control(record.folder, arguments.what)
            remote_state = answer.result().state
        state = state if remote_state.alive else remote_state.value
    say(one_line(f"{run.path.name}: {state}"))
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import resume_local_run
    from core.spec.machines.machines import Machines
    from core.spec.machines.mirror import InUse
    from core.spec.machines.record import read_record
    from core.spec.machines.remote_runs import RemoteRuns

    run = find_run(arguments.home, arguments.run)
    if read_record(run) is None:
        resume_local_run(run)
        return 0
    with closing(RemoteRuns(Machines(arguments.home))) as remote:
        try:
            remote.resume(run)
        except InUse:  # the window already follows the run
            remote.resume_without_following(run)
    return _report_delivery(run)


def _reproduce(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import reproduce

    run = find_run(arguments.home, arguments.run)
    return reproduce(arguments.home, run, arguments.output, arguments.launch, arguments.json)


def _logs(arguments: argparse.Namespace) -> int:
    from core.cli.local_runs import follow_logs

    run = find_run(arguments.home, arguments.run)
    return follow_logs(arguments.home, run, arguments.follow, arguments.events)


def _fetch(arguments: argparse.Namespace) -> int:
    from core.spec.machines.fetching import fetch_checkpoint
    from core.spec.machines.machines import Machines
    from core.spec.machines.record import no_record, read_record

    run = find_run(arguments.home, arguments.run)
    record = read_record(run)
    if record is None:
        raise UserError(no_record(run))
    terminal = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if terminal:
            print(f"\r{done / 2**20:.0f} of {total / 2**20:.0f} MB", end="", file=sys.stderr, flush=True)

    with closing(Machines(arguments.home)) as machines:
        print(fetch_checkpoint(machines.host(record.machine), run, arguments.checkpoint, show))
    return 0
