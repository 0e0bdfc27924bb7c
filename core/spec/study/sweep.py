"""The config of a sweep, stored in ``sweep.json``: searched settings, sampler, objectives and constraints.

Flow: a file, or the window's *Define* form -> ``parse_sweep`` -> ``core.studies.sweep`` proposes trials. Each trial is
an arm of an ordinary study in the same folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from core.spec.config import ConfigError, RunConfig, Section, Text, field_lines, field_names
from core.spec.errors import nearest
from core.spec.presets import Size
from core.spec.reading import excerpt, first_problem, has_json_key, read_json_of
from core.spec.run.metric_names import higher_is_better, lower_is_better
from core.spec.study.config import (
    MAX_BUDGET_SECONDS,
    MAX_ITEMS,
    MAX_STUDY_BYTES,
    Arm,
    Measure,
    NoiseSpec,
    Seed,
    Study,
    absolute,
)

SWEEP_VERSION: Literal[1] = 1
DEFAULT_ARM = "default"  # the arm with the base config, which is not trained: budgets are measured with it
SET_BY_SWEEP = ("name", "seed", "optim.epochs", "data.train", "data.val")
COST_METRICS = ("step_seconds", "train_seconds", "memory_gib")  # metrics that every trial reports
WILCOXON_P = 0.1

Value = bool | int | float | str | None
Params = Mapping[str, Value]
Sampler = Literal["tpe", "random", "grid", "gp"]


class SearchRange(Section):
    """The values to try for one setting: a range, or a list of choices."""

    low: int | float | None = Field(None, description="Lowest value of the range.")
    high: int | float | None = Field(None, description="Highest value of the range.")
    log: bool = Field(False, description="Sample uniformly on a logarithmic scale.")
    step: int | float | None = Field(None, gt=0, description="Distance between neighbouring values.")
    choices: list[Value] = Field([], max_length=MAX_ITEMS, description="The values, instead of a range.")

    @model_validator(mode="after")
    def _consistent(self) -> SearchRange:
        if self.choices:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("use either choices or a range (low, high), not both")
            if len({json.dumps(value) for value in self.choices}) < len(self.choices):
                raise ValueError("a choice is listed twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError('set low and high, or choices, as in {"low": 1e-5, "high": 1e-2, "log": true}')
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range cannot start at {self.low:g}; set low above 0, or leave out log")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot be combined; leave one of them out")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step {self.step:g} is larger than the range from {self.low:g} to {self.high:g}")
        return self

    def ends(self) -> list[Value]:
        """The two bounds of a range, or all choices."""
        return list(self.choices) or [self.low, self.high]

    def has(self, value: Value) -> bool:
        """Whether ``value`` is in the range or is one of the choices."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        low, high = self.bounds
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    @property
    def bounds(self) -> tuple[int | float, int | float]:
        """``(low, high)`` of a range."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high


class Objective(Section):
    """A metric of the final network to optimise, averaged over the trial's seeds."""

    metric: Text = Field(
        "val/R@1", description="MEASURE/METRIC of a measure, or one of " + ", ".join(COST_METRICS) + "."
    )
    direction: Literal["maximize", "minimize"] = "maximize"


class EarlyStopping(Section):
    """A rule that stops trials that are unlikely to become the best."""

    kind: Literal["median", "asha", "wilcoxon"] = Field(
        description="median stops a trial that is worse than the median of earlier trials at the same step. asha stops "
        "a trial that is not among the best at a rung of successive halving. wilcoxon stops a trial that is worse than "
        "the best trial over the same seeds."
    )
    metric: Text = Field(
        "val/R@1",
        description="Metric to compare after each validation: val/R@1, val/R@10, or a metric in events.jsonl. Not used "
        "if kind is wilcoxon.",
    )
    first_trials: int = Field(
        5, ge=1, le=MAX_ITEMS, description="Number of first trials that are never stopped. Used only if kind is median."
    )
    first_step: int = Field(
        0, ge=0, le=10**9, description="No trial is stopped before this step. Used only if kind is median or asha."
    )
    reduction: int = Field(
        4, ge=2, le=100, description="One in this many trials passes a rung. Used only if kind is asha."
    )


class Sweep(Section):
    """The config of a sweep: a search over settings. The fields before `space` have the same meaning as in a study."""

    version: Literal[1] = SWEEP_VERSION
    name: Text = Field(min_length=1, max_length=60)
    about: Text = ""
    preset: Text = Field("", description="Preset to start from.")
    config: Text = Field("", description="Config file to start from, instead of a preset.")
    size: Size = "demo"
    set: list[Text] = Field([], description="Overrides of the preset or config, FIELD=VALUE.")
    data: dict[Text, Text]
    noise: NoiseSpec | None = None
    train: Text = "train"
    val: Text = "val"
    measures: list[Measure] = Field(
        [], max_length=MAX_ITEMS, description="Evaluations of each trial (default: retrieval on the validation data)."
    )
    steps: int = Field(0, ge=0, le=10**9, description="Number of optimiser steps of each trial.")
    budget: float = Field(0.0, ge=0.0, le=MAX_BUDGET_SECONDS, description="Training time in seconds, instead of steps.")
    seeds: list[Seed] = Field(
        [0], min_length=1, max_length=MAX_ITEMS, description="Seeds; each trial is trained with each seed."
    )
    space: dict[Text, SearchRange] = Field(
        min_length=1, max_length=100, description="The values to try for each setting."
    )
    sampler: Sampler = "tpe"
    seed: Seed = Field(0, description="Seed of the sampler.")
    trials: int = Field(30, ge=1, lt=MAX_ITEMS, description="Total number of trials; can be increased later.")
    parallel: int = Field(4, ge=1, le=MAX_ITEMS, description="Maximum number of parallel trials on all machines.")
    objectives: list[Objective] = Field([Objective()], min_length=1, max_length=4)
    constraints: dict[Text, float] = Field(
        {}, max_length=20, description="Upper limits for metrics of a feasible trial, such as memory_gib: 8."
    )
    early_stopping: EarlyStopping | None = None
    machines: list[Text] = Field([], max_length=MAX_ITEMS, description="Machines to train on, as in `study --on`.")

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        if bool(self.preset) == bool(self.config):
            raise ValueError("a sweep needs either a preset or a config")
        if bool(self.steps) == bool(self.budget):
            raise ValueError("a sweep needs either steps or a budget in seconds")
        if len({objective.metric for objective in self.objectives}) < len(self.objectives):
            raise ValueError("objectives: a metric is listed twice")
        self._check_early_stopping()
        for name, values in self.space.items():
            self._check_setting(name, values)
        try:
            self.study([])
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error
        return self

    def _check_early_stopping(self) -> None:
        rule = self.early_stopping
        if rule is None:
            return
        if len(self.objectives) > 1:
            raise ValueError("early_stopping needs a single objective")
        if rule.kind != "wilcoxon" and len(self.seeds) > 1:
            raise ValueError(f"early_stopping {rule.kind} compares runs of one seed; use wilcoxon for several seeds")
        direction = self.objectives[0].direction
        better, contradicts = ("lower", lower_is_better) if direction == "maximize" else ("higher", higher_is_better)
        if rule.kind != "wilcoxon" and contradicts(rule.metric):
            raise ValueError(
                f"early_stopping would stop the best trials: {better} values of {rule.metric} are better, but the "
                f"objective is to {direction}; choose another metric"
            )
        fewest = math.ceil(-math.log2(WILCOXON_P)) + 1
        if rule.kind == "wilcoxon" and len(self.seeds) < fewest:
            raise ValueError(f"early_stopping wilcoxon needs at least {fewest} seeds to reach p < {WILCOXON_P:g}")

    def _check_setting(self, name: str, values: SearchRange) -> None:
        settable = [field for field in field_names() if field not in SET_BY_SWEEP]
        if name in SET_BY_SWEEP:
            raise ValueError(f"space: {name} is set by the sweep itself; leave it out")
        if name not in settable:
            close = nearest(name[:100], settable, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "`sdgui-core presets clip` shows all settings."
            raise ValueError(f"space: there is no setting '{excerpt(name)}'; {hint}")
        if is_integer(name):
            numbers = [number for number in (values.low, values.high, values.step) if number is not None]
            if any(number != int(number) for number in numbers):
                raise ValueError(f"space: {name} is a whole number; use whole numbers for low, high and step")
        elif not values.choices and not _accepts(name, float):
            raise ValueError(f"space: {name} is not a number; list its choices")
        if self.sampler == "grid" and count(name, values) == math.inf:
            raise ValueError(f"space: a grid needs choices or a larger step for {name}")

    def study(self, trials: Sequence[tuple[str, Params]]) -> Study:
        """A study with `DEFAULT_ARM`, which is not trained, and one arm per ``(name, params)`` of ``trials``."""
        measures = self.measures or [Measure(name="val", task="retrieval", data=self.val)]
        base = {"preset": self.preset, "config": self.config, "budget": self.budget}
        arms = [Arm(name=DEFAULT_ARM, **base)]
        arms += [Arm(name=name, set=settings(params), **base) for name, params in trials]
        raw = self.model_dump(include={"name", "about", "size", "set", "data", "train", "val", "steps", "seeds"})
        return Study.model_validate({**raw, "noise": self.noise, "arms": arms, "measures": measures})

    def absolute(self, folder: Path) -> Sweep:
        """A copy with absolute file paths; relative paths are resolved against ``folder``."""
        study = absolute(self.study([]), folder)
        return self.model_copy(update={"data": study.data, "config": study.arms[0].config})

    def check_space(self) -> None:
        """Validate the base config and every value of the space, before any training. Raises ConfigError.

        Combinations of values are not checked; a trial with contradictory values fails when it is proposed.
        """
        study = self.study([])
        base = study.recipe(study.arms[0])
        for name, values in self.space.items():
            check_values(base, name, values)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), indent=2, ensure_ascii=False) + "\n"


def settings(params: Params) -> list[str]:
    """``params`` as overrides, FIELD=VALUE."""
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()]


def check_values(base: RunConfig, name: str, values: SearchRange) -> None:
    """Raise ConfigError if ``base`` is invalid with a bound or a choice of ``values`` for the setting ``name``."""
    for value in values.ends():
        changed = base.model_dump(mode="json")
        *path, leaf = name.split(".")
        section = changed
        for part in path:
            section = section[part]
        section[leaf] = value
        try:
            RunConfig.model_validate(changed)
        except ValidationError as error:
            raise ConfigError(f"space: {name} cannot be {json.dumps(value)}: {first_problem(error)}") from error


def is_integer(name: str) -> bool:
    """Whether the setting ``name`` accepts integers only."""
    return _accepts(name, int) and not _accepts(name, float)


def _accepts(name: str, kind: type) -> bool:
    model: type[BaseModel] = RunConfig
    *path, leaf = name.split(".")
    for part in path:
        section = model.model_fields[part].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        model = section
    annotation = model.model_fields[leaf].annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return kind in kinds


def values_of(name: str, values: SearchRange) -> Iterator[Value]:
    """All values of a setting in order. The range must be finite, see `count`."""
    if values.choices:
        yield from values.choices
        return
    low, _high = values.bounds
    step, is_whole = values.step or 1, is_integer(name)
    for index in range(int(count(name, values))):
        number = low + index * step
        yield int(number) if is_whole else float(f"{number:.12g}")


def count(name: str, values: SearchRange) -> float:
    """Number of values of a setting; infinity for a continuous range, and for more than a float can count."""
    if values.choices:
        return len(values.choices)
    if values.step is None and not is_integer(name):
        return math.inf
    low, high = values.bounds
    steps = (high - low) / (values.step or 1)
    return math.floor(steps + 1e-9) + 1 if steps < math.inf else math.inf


def key(params: Params) -> str:
    """A string that is the same for trials with the same settings; floats are compared to 12 digits."""
    rounded = {name: f"{value:.12g}" if type(value) is float else value for name, value in params.items()}
    return json.dumps(rounded, sort_keys=True)


def combinations(sweep: Sweep) -> float:
    """Number of different trials in the space; infinity with a continuous range."""
    counts = [count(name, values) for name, values in sweep.space.items()]
    return math.inf if math.inf in counts else math.prod(counts)


def grid(sweep: Sweep) -> Iterator[dict[str, Value]]:
    """All combinations of a finite space, one at a time; the last setting varies fastest."""
    return _combine(list(sweep.space.items()))


def _combine(space: Sequence[tuple[str, SearchRange]]) -> Iterator[dict[str, Value]]:
    if not space:
        yield {}
        return
    (name, values), *others = space
    for value in values_of(name, values):
        yield from ({name: value, **params} for params in _combine(others))


def parse_sweep(raw: Any, origin: str) -> Sweep:
    """Validate plain data as a sweep. Raises ConfigError with ``origin`` and each invalid field."""
    try:
        return Sweep.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin} cannot be used:\n{field_lines(error, 'sweep')}") from error


def is_sweep_file(path: Path) -> bool:
    """Whether a file contains a sweep (with a ``space``) rather than a study."""
    return has_json_key(path, MAX_STUDY_BYTES, "space")


def read_sweep(path: Path) -> Sweep:
    """Read a sweep from a file. Raises ConfigError if the file is missing or invalid."""
    origin = f"the sweep {path}"
    return parse_sweep(read_json_of(origin, path, MAX_STUDY_BYTES, ConfigError), origin)
