"""Schemas that validate the files of a study, which may be untrusted.

Flow: ``core.spec.study`` reads ``measures.json`` and ``status.json``, the window reads ``results.json``; both validate
the content with these models. No torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.spec.reading import MEGABYTE, first_problem
from core.spec.study.config import Count, Number

MAX_MEASURES_BYTES = 16 * MEGABYTE
MAX_RESULTS_BYTES = 16 * MEGABYTE
MIN_STEP_SECONDS = 1e-9


def _measurable(seconds: float) -> float:
    if 0 < seconds < MIN_STEP_SECONDS:
        raise ValueError(f"no step is as short as {seconds} s")
    return seconds


Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False), AfterValidator(_measurable)]


class _Record(BaseModel):
    """The base of the records. Strict: values are not converted."""

    model_config = ConfigDict(strict=True, defer_build=True)


class MeasuresFile(_Record):
    """``exports/measures.json``: the measurements of one run by `core.studies.study.job`."""

    step_seconds: Seconds = 0.0
    train_seconds: Seconds = 0.0
    networks: dict[str, dict[str, Number]] = Field({}, max_length=100)
    measured: list[dict[str, Any]] | None = None
    notes: list[str] = []

    @model_validator(mode="after")
    def _check_networks(self) -> MeasuresFile:
        if self.networks and not self.networks.keys() & {"student", "teacher"}:
            raise ValueError("networks contains neither student nor teacher")
        return self


class StepTimeFile(_Record):
    """``times/ARM-0.json``: the step time of one arm, measured by `core.studies.study.step_time`."""

    clock: Literal["cpu", "wall"]
    step_seconds: Annotated[float, Field(ge=MIN_STEP_SECONDS, le=1e9, allow_inf_nan=False)]
    reference_seconds: Annotated[float, Field(ge=MIN_STEP_SECONDS, le=1e9, allow_inf_nan=False)]  # of the first arm
    step_flops: Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)] = 0.0
    machine: str = ""
    device: str = ""


class MeanRecord(_Record):
    """A mean over seeds with a confidence interval."""

    mean: Number
    low: Number | None
    high: Number | None
    values: list[Number]


class PairedRecord(_Record):
    """A paired difference of two arms, with p values."""

    difference: MeanRecord
    p_t: Number | None
    p_exact: Number | None
    significant: bool


class CostRecord(_Record):
    """The training cost of an arm."""

    step_seconds: MeanRecord
    train_seconds: MeanRecord
    ratio: MeanRecord | None = None
    budget: Seconds = 0.0
    flops: Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)] = 0.0


class NothingRecord(_Record):
    """An empty record, ``{}``: no run of the arm is done."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class ArmRecord(_Record):
    """The results of one trained arm."""

    of: str = ""  # the arm in the config, without the budget
    seeds: list[Count]
    failed: dict[str, str] = {}
    notes: dict[str, list[str]] = {}
    cost: CostRecord | NothingRecord | None = None
    networks: dict[str, dict[str, MeanRecord]]


class ComparisonRecord(_Record):
    """A comparison of two arms."""

    arm: str
    baseline: str
    seeds: list[Count] = []
    cost_ratio: MeanRecord | None = None
    metrics: dict[str, dict[str, PairedRecord]]
    equal: Literal["steps", "budget", ""] = ""  # what was equal for both arms


class DifferenceRecord(_Record):
    """The mean paired difference of two arms at a budget."""

    seconds: Seconds
    mean: Number
    low: Number | None = None
    high: Number | None = None


class CrossingRecord(_Record):
    """The comparison of an arm with its baseline over budgets, as in `core.studies.study.crossings.Crossing`."""

    arm: str
    baseline: str
    metric: str
    kind: Literal["ahead", "behind", "overtakes", "falls behind", "not significant"]
    seconds: Seconds | None = None
    last: DifferenceRecord | None = None


class ResultsFile(_Record):
    """``results.json``."""

    name: str = ""
    config: str = ""  # digest of the study's config
    machine: str = ""
    about: str = ""
    steps: Count = 0
    seeds: list[Count]
    metrics: list[str]
    arms: dict[str, ArmRecord]
    compare: list[ComparisonRecord]
    budgets: list[Seconds] = []
    crossings: list[CrossingRecord] = []

    @model_validator(mode="after")
    def _check_arms(self) -> ResultsFile:
        for comparison in self.compare:
            if not {comparison.arm, comparison.baseline} <= self.arms.keys():
                raise ValueError(f"compare: there is no arm {comparison.arm!r} or {comparison.baseline!r}")
        return self


def results_problem(raw: Any) -> str:
    """The problem with the content of a ``results.json``, as a message; "" if the content is valid."""
    try:
        ResultsFile.model_validate(raw)
    except ValidationError as error:
        return first_problem(error)
    return ""
