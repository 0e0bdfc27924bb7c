"""Where a config comes from, and what it changes."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import PRESETS, SIZES, Size, preset_config, preset_names
from sdgui.app.start import make_application
from sdgui.panels.define.preset_bar import PresetBar
from sdgui.runs.stages import flat, on_preset, origin
from sdgui.shared.form.texts import field_title, value_text
from sdgui.shared.pickers.preset_facts import preset_needs


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", preset_names())
def test_the_size_is_recognised_and_own_values_are_no_difference(name: str, size: Size) -> None:
    config = override(preset_config(name, size), ["name=mine", "data.val=a.csv", "seed=3", "optim.clip_norm=7"])
    preset_and_size = origin(config)
    assert preset_and_size is not None
    base, recognised = preset_and_size
    assert recognised == size
    assert {field for field, value in flat(config).items() if flat(base)[field] != value} == {"optim.clip_norm"}


def test_an_unknown_preset_has_no_origin() -> None:
    assert origin(preset_config("clip").model_copy(update={"preset": "gone"})) is None


def test_changing_the_preset_keeps_name_data_and_seed() -> None:
    config = override(preset_config("clip", "demo"), ["name=mine", "data.val=v.csv", "seed=5"])
    changed = on_preset(config, "sd-clip", "tiny")
    assert (changed.name, changed.data.val, changed.seed, changed.preset) == ("mine", "v.csv", 5, "sd-clip")
    assert changed.towers == preset_config("sd-clip", "tiny").towers


def test_fields_and_values_use_the_titles_of_the_form() -> None:
    assert field_title("optim.batch_size") == "Optimiser · Batch size"
    assert field_title("seed") == "Seed"
    assert field_title("views.student.mix").startswith("Additional student views"), "the last two titles of the way"
    assert field_title("views.student.mix").count(" · ") == 1
    assert field_title("no.such") == "no.such"
    assert [value_text(value) for value in (True, 0.001, "", 8)] == ["on", "0.001", "–", "8"]


def test_the_bar_names_and_describes_its_preset_and_opens_the_others(qtbot: QtBot) -> None:
    make_application()
    bar = PresetBar()
    qtbot.addWidget(bar)
    bar.show()
    assert (bar.preset.text(), bar.preset.accessibleName()) == ("No preset  ▾", "Preset: No preset")
    assert (bar.in_stages.isVisible(), bar._paper.isVisible()) == (False, False)
    bar.show_origin("born-again", "tiny", read_only=False)
    title = PRESETS["born-again"].title
    assert (bar.preset.text(), bar.preset.accessibleName()) == (f"{title} · tiny  ▾", f"Preset: {title} · tiny")
    assert (bar.in_stages.text(), bar.in_stages.isChecked()) == ("Train in 3 stages", False)
    assert bar.in_stages.toolTip() != ""
    requirements = [need.sentence for need in preset_needs("born-again", "tiny")]
    assert bar._paper.text().splitlines() == [*PRESETS["born-again"].paper.splitlines(), *requirements]
    for label in (bar._description, bar._paper):
        assert label.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse, "to be looked up"
    assert (bar._description.isVisible(), bar._paper.isVisible()) == (False, False), "the window is low"
    bar.about.click()
    assert (bar._description.isVisible(), bar._paper.isVisible()) == (True, True)
    received: list[object] = []
    bar.staged.connect(received.append)
    bar.preset_chosen.connect(lambda *args: received.append(args))
    bar.in_stages.click()
    bar.preset.click()
    chooser = bar.chooser
    assert chooser is not None
    assert (chooser.isVisible(), chooser.preset_chosen(), chooser.size_chosen()) == (True, "born-again", "tiny")
    chooser.chosen.emit("clip", "demo")
    chooser.hide()
    bar.preset.click()
    assert bar.chooser is chooser, "it is made once"
    chooser.hide()
    assert received == [True, ("clip", "demo")]
    bar.show_origin("clip", "", read_only=False)
    assert bar._paper.text().startswith(PRESETS["clip"].paper), "of a size that is not known what the demo needs"
    assert (bar.in_stages.isVisible(), bar.in_stages.toolTip()) == (False, "")
