"""Settings marked in Define become a sweep that the Study panel shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QDialogButtonBox
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.study import read_study
from core.spec.study.sweep import SearchRange, read_sweep
from core.spec.study.sweep_report import SweepDir
from sdgui.panels.define.panel import DefinePanel
from sdgui.panels.define.sweep_bar import ValuesDialog
from sdgui.panels.define.sweep_model import parse_values, suggested_values, values_text
from sdgui.panels.study.panel import StudyPanel
from sdgui.shared.form.fields import groups_of
from sdgui.shared.services import Selection, Services
from tests.core.images import write_pairs
from tests.sdgui.panels.define.defining import show

RATE = SearchRange(low=1e-5, high=1e-2, log=True)


VALID = (
    ("optim.learning_rate", "1e-5 to 1e-2 log", RATE),
    ("optim.weight_decay", "0, 0.1, 0.2", SearchRange(choices=[0.0, 0.1, 0.2])),
    ("optim.batch_size", "16 to 64 step 16", SearchRange(low=16, high=64, step=16)),
    ("runtime.precision", "fp32, bf16", SearchRange(choices=["fp32", "bf16"])),
)
INVALID = (
    ("optim.learning_rate", "1e-5", "Enter a range such as"),
    ("optim.learning_rate", "1 to 0.1", "Low 1 is not below high 0.1"),
    ("optim.learning_rate", "0 to 1 log", "A logarithmic range cannot start at 0"),
    ("optim.learning_rate", "-1 to 1", r"optim\.learning_rate cannot be -1\.0"),
    ("optim.batch_size", "1.5 to 4", "is not a whole number"),
    ("runtime.precision", "fp32, fp33", 'runtime.precision cannot be "fp33"'),
)


def test_typed_values_are_parsed_and_invalid_ones_refused(define: DefinePanel, services: Services) -> None:
    show(define, services, "sd-clip")
    config = preset_config("sd-clip", "demo")
    for path, typed, values in VALID:
        row = define.form.row(path)
        assert parse_values(row.spec, typed, config) == values
        assert parse_values(row.spec, values_text(values), config) == values
        assert parse_values(row.spec, suggested_values(row.spec, row.text()), config)
    for spec in (field for group in groups_of(RunConfig, "Run") for field in group.all_fields()):
        if spec.kind in ("whole", "number"):
            assert parse_values(spec, suggested_values(spec, define.form.row(spec.path).text()), config), spec.path
    for path, typed, said in INVALID:
        spec = define.form.row(path).spec
        with pytest.raises((ValueError, UserError), match=said):
            parse_values(spec, typed, config)
        dialog = ValuesDialog(spec, typed, config, define)
        assert not dialog.buttons.button(QDialogButtonBox.StandardButton.Ok).isEnabled()
        assert dialog.problem.text()


def test_marked_settings_become_a_sweep(qtbot: QtBot, define: DefinePanel, services: Services, tmp_path: Path) -> None:
    train, val = write_pairs(tmp_path / "pairs")
    first = show(define, services, "clip", f"data.train={train}")
    bar = define.sweep_bar
    assert not bar.isVisible()
    assert [action.text() for action in bar.menu("optim.learning_rate").actions()] == ["Search over…"]
    assert not bar.menu("seed").actions()[0].isEnabled(), "each trial's seed is the sweep's"
    assert not bar.menu("objectives.custom").actions()[0].isEnabled(), "a dictionary has no range"
    bar.set_values("optim.learning_rate", RATE)
    assert bar.isVisible()
    assert [action.text() for action in bar.menu("optim.learning_rate").actions()][1] == "Remove from the sweep"
    bar.create_button.click()
    assert bar.problem.text() == "Choose validation data first; trials are compared on the validation data."
    define.form.set_value("data.val", str(val))
    bar.steps.setValue(40)
    shown: list[str] = []
    define.source_requested.connect(lambda panel, source: shown.extend([panel, source]))
    with qtbot.waitSignal(bar.created, timeout=10_000) as made:
        bar.create_button.click()
    folder = Path(made.args[0])
    assert shown == ["study", str(folder)]
    sweep = read_sweep(SweepDir(folder).sweep)
    assert (sweep.space, sweep.steps, sweep.trials) == ({"optim.learning_rate": RATE}, 40, 30)
    sweep.check_space()
    study = read_study(SweepDir(folder).study)
    assert study.recipe(study.arms[0]).data.train == str(train)
    panel = StudyPanel(services)
    qtbot.addWidget(panel)
    panel.show_source(str(folder))
    qtbot.waitUntil(lambda: panel.toolbar.box.currentText() == sweep.name)

    show(define, services, "coca")
    assert not bar.isVisible(), "another experiment has marks of its own"
    define.select(Selection(first))
    assert bar.isVisible()
    assert bar.space == {"optim.learning_rate": RATE}
    bar.set_values("optim.learning_rate", None)
    assert not bar.isVisible()
