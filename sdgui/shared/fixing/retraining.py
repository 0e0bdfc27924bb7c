"""Applies the basket: a fixed copy of the data, two runs that differ only in their data, and a report on both.

Flow: dialog -> ``save`` -> worker ``fixes_save`` -> ``saved``; ``retrain`` -> an experiment with two queued runs,
tagged *before* and *after* -> ``retrained``; ``pairs`` finds them again -> worker ``before_after`` -> ``page_saved``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from typing_extensions import TypedDict

from core.spec.config import ConfigError, RunConfig, expand_user, read_config
from core.spec.errors import UserError
from core.spec.run.status import RunState
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.local.fixes import StoredFix
from sdgui.store.records import THIS_COMPUTER, Run
from sdgui.widgets.formats import free_name
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import DATA_WORKER
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import Verb

BEFORE, AFTER = "before", "after"  # tags of the two runs
_MAX_RUNS = 200  # newest runs whose data is compared


class FixedData(TypedDict):
    """A fixed copy of a data source. ``record``: the file that lists the fixes."""

    path: str
    record: str
    images: int
    captions: int


class PageWritten(TypedDict):
    """A page that was written."""

    path: str


FIXES_SAVE = Verb("fixes_save", FixedData)
BEFORE_AFTER = Verb("before_after", PageWritten)


@dataclass(frozen=True)
class TrainedRun:
    """A run that was trained on the data to be fixed, with its config."""

    run: Run
    config: RunConfig


@dataclass(frozen=True)
class RunPair:
    """The two runs of a retrained experiment; ``further_seeds``: the pairs of other seeds."""

    title: str
    before: Run
    after: Run
    further_seeds: tuple[tuple[Run, Run], ...] = ()

    @property
    def seeds(self) -> int:
        """The number of pairs of runs, one per seed."""
        return 1 + len(self.further_seeds)

    @property
    def done(self) -> list[tuple[Run, Run]]:
        """The pairs whose two runs can be evaluated."""
        all_pairs = [(self.before, self.after), *self.further_seeds]
        return [(before, after) for before, after in all_pairs if before.state == RunState.DONE == after.state]

    @property
    def ready(self) -> bool:
        """Whether there is a pair to evaluate."""
        return bool(self.done)

    def state_text(self) -> str:
        """The state: ``done``, ``2 of 3 seeds done``, or the states of the two runs."""
        done_count = len(self.done)
        if done_count == self.seeds:
            return "done" if self.seeds == 1 else f"{done_count} seeds done"
        if self.seeds > 1:
            return f"{done_count} of {self.seeds} seeds done"
        return f"before {self.before.state}, after {self.after.state}"


class Retraining(QObject):
    """The background work of the dialog; nothing blocks the window's thread."""

    progress = Signal(str, int, int)
    saved = Signal(object)  # FixedData
    retrained = Signal(object)  # Changes
    page_saved = Signal(object)  # PageWritten
    failed = Signal(object)  # Failure

    def __init__(self, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._calls = WorkerCalls(services.pool.client(DATA_WORKER, "data"), self)
        self._calls.progress.connect(lambda _purpose, activity, done, total: self.progress.emit(activity, done, total))
        self._page: WorkerCalls | None = None
        self.tasks = BackgroundTasks(self)

    def save(self, source: str, entries: Sequence[StoredFix], target: Path, replace: bool = False) -> None:
        """Write the data with these fixes to ``target``."""
        fixes = [entry.fix.model_dump() for entry in entries]
        failed = self.failed.emit
        self._calls.ask(
            "save", FIXES_SAVE, self.saved.emit, failed, data=source, fixes=fixes, to=str(target), replace=replace
        )

    def cancel(self) -> None:
        """Cancel the running save or comparison."""
        self._calls.cancel("save")
        if self._page is not None:
            self._page.cancel("page")

    def retrain(self, trained: TrainedRun, fixed: str, seeds: int) -> None:
        """Queue the config of ``trained`` twice in a new experiment: on its data, and on the data ``fixed``.

        Repeats this for ``seeds`` consecutive seeds, starting with the seed of ``trained``.
        """
        store, launcher = self._services.store, self._services.launcher

        def write() -> Changes:
            used_names = {experiment.name for experiment in store.experiments()}
            name = free_name(f"{trained.config.name[:80]} with fixes", used_names)
            config = trained.config.model_copy(update={"name": name})
            experiment = store.add_experiment(config, name)
            store.set_experiment_note(
                experiment.id, f"Retrained with the fixes in {fixed}; before: {config.data.train}."
            )
            runs = []
            fixed_config = config.model_copy(update={"data": config.data.model_copy(update={"train": fixed})})
            for seed in range(config.seed, config.seed + seeds):
                for tag, run_config in ((BEFORE, config), (AFTER, fixed_config)):
                    store.edit_experiment(experiment.id, run_config.model_copy(update={"seed": seed}))
                    run = launcher.enqueue(experiment.id, place=THIS_COMPUTER)
                    store.tag_run(run.id, [tag])
                    runs.append(run.id)
            store.edit_experiment(experiment.id, fixed_config)
            return Changes(frozenset({experiment.id}), frozenset(runs))

        self._services.writer.submit(write, self.retrained.emit, self._report_refusal)

    def _report_refusal(self, error: UserError) -> None:
        self.failed.emit(Failure(str(error)))

    def page(self, pair: RunPair, target: Path) -> None:
        """Evaluate the finished runs on the same held-out data, and write the page ``target``."""
        if self._page is not None:
            self._page.close()
        done_pairs = pair.done or [(pair.before, pair.after)]
        after = done_pairs[0][1].folder
        self._page = WorkerCalls(self._services.pool.client(str(after), pair.title), self)
        self._page.progress.connect(lambda _purpose, activity, done, total: self.progress.emit(activity, done, total))
        self._page.ask(
            "page",
            BEFORE_AFTER,
            self.page_saved.emit,
            self.failed.emit,
            before=[str(before.folder) for before, _ in done_pairs],
            after=[str(run.folder) for _, run in done_pairs],
            to=str(target),
            title=pair.title,
        )

    # Reading
    def trained_on(self, source: str) -> list[TrainedRun]:
        """Runs on the data ``source``, newest first; reads their configs, so call it in ``tasks``."""
        resolved_source = expand_user(source).resolve()
        matches = []
        for run in reversed(self._services.store.runs()[-_MAX_RUNS:]):
            with suppress(ConfigError, OSError):
                config = read_config(run.dir.config)
                if config.data.train and expand_user(config.data.train).resolve() == resolved_source:
                    matches.append(TrainedRun(run, config))
        return matches

    def pairs(self) -> list[RunPair]:
        """All retrained pairs, newest first; reads the store."""
        store = self._services.store
        tagged = [run for run in store.runs() if run.is_local and {BEFORE, AFTER} & set(run.tags)]
        names = {experiment.id: experiment.name for experiment in store.experiments()}
        run_pairs = []
        for experiment in sorted({run.experiment_id for run in tagged} & names.keys(), reverse=True):
            experiment_runs = [run for run in tagged if run.experiment_id == experiment]
            before, after = ({_seed(run): run for run in experiment_runs if tag in run.tags} for tag in (BEFORE, AFTER))
            pairs = [(before[seed], after[seed]) for seed in before if seed in after]  # the last of repeated runs
            if pairs:
                run_pairs.append(RunPair(names[experiment], *pairs[0], tuple(pairs[1:])))
        return run_pairs


def _seed(run: Run) -> int | None:
    """The seed of a run's config; None if the config cannot be read."""
    try:
        return read_config(run.dir.config).seed
    except (ConfigError, OSError):
        return None
