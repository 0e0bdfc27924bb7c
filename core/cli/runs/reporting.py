"""The command ``runs report``: writes a page about runs, as HTML, Markdown or LaTeX."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.cli.homes import add_home, find_run, runs
from core.cli.terminal import Subparsers
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.logged import experiment_name, read_any_config


def add(commands: Subparsers) -> None:
    """Add ``report`` to ``runs``."""
    report = commands.add_parser("report", help="write a page about runs: note, table, differing settings, curves")
    report.add_argument("runs", nargs="*", metavar="RUN")
    report.add_argument("--experiment", default="", metavar="NAME", help="all runs of this experiment")
    report.add_argument("--study", type=Path, metavar="DIR", help="all runs of this study, and its tables")
    report.add_argument("--output", type=Path, required=True, metavar="FILE", help="FILE.html, FILE.md or FILE.tex")
    report.add_argument("--title", default="", metavar="TEXT")
    report.add_argument("--note", type=Path, metavar="FILE.md", help="a note for the beginning, in Markdown")
    add_home(report)
    report.set_defaults(handler=_report)


def _report(arguments: argparse.Namespace) -> int:
    from core.spec.errors import writing
    from core.spec.files import write_whole
    from core.spec.reading import MEGABYTE, read_text
    from core.spec.report.content import collect
    from core.spec.report.render import FORMATS, to_bytes
    from core.spec.study import StudyDir

    write = FORMATS.get(arguments.output.suffix.lower())
    if write is None:
        raise UserError(f"{arguments.output} has no supported extension; use {', '.join(FORMATS)}.")
    home, study = arguments.home, StudyDir(arguments.study) if arguments.study else None
    run_dirs = [find_run(home, name) for name in arguments.runs]
    if arguments.experiment:
        run_dirs += [run for run in runs(home) if _experiment_of(run) == arguments.experiment]
    if study is not None:
        run_dirs += [RunDir(file.parent) for file in sorted((study.path / "runs").glob("*/config.json"))]
    if not run_dirs:
        raise UserError("there are no runs to report; specify runs, an --experiment or a --study.")
    note = read_text(arguments.note, MEGABYTE, error=UserError) if arguments.note else ""
    title = arguments.title or arguments.experiment or (study.path.name if study else run_dirs[0].path.name)
    with writing(arguments.output, UserError):
        write_whole(arguments.output, to_bytes(write(collect(title, run_dirs, note, study))))
    print(arguments.output)
    return 0


def _experiment_of(run: RunDir) -> str | None:
    """The experiment of ``run``; None if its config cannot be read."""
    try:
        return experiment_name(read_any_config(run.config))
    except UserError:
        return None
