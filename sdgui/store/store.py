"""Store: experiments, runs, summaries, tags, notes and the queue, in SQLite or PostgreSQL; the only owner of sessions.

Flow: opened once by the window. Panels read and change configs here; the follower records what runs report; the
launcher adds and queues runs. The store returns frozen records, never rows. Runs and configs can be
rebuilt from the run folders; names, tags, notes, caption lists and data fixes cannot.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import NamedTuple, Self

from sqlalchemy import select

from core.spec.config import ConfigError, RunConfig
from core.spec.errors import UserError, not_written
from core.spec.reading import excerpt
from core.spec.run.events import EventError
from core.spec.run.folder import RunDir
from core.spec.run.logged import LoggedConfig, read_any_config, read_logged
from core.spec.run.status import process_alive
from sdgui.store.captions import CaptionRecords
from sdgui.store.database import MIGRATIONS, open_database
from sdgui.store.experiments import ExperimentRecords, experiment_row
from sdgui.store.local.fixes import FixRecords
from sdgui.store.local.panel_results import ResultRecords
from sdgui.store.marks import MarkRecords
from sdgui.store.queue import QueueRecords
from sdgui.store.records import Run, StoreError, StoreUnavailableError
from sdgui.store.registry.activity import ActivityRecords, record_activity
from sdgui.store.registry.address import RegistryAddress
from sdgui.store.registry.server import open_registry
from sdgui.store.run_table.configs import ConfigRecords
from sdgui.store.run_table.queries import RunTableRecords
from sdgui.store.run_table.step_values import StepValueRecords
from sdgui.store.run_table.tagging import TaggingRecords
from sdgui.store.runs import run_row
from sdgui.store.sessions import clean_line
from sdgui.store.studies import StudyRecords
from sdgui.store.summary import folder_progress
from sdgui.store.tables import RunRow

DATABASE = "sdgui.db"
_CREATION_SECONDS = 60.0  # a younger folder without config.json may be a run folder that is being created
_IMPORT_SECONDS = 0.5  # time limit of one call of ``import_logged``, so that live runs are followed in between
DELETED = ".deleted"  # suffix of a run folder that is being deleted; it stays if the deletion is interrupted


class _ListedRun(NamedTuple):
    id: int
    launched: float | None
    offset: int


class Store(
    ExperimentRecords,
    QueueRecords,
    CaptionRecords,
    StudyRecords,
    MarkRecords,
    FixRecords,
    ResultRecords,
    ActivityRecords,
    ConfigRecords,
    RunTableRecords,
    TaggingRecords,
    StepValueRecords,
):
    """The database of the window. Its methods are thread-safe and raise StoreError.

    A method that reads or changes records is one transaction; imports have one for each added run or experiment.

    `Sessions` sets ``runs_folder``, ``_examined_names`` and ``_logged_stamp``.
    """

    @classmethod
    def open(cls, home: Path, registry: RegistryAddress | None = None) -> Self:
        """Open the store in the folder ``home``; it is created or migrated as needed.

        With ``registry``, shared records are stored in the registry; run folders, caption lists and marks stay in the
        home. Raises StoreError, and leaves the file untouched, if the database is damaged or from a newer version.
        """
        home = home.absolute()
        try:
            (home / "runs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"Cannot write to the folder {home}: {error.strerror}; choose another folder with --home."
            ) from error
        local_database = open_database(home / DATABASE)
        return cls(home, local_database if registry is None else open_registry(registry, MIGRATIONS), local_database)

    @classmethod
    def rebuild(cls, home: Path, report: Callable[[int, int], object] | None = None) -> tuple[Self, list[str]]:
        """Rename a damaged database, create a new one and import every run folder; also returns error messages.

        If a call is killed, the next one continues. ``report`` receives the number of folders read, and their total.
        """
        home = home.absolute()
        suffix, unfinished = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}", home / f"{DATABASE}.rebuilding"
        try:
            files = [] if unfinished.exists() else [home / (DATABASE + ending) for ending in ("", "-wal", "-shm")]
            for file in files:
                if file.exists():
                    file.rename(file.with_name(file.name + suffix))
            home.mkdir(parents=True, exist_ok=True)
            unfinished.touch()
            store = cls.open(home)
            problems = store.import_folders(report, only_new=True)
            unfinished.unlink()
        except OSError as error:
            blocked = error.filename or home
            if error.filename2 is None:  # not from ``rename``
                raise StoreError(not_written(blocked, error)) from error
            raise StoreError(f"{blocked} cannot be renamed: {error.strerror}; close programs that use it.") from error
        return store, problems

    @property
    def registry(self) -> RegistryAddress | None:
        """The address of the shared registry; None if everything is in the home's file."""
        return self._database.location if isinstance(self._database.location, RegistryAddress) else None

    def compile_first_queries(self) -> None:
        """Compile the SQL that panels need first. Slow: call it in a background thread."""
        with suppress(StoreError):
            self.experiment(0)  # no such row
        self.runs(0)
        self.run_count(0)
        self.changed_times()
        runs = [*self.alive_runs(), *self.queue(), *self.latest_runs(1)]
        self.run_labels([run.id for run in runs])

    def import_folders(self, report: Callable[[int, int], object] | None = None, only_new: bool = False) -> list[str]:
        """Read every run folder in ``runs`` again, oldest first, and add missing runs; returns error messages.

        Unreadable folders are skipped. Names, tags and notes are kept. ``report`` receives the number of folders read,
        and their total. ``only_new`` skips folders whose events have already been read.
        """
        problems, folders, experiments_by_key = [], _run_folders(self.runs_folder), self._experiments_by_key()
        listed = self._listed()
        for number, folder in enumerate(folders, 1):
            if report is not None:
                report(number, len(folders))
            try:
                row = listed.get(self._folder_text(folder))
                has_read_events = row is not None and row.offset > 0
                if not (only_new and has_read_events):
                    self._import(folder, None, experiments_by_key, listed)
            except UserError as error:
                problems.append(str(error))
            except Exception as error:  # noqa: BLE001  the other folders are still read
                problems.append(f"{folder} could not be read: {type(error).__name__}: {excerpt(str(error))}.")
        return problems

    def import_run(
        self, folder: Path, experiment_id: int | None = None, tags: Iterable[str] = (), first_stage: int | None = None
    ) -> Run:
        """Import the run in ``folder`` from its config.json and events; a known folder is read again.

        It is listed under ``experiment_id``, otherwise under an experiment with the same config or name, or a new
        one. A new run gets ``tags``. ``first_stage``: id of the first stage of its chain, whose machine and devices a
        new run copies.
        """
        if experiment_id is not None:
            self.experiment(experiment_id)  # raises StoreError if it was deleted
        experiments_by_key, listed = self._experiments_by_key(), self._listed(folder)
        return self.run(self._import(folder, experiment_id, experiments_by_key, listed, tags, first_stage))

    def _import(
        self,
        folder: Path,
        experiment_id: int | None,
        experiments_by_key: dict[str, int],
        listed: Mapping[str, _ListedRun],
        tags: Iterable[str] = (),
        first_stage: int | None = None,
    ) -> int:
        """Import a run; returns its id. ``experiments_by_key``: from ``_experiments_by_key``; updated by this call."""
        run_dir = RunDir(folder.absolute())
        try:
            config = read_any_config(run_dir.config)
        except ConfigError as error:
            raise StoreError(f"{folder} is not a readable run folder: {error}") from error
        text = self._folder_text(run_dir.path)
        existing = listed.get(text)
        try:  # before any row is added, so that an unreadable folder leaves none
            progress = folder_progress(run_dir, existing.launched if existing else None, time.time())
        except EventError as error:
            raise StoreError(f"{folder} is not a readable run folder: {error}") from error
        if existing:
            self.record(existing.id, progress, rewritten=True)
            return existing.id
        if experiment_id is None:
            experiment_id = self._experiment_for(config, experiments_by_key)
        if isinstance(config, LoggedConfig):
            tags = (*config.tags, *tags)
        return self.add_imported(experiment_id, text, config, progress, tags, first_stage)

    def _experiment_for(self, config: RunConfig | LoggedConfig, experiments_by_key: dict[str, int]) -> int:
        """The experiment with the same config, otherwise with the same name; for a logged run, that of its project.

        Without a match, a new experiment, which is added to ``experiments_by_key``.
        """
        if isinstance(config, LoggedConfig):
            keys: tuple[str, ...] = (f"project {config.project}",)
            template: RunConfig | LoggedConfig = LoggedConfig(name=config.project, project=config.project)
        else:
            keys, template = (f"digest {config.digest()}", f"name {clean_line(config.name)}"), config
        experiment_id = next((experiments_by_key[key] for key in keys if key in experiments_by_key), None)
        if experiment_id is None:
            experiment_id = self.add_experiment(template.to_json()).id
            experiments_by_key |= dict.fromkeys(keys, experiment_id)
        return experiment_id

    def _experiments_by_key(self) -> dict[str, int]:
        """Ids of experiments by config digest and by name; for duplicates, the oldest experiment."""
        ids: dict[str, int] = {}
        for experiment in self.experiments():
            if experiment.config is not None:
                ids.setdefault(f"digest {experiment.config.digest()}", experiment.id)
                ids.setdefault(f"name {experiment.name}", experiment.id)
            elif experiment.logged_project:
                ids.setdefault(f"project {experiment.logged_project}", experiment.id)
        return ids

    def import_logged(self) -> list[str]:
        """Add runs that scripts have begun to log to the runs folder since the last call; returns error messages.

        Cheap if nothing was added to the folder. A call stops after `_IMPORT_SECONDS`; the next one continues.
        """
        try:
            stamp = self.runs_folder.stat().st_mtime_ns
            if stamp == self._logged_stamp:
                return []
            names = {entry.name for entry in os.scandir(self.runs_folder)} - self._examined_names
        except OSError:  # temporarily unreachable
            return []
        with self._read() as session:
            listed_names = {PurePath(text).name for text in session.scalars(select(RunRow.folder))}
        problems, unfinished, deadline = [], False, time.monotonic() + _IMPORT_SECONDS
        new_names = sorted(names - listed_names)
        experiments_by_key = self._experiments_by_key() if new_names else {}
        for name in new_names:
            folder = self.runs_folder / name
            try:
                if not (folder / "config.json").exists():  # still being created, or not a run folder
                    unfinished = unfinished or time.time() - folder.stat().st_mtime < _CREATION_SECONDS
                    continue
                if not name.endswith(DELETED) and read_logged(folder / "config.json") is not None:
                    self._import(folder, None, experiments_by_key, {})
            except StoreUnavailableError:
                raise  # the database is locked or full: the next call tries this folder again
            except FileNotFoundError:  # deleted in between, or a broken link
                pass
            except OSError as error:
                problems.append(f"{folder} could not be read: {error.strerror}.")
            except UserError as error:
                problems.append(str(error))
            self._examined_names.add(name)
            if time.monotonic() > deadline:
                unfinished = True
                break
        self._examined_names |= listed_names
        if not unfinished:
            self._logged_stamp = stamp
        return problems

    def _listed(self, folder: Path | None = None) -> dict[str, _ListedRun]:
        """Listed runs by stored folder; only the run in ``folder`` if given."""
        query = select(RunRow.folder, RunRow.id, RunRow.launched, RunRow.offset)
        if folder is not None:
            query = query.where(RunRow.folder == self._folder_text(folder))
        with self._read() as session:
            return {
                text: _ListedRun(run_id, launched, offset) for text, run_id, launched, offset in session.execute(query)
            }

    def owns(self, run: Run) -> bool:
        """Whether the store may delete the run's folder; it may not for runs of studies and imported runs."""
        return run.is_local and run.folder.is_relative_to(self._folder_path("."))

    def delete_experiment(self, experiment_id: int, permanently: bool = False, folders: bool = False) -> None:
        """Move an experiment to the bin, or delete it and its runs ``permanently``, with or without ``folders``.

        Raises StoreError if one of its runs is alive, or if ``folders`` is set and the experiment is not in the bin.
        """
        with _deleting_folders() as remove, self._write() as session:
            row = experiment_row(session, experiment_id)
            rows = session.scalars(select(RunRow).where(RunRow.experiment_id == experiment_id))
            runs = [self._run_record(run) for run in rows]
            for run in runs:
                _refuse_alive(run)
            action = "deleted permanently" if permanently else "deleted"
            record_activity(session, action, row)
            if not permanently:
                row.deleted = time.time()
                return
            if folders:
                _require_in_bin(f"“{row.name}”", row.deleted)
                remove([run.folder for run in runs if self.owns(run)])
            session.delete(row)

    def delete_run(self, run_id: int, permanently: bool = False, folder: bool = False) -> None:
        """Move a run to the bin, or delete it ``permanently``, optionally with its ``folder`` if the store ``owns`` it.

        Raises StoreError if the trainer is alive, or if ``folder`` is set and the run is not in the bin.
        """
        with _deleting_folders() as remove, self._write() as session:
            row = run_row(session, run_id)
            run = self._run_record(row)
            _refuse_alive(run)
            action = "deleted permanently" if permanently else "deleted"
            record_activity(session, action, row)
            if not permanently:
                row.deleted = time.time()
                return
            if folder:
                _require_in_bin(f"Run {row.key}", row.deleted)
                remove([run.folder] if self.owns(run) else [])
            session.delete(row)


def _run_folders(runs: Path) -> list[Path]:
    """Folders with a config, including stages of chains, oldest first."""
    dated: list[tuple[float, Path]] = []
    for config in (*runs.glob("*/config.json"), *runs.glob("*/stage-*/config.json")):
        if any(part.endswith(DELETED) for part in config.relative_to(runs).parts):
            continue
        with suppress(OSError):  # deleted in between, or a broken link
            dated.append((config.stat().st_mtime, config.parent))
    return [folder for _, folder in sorted(dated)]


def _refuse_alive(run: Run) -> None:
    if not run.is_local:
        if run.state.alive:
            raise StoreError(
                f"The run {run.key} is still active on {run.owner_host}; ask {run.owner} to stop it first."
            )
        return
    status = run.dir.read_status()
    if status is not None and process_alive(status):
        raise StoreError(f"The run {run.folder.name} is still active; stop it before deleting it.")


def _require_in_bin(subject: str, deleted: float | None) -> None:
    if deleted is None:
        raise StoreError(f"{subject} was not deleted: another window has restored it from the bin.")


@contextmanager
def _deleting_folders() -> Iterator[Callable[[Sequence[Path]], None]]:
    """Yield a function that renames run folders; they are deleted after the block, or renamed back if it fails."""
    new_paths: dict[Path, Path] = {}

    def remove(folders: Sequence[Path]) -> None:
        for folder in folders:
            if folder.exists():
                new_paths[folder] = _mark_as_deleted(folder)

    try:
        yield remove
    except BaseException:
        for folder, new_path in new_paths.items():
            with suppress(OSError):  # the first error is reported
                new_path.rename(folder)
        raise
    for new_path in new_paths.values():
        _delete_folder(new_path)


def _mark_as_deleted(folder: Path) -> Path:
    """Rename a run's folder, atomically; returns the new path."""
    if not (folder / "config.json").is_file():
        raise StoreError(f"{folder} is not a run folder, so it was not deleted; move it elsewhere first.")
    try:
        return folder.rename(folder.with_name(folder.name + DELETED))
    except OSError as error:
        raise StoreError(f"{folder} cannot be deleted: {error.strerror}; close the programs that use it.") from error


def _delete_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"{folder} was only partly deleted: {error.strerror}; delete it yourself.") from error
