"""A chain of runs: its folder and config. No torch, since the window reads it.

A chain folder:

    chain.json            the config at the start
    data/                 manifests that one stage wrote for a later one
    stage-1-NAME/ ...     a run folder per stage, created when the stage starts
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from core.spec.config import (
    ConfigError,
    RunConfig,
    Section,
    Text,
    field_lines,
    field_names,
    override,
    with_absolute_paths,
)
from core.spec.files import write_whole
from core.spec.presets import PRESETS, SIZES, Size, preset_config
from core.spec.presets.preset import merge, settings_size
from core.spec.presets.stages import STAGES
from core.spec.reading import MEGABYTE, excerpt, has_json_key, parse_json, read_json_of
from core.spec.run.folder import RunDir

CHAIN_VERSION: Literal[1] = 1
GENERATIONS = 3  # default number of stages of a born-again chain
MAX_STAGES = 100
BORN_AGAIN = "born-again"
MAX_CHAIN_BYTES = 4 * MEGABYTE  # a stage's config has 10 kB


class ChainStage(Section):
    """One run of a chain."""

    name: Text = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$")
    about: Text = ""
    config: RunConfig
    takes: dict[str, str] = Field({}, description="Config field -> earlier stage whose run folder is its value.")
    before: Literal["", "caption-filter"] = Field(
        "", description="What to do before this stage: nothing, or filter the captions."
    )


class Chain(Section):
    """The config of a chain."""

    version: Literal[1] = CHAIN_VERSION
    name: Text = Field(min_length=1, max_length=60)
    stages: list[ChainStage] = Field(min_length=1, max_length=MAX_STAGES)

    @model_validator(mode="after")
    def _consistent(self) -> Chain:
        seen: list[str] = []
        fields = set(field_names())
        for stage in self.stages:
            for field, earlier_stage in stage.takes.items():
                if field not in fields:
                    raise ValueError(f"stage {stage.name}, takes: there is no setting '{excerpt(field)}'")
                if earlier_stage not in seen:
                    raise ValueError(f"stage {stage.name}, takes: '{excerpt(earlier_stage)}' is not an earlier stage")
            if stage.before and not seen:
                raise ValueError(f"stage {stage.name}, before: {stage.before} needs an earlier stage")
            if stage.name.casefold() in (name.casefold() for name in seen):
                raise ValueError(f"two stages are called {stage.name!r}; rename one of them")
            seen.append(stage.name)
        return self

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def with_settings(self, settings: list[str]) -> Chain:
        """The chain with ``a.b=value`` settings applied to every stage; ConfigError as for a config."""
        if not settings:
            return self
        return self.model_copy(
            update={"stages": [s.model_copy(update={"config": _overridden(s.config, settings)}) for s in self.stages]}
        )

    def with_absolute_paths(self) -> Chain:
        """The chain with the paths of its stages made absolute, as for a config."""
        stages = [stage.model_copy(update={"config": with_absolute_paths(stage.config)}) for stage in self.stages]
        return self.model_copy(update={"stages": stages})


def _overridden(config: RunConfig, settings: list[str]) -> RunConfig:
    """``override`` for a stage, whose frozen teacher may be the run of an earlier stage, which has no path yet."""
    if not config.teacher.traits.trained or config.teacher.checkpoint:
        return override(config, settings)
    placeholder = override(config, ["teacher.checkpoint=former", *settings])
    teacher = placeholder.teacher.model_copy(update={"checkpoint": config.teacher.checkpoint})
    return placeholder.model_copy(update={"teacher": teacher})


class ChainDir:
    """Paths in a chain folder."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.chain = self.path / "chain.json"
        self.data = self.path / "data"
        self.lock = self.path / ".lock"

    def stage(self, chain: Chain, index: int) -> RunDir:
        """The run folder of stage ``index`` (the first is 0)."""
        return RunDir(self.path / f"stage-{index + 1}-{chain.stages[index].name}")

    def stages(self, chain: Chain) -> list[RunDir]:
        """The run folders of all stages."""
        return [self.stage(chain, index) for index in range(len(chain.stages))]

    def index_after(self, chain: Chain, run_folder: Path) -> int | None:
        """The index of the stage after the one in ``run_folder``; None after the last stage."""
        paths = [stage.path for stage in self.stages(chain)]
        index = paths.index(run_folder) + 1 if run_folder in paths else len(paths)
        return index if index < len(paths) else None

    def manifest(self, stage: ChainStage) -> Path:
        """The training manifest that is written before ``stage``."""
        return self.data / f"{stage.name}.csv"

    def current(self) -> RunDir | None:
        """The run folder of the stage that started last; None before the first."""
        try:
            stages = self.stages(read_chain(self.chain))
        except ConfigError:
            return None
        return next((stage for stage in reversed(stages) if stage.config.is_file()), None)

    def written_paths(self, chain: Chain) -> list[Path]:
        """The folders and files that a chain writes to."""
        stages = self.stages(chain)
        return [self.data, self.lock, *(path for run in stages for path in (run.path, run.checkpoints, run.exports))]


def chain_file(run_folder: Path) -> Path | None:
    """The path of ``chain.json`` if the run folder is a stage of a chain; None for a single run."""
    file = run_folder.parent / "chain.json"
    return file if run_folder.name.startswith("stage-") and file.is_file() else None


def run_label(run_folder: Path) -> str:
    """The name of a run in lists: the name of its folder, or CHAIN/STAGE."""
    name = run_folder.name
    return f"{run_folder.parent.name}/{name}" if chain_file(run_folder) else name


def stage_config(chain: Chain, folder: ChainDir, index: int) -> RunConfig:
    """The config of stage ``index`` in ``folder``, with the folders of earlier stages filled in (``takes``)."""
    stage, names = chain.stages[index], [earlier_stage.name for earlier_stage in chain.stages]
    values = {field: str(folder.stage(chain, names.index(earlier)).path) for field, earlier in stage.takes.items()}
    if stage.before == "caption-filter":
        values["data.train"] = str(folder.manifest(stage))
    changes = [f"{field}={json.dumps(value)}" for field, value in values.items()]
    return override(stage.config, changes) if changes else stage.config


def write_chain(folder: Path, chain: Chain) -> Path:
    """Create a chain's folder and its first stage's folder; return the first stage's folder. Raises OSError."""
    chain_dir = ChainDir(folder)
    first = chain_dir.stage(chain, 0)
    first.create()
    write_whole(chain_dir.chain, chain.to_json().encode())
    write_whole(first.config, chain.stages[0].config.to_json().encode())
    return first.path


def is_chain(path: Path) -> bool:
    """Whether the file contains a chain rather than a single config; False if it cannot be read."""
    return has_json_key(path, MAX_CHAIN_BYTES, "stages")


def read_chain(path: Path) -> Chain:
    """The chain in a file. Raises ConfigError if the file is missing or invalid."""
    subject = f"the chain {path}"
    return _validate(read_json_of(subject, path, MAX_CHAIN_BYTES, ConfigError), subject)


def parse_chain(text: str, subject: str) -> Chain:
    """The chain in JSON text. Raises ConfigError, naming ``subject``, if it is invalid."""
    return _validate(parse_json(text, subject, error=ConfigError), subject)


def _validate(raw: Any, subject: str) -> Chain:
    try:
        return Chain.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{subject} cannot be used:\n{field_lines(error, 'chain')}") from error


def preset_chain(name: str, size: Size = "base", generations: int = GENERATIONS) -> Chain:
    """The chain of a staged preset. Raises ConfigError, listing the staged presets, for any other name."""
    staged = [BORN_AGAIN, *STAGES]
    if name not in staged or name not in PRESETS:
        raise ConfigError(f"the preset '{name}' is not trained in stages; choose {', '.join(staged)}.")
    if size not in SIZES:
        raise ConfigError(f"there is no size '{size}'; choose {', '.join(SIZES)}.")
    if not 1 <= generations <= MAX_STAGES:
        raise ConfigError(
            f"--generations must be from 1 to {MAX_STAGES}, not {generations}; the default is {GENERATIONS}."
        )
    if name == BORN_AGAIN:
        return _born_again(size, generations)
    stages: list[ChainStage] = []
    for stage in STAGES[name]:
        raw = merge(preset_config(name, size).model_dump(mode="json"), stage.settings(settings_size(size)))
        raw["name"] = f"{name} {stage.name}"
        # A bootstrapped model is trained from scratch on the better captions; other stages continue the previous one.
        taken_fields = {"towers.pretrained": stages[-1].name} if stages and not stage.before else {}
        config, about = RunConfig.model_validate(raw), stage.description
        stages.append(ChainStage(name=stage.name, about=about, config=config, takes=taken_fields, before=stage.before))
    return Chain(name=name, stages=stages)


def _born_again(size: Size, generations: int) -> Chain:
    """Generation 1 learns the labels, each later one also the predictions of the previous one (Furlanello 2018)."""
    later_config = preset_config(BORN_AGAIN, size)
    first = merge(
        later_config.model_dump(mode="json"),
        {"teacher": {"kind": "none"}, "objectives": {"distill_logits": {"weight": 0.0}}},
    )
    stages = []
    for number in range(1, generations + 1):
        name, previous_name = f"generation-{number}", f"generation-{number - 1}"
        raw = first if number == 1 else later_config.model_dump(mode="json")
        config = RunConfig.model_validate({**raw, "name": f"born-again {name}", "seed": number - 1})
        stages.append(
            ChainStage(name=name, config=config, takes={"teacher.checkpoint": previous_name} if number > 1 else {})
        )
    return Chain(name=BORN_AGAIN, stages=stages)
