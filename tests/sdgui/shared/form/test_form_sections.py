"""The form's sections: what their list marks, what waits under *More*, what is explained and put below a field."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.row import FormRow
from sdgui.widgets.style.theme import SPACE
from tests.sdgui.shared.form.test_form import form, one_form

__all__ = ["form", "one_form"]  # fixtures


def test_the_list_of_sections_marks_what_is_wrong_or_differs_and_leads_there(form: ConfigForm) -> None:
    paths = [section.group.path for section in form._sections]
    row = paths.index("optim")
    item = form._list.item(row)

    def icon() -> QImage:
        return item.icon().pixmap(12, 12).toImage()

    blank = icon()
    assert (item.toolTip(), form._differences.text(), form._differences.isEnabled()) == ("", "No differences", False)
    form.set_value("optim.epochs", 3)
    changed = icon()
    assert (item.toolTip(), form._differences.text(), form._differences.isEnabled()) == (
        "1 difference", "1 difference", True
    )  # fmt: skip
    form.set_value("optim.batch_size", "x")
    form.set_value("optim.learning_rate", "x")
    assert item.toolTip() == "2 problems, 1 difference"
    form.set_value("optim.learning_rate", RunConfig().optim.learning_rate)
    assert item.toolTip() == "1 problem, 1 difference"
    wrong = icon()
    assert blank != changed != wrong != blank
    form.set_value("name", "mine")
    assert (form._list.item(paths.index("")).toolTip(), form._differences.text()) == ("", "1 difference")
    form.finish()
    bar = form._area.verticalScrollBar()
    form._list.itemClicked.emit(item)
    assert bar.value() == min(bar.maximum(), form._sections[row].y()) > 0
    assert form._list.currentRow() == row
    bar.setValue(0)
    assert form._list.currentRow() == 0
    form._search.setText("freeze prototypes")
    assert [paths[row] for row in range(len(paths)) if not form._list.isRowHidden(row)] == ["objectives"]
    for width, is_visible in ((76 * SPACE - 1, False), (76 * SPACE, True)):
        form.resize(width, 600)
        assert form._list.isVisible() is is_visible
    form.resize(900, 600)


def test_what_is_under_more_is_counted_and_named(form: ConfigForm) -> None:
    form.finish()
    section = form._homes["optim.beta1"]
    more = section._more
    assert more is not None
    rest = [spec for spec in section.group.fields if not section._at_once(spec)]
    assert rest
    assert (more.text(), more.accessibleName()) == (f"More ({len(rest)})", f"More settings of {section.group.title}")
    assert more.toolTip() == ", ".join(spec.title for spec in rest)
    more.click()
    assert (more.text(), more.accessibleName()) == ("Less", f"Fewer settings of {section.group.title}")
    form._search.setText("beta")
    assert more.isHidden(), "all that is found is shown"
    form._search.clear()
    assert not more.isHidden()


def test_a_field_is_explained_while_it_has_the_focus_and_more_is_put_below_it(qtbot: QtBot) -> None:
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
