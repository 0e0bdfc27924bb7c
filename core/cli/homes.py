"""The home folder that window and verbs share, and runs in it by their names."""

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
    """The option ``--home``."""
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder for runs (default: the window's)")


def home_folder(home: Path | None) -> Path:
    """The folder given, or the one that the window uses."""
    if home is not None:
        return expand_user(home).absolute()
    import platformdirs

    return Path(platformdirs.user_data_path("sdgui", appauthor=False))


def runs_folder(home: Path) -> Path:
    """Where the runs of the window are."""
    return home / "runs"


def find_run(home: Path, name: str) -> RunDir:
    """The run that ``name`` means: a folder, or a run of ``home`` by its name or an end of it (its key).

    A chain's folder or name means the stage that began last. UserError when there is none, or more than one.
    """
    path = expand_user(name)
    if (path / "config.json").is_file():
        return RunDir(path.absolute())
    if (path / "chain.json").is_file() and (stage := ChainDir(path.absolute()).current()):
        return stage
    known: dict[Path, RunDir] = {}  # by the run's folder, or the chain's: of its stages the last counts
    for one in runs(home):
        chain = chain_file(one.path)
        if name and run_label(one.path).endswith(name):
            known[one.path] = one
        elif name and chain and chain.parent.name.endswith(name):
            known[chain.parent] = ChainDir(chain.parent).current() or one
    if len(known) == 1:
        return next(iter(known.values()))
    if not known:
        raise UserError(f"there is no run {excerpt(name)} in {runs_folder(home)}; sdgui-core runs list shows them.")
    names = ", ".join(run_label(one.path) for one in list(known.values())[:5])
    raise UserError(f"{excerpt(name)} can mean {len(known)} runs ({names}); write more of its name.")


def runs(home: Path) -> list[RunDir]:
    """Every run in ``home``, stages of chains too, oldest first by its folder's time."""
    folders: list[tuple[float, str, str]] = []  # time, name, path
    with suppress(OSError), os.scandir(runs_folder(home)) as entries:
        for entry in entries:
            if Path(entry.path, "config.json").exists():
                folders.append((entry.stat().st_mtime, entry.name, entry.path))
            elif Path(entry.path, "chain.json").exists():
                stages = [path.parent for path in Path(entry.path).glob("stage-*/config.json")]
                folders += [(path.stat().st_mtime, path.name, str(path)) for path in stages]
    return [RunDir(path) for _, _, path in sorted(folders)]
