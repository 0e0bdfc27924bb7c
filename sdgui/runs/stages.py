"""The preset and size that a config started from, and whether it is trained in stages.

Flow: Define shows the differences from ``origin`` and saves the choice of stages; a launch calls ``staged_chain``.
"""

from __future__ import annotations

from PySide6.QtCore import QSettings

from core.spec.chain import BORN_AGAIN, Chain
from core.spec.config import RunConfig
from core.spec.presets import PRESETS, SIZES, Size, preset_config
from core.spec.run.logged import settings_of
from sdgui.runs.chains import PREVIOUS_GENERATION, chain_of, is_staged, takes_teacher_from_chain
from sdgui.store.records import Experiment

_EXPERIMENT_FIELDS = frozenset({"name", "preset", "data", "seed"})  # fields that no preset sets


def origin(config: RunConfig) -> tuple[RunConfig, Size] | None:
    """The preset's config that ``config`` started from, and its size: the size with the fewest differences.

    Name, data and seed are copied from ``config``, so that they do not count as differences. None if the preset is
    unknown.
    """
    if config.preset not in PRESETS:
        return None
    ours = settings_of(config)

    def distance(size: Size) -> int:
        theirs = settings_of(on_preset(config, config.preset, size))
        return sum(ours.get(name) != value for name, value in theirs.items())

    size = min(SIZES, key=distance)
    return on_preset(config, config.preset, size), size


def on_preset(config: RunConfig, preset: str, size: Size) -> RunConfig:
    """The preset's settings with the name, data and seed of ``config``."""
    own_values = {name: getattr(config, name) for name in _EXPERIMENT_FIELDS - {"preset"}}
    preset_settings = preset_config(preset, size).model_copy(update=own_values)
    return (
        with_previous_generation(preset_settings)
        if preset == config.preset and config.teacher.checkpoint == PREVIOUS_GENERATION
        else preset_settings
    )


def with_previous_generation(config: RunConfig) -> RunConfig:
    """A generation's config, with the teacher that is set by the chain."""
    if not takes_teacher_from_chain(config):
        return config
    return config.model_copy(update={"teacher": config.teacher.model_copy(update={"checkpoint": PREVIOUS_GENERATION})})


def wants_stages(config: RunConfig, experiment_id: int, settings: QSettings) -> bool:
    """Whether a launch trains all stages of the preset (the default)."""
    if not is_staged(config.preset) or (config.preset == BORN_AGAIN and not takes_teacher_from_chain(config)):
        return False
    return str(settings.value(f"stages/{experiment_id}", "true")).lower() == "true"


def save_wants_stages(staged: bool, experiment_id: int, settings: QSettings) -> None:
    """Save whether this experiment is trained in stages."""
    settings.setValue(f"stages/{experiment_id}", "true" if staged else "false")


def staged_chain(experiment: Experiment, settings: QSettings) -> Chain | None:
    """The chain that a launch of the experiment trains; None for a single run. Raises ConfigError."""
    config = experiment.config
    preset_origin = origin(config) if config is not None else None
    if config is None or preset_origin is None or not wants_stages(config, experiment.id, settings):
        return None
    return chain_of(config, preset_origin[1])
