"""Where a config comes from, what it changes of that, and whether a launch trains it in stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QSettings

from core.spec.config import RunConfig, override
from core.spec.presets import SIZES, Size, preset_config
from core.spec.run.logged import settings_of
from sdgui.runs.chains import PREVIOUS_GENERATION, takes_teacher_from_chain
from sdgui.runs.stages import (
    on_preset,
    origin,
    save_wants_stages,
    staged_chain,
    wants_stages,
    with_previous_generation,
)
from sdgui.store.records import Experiment


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


def experiment(config: RunConfig | None) -> Experiment:
    return Experiment(7, "x", "", config, "", 0.0, 0.0)


@pytest.mark.parametrize("size", SIZES)
def test_the_size_is_that_with_the_fewest_differences_and_own_values_do_not_count(size: Size) -> None:
    own = ["name=mine", "seed=9", "data.train=/a.csv"]
    config = override(preset_config("sd-clip", size), [*own, "objectives.contrastive.weight=0.3"])
    found = origin(config)
    assert found is not None
    base, named = found
    assert named == size
    ours, theirs = settings_of(config), settings_of(base)
    assert {name for name in ours if ours[name] != theirs[name]} == {"objectives.contrastive.weight"}
    assert (base.name, base.seed, base.data.train) == ("mine", 9, "/a.csv")
    assert ours["towers.architecture"] == config.towers.architecture
    assert origin(config.model_copy(update={"preset": "of a later version"})) is None


def test_a_generations_teacher_is_that_of_the_chain_only_for_its_own_preset() -> None:
    config = with_previous_generation(preset_config("born-again", "tiny"))
    assert config.teacher.checkpoint == PREVIOUS_GENERATION
    assert on_preset(config, "born-again", "demo").teacher.checkpoint == PREVIOUS_GENERATION
    assert on_preset(config, "clip", "tiny").teacher.checkpoint == ""
    named = override(config, ["teacher.checkpoint=/runs/former"])
    assert not takes_teacher_from_chain(named)
    assert with_previous_generation(named) == named
    assert on_preset(named, "born-again", "tiny").teacher.checkpoint == ""
    clip = preset_config("clip", "tiny")
    assert with_previous_generation(clip) == clip


def test_stages_are_on_by_default_and_remembered_per_experiment(settings: QSettings) -> None:
    blip = preset_config("blip", "tiny")
    assert wants_stages(blip, 7, settings)
    save_wants_stages(False, 7, settings)
    assert not wants_stages(blip, 7, settings)
    assert wants_stages(blip, 8, settings)
    assert staged_chain(experiment(blip), settings) is None
    save_wants_stages(True, 7, settings)
    assert wants_stages(blip, 7, settings)
    chain = staged_chain(experiment(blip), settings)
    assert chain is not None
    assert len(chain.stages) == 2
    assert not wants_stages(preset_config("clip", "tiny"), 7, settings)
    again = with_previous_generation(preset_config("born-again", "tiny"))
    assert wants_stages(again, 7, settings)
    assert not wants_stages(override(again, ["teacher.checkpoint=/runs/former"]), 7, settings), "it names its own"
    for config in (None, blip.model_copy(update={"preset": "unknown"})):
        assert staged_chain(experiment(config), settings) is None
