"""The config of a study, ``study.json``: arms, seeds, data and measures.

Flow: a file, or the window's editor -> ``read_study`` -> ``core.studies.study`` trains and evaluates the arms.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from core.spec.config import (
    ConfigError,
    RunConfig,
    Section,
    Text,
    expand_user,
    field_errors,
    field_lines,
    override,
    read_config,
)
from core.spec.presets import PRESETS, SIZES, Size, preset_config
from core.spec.reading import MEGABYTE, excerpt, read_json_of

STUDY_VERSION: Literal[2] = 2
Task = Literal["retrieval", "zero-shot", "linear-probe", "fused-probe", "knn", "captioning", "localisation", "noise"]
NoiseKind = Literal["shuffled", "in-group", "word", "generic"]
MAX_NUMBER = 1e12
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Pid = Annotated[int, Field(ge=0, lt=2**31)]
RunState = Literal["waiting", "training", "measuring", "done", "failed"]  # the state of a run in a study
DEMO = "demo:"  # prefix for a file of the rendered demo data
RENDERED_FILES = ("train.csv", "val.csv", "test.csv", "unseen.csv")
OPENCLIPART = "openclipart:"  # prefix for train.csv and test.csv of Debian's clip art, by category
VALID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")  # names that become files and folders
MAX_STUDY_BYTES = MEGABYTE
MAX_ITEMS = 500  # arms, seeds or measures
MAX_BUDGET_SECONDS = 1e9
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class NoiseSpec(Section):
    """Settings for a copy of one of the data sets, with a share of mismatched captions."""

    of: Text = Field("train", description="Data set to copy.")
    share: float = Field(0.3, gt=0.0, lt=1.0, description="Share of rows with mismatched captions.")
    kind: NoiseKind = Field(
        "shuffled",
        description="shuffled uses the caption of another row. in-group uses the caption of a row with the same label "
        "in the column ``within``. word replaces one word. generic uses a caption that fits any image.",
    )
    within: Text = Field("", description="Label column for in-group.")
    seed: Seed | None = Field(
        None,
        description="Seed of the noise. null uses the run's seed: intervals over seeds then include the random noise, "
        "and arms stay paired. With a number, all runs share the same noise.",
    )
    name: Text = Field("noisy", description="Name of the copy, also used as its file name.")
    kept: Text = Field("kept", description="Name of the data set of unchanged rows, also used as its file name.")

    @model_validator(mode="after")
    def _distinct_files(self) -> NoiseSpec:
        for file_name in (self.name, self.kept):
            if not VALID_NAME.fullmatch(file_name):
                raise ValueError(f"noise: '{excerpt(file_name)}' is not a valid name; use only letters, digits, . _ -")
        if (self.kind == "in-group") != bool(self.within):
            raise ValueError("noise: set `within` to a label column for in-group, and leave it empty for other kinds")
        if self.name.casefold() == self.kept.casefold():
            raise ValueError(f"the noisy copy and the unchanged rows are both called '{self.name}'; rename one")
        return self


class Arm(Section):
    """An arm: one recipe, which is trained with each seed."""

    name: Text = Field(description="Name of the arm, also used in folder names.")
    preset: Text = Field("", description="Preset to start from.")
    config: Text = Field("", description="Config file to start from, instead of a preset.")
    set: list[Text] = Field([], description="Overrides, FIELD=VALUE, as with --set.")
    train: Text = Field("", description="Training data (default: the study's training data).")
    budget: float = Field(0.0, ge=0.0, le=1e9, description="Seconds of training, instead of the study's steps.")


class Measure(Section):
    """An evaluation of each trained run."""

    name: Text = Field(description="Name of the measure, which precedes its metrics in results.")
    task: Task
    data: Text = Field(description="Data set of the study to evaluate on.")
    label: Text = Field("", description="Label column.")
    train: Text = Field("", description="Labelled training data for probes and knn.")
    templates: Text = Field("photo", description="Prompt templates for zero-shot.")
    shots: list[int] = Field([], description="Numbers of training images per class for probes (default: all).")
    draws: int = Field(3, ge=1, le=1000, description="Number of random subsets per number of shots, averaged.")
    keep: list[Text] = Field([], description="Metrics to keep (default: all).")
    arms: list[Text] = Field([], description="Arms to evaluate (default: all).")

    def record(self) -> dict[str, Any]:
        """The record of this measure in ``measures.json``."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Study(Section):
    """The config of a study."""

    version: Literal[2] = STUDY_VERSION
    name: Text = Field(min_length=1, max_length=60)
    about: Text = ""
    size: Size = "demo"
    steps: int = Field(0, ge=0, le=10**9, description="Optimiser steps per run; 0 if all arms have budgets.")
    budgets: list[float] = Field(
        [], max_length=MAX_ITEMS, description="Training times in seconds; each arm is trained for each budget."
    )
    seeds: list[Seed] = Field([0, 1, 2], min_length=1, max_length=MAX_ITEMS)
    data: dict[Text, Text] = Field(
        description=f"Data sets: name to path, relative to the study file. {DEMO}train.csv is rendered demo data, "
        f"{OPENCLIPART}train.csv is Debian's clip art."
    )
    noise: NoiseSpec | None = None
    train: Text = "train"
    val: Text = "val"
    set: list[Text] = Field([], description="Overrides for every arm, applied before the arm's overrides.")
    arms: list[Arm] = Field(min_length=1, max_length=MAX_ITEMS)
    compare: list[tuple[str, str]] = Field(
        [], max_length=10 * MAX_ITEMS, description="Pairs of arms; the second is the baseline."
    )
    measures: list[Measure] = Field(min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        names = [arm.name for arm in self.arms]
        check_budgets(self)
        copies = (self.noise.name, self.noise.kept) if self.noise else ()
        data_names = {*self.data, *copies}
        arms, seeds = Counter(names), Counter(self.seeds)
        _check_each(
            names,
            lambda name: bool(VALID_NAME.fullmatch(name)),
            "the arm name {!r} is not valid; use only letters, digits, . _ -",
        )
        _check_each(names, lambda name: arms[name] == 1, "two arms are called {!r}; rename one")
        _check_each(list(self.seeds), lambda seed: seeds[seed] == 1, "the seed {} is listed twice")
        _check_each(
            list(copies),
            lambda name: name not in self.data,
            "noise: the name {!r} is already used by a data set; rename it",
        )
        rendered = [
            location.partition(":")[2] for location in self.data.values() if location.startswith((DEMO, OPENCLIPART))
        ]
        _check_each(
            rendered, lambda file: bool(VALID_NAME.fullmatch(file)), "data: {!r} is not a file of the rendered data"
        )
        reserved = {file.casefold() for file in (*rendered, *RENDERED_FILES)}
        _check_each(
            list(copies),
            lambda name: f"{name}.csv".casefold() not in reserved,
            "noise: {!r} is a file of the demo data",
        )
        for arm in self.arms:
            if bool(arm.preset) == bool(arm.config):
                raise ValueError(f"the arm {arm.name} needs either a preset or a config")
            if arm.preset and arm.preset not in PRESETS:
                raise ValueError(f"the arm {arm.name} has an unknown preset: '{excerpt(arm.preset)}'")
        used_names = [self.train, self.val, *(arm.train for arm in self.arms), *(m.data for m in self.measures)]
        used_names += [measure.train for measure in self.measures] + ([self.noise.of] if self.noise else [])
        _check_each([w for w in used_names if w], lambda name: name in data_names, "there is no data set {!r}")
        _check_each(
            [a for pair in self.compare for a in pair], lambda name: name in arms, "compare: {!r} is not an arm"
        )
        _check_each(
            [a for m in self.measures for a in m.arms], lambda name: name in arms, "measures: {!r} is not an arm"
        )
        return self

    @property
    def arms_to_train(self) -> list[Arm]:
        """The arms to train: one per arm and budget, or the arms themselves without budgets."""
        if not self.budgets:
            return self.arms
        return [at_budget(arm, seconds) for seconds in self.budgets for arm in self.arms]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of trained arms to compare at equal budgets; by default each arm with the first."""
        first = self.arms[0].name
        pairs = self.compare or [(arm.name, first) for arm in self.arms[1:]]
        if not self.budgets:
            return pairs
        return [(budget_name(a, seconds), budget_name(b, seconds)) for seconds in self.budgets for a, b in pairs]

    def arm(self, name: str) -> Arm:
        """The arm called ``name``, which may be an arm at one of the budgets."""
        return next(arm for arm in (*self.arms, *self.arms_to_train) if arm.name == name)

    def configured_arm(self, name: str) -> Arm:
        """The arm in the config that is trained under ``name``; with budgets, ``name`` also contains the budget."""
        names = {budget_name(arm.name, seconds): arm for seconds in self.budgets for arm in self.arms}
        return names.get(name) or self.arm(name)

    def measures_of(self, arm: str) -> list[Measure]:
        """The measures for the arm that is trained under the name ``arm``."""
        name = self.configured_arm(arm).name
        return [measure for measure in self.measures if not measure.arms or name in measure.arms]

    def can_continue(self, previous: Study) -> bool:
        """Whether this study can reuse the runs of ``previous``: only arms, seeds, data and measures may be added."""
        ignored = {"about": "", "compare": [], "measures": [], "data": {}, "arms": self.arms, "seeds": self.seeds}
        ignored["budgets"] = self.budgets
        same = self.model_copy(update=ignored) == previous.model_copy(update=ignored)
        grown = all(arm in self.arms for arm in previous.arms) and set(previous.seeds) <= set(self.seeds)
        grown = grown and set(previous.budgets) <= set(self.budgets) and bool(previous.budgets) == bool(self.budgets)
        return same and grown and self.data | previous.data == self.data

    def recipe(self, arm: Arm) -> RunConfig:
        """The config of ``arm`` without data and seed. Raises ConfigError for an invalid file or setting."""
        base = preset_config(arm.preset, self.size) if arm.preset else read_config(Path(arm.config))
        return override(base, [*self.set, *arm.set])

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over the config without ``about``."""
        canonical = json.dumps(self.model_dump(mode="json", exclude={"about"}), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def budget_name(arm: str, seconds: float) -> str:
    """The name of an arm at a budget, also in folder names: ``clip-230s``."""
    return f"{arm}-{seconds:.0f}s" if seconds >= 1e6 else f"{arm}-{seconds:g}s"  # a name has no +, as 1e+06 has


def at_budget(arm: Arm, seconds: float) -> Arm:
    """``arm`` with a budget of ``seconds``."""
    return arm.model_copy(update={"name": budget_name(arm.name, seconds), "budget": seconds})


def check_budgets(study: Study) -> None:
    """Raise ValueError for invalid budgets, or budgets that conflict with steps or arms."""
    for seconds in study.budgets:
        if not 0 < seconds <= MAX_BUDGET_SECONDS:
            raise ValueError(f"budgets: {seconds:g} is not a valid training time; use seconds above 0")
    if len(set(study.budgets)) < len(study.budgets):
        raise ValueError("budgets: a time is listed twice")
    if study.budgets and study.steps:
        raise ValueError("a study can have either steps or budgets; leave one of them out")
    own_budget = next((arm for arm in study.arms if arm.budget), None)
    if study.budgets and own_budget is not None:
        raise ValueError(f"the arm {excerpt(own_budget.name)} has its own budget; remove it, or the study's budgets")
    if not study.budgets and not study.steps and not all(arm.budget for arm in study.arms):
        raise ValueError("a study needs steps, or budgets in seconds")
    if len(study.budgets) * len(study.arms) > MAX_ITEMS:
        raise ValueError(
            f"{len(study.budgets)} budgets x {len(study.arms)} arms are more than {MAX_ITEMS} combinations; use fewer"
        )
    names = [arm.name for arm in study.arms_to_train] if study.budgets else []
    counts = Counter(names)
    _check_each(
        names, lambda name: bool(VALID_NAME.fullmatch(name)), "budgets: {!r} is not a valid run name; rename the arm"
    )
    _check_each(names, lambda name: counts[name] == 1, "budgets: two arms would be called {!r}; rename one")


def absolute(study: Study, folder: Path) -> Study:
    """The study with absolute paths; relative paths are resolved against ``folder``."""

    def to_absolute(path_text: str) -> str:
        path = expand_user(path_text)
        return (
            path_text
            if path_text.startswith((DEMO, OPENCLIPART)) or path.is_absolute()
            else str((folder / path).absolute())
        )

    data = {name: to_absolute(path_text) for name, path_text in study.data.items()}
    arms = [arm.model_copy(update={"config": to_absolute(arm.config)}) if arm.config else arm for arm in study.arms]
    return study.model_copy(update={"data": data, "arms": arms})


def _check_each(values: list[Any], holds: Any, complaint: str) -> None:
    for value in values:
        if not holds(value):
            raise ValueError(excerpt(complaint.format(value)))


def read_study(path: Path) -> Study:
    """The study in a file. Raises ConfigError if the file is missing or invalid."""
    subject = f"the study {path}"
    try:
        return Study.model_validate(read_json_of(subject, path, MAX_STUDY_BYTES, ConfigError))
    except ValidationError as error:
        sizes = f" (sizes: {', '.join(SIZES)})" if "size" in field_errors(error) else ""
        raise ConfigError(f"{subject} cannot be used{sizes}:\n{field_lines(error, 'study')}") from error
