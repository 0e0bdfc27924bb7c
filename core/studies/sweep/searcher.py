"""Proposes the trials of a sweep and records their results in Optuna's journal, in the study's folder.

A proposal depends only on the sweep, the earlier trials and the trial's number, and is written to the journal as a
single line. A sweep that is killed at any moment therefore resumes with the same proposals.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from pydantic import BaseModel, ConfigDict

from core.spec.reading import MEGABYTE, excerpt, read_bytes
from core.spec.study.sweep import (
    WILCOXON_P,
    EarlyStopping,
    Params,
    SearchRange,
    Sweep,
    Value,
    combinations,
    grid,
    is_integer,
    key,
)
from core.studies.study.claiming import StudyError

_STUDY = "sweep"  # name of the Optuna study in the journal
_MAX_JOURNAL_BYTES = 256 * MEGABYTE
_MAX_DUPLICATES = 50  # after this many duplicates in a finite space, take the next untried grid point
_VERSION = "optuna"  # attribute of the Optuna study: the version that created it
_DECIDED = "early_stopping"  # attribute of a trial: the last step at which the rule was applied, and its decision
INVALID_CONFIG = "untrained"  # attribute of a trial that was not trained because its config contradicts itself


class _Decision(BaseModel):
    """Early stopping of a trial: the last step at which the rule was applied, and the rungs that it has passed."""

    model_config = ConfigDict(strict=True)

    step: int = -1
    stop: bool = False
    rungs: dict[str, float] = {}


class Searcher:
    """The trials of one sweep. Only the process that holds the folder's lock may create one."""

    def __init__(self, sweep: Sweep, journal: Path) -> None:
        """Raises StudyError if this version of Optuna cannot read the journal, or if the objectives differ."""
        self.sweep = sweep
        self._importance: tuple[int, dict[str, dict[str, float]]] | None = None  # number of complete trials, shares
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions = [objective.direction for objective in sweep.objectives]
        _drop_torn_line(journal)
        with explaining_read_errors(journal), _warnings_off():
            self._storage = JournalStorage(JournalFileBackend(str(journal), _Lock(journal)))
            if not self._storage.get_all_studies():
                created = optuna.create_study(storage=self._storage, study_name=_STUDY, directions=directions)
                created.set_user_attr(_VERSION, optuna.__version__)
            self._study = optuna.load_study(
                storage=self._storage, study_name=_STUDY, sampler=optuna.samplers.RandomSampler(0)
            )
            recorded = [direction.name.lower() for direction in self._study.directions]
            for trial in self.trials():
                _decision(trial)  # Optuna does not check attributes
        if recorded != directions:
            raise StudyError(
                f"{journal} was recorded for the objectives {', '.join(recorded)}, but the sweep now has "
                f"{', '.join(directions)}; restore the objectives or choose a new folder."
            )

    @property
    def optuna(self) -> str:
        """The version of Optuna that created the journal."""
        return str(self._study.user_attrs.get(_VERSION, ""))

    def trials(self) -> list[FrozenTrial]:
        """All trials, in the order of their numbers."""
        return self._study.get_trials(deepcopy=False)

    def propose(self) -> int | None:
        """Record a new running trial and return its number; None when all combinations have been tried."""
        trials = self.trials()
        params = self._new_params(trials)
        if params is None:
            return None
        spaces = distributions(self.sweep)
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=dict(params), distributions=spaces))
        return len(trials)

    def report(self, number: int, step: int, value: float) -> bool:
        """Record an intermediate value, unless the step has one. Returns whether to stop the trial early.

        The rule is applied once per step. Its decision and the rungs that the trial has passed are recorded in one
        line of the journal, so that a killed sweep neither loses a decision nor makes it again among later trials.
        """
        trial = self.trials()[number]
        decision = _decision(trial)
        if step not in trial.intermediate_values:
            self._open_trial(number).report(value, step)
        rule = self.sweep.early_stopping
        if rule is None or decision.stop or step <= decision.step:
            return decision.stop
        scratch = optuna.create_study(directions=self._study.directions)
        scratch.add_trials([_with_rungs(trial) for trial in self.trials()])
        with _warnings_off():
            stop = bool(_pruner(rule).prune(scratch, scratch.get_trials()[number]))
        rungs = scratch.get_trials(deepcopy=False)[number].system_attrs
        self._open_trial(number).set_user_attr(_DECIDED, {"step": step, "stop": stop, "rungs": rungs})
        return stop

    def complete(self, number: int, values: Sequence[float], metrics: Mapping[str, float]) -> None:
        """Record a complete trial: ``values`` of the objectives, and ``metrics`` to check the constraints."""
        trial = self._open_trial(number)
        for metric, limit in self.sweep.constraints.items():
            trial.set_constraint(metric, metrics[metric] - limit)
        with _warnings_off():
            self._study.tell(number, list(values))

    def stop_early(self, number: int) -> None:
        """Record a trial as stopped early (pruned); its last intermediate value counts as its result."""
        with _warnings_off():
            self._study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, message: str, has_invalid_config: bool = False) -> None:
        """Record a failed trial. With ``has_invalid_config`` it was not trained and is not an arm of the study."""
        trial = self._open_trial(number)
        trial.set_user_attr("message", message)
        if has_invalid_config:
            trial.set_user_attr(INVALID_CONFIG, True)
        with _warnings_off():
            self._study.tell(number, state=TrialState.FAIL)

    def best(self) -> list[FrozenTrial]:
        """The best feasible trial, or the Pareto front of several objectives."""
        with _warnings_off():
            if len(self.sweep.objectives) > 1:
                return self._study.best_trials
            complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        sign = -1 if self.sweep.objectives[0].direction == "maximize" else 1
        return sorted(filter(is_feasible, complete), key=lambda trial: (sign * trial.values[0], trial.number))[:1]

    def importance(self) -> dict[str, dict[str, float]]:
        """Objective -> setting -> relative importance by PED-ANOVA (Watanabe et al. 2023).

        {} with fewer than 4 complete trials.
        """
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if self._importance is not None and self._importance[0] == len(complete):
            return self._importance[1]
        importance: dict[str, dict[str, float]] = {}
        for index, objective in enumerate(self.sweep.objectives if len(complete) >= 4 else ()):
            scratch = optuna.create_study(direction=objective.direction)
            for trial in complete:
                scratch.add_trial(
                    create_trial(params=trial.params, distributions=trial.distributions, value=trial.values[index])
                )
            try:
                with _warnings_off():
                    shares = optuna.importance.get_param_importances(
                        scratch, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
                    )
            except (ValueError, RuntimeError):  # all trials have the same value
                continue
            if all(np.isfinite(share) for share in shares.values()):
                importance[objective.metric] = {name: float(share) for name, share in shares.items()}
        self._importance = (len(complete), importance)
        return importance

    def _open_trial(self, number: int) -> Trial:
        study_id = self._storage.get_study_id_from_name(_STUDY)
        return Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _new_params(self, trials: Sequence[FrozenTrial]) -> Params | None:
        tried = {key(trial.params) for trial in trials}
        finite = combinations(self.sweep) < float("inf")
        if (
            finite
            and combinations(self.sweep) <= len(tried)
            and all(key(params) in tried for params in grid(self.sweep))
        ):
            return None
        if self.sweep.sampler != "grid":
            spaces = distributions(self.sweep)
            scratch = optuna.create_study(directions=[objective.direction for objective in self.sweep.objectives])
            scratch.add_trials([usable for trial in trials if (usable := _fit_to_space(trial, self.sweep, spaces))])
            for attempt in range(_MAX_DUPLICATES):
                scratch.sampler = _sampler(self.sweep, len(trials), attempt)
                with _warnings_off():
                    params: Params = scratch.ask(spaces).params
                if key(params) not in tried:
                    return params
        return next((params for params in grid(self.sweep) if key(params) not in tried), None) if finite else None


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether the trial satisfies all constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def distributions(sweep: Sweep) -> dict[str, BaseDistribution]:
    """The space as Optuna distributions, by setting."""
    return {name: _distribution(name, values) for name, values in sweep.space.items()}


def _distribution(name: str, values: SearchRange) -> BaseDistribution:
    if values.choices:
        return CategoricalDistribution(values.choices)
    low, high = values.bounds
    if is_integer(name):
        return IntDistribution(int(low), int(high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(low, high, log=values.log, step=values.step)


def _fit_to_space(trial: FrozenTrial, sweep: Sweep, spaces: Mapping[str, BaseDistribution]) -> FrozenTrial | None:
    """A copy of ``trial`` for the sampler, without settings that are not in the current space. None if it failed."""
    if trial.state == TrialState.FAIL:
        return None
    params: dict[str, Value] = {
        name: value for name, value in trial.params.items() if name in spaces and sweep.space[name].has(value)
    }
    return create_trial(
        state=trial.state,
        params=params,
        distributions={name: spaces[name] for name in params},
        values=trial.values,
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints,
    )


def _decision(trial: FrozenTrial) -> _Decision:
    return _Decision.model_validate(trial.user_attrs.get(_DECIDED, {}))


def _with_rungs(trial: FrozenTrial) -> FrozenTrial:
    """A copy of ``trial`` for the pruner: its values, and the rungs of ASHA that it has passed."""
    return create_trial(
        state=trial.state,
        values=trial.values,
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints,
        system_attrs=dict(_decision(trial).rungs),
    )


def _sampler(sweep: Sweep, number: int, attempt: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([sweep.seed, number, attempt]).generate_state(1)[0])
    if sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    if sweep.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
    return optuna.samplers.TPESampler(seed=seed)


def _pruner(rule: EarlyStopping) -> optuna.pruners.BasePruner:
    if rule.kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=rule.first_trials, n_warmup_steps=rule.first_step)
    if rule.kind == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, rule.first_step), reduction_factor=rule.reduction
        )
    return optuna.pruners.WilcoxonPruner(p_threshold=WILCOXON_P)


class _Lock(JournalFileOpenLock):
    """An operating-system file lock, which is released even if the process is killed."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._lock = filelock.FileLock(journal.with_name(".journal.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _drop_torn_line(journal: Path) -> None:
    """Remove an incomplete last line, which a killed process may leave."""
    if not journal.exists():
        return
    content = read_bytes(journal, _MAX_JOURNAL_BYTES, error=StudyError)
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def explaining_read_errors(journal: Path) -> Iterator[None]:
    """Turns the errors that Optuna raises for a damaged journal into a StudyError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AssertionError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {excerpt(str(error))}"
        raise StudyError(
            f"Optuna {optuna.__version__} cannot read {journal} ({reason}): the file is damaged or was written by "
            "another version. Install that version, or choose a new folder."
        ) from error


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Suppress Optuna's warnings about experimental features and non-finite values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
