"""Staged presets as chains of runs: creates them from an experiment, and lists their stages as they start.

Flow: an experiment's config -> ``chain_of`` -> chain folder inside the runs folder; the first stage is a normal run ->
the launcher starts ``python -m core train chain.json FOLDER`` -> ``ChainWatch`` lists each later stage under the same
experiment as soon as its folder exists. Stopping, pausing or resuming a stage stops, pauses or resumes the
chain: the trainer skips finished stages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.spec.chain import BORN_AGAIN, Chain, ChainDir, ChainStage, chain_file, preset_chain, read_chain
from core.spec.config import ConfigError, RunConfig, problems
from core.spec.presets import Size, preset_config
from core.spec.presets.stages import STAGES
from core.spec.run.status import process_alive
from sdgui.runs.poller import Poller
from sdgui.store.records import Run, StoreError
from sdgui.store.store import Store

# placeholder for teacher.checkpoint in a chain's config, for which each stage sets its own
PREVIOUS_GENERATION = "the generation before"
_POLL_SECONDS = 1.0

Raw = dict[str, Any]


def is_staged(preset: str) -> bool:
    """Whether the preset is trained in stages."""
    return preset == BORN_AGAIN or preset in STAGES


def takes_teacher_from_chain(config: RunConfig) -> bool:
    """Whether ``config`` leaves its teacher to the chain."""
    return config.preset == BORN_AGAIN and config.teacher.checkpoint in ("", PREVIOUS_GENERATION)


def chain_of(config: RunConfig, size: Size) -> Chain:
    """The chain of the staged preset that ``config`` started from, with the changes of ``config``.

    A stage keeps the settings that it changes or inherits from the previous stage. If seeds differ between stages, they
    count up from the seed of ``config``. Raises ConfigError with the name of a stage whose settings are contradictory.
    """
    chain = preset_chain(config.preset, size)
    base = preset_config(config.preset, size).model_dump(mode="json")
    ours = config.model_dump(mode="json")
    stages = [_with_changes(stage, base, ours, config.name) for stage in chain.stages]
    return chain.model_copy(update={"stages": stages})


def _with_changes(stage: ChainStage, base: Raw, ours: Raw, name: str) -> ChainStage:
    """``stage`` with the changes from ``base`` to ``ours``, except in fields that it takes from earlier stages."""
    raw = stage.config.model_dump(mode="json")
    merged = _merged(raw, base, ours) | {"data": ours["data"], "seed": ours["seed"] + raw["seed"]}
    for field in stage.takes:
        section, _, key = field.partition(".")
        merged[section] = merged[section] | {key: raw[section][key]}
    if merged["teacher"]["checkpoint"] == PREVIOUS_GENERATION:
        merged["teacher"] = merged["teacher"] | {"checkpoint": ""}
    stage_config = RunConfig.model_validate(merged | {"name": f"{name} {stage.name}"[:120]})
    wrong = {field: text for field, text in problems(stage_config).items() if field not in stage.takes}
    if wrong:
        field, text = next(iter(wrong.items()))
        raise ConfigError(f"Stage {stage.name} cannot be trained: {field}: {text}")
    return stage.model_copy(update={"config": stage_config})


def _merged(stage: Raw, base: Raw, ours: Raw) -> Raw:
    """``stage`` with the changes from ``base`` to ``ours``, except in settings that the stage itself changes."""
    merged: Raw = {}
    for key, value in stage.items():
        if isinstance(value, dict):
            merged[key] = _merged(value, base[key], ours[key])
        else:
            merged[key] = ours[key] if value == base[key] else value
    return merged


class ChainWatch(QObject):
    """Adds new stages of the store's chains, polling every second while a chain is running.

    Works in a background thread: listing a stage reads all of its events, which may be many megabytes.
    """

    trouble = Signal(str)  # why chains cannot be followed at present

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.is_polling = False  # whether a chain may be running
        self.poller = Poller("chains", "Chains of runs", self._work, self.trouble.emit)

    def start(self) -> None:
        """Start polling; may be called from any thread."""
        self.is_polling = True
        self.poller.begin()

    def stop(self) -> None:
        self.poller.stop()

    def _work(self) -> float | None:
        self.is_polling = False  # before polling, so that a ``start`` during the poll counts
        self.is_polling = self._poll() or self.is_polling
        return _POLL_SECONDS if self.is_polling else None

    def _poll(self) -> bool:
        """Add new stages; returns whether a chain is running, so that more may follow."""
        try:
            runs = self._store.stage_runs()
        except StoreError:  # the next poll tries again
            return True
        chains: dict[Path, Run] = {}
        for run in runs:
            if run.is_local and chain_file(run.folder) is not None:
                chains.setdefault(run.folder.parent, run)
        listed_folders, is_unfinished = {run.folder for run in runs}, False
        for folder, first in chains.items():
            is_unfinished = self._poll_chain(folder, first, listed_folders) or is_unfinished
        return is_unfinished

    def _poll_chain(self, folder: Path, first: Run, listed_folders: set[Path]) -> bool:
        """Add the new stages of one chain whose first run is ``first``; returns whether more may follow."""
        try:
            chain, chain_dir = read_chain(folder / "chain.json"), ChainDir(folder)
        except ConfigError:  # damaged or being removed; stages in the list are kept
            return False
        stages = chain_dir.stages(chain)
        # read before the stages, because the program may create another one before it ends
        statuses = [stage_run.read_status() for stage_run in stages if stage_run.path in listed_folders]
        alive = any(status is not None and process_alive(status) for status in statuses)
        missing = [stage for stage in stages if stage.path not in listed_folders]
        for stage in list(missing):
            if not stage.config.is_file():
                continue
            try:
                tags = [stage.path.name]
                self._store.import_run(stage.path, first.experiment_id, tags, first_stage=first.id)
            except StoreError:  # retried at the next poll
                continue
            if self.poller.ending.is_set():
                return False
            missing.remove(stage)
        return bool(missing) and alive
