"""The command ``sweep``: search over settings, with Optuna."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home
from core.cli.terminal import Subparsers, comma_separated, folder_path, one_line, refuse_existing, say
from core.spec.errors import UserError, writing
from core.spec.files import write_whole

if TYPE_CHECKING:
    from core.spec.study.sweep_report import SweepReport


def add(subparsers: Subparsers) -> None:
    """Add this command to the parser."""
    sweep = subparsers.add_parser("sweep", help="search over settings: trials are proposed by Optuna")
    subcommands = sweep.add_subparsers(metavar="WHAT", required=True)
    run = subcommands.add_parser("run", help="train the trials of a sweep; repeat to resume, extend or edit it")
    run.add_argument("file", type=Path, metavar="FILE", help="sweep file, or the folder of a sweep to resume")
    run.add_argument("out", type=folder_path, metavar="OUT", nargs="?", help="folder of the sweep")
    run.add_argument("--trials", type=int, metavar="N", help="total number of trials (default: from FILE)")
    _add_machines(run)
    run.set_defaults(handler=_run)
    show = subcommands.add_parser("show", help="print all trials, the best trials and the importance of settings")
    show.add_argument("out", type=folder_path, metavar="OUT")
    show.add_argument("--json", action="store_true", help="print as JSON")
    show.set_defaults(handler=_show)
    best = subcommands.add_parser(
        "best", help="print the settings of the best trial, or of the Pareto front, in the format of --set"
    )
    best.add_argument("out", type=folder_path, metavar="OUT")
    best.add_argument("--config", type=Path, metavar="FILE", help="write the best trial's whole config")
    best.set_defaults(handler=_best)
    confirm = subcommands.add_parser(
        "confirm", help="train the best trials and the default again with new seeds, at equal compute"
    )
    confirm.add_argument("out", type=folder_path, metavar="OUT")
    confirm.add_argument("-k", "--best", type=int, default=3, metavar="K", help="number of trials (default: 3)")
    confirm.add_argument("--seeds", type=int, default=3, metavar="N", help="number of new seeds (default: 3)")
    confirm.add_argument(
        "--budget", type=float, default=0.0, metavar="SECONDS", help="training time (default: time of the default)"
    )
    confirm.add_argument(
        "--out", dest="study", type=Path, metavar="DIR", help="folder of the study (default: OUT/confirm)"
    )
    _add_machines(confirm)
    confirm.set_defaults(handler=_confirm)


def _add_machines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs on this computer (default: 1)")
    parser.add_argument(
        "--devices", type=comma_separated, default=[], metavar="0,1,...", help="GPUs, one for each parallel run"
    )
    parser.add_argument("--on", nargs="+", default=[], metavar="MACHINE", help="machines, see `study --on`")
    add_home(parser)


def _run(arguments: argparse.Namespace) -> int:
    from core.spec.installed import need
    from core.spec.study.sweep import parse_sweep, read_sweep
    from core.spec.study.sweep_report import SweepDir

    need("sweep")
    from core.studies.study.places.selection import PlaceOptions
    from core.studies.sweep.run import run_sweep

    file, out = arguments.file, arguments.out
    if out is None:
        if not SweepDir(file).sweep.is_file():
            raise UserError(f"specify a folder for the sweep after {file}, or the folder of a sweep to resume.")
        file, out = SweepDir(file).sweep, file
    sweep = read_sweep(file)
    if arguments.trials is not None:
        sweep = parse_sweep({**sweep.model_dump(), "trials": arguments.trials}, f"{file} with --trials")
    options = PlaceOptions(arguments.on, arguments.home, arguments.jobs, arguments.devices)
    report = run_sweep(sweep, file.parent, SweepDir(out.absolute()), say, options)
    _print(report)
    return 1 if report.trials and not report.best else 0


def _show(arguments: argparse.Namespace) -> int:
    report = _report(arguments.out)
    if arguments.json:
        print(report.model_dump_json(indent=1))
    else:
        _print(report)
    return 0


def _best(arguments: argparse.Namespace) -> int:
    from core.spec.study.sweep import read_sweep, settings
    from core.spec.study.sweep_report import SweepDir, trial_name

    refuse_existing(arguments.config)
    report = _report(arguments.out)
    if not report.best:
        raise UserError(f"no trial in {arguments.out} is complete and feasible yet; `sweep show` lists all trials.")
    for number in report.best:
        values = ", ".join(
            f"{objective.metric} {value:.4g}"
            for objective, value in zip(report.objectives, report.trials[number].values, strict=True)
        )
        print(one_line(f"# {trial_name(number)}: {values}"))
        print(one_line(" ".join(f"--set {setting}" for setting in settings(report.trials[number].params))))
    if arguments.config:
        trial = report.trials[report.best[0]]
        study = read_sweep(SweepDir(arguments.out).sweep).study([(trial_name(trial.number), trial.params)])
        with writing(arguments.config, UserError):
            write_whole(arguments.config, study.recipe(study.arms[1]).to_json().encode())
    return 0


def _confirm(arguments: argparse.Namespace) -> int:
    from core.cli.studying import report_study
    from core.spec.study import StudyDir
    from core.spec.study.sweep_report import SweepDir

    _report(arguments.out)
    if arguments.best < 1 or arguments.seeds < 1:
        raise UserError("-k and --seeds must be at least 1.")
    from core.studies.study.queue import run_study
    from core.studies.sweep.confirm import confirm_study

    out = SweepDir(arguments.out.absolute())
    folder = StudyDir(arguments.study.absolute() if arguments.study else out.confirm)
    study = confirm_study(out, folder, arguments.best, arguments.seeds, arguments.budget, say)
    status = run_study(
        study, out.path, folder, arguments.jobs, say, None, arguments.devices, machines=arguments.on,
        home=arguments.home,
    )  # fmt: skip
    return report_study(folder, status)


def _report(folder: Path) -> SweepReport:
    from core.spec.study.sweep_report import SweepDir

    report = SweepDir(folder).read_report()
    if report is None:
        raise UserError(f"{folder} is not the folder of a sweep; `sweep run FILE {folder}` creates one.")
    return report


def _print(report: SweepReport) -> None:
    from core.studies.sweep.show import markdown

    print(markdown(report), end="")
