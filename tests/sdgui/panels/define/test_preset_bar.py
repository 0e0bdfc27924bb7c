"""Where a definition comes from, and what it changes."""

from __future__ import annotations

import pytest

from core.spec.config import override
from core.spec.presets import SIZES, Size, preset_config, preset_names
from sdgui.runs.stages import flat, on_preset, origin
from sdgui.shared.form.texts import field_title, value_text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", preset_names())
def test_the_size_is_recognised_and_the_experiments_own_is_no_difference(name: str, size: Size) -> None:
    config = override(preset_config(name, size), ["name=mine", "data.val=a.csv", "seed=3", "optim.clip_norm=7"])
    found = origin(config)
    assert found is not None
    base, recognised = found
    assert recognised == size
    assert {field for field, value in flat(config).items() if flat(base)[field] != value} == {"optim.clip_norm"}


def test_an_unknown_preset_has_no_origin() -> None:
    assert origin(preset_config("clip").model_copy(update={"preset": "gone"})) is None


def test_changing_the_preset_keeps_name_data_and_seed() -> None:
    config = override(preset_config("clip", "demo"), ["name=mine", "data.val=v.csv", "seed=5"])
    changed = on_preset(config, "sd-clip", "tiny")
    assert (changed.name, changed.data.val, changed.seed, changed.preset) == ("mine", "v.csv", 5, "sd-clip")
    assert changed.towers == preset_config("sd-clip", "tiny").towers


def test_fields_and_values_are_called_as_the_form_calls_them() -> None:
    assert field_title("optim.batch_size") == "Optimiser · Batch size"
    assert field_title("seed") == "Seed"
    assert field_title("views.student.mix").startswith("Student"), "the last two titles of the way"
    assert field_title("views.student.mix").count(" · ") == 1
    assert field_title("no.such") == "no.such"
    assert [value_text(value) for value in (True, 0.001, "", 8)] == ["on", "0.001", "–", "8"]
