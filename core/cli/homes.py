"""The home folder, which the window and the command line share, and finding its runs by name."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path

from core.spec.chain import ChainDir, chain_file, run_label
from core.spec.errors import UserError
from core.spec.paths import expand_user
from core.spec.reading import excerpt
from core.spec.run.folder import RunDir


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--home``."""
    parser.add_argument(
        "--home", type=home_folder, default="", metavar="DIR", help="folder for runs (default: the window's)"
    )


def home_folder(name: str = "") -> Path:
    """The home folder ``name``, or by default the window's folder."""
    if name:
        return expand_user(name).absolute()
    import platformdirs

    return Path(platformdirs.user_data_path("sdgui", appauthor=False))


def runs_folder(home: Path) -> Path:
    """The folder of all runs in ``home``."""
    return home / "runs"


def find_run(home: Path, name: str) -> RunDir:
    """The run that ``name`` denotes: a folder, or a run in ``home`` by its name or the end of its name.

    A chain's folder or name denotes the stage that started last. Raises UserError unless exactly one run matches.
    """
    path = expand_user(name)
    if (path / "config.json").is_file():
        return RunDir(path.absolute())
    if (path / "chain.json").is_file() and (stage := ChainDir(path.absolute()).current()):
        return stage
    matches: dict[Path, RunDir] = {}  # folder of the run or chain -> the run, or the last stage
    for run in runs(home):
        chain = chain_file(run.path)
        if name and run_label(run.path).endswith(name):
            matches[run.path] = run
        elif name and chain and chain.parent.name.endswith(name):
            matches[chain.parent] = ChainDir(chain.parent).current() or run
    if len(matches) == 1:
        return next(iter(matches.values()))
    if not matches:
        raise UserError(f"there is no run {excerpt(name)} in {runs_folder(home)}; list them with sdgui-core runs list.")
    names = ", ".join(run_label(run.path) for run in list(matches.values())[:5])
    raise UserError(f"{excerpt(name)} matches {len(matches)} runs ({names}); use a longer part of the name.")


def runs(home: Path) -> list[RunDir]:
    """All runs in ``home``, including stages of chains, oldest first by the folder's modification time."""
    folders: list[tuple[float, str, str]] = []  # time, name, path
    with suppress(OSError), os.scandir(runs_folder(home)) as entries:
        for entry in entries:
            with suppress(OSError):  # a folder that is being deleted or cannot be read does not hide the others
                if Path(entry.path, "config.json").exists():
                    folders.append((entry.stat().st_mtime, entry.name, entry.path))
                elif Path(entry.path, "chain.json").exists():
                    stages = [path.parent for path in Path(entry.path).glob("stage-*/config.json")]
                    folders += [(path.stat().st_mtime, path.name, str(path)) for path in stages]
    return [RunDir(path) for _, _, path in sorted(folders)]
