"""A study's queue that grows by one trial at a time: a trial is proposed when a device is free and no run is waiting.

Flow: `core.studies.sweep.run` -> **queue** -> the places of a study train the runs -> validations and measures -> the
searcher -> ``trials.json``.
"""

from __future__ import annotations

import itertools
import statistics
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from optuna.trial import FrozenTrial, TrialState

from core.spec.config import ConfigError
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.run.events import Evaluated, EventReader
from core.spec.study import Study, StudyRun
from core.spec.study.sweep import COST_METRICS, DEFAULT_ARM, Params, Sweep, read_sweep
from core.spec.study.sweep_report import SweepDir, trial_name
from core.studies.study.claiming import StudyError
from core.studies.study.places.place import Ended, Place
from core.studies.study.queue import Log, StudyQueue
from core.studies.study.statistics import with_mean_recall
from core.studies.sweep.report import write_report
from core.studies.sweep.searcher import INVALID_CONFIG, Searcher

MAX_KILLS = 3  # a run whose trainer was killed by a signal this often (for example, out of memory) fails
MAX_FAILURES = 10  # the sweep ends after this many consecutive failed trials


class SweepQueue(StudyQueue):
    """Proposes and trains the trials of a sweep. ``study``: the existing trials, see `trained_trials`."""

    def __init__(self, searcher: Searcher, study: Study, out: SweepDir, places: Sequence[Place], log: Log) -> None:
        super().__init__(study, out, places, log)
        self.folder, self.searcher = out, searcher
        self._sweep_mtime = out.sweep.stat().st_mtime_ns
        self._kills: Counter[tuple[str, int]] = Counter()
        self._failures: dict[tuple[str, int], str] = {}  # runs that failed since the start
        self._consecutive_failures = 0
        self._readers: dict[int, EventReader] = {}
        self._logged_once: set[str] = set()
        runs = {(run.arm, run.seed): run for run in self.status.runs if run.arm != DEFAULT_ARM}
        arms = [arm.name for arm in study.arms if arm.name != DEFAULT_ARM]
        self.status.runs = [runs[arm, seed] for arm in arms for seed in study.seeds]
        for trial in searcher.trials():
            if trial.state != TrialState.RUNNING:
                self._close_runs(trial)
            if trial.state in (TrialState.PRUNED, TrialState.FAIL):
                for run, place in itertools.product(self._runs_of(trial), places):
                    with suppress(UserError):  # a damaged record: the trial has ended nevertheless
                        place.stop(run)

    @property
    def sweep(self) -> Sweep:
        return self.searcher.sweep

    def add_runs(self, stop: threading.Event) -> bool:
        """Record the trials whose runs have ended, then propose a trial for each free device.

        Returns whether more trials may be proposed.
        """
        self._reload_sweep()
        for trial in self._open_trials():
            self._settle_trial(trial)
        is_exhausted = False
        while not stop.is_set() and not is_exhausted and self._can_start_trial():
            is_exhausted = not self._propose_trial(stop)
        self.write_results()
        if all(place.problem for place in self.places):
            return False
        return len(self.searcher.trials()) < self.sweep.trials and not is_exhausted

    def write_results(self) -> None:
        write_report(self.folder, self.searcher)

    def settle(self, index: int, place: Place, result: Ended) -> None:
        run = self.status.runs[index]
        name = (run.arm, run.seed)
        if self._trial_of(run).state != TrialState.RUNNING:  # the trial was stopped early
            del self.running[index]
            self._close_runs(self._trial_of(run))
        elif result.killed and self._kills[name] < MAX_KILLS:
            del self.running[index]
            self._kills[name] += 1
            run.state, run.message = "waiting", ""
            self.log(f"{run.arm}, seed {run.seed}: its trainer was killed; it resumes from its last checkpoint")
        else:
            super().settle(index, place, result)
            if run.state == "failed":
                self._failures[name] = run.message

    def _open_trials(self) -> list[FrozenTrial]:
        return [trial for trial in self.searcher.trials() if trial.state == TrialState.RUNNING]

    def _active_trials(self) -> int:
        """The number of trials with runs that can still be trained, unlike those of a machine that was not chosen."""
        active_arms = {run.arm for run in self.status.runs if run.state not in ("done", "failed")}
        return sum(trial_name(trial.number) in active_arms for trial in self._open_trials())

    def _trial_of(self, run: StudyRun) -> FrozenTrial:
        return self.searcher.trials()[int(run.arm.rpartition("-")[2])]

    def _runs_of(self, trial: FrozenTrial) -> list[StudyRun]:
        return [run for run in self.status.runs if run.arm == trial_name(trial.number)]

    def _can_start_trial(self) -> bool:
        if len(self.searcher.trials()) >= self.sweep.trials or self._active_trials() >= self.sweep.parallel:
            return False
        if any(run.state == "waiting" for run in self.status.runs):
            return False
        return any(not place.problem and place.offer() is not None for place in self.places)

    def _propose_trial(self, stop: threading.Event) -> bool:
        """Propose a trial and queue its runs. False when all combinations have been tried."""
        number = self.searcher.propose()
        if number is None:
            self.log("all combinations of the space have been tried")
            return False
        if problem := contradiction(self.searcher, number):
            self._fail_trial(number, problem, has_invalid_config=True)
            return True
        self.study = self.sweep.study(trained_trials(self.searcher))
        write_whole(self.out.study, self.study.to_json().encode())
        name = trial_name(number)
        self.status.runs += [StudyRun(name, seed, f"runs/{name}-s{seed}") for seed in self.study.seeds]
        for place in self.places:
            place.extend(self.study)
        if self.sweep.budget:
            self.measure_steps(stop)
            for run in self.status.runs:
                if run.arm == name and run.state == "failed":
                    self._failures[run.arm, run.seed] = run.message
        return True

    def _settle_trial(self, trial: FrozenTrial) -> None:
        """Stop a trial early, fail it after a failed run, or complete it once all its runs are done."""
        runs = self._runs_of(trial)
        failed = [run for run in runs if (run.arm, run.seed) in self._failures]
        if self._is_stopped_early(trial, runs):
            self.searcher.stop_early(trial.number)
            self._stop_runs(trial, runs)
        elif failed:
            self._fail_trial(trial.number, failed[0].message)
            self._stop_runs(trial, runs)
        elif runs and all(run.state == "done" for run in runs):
            try:
                metrics = self._mean_metrics(runs)
            except UserError as error:  # a damaged file: the trial can complete once the user has removed it
                runs[0].state, runs[0].message = "failed", str(error)
                return
            self._complete_trial(trial.number, metrics)

    def _complete_trial(self, number: int, metrics: Mapping[str, float]) -> None:
        objectives = [objective.metric for objective in self.sweep.objectives]
        missing = next((metric for metric in (*objectives, *self.sweep.constraints) if metric not in metrics), None)
        if missing is None:
            self.searcher.complete(number, [metrics[metric] for metric in objectives], metrics)
            self._consecutive_failures = 0
            return
        message = f"{trial_name(number)} did not report '{missing}'; it has {', '.join(sorted(metrics))}."
        if not has_complete_trial(self.searcher):
            raise StudyError(
                f"{message} Correct the metric in the sweep and start the sweep again; finished trials are kept."
            )
        self._fail_trial(number, message)

    def _fail_trial(self, number: int, message: str, has_invalid_config: bool = False) -> None:
        self.searcher.fail(number, message, has_invalid_config)
        self.log(f"failed: {trial_name(number)}: {message}")
        self._consecutive_failures += 1
        if self._consecutive_failures >= MAX_FAILURES:
            raise StudyError(f"the last {MAX_FAILURES} trials failed; {trial_name(number)} failed with: {message}")

    def _stop_runs(self, trial: FrozenTrial, runs: Sequence[StudyRun]) -> None:
        """Stop the runs of a trial that has ended; runs in training save a checkpoint first."""
        for index, (_, training) in self.running.items():
            if self.status.runs[index] in runs:
                training.request_stop()
        self._close_runs(self.searcher.trials()[trial.number])

    def _close_runs(self, trial: FrozenTrial) -> None:
        """Give the runs of an ended trial, except those in training, their final state, so that no more are started."""
        active_runs = [id(self.status.runs[index]) for index in self.running]
        for run in self._runs_of(trial):
            if id(run) in active_runs:
                continue
            if trial.state == TrialState.FAIL:
                run.state, run.message = "failed", str(trial.user_attrs.get("message", ""))
            else:
                run.state = "done"
                run.message = "stopped early" if trial.state == TrialState.PRUNED else ""

    def _is_stopped_early(self, trial: FrozenTrial, runs: Sequence[StudyRun]) -> bool:
        rule = self.sweep.early_stopping
        if rule is None or not runs:
            return False
        if rule.kind == "wilcoxon":
            return self._is_worse_over_seeds(trial, runs)
        if trial.number not in self._readers:
            self._readers[trial.number] = EventReader(self.out.run(runs[0].arm, runs[0].seed).events)
        for event in self._readers[trial.number].read_all():
            if not isinstance(event, Evaluated):
                continue
            value = validation_value(event.values, rule.metric)
            if value is None:
                self._log_once(
                    f"early_stopping: validations have no '{rule.metric}', so no trial is stopped; they have "
                    f"val/R@1, val/R@10 and {', '.join(sorted(event.values))}"
                )
            elif self.searcher.report(trial.number, event.step, value):
                return True
        return False

    def _is_worse_over_seeds(self, trial: FrozenTrial, runs: Sequence[StudyRun]) -> bool:
        """Whether the finished runs, in the order of the seeds, are significantly worse than the best trial's."""
        metric = self.sweep.objectives[0].metric
        for index, run in enumerate(runs):
            value = self._metrics(run).get(metric) if run.state == "done" else None
            if value is None:
                return False
            if self.searcher.report(trial.number, index, value) and index + 1 < len(runs):
                return True
        return False

    def _metrics(self, run: StudyRun) -> dict[str, float]:
        """All metrics of a measured run: the metrics of its final network, and its costs (`COST_METRICS`)."""
        measures = self.out.read_measures(run.arm, run.seed) or {"networks": {}}
        networks = measures["networks"]
        metrics = dict(networks.get("teacher") or networks.get("student") or {})
        return metrics | {name: float(measures[name]) for name in COST_METRICS if name in measures}

    def _mean_metrics(self, runs: Sequence[StudyRun]) -> dict[str, float]:
        """Metrics that all runs have, averaged over the runs."""
        per_run = [self._metrics(run) for run in runs]
        shared = [name for name in per_run[0] if all(name in metrics for metrics in per_run)]
        return {name: statistics.fmean(metrics[name] for metrics in per_run) for name in shared}

    def _reload_sweep(self) -> None:
        """Reload ``sweep.json`` if it has changed; an invalid change is logged and ignored."""
        try:
            mtime = self.folder.sweep.stat().st_mtime_ns
            if mtime == self._sweep_mtime:
                return
            self._sweep_mtime = mtime
            sweep = read_sweep(self.folder.sweep)
            check_edit(self.sweep, sweep, has_complete_trial(self.searcher))
        except (OSError, UserError) as error:
            self.log(f"the change of {self.folder.sweep} is ignored: {error}")
            return
        self.searcher.sweep = sweep
        self.log(f"{self.folder.sweep} has changed: {sweep.trials} trials of {len(sweep.space)} settings")

    def _log_once(self, text: str) -> None:
        if text not in self._logged_once:
            self._logged_once.add(text)
            self.log(text)


def trained_trials(searcher: Searcher) -> list[tuple[str, Params]]:
    """Name and settings of each trial, except those whose config contradicts itself."""
    trials = [trial for trial in searcher.trials() if not trial.user_attrs.get(INVALID_CONFIG)]
    return [(trial_name(trial.number), trial.params) for trial in trials]


def contradiction(searcher: Searcher, number: int) -> str:
    """The error message if the config of a trial contradicts itself, otherwise ""."""
    study = searcher.sweep.study([(trial_name(number), searcher.trials()[number].params)])
    try:
        study.recipe(study.arms[1])
    except ConfigError as error:
        return str(error)
    return ""


def has_complete_trial(searcher: Searcher) -> bool:
    """Whether any trial is complete; from then on the objectives are fixed."""
    return any(trial.state == TrialState.COMPLETE for trial in searcher.trials())


def check_edit(before: Sweep, sweep: Sweep, objectives_fixed: bool) -> None:
    """Raise StudyError if ``sweep`` cannot continue with the trials of ``before``.

    ``objectives_fixed``: whether the objectives must not change, see `has_complete_trial`.
    """
    sweep.check_space()
    if not sweep.study([]).can_continue(before.study([])):
        raise StudyError(
            "the folder contains another sweep, or data, config, seeds, steps or budget of the sweep have changed; "
            "restore them or choose a new folder. Only space, sampler, trials, constraints and early stopping may "
            "change."
        )
    if [new.direction for new in sweep.objectives] != [old.direction for old in before.objectives]:
        raise StudyError("the number or direction of objectives has changed; restore them or choose a new folder.")
    if objectives_fixed and [new.metric for new in sweep.objectives] != [old.metric for old in before.objectives]:
        raise StudyError("the objectives were changed after a trial had finished; restore them or choose a new folder.")


def validation_value(values: Mapping[str, float], metric: str) -> float | None:
    """``metric`` of a validation: an entry of ``values``, or val/R@k of the final network; None if absent."""
    if metric in values:
        return values[metric]
    for prefix in ("val/teacher/", "val/student/"):
        own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
        if (value := with_mean_recall(own).get(metric.removeprefix("val/"))) is not None:
            return value
    return None
