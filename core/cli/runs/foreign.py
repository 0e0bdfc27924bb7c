"""The commands ``runs import`` and ``runs export``: runs from other tools, and for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.homes import add_home, find_run, runs_folder
from core.cli.terminal import Subparsers, one_line, say

if TYPE_CHECKING:
    from core.tracking.foreign.importing import Importer


def add(commands: Subparsers) -> None:
    """Add ``import`` and ``export`` to ``runs``."""
    command = commands.add_parser(
        "import", help="import runs of TensorBoard, W&B, MLflow, Trackio, transformers, open_clip, and tables"
    )
    command.add_argument("source", type=Path, metavar="SOURCE", help="a folder of logs, or a file")
    command.add_argument("--follow", action="store_true", help="continue until the runs end, or Ctrl+C")
    command.set_defaults(handler=_import)
    add_home(command)
    command = commands.add_parser("export", help="write a run for TensorBoard, MLflow or W&B (offline)")
    command.add_argument("run", metavar="RUN")
    command.add_argument("--to", required=True, choices=("tensorboard", "mlflow", "wandb"), help="the other tool")
    command.add_argument("output", type=Path, metavar="OUT", help="the tool's log folder; for MLflow also a .db file")
    command.add_argument("--follow", action="store_true", help="continue until the run ends")
    command.set_defaults(handler=_export)
    add_home(command)


def _import(arguments: argparse.Namespace) -> int:
    from core.tracking.foreign.importing import import_runs

    failed: set[Path | None] = set()

    def report(importer: Importer | None, problem: str) -> None:
        if importer is None:
            failed.add(None)
            say(one_line(problem))
            return
        failed.discard(importer.dir.path)
        if problem:
            failed.add(importer.dir.path)
            say(one_line(f"{importer.run.name}: {problem}"))
        else:
            print(one_line(f"{importer.run.tool}  {importer.points} points  {importer.dir.path}"), flush=True)
        for what, count in importer.problems.items():
            say(one_line(f"{importer.run.name}: skipped {what}: {count}"))

    import_runs(arguments.source, runs_folder(arguments.home), arguments.follow, report)
    return 1 if failed else 0


def _export(arguments: argparse.Namespace) -> int:
    from core.tracking.foreign.mirrors import export_run

    run = find_run(arguments.home, arguments.run)
    print(export_run(run, arguments.to, arguments.output, arguments.follow))
    return 0
