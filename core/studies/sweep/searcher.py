"""Proposes the trials of a sweep and records how they went, in Optuna's journal beside the study.

A proposal is a function of the sweep, the trials so far and the trial's number alone, and reaches the journal as one
line. So a sweep that is killed at any moment goes on with the trials that it would have had.
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

_STUDY = "sweep"  # its name in the journal
_ATTEMPTS = 50  # proposals that repeat an earlier trial before one is taken from the grid
_VERSION = "optuna"  # attribute of the study: what wrote it
UNTRAINED = "untrained"  # attribute of a trial


class Searcher:
    """The trials of one sweep. Only one process at a time may have it: the holder of the folder's lock."""

    def __init__(self, sweep: Sweep, journal: Path) -> None:
        """StudyError for a journal that this version of Optuna cannot read, or of other objectives."""
        self.sweep = sweep
        self._importance: tuple[int, dict[str, dict[str, float]]] | None = None  # of so many complete trials
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions = [one.direction for one in sweep.objectives]
        _drop_torn_line(journal)
        with _readable(journal), _quiet():
            self._storage = JournalStorage(JournalFileBackend(str(journal), _Lock(journal)))
            names = [one.study_name for one in self._storage.get_all_studies()]
            if not names:
                created = optuna.create_study(storage=self._storage, study_name=_STUDY, directions=directions)
                created.set_user_attr(_VERSION, optuna.__version__)
            self._study = optuna.load_study(
                storage=self._storage, study_name=_STUDY, sampler=optuna.samplers.RandomSampler(0)
            )
            found = [direction.name.lower() for direction in self._study.directions]
            self.trials()
        if found != directions:
            raise StudyError(
                f"{journal} has the objectives {', '.join(found)}, and the sweep now {', '.join(directions)}; restore "
                "them or choose a new folder."
            )

    @property
    def optuna(self) -> str:
        """The version of Optuna that began the journal."""
        return str(self._study.user_attrs.get(_VERSION, ""))

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self._study.get_trials(deepcopy=False)

    def propose(self) -> int | None:
        """The number of a new trial, which is recorded as running; None when the space has no other."""
        trials = self.trials()
        params = self._new_params(trials)
        if params is None:
            return None
        spaces = distributions(self.sweep)
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=dict(params), distributions=spaces))
        return len(trials)

    def report(self, number: int, step: int, value: float) -> bool:
        """Record an intermediate value; whether the trial should be stopped early. A repeated step changes nothing."""
        if step not in self.trials()[number].intermediate_values:
            self._live(number).report(value, step)
        rule = self.sweep.early_stopping
        if rule is None:
            return False
        with _quiet():
            return _pruner(rule).prune(self._study, self._study.get_trials()[number])

    def complete(self, number: int, values: Sequence[float], metrics: Mapping[str, float]) -> None:
        """End a trial with its objectives' ``values``; ``metrics`` has those that constraints are put on."""
        live = self._live(number)
        for metric, most in self.sweep.constraints.items():
            live.set_constraint(metric, metrics[metric] - most)
        with _quiet():
            self._study.tell(number, list(values))

    def stop_early(self, number: int) -> None:
        """End a trial with its last intermediate value."""
        with _quiet():
            self._study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, message: str, is_untrained: bool = False) -> None:
        """End a trial without values. ``is_untrained``: its config contradicts itself, so that it is no arm."""
        live = self._live(number)
        live.set_user_attr("message", message)
        if is_untrained:
            live.set_user_attr(UNTRAINED, True)
        with _quiet():
            self._study.tell(number, state=TrialState.FAIL)

    def best(self) -> list[FrozenTrial]:
        """The best feasible trial, or the Pareto front of several objectives."""
        with _quiet():
            if len(self.sweep.objectives) > 1:
                return self._study.best_trials
            trials = [one for one in self.trials() if one.state == TrialState.COMPLETE and is_feasible(one)]
        sign = -1 if self.sweep.objectives[0].direction == "maximize" else 1
        return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))[:1]

    def importance(self) -> dict[str, dict[str, float]]:
        """Objective -> setting -> share of its importance by PED-ANOVA (Watanabe et al. 2023); {} before 4 trials."""
        done = [one for one in self.trials() if one.state == TrialState.COMPLETE]
        if self._importance is not None and self._importance[0] == len(done):
            return self._importance[1]
        found: dict[str, dict[str, float]] = {}
        for index, objective in enumerate(self.sweep.objectives if len(done) >= 4 else ()):
            memory = optuna.create_study(direction=objective.direction)
            for one in done:
                memory.add_trial(
                    create_trial(params=one.params, distributions=one.distributions, value=one.values[index])
                )
            try:
                with _quiet():
                    shares = optuna.importance.get_param_importances(
                        memory, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
                    )
            except (ValueError, RuntimeError):  # all trials have the same value
                continue
            if all(np.isfinite(share) for share in shares.values()):
                found[objective.metric] = {name: float(share) for name, share in shares.items()}
        self._importance = (len(done), found)
        return found

    def _live(self, number: int) -> Trial:
        study_id = self._storage.get_study_id_from_name(_STUDY)
        return Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _new_params(self, trials: Sequence[FrozenTrial]) -> Params | None:
        tried = {key(trial.params) for trial in trials}
        finite = combinations(self.sweep) < float("inf")
        if finite and combinations(self.sweep) <= len(tried) and all(key(one) in tried for one in grid(self.sweep)):
            return None
        if self.sweep.sampler != "grid":
            spaces = distributions(self.sweep)
            memory = optuna.create_study(directions=[one.direction for one in self.sweep.objectives])
            memory.add_trials([fitted for trial in trials if (fitted := _fitted(trial, self.sweep, spaces))])
            for attempt in range(_ATTEMPTS):
                memory.sampler = _sampler(self.sweep, len(trials), attempt)
                with _quiet():
                    params: Params = memory.ask(spaces).params
                if key(params) not in tried:
                    return params
        return next((one for one in grid(self.sweep) if key(one) not in tried), None) if finite else None


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether the trial keeps all constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def distributions(sweep: Sweep) -> dict[str, BaseDistribution]:
    """The space as Optuna has it."""
    return {name: _distribution(name, values) for name, values in sweep.space.items()}


def _distribution(name: str, values: SearchRange) -> BaseDistribution:
    if values.choices:
        return CategoricalDistribution(values.choices)
    low, high = values.bounds
    if is_integer(name):
        return IntDistribution(int(low), int(high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(low, high, log=values.log, step=values.step)


def _fitted(trial: FrozenTrial, sweep: Sweep, spaces: Mapping[str, BaseDistribution]) -> FrozenTrial | None:
    """``trial`` as a sampler may use it: with what of its settings is in the space as it is now."""
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
    """A lock of the operating system, which a killed process does not leave behind."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._lock = filelock.FileLock(journal.with_name(".journal.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _drop_torn_line(journal: Path) -> None:
    """Remove the half line that a killed process may have left at the end."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def _readable(journal: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AssertionError, AttributeError) as error:
        raise StudyError(
            f"{journal} cannot be read by Optuna {optuna.__version__} ({type(error).__name__}: {error}): it is damaged "
            "or was written by another version; install that version, or choose a new folder."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings of experimental features and of values that are not finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
