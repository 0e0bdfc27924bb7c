"""What a form holds beyond a config: refusals of the config before, filters, and rows that are made later."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from sdgui.shared.form.fields import FieldSpec, groups_of, parse
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.state import FormState
from tests.sdgui.shared.form.test_form import form, one_form, shown

__all__ = ["form", "one_form"]  # fixtures
SPECS: dict[str, FieldSpec] = {field.path: field for part in groups_of(RunConfig, "") for field in part.all_fields()}


def test_what_was_refused_is_an_error_of_that_text_and_of_that_config_alone() -> None:
    state = FormState(groups_of(RunConfig, "Experiment", hidden=frozenset({"version", "preset"})))
    state.refuse({"data.train": "gone.csv does not exist.", "no.field": "of nothing"})
    assert (state.errors, state.config) == ({"data.train": "gone.csv does not exist."}, RunConfig())
    state.texts["data.train"] = "/other.csv"
    state.judge()
    assert state.errors == {}
    state.texts["data.train"] = ""
    state.judge()
    state.put(RunConfig(), RunConfig())
    assert state.errors == {}, "of another experiment nothing was refused"
    state.refuse({"data.train": "one.csv is empty."})
    state.refuse({"seed": "It is taken."})
    assert state.errors == {"seed": "It is taken."}


def test_a_field_that_filters_hide_is_shown_when_it_is_gone_to(form: ConfigForm) -> None:
    form.set_value("optim.epochs", 3)
    form._differences.click()
    form._search.setText("epochs")
    assert shown(form) == ["optim.epochs"]
    form.focus_field("seed")
    assert (form._search.text(), form._differences.isChecked()) == ("", False)
    assert form.row("seed").isVisibleTo(form)


def test_of_what_differs_only_what_is_searched_for_is_shown(form: ConfigForm) -> None:
    form.set_values({"optim.epochs": 3, "seed": 5})
    form._differences.click()
    assert set(shown(form)) == {"optim.epochs", "seed"}
    form._search.setText("epochs")
    assert shown(form) == ["optim.epochs"]
    form._search.setText("learning rate")
    assert (shown(form), form._nothing.isVisible()) == ([], True)


def test_a_row_that_is_made_later_can_be_edited_as_little_as_the_others(qtbot: QtBot) -> None:
    late = ConfigForm(sections=("optim",))
    qtbot.addWidget(late)
    late.set_read_only(True)
    for path in ("optim.epochs", "optim.beta1"):
        control = late.row(path).editor.control
        assert isinstance(control, QLineEdit)
        assert control.isReadOnly()
        late.set_read_only(False)
        assert not control.isReadOnly()
        late.set_read_only(True)


def test_another_config_tells_whether_it_can_be_used(form: ConfigForm) -> None:
    validity: list[bool] = []
    form.validity_changed.connect(validity.append)
    form.set_value("optim.epochs", "many")
    form.set_config(RunConfig())
    form.set_config(RunConfig())
    assert validity == [False, True]
    form.validity_changed.disconnect(validity.append)


@pytest.mark.parametrize(("text", "number"), [("1_000", 1000), ("1\u2009000", 1000), (" 7 ", 7), ("2e1", 20)])
def test_thousands_may_be_parted_as_the_program_parts_them(text: str, number: int) -> None:
    assert parse(SPECS["optim.batch_size"], text) == number
    assert parse(SPECS["optim.learning_rate"], text) == number
