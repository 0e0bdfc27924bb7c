"""Finds the runs of other tools in a folder tree. Links to folders are not followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from core.spec.reading import excerpt
from core.tracking.foreign import huggingface, mlflow, openclip, tables, tensorboard, trackio, wandb
from core.tracking.foreign.runs import ForeignError, ForeignRun, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first of these readers that finds a run in a folder reads it.
READERS = cast("Sequence[Reader]", (openclip, wandb, mlflow, trackio, huggingface, tensorboard, tables))
_OWN_SUBFOLDERS = {openclip.TOOL, wandb.TOOL, mlflow.TOOL}  # subfolders of such a run contain no other runs
_MAX_FOLDERS = 200_000
_TOOLS = "TensorBoard, W&B, MLflow, Trackio, transformers, open_clip, CSV and JSON lines with a step column"


def _ignore(problem: str) -> None: ...


def find_runs(source: Path, report: Callable[[str], object] = _ignore) -> list[ForeignRun]:
    """Every run in ``source``, a folder or a file, in the order of the paths. See `search_folders`."""
    return [run for runs in search_folders(source, report) for run in runs]


def search_folders(source: Path, report: Callable[[str], object] = _ignore) -> Iterator[list[ForeignRun]]:
    """The runs in each folder of ``source``, or in the file ``source``.

    ``report`` gets a sentence for each folder that cannot be read, such as one with a damaged database. Raises
    ForeignError if ``source`` does not exist or contains more than `_MAX_FOLDERS` folders.
    """
    source = source.absolute()
    if source.is_dir():
        yield from _runs_below(source, report)
        return
    if not source.exists():
        raise ForeignError(f"there is no file or folder {excerpt(str(source))}; choose logs of another tool.")
    folder = source.parent
    yield _runs_in(folder, {source.name}, folder)


def reader_of(run: ForeignRun) -> Reader:
    return next(reader for reader in READERS if run.tool == reader.TOOL)


def nothing_found(source: Path) -> ForeignError:
    """The error to raise for a source without runs."""
    return ForeignError(f"{excerpt(str(source))} contains no run of another tool; supported: {_TOOLS}.")


def _runs_below(root: Path, report: Callable[[str], object]) -> Iterator[list[ForeignRun]]:
    def report_unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a trainer removes old checkpoints
            report(f"{excerpt(str(error.filename))} cannot be read: {error.strerror or error}.")

    for count, (parent, folders, files) in enumerate(os.walk(root, onerror=report_unreadable)):
        if count > _MAX_FOLDERS:
            raise ForeignError(
                f"{excerpt(str(root))} has more than {_MAX_FOLDERS} subfolders; choose a smaller folder."
            )
        folders.sort()
        try:
            runs = _runs_in(Path(parent), set(files), root)
        except ForeignError as error:
            report(str(error))
            continue
        except OSError as error:
            report_unreadable(error)
            continue
        # The path of W&B's run is a file in its folder. Runs in a database of MLflow have no folder.
        if any(run.tool in _OWN_SUBFOLDERS and (run.path == Path(parent) or run.tool == wandb.TOOL) for run in runs):
            folders.clear()
        yield runs


def _runs_in(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
    return next((runs for reader in READERS if (runs := reader.find(folder, files, root))), [])
