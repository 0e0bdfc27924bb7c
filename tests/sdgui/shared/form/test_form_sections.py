"""The form's sections: what their list marks, what waits under *More*, what is explained and put below a field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.shared.form.custom_settings import FIELD, CustomSettings
from sdgui.shared.form.fields import groups_of, values_of
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.relevance import matters
from sdgui.shared.form.row import FormRow
from sdgui.shared.form.state import FormState
from tests.sdgui.shared.form.test_form import form, one_form, shown

__all__ = ["form", "one_form"]  # fixtures


def test_a_field_is_explained_while_focused_with_more_below_it(qtbot: QtBot) -> None:
    single = ConfigForm(sections=("optim",))
    qtbot.addWidget(single)
    below: list[QLabel] = []

    def make(row: FormRow) -> QLabel:
        below.append(QLabel(row.spec.path, row))
        return below[-1]

    single.set_companions(["optim.epochs"], make)
    single.set_choices("optim.epochs", ["1"])
    single.resize(900, 600)
    single.show()
    assert not single._list.isVisible(), "there is one section"
    two = ConfigForm(sections=("optim", "checkpoint"))
    qtbot.addWidget(two)
    two.resize(900, 600)
    two.show()
    assert two._list.isVisible()
    single.finish()
    assert [label.text() for label in below] == ["optim.epochs"]
    row = single.row("optim.epochs")
    assert below[0].isVisible()
    assert below[0].y() > row.editor.geometry().bottom()
    row.focused.emit("optim.epochs")
    assert single._help.text() == f"{row.spec.title}: {row.spec.help}"
    single.focus_field("optim.beta1")
    assert single.row("optim.beta1").isVisible(), "it is under More"
    with pytest.raises(KeyError):
        single.set_values({"optim.epochs": 2, "optim.none": 3})
    assert single.changes() == {}
    changes: list[None] = []
    single.changed.connect(lambda: changes.append(None))
    single.set_values({"optim.epochs": 2, "optim.beta1": 0.5})
    assert (len(changes), single.read_only) == (1, False)


def test_a_refusal_belongs_to_its_text_and_config() -> None:
    state = FormState(groups_of(RunConfig, "Experiment", hidden=frozenset({"version", "preset"})))
    state.refuse({"data.train": "gone.csv does not exist.", "no.field": "of nothing"})
    assert (state.errors, state.config) == ({"data.train": "gone.csv does not exist."}, RunConfig())
    state.texts["data.train"] = "/other.csv"
    state.validate()
    assert state.errors == {}
    state.texts["data.train"] = ""
    state.validate()
    state.set_config(RunConfig(), RunConfig())
    assert state.errors == {}, "of another experiment nothing was refused"
    state.refuse({"data.train": "one.csv is empty."})
    state.refuse({"seed": "It is taken."})
    assert state.errors == {"seed": "It is taken."}


def test_a_filtered_field_is_shown_when_navigated_to(form: ConfigForm) -> None:
    form.set_value("optim.epochs", 3)
    form._differences.click()
    form._search.setText("epochs")
    assert shown(form) == ["optim.epochs"]
    form.focus_field("seed")
    assert (form._search.text(), form._differences.isChecked()) == ("", False)
    assert form.row("seed").isVisibleTo(form)


VIEW = "views.student"
TAUGHT = {"teacher.kind": "ema"}
MIXES = {f"{VIEW}.mix": "mixup"}


@pytest.mark.parametrize(
    ("field", "when", "not_when"),
    [
        ("data.labels_per_class", {"data.label": "kind"}, {"data.label": ""}),
        ("towers.weights", {"towers.pretrained": "/m"}, {"towers.pretrained": ""}),
        ("fusion.layers", {"fusion.kind": "merged"}, {"fusion.kind": "none"}),
        ("fusion.text_attention", {"fusion.kind": "cross-attention"}, {"fusion.kind": "merged"}),
        ("fusion.feed_forward", {"fusion.kind": "merged"}, {"fusion.kind": "cross-attention"}),
        (
            "fusion.joint_layers",
            {"fusion.kind": "merged", "fusion.feed_forward": "per-modality"},
            {"fusion.kind": "merged", "fusion.feed_forward": "shared"},
        ),
        ("objectives.consistency.sharpen", {"objectives.consistency.kind": "mixmatch"},
         {"objectives.consistency.kind": "fixmatch"}),
        ("teacher.momentum", {"teacher.kind": "ema"}, {"teacher.kind": "frozen"}),
        ("teacher.targets", {"teacher.kind": "frozen"}, {"teacher.kind": "ema"}),
        ("teacher.checkpoint", {"teacher.kind": "frozen"}, {"teacher.kind": "ema"}),
        (f"{VIEW}.mask_share", {f"{VIEW}.mask": 0.5}, {f"{VIEW}.mask": 0.0}),
        (f"{VIEW}.mix_alpha", MIXES, {f"{VIEW}.mix": "none"}),
        (f"{VIEW}.randaugment_magnitude", {f"{VIEW}.randaugment_ops": 2}, {f"{VIEW}.randaugment_ops": 0}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 0, "teacher.targets": "pass", **TAUGHT}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 1, "teacher.targets": "pass", "teacher.kind": "none"}),
        ("views.shared", {f"{VIEW}.count": 1, "teacher.targets": "pass", **TAUGHT},
         {f"{VIEW}.count": 1, "teacher.targets": "stored", **TAUGHT}),
    ],
)  # fmt: skip
def test_a_setting_matters_where_it_has_an_effect(field: str, when: dict[str, Any], not_when: dict[str, Any]) -> None:
    values = values_of(RunConfig())
    assert {field, *when, *not_when} <= values.keys()
    assert matters(field, values | when)
    assert not matters(field, values | not_when)


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


def test_a_problem_of_the_file_is_shown(qtbot: QtBot, tmp_path: Path) -> None:
    form = ConfigForm()
    qtbot.addWidget(form)
    custom = {f"{tmp_path}/gone.py:Loss": {}}
    form.set_config(override(preset_config("clip", "tiny"), [f"{FIELD}={json.dumps(custom)}"]))
    form.focus_field(FIELD)
    below = form.row(FIELD).findChild(CustomSettings)
    assert below is not None
    qtbot.waitUntil(lambda: any("There is no file" in label.text() for label in below.findChildren(QLabel)))
