"""Store: experiments, runs, summaries, tags, notes and the queue, in SQLite; the only owner of sessions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from core.config import RunConfig
from sdgui.store.records import Experiment, MetricSummary, Progress, Run


class Store:
    """Opened once by the window; every method is one transaction and may be called from any thread.

    All methods raise StoreError with a sentence for the user.
    """

    home: Path  # the data folder
    database: Path  # home / "sdgui.db"
    runs_folder: Path  # home / "runs"

    @classmethod
    def open(cls, home: Path | None = None) -> Store:
        """The store in ``home`` (default: the user's data folder), made or migrated as needed.

        Raises StoreError, leaving the file untouched, for a database from a newer version, and for a damaged one.
        """
        raise NotImplementedError

    @classmethod
    def rebuild(cls, home: Path | None = None) -> tuple[Store, list[str]]:
        """Put a damaged database aside, begin a new one and import every run folder; also what could not be."""
        raise NotImplementedError

    def close(self) -> None: ...

    # Experiments
    def experiments(self, deleted: bool = False) -> list[Experiment]:
        """All that are not in the bin (or all that are), oldest first."""
        raise NotImplementedError

    def experiment(self, experiment_id: int) -> Experiment: ...
    def add_experiment(self, config: RunConfig | str, name: str | None = None) -> Experiment:
        """A new experiment; ``name`` defaults to the definition's."""
        raise NotImplementedError

    def rename_experiment(self, experiment_id: int, name: str) -> Experiment: ...
    def duplicate_experiment(self, experiment_id: int, name: str | None = None) -> Experiment:
        """A copy without runs; named "... copy" unless ``name`` is given."""
        raise NotImplementedError

    def edit_experiment(self, experiment_id: int, config: RunConfig | str) -> Experiment:
        """Replace the definition (a draft that does not validate yet may be given as text)."""
        raise NotImplementedError

    def delete_experiment(self, experiment_id: int, for_good: bool = False, folders: bool = False) -> None:
        """Put it in the bin; or remove it and its runs ``for_good``, with their ``folders`` or without."""
        raise NotImplementedError

    def restore_experiment(self, experiment_id: int) -> Experiment: ...
    def tag_experiment(self, experiment_id: int, tags: Iterable[str]) -> Experiment:
        """Replace its tags."""
        raise NotImplementedError

    def note_experiment(self, experiment_id: int, note: str) -> Experiment: ...

    # Runs
    def runs(self, experiment_id: int | None = None, deleted: bool = False) -> list[Run]:
        """Runs of an experiment, or of all, oldest first."""
        raise NotImplementedError

    def run(self, run_id: int) -> Run: ...
    def add_run(self, experiment_id: int) -> Run:
        """A new run of the experiment as it is now; names its folder, which the launcher makes."""
        raise NotImplementedError

    def record(self, run_id: int, progress: Progress) -> None:
        """Offset, state and summaries in one transaction. An older offset than the one recorded is ignored."""
        raise NotImplementedError

    def summaries(self, run_ids: Sequence[int]) -> Mapping[int, Mapping[str, MetricSummary]]:
        """Last and best of each metric of each run."""
        raise NotImplementedError

    def delete_run(self, run_id: int, for_good: bool = False, folder: bool = False) -> None: ...
    def restore_run(self, run_id: int) -> Run: ...
    def tag_run(self, run_id: int, tags: Iterable[str]) -> Run: ...
    def note_run(self, run_id: int, note: str) -> Run: ...
    def import_run(self, folder: Path, experiment_id: int | None = None) -> Run:
        """The run in ``folder`` from its config.json and events; under the experiment it fits, or a new one."""
        raise NotImplementedError

    def tags(self) -> list[str]:
        """Every tag in use, alphabetically."""
        raise NotImplementedError

    # Queue
    def queue(self) -> list[Run]:
        """Waiting runs, next first."""
        raise NotImplementedError

    def enqueue(self, run_id: int) -> Run: ...
    def unqueue(self, run_id: int) -> None: ...
    def reorder_queue(self, run_ids: Sequence[int]) -> None: ...
