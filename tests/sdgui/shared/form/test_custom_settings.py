"""Settings of a custom objective in the form: read from the text of its file, which is not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from sdgui.shared.form.custom_settings import FIELD, CustomSettings
from sdgui.shared.form.form import ConfigForm

LOSSES = """
from dataclasses import dataclass
raise SystemExit("this file is run")

class Plain:
    def __init__(self, width: int, heat: float = 0.5, *, mode: str = "a"): ...

@dataclass
class Settings:
    margin: float = 0.2

class Grouped:
    def __init__(self, settings: Settings): ...

def function(student, teacher, power: int = 2): ...
"""


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Plain", {"weight": "1.0", "width": "required", "heat": "0.5", "mode": "a"}),
        ("Grouped", {"weight": "1.0", "margin": "0.2"}),
        ("function", {"weight": "1.0", "power": "2"}),
    ],
)
def test_each_setting_has_a_field_that_changes_the_config(
    name: str, settings: dict[str, str], qtbot: QtBot, tmp_path: Path
) -> None:
    file = tmp_path / "losses.py"
    file.write_text(LOSSES)
    key = f"{file}:{name}"
    form = ConfigForm()
    qtbot.addWidget(form)
    form.set_config(override(preset_config("clip", "tiny"), [f"{FIELD}={json.dumps({key: {'weight': 0.5}})}"]))
    form.focus_field(FIELD)
    below = form.row(FIELD).findChild(CustomSettings)
    assert below is not None
    qtbot.waitUntil(lambda: bool(below.lines))
    assert {setting: line.placeholderText() for (_, setting), line in below.lines.items()} == settings
    last = list(settings)[-1]
    assert below.lines[key, "weight"].text() == "0.5"
    below.lines[key, last].setText("3")
    below.lines[key, last].editingFinished.emit()
    config = form.config()
    assert config is not None
    assert config.objectives.custom[key].arguments == {last: 3}


def test_what_is_wrong_with_the_file_is_shown(qtbot: QtBot, tmp_path: Path) -> None:
    form = ConfigForm()
    qtbot.addWidget(form)
    custom = {f"{tmp_path}/gone.py:Loss": {}}
    form.set_config(override(preset_config("clip", "tiny"), [f"{FIELD}={json.dumps(custom)}"]))
    form.focus_field(FIELD)
    below = form.row(FIELD).findChild(CustomSettings)
    assert below is not None
    qtbot.waitUntil(lambda: any("There is no file" in label.text() for label in below.findChildren(QLabel)))
