"""The form: every field has an editor, nothing typed is lost, errors land on their fields."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLineEdit

from core.spec.config import RunConfig, field_names
from core.spec.presets import preset_config, preset_names
from sdgui.shared.form.editors import stepped_number
from sdgui.shared.form.fields import groups_of, parse, text_of
from sdgui.shared.form.form import ConfigForm
from sdgui.shared.form.state import FormState
from sdgui.widgets.style.theme import apply_theme


@pytest.fixture(scope="module")
def one_form(qapp: QApplication) -> Iterator[ConfigForm]:
    """Made once: it comes to hundreds of widgets."""
    apply_theme(qapp)
    form = ConfigForm()
    form.resize(900, 600)
    form.show()
    yield form
    form.close()
    form.deleteLater()


@pytest.fixture
def form(one_form: ConfigForm) -> ConfigForm:
    """The form as if new."""
    one_form.set_read_only(False)
    one_form.set_config(RunConfig())
    one_form._search.clear()
    one_form._differences.setChecked(False)
    for section in one_form._all():
        section._unfolded = False
    one_form.set_config(RunConfig())
    one_form.finish()
    return one_form


def shown(form: ConfigForm) -> list[str]:
    """The fields that can be seen, in the order of the form."""
    form.finish()
    return [path for path in form.draft() if path in form._section_of[path].rows and form.row(path).isVisibleTo(form)]


def line(form: ConfigForm, field: str) -> QLineEdit:
    control = form.row(field).editor.control
    assert isinstance(control, QLineEdit)
    return control


def type_into(form: ConfigForm, field: str, text: str) -> None:
    control = line(form, field)
    control.setFocus()
    control.selectAll()
    QTest.keyClicks(control, text)


def test_every_field_has_an_editor_except_version_and_preset(form: ConfigForm) -> None:
    assert sorted(form.draft()) == sorted(name for name in field_names() if name not in ("version", "preset"))
    for path in form.draft():
        row = form.row(path)
        assert row.editor.control.accessibleName()
        assert row.editor.control.toolTip() or not row.spec.description
    assert line(form, "optim.learning_rate").toolTip().endswith("Above 0 and at most 10.")


def test_every_preset_round_trips(form: ConfigForm) -> None:
    for name in preset_names():
        config = preset_config(name, "large")
        form.set_config(config)
        assert (form.config(), form.changes(), form.errors()) == (config, {}, {}), name


@settings(deadline=None, max_examples=20)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip(number: float) -> None:
    spec = next(
        field for group in groups_of(RunConfig, "Experiment") for field in group.all_fields() if field.kind == "number"
    )
    assert parse(spec, text_of(number)) == number


def test_typing_scientific_notation(form: ConfigForm, qtbot) -> None:
    changes: list[int] = []
    form.changed.connect(lambda: changes.append(1))
    type_into(form, "optim.learning_rate", "3e-4")
    config = form.config()
    assert config is not None
    assert config.optim.learning_rate == 3e-4
    assert line(form, "optim.learning_rate").text() == "3e-4"  # as it was typed
    assert len(changes) == 4
    type_into(form, "optim.batch_size", "1e3")
    config = form.config()
    assert config is not None
    assert config.optim.batch_size == 1000
    type_into(form, "optim.batch_size", "2,560")  # as the window shows it
    config = form.config()
    assert config is not None
    assert config.optim.batch_size == 2560


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("optim.learning_rate", "5e-", "not a number"),
        ("optim.learning_rate", "", "Enter a number"),
        ("optim.learning_rate", "0", "Must be above 0"),
        ("optim.learning_rate", "nan", "finite"),
        ("optim.learning_rate", "0,5", "decimal point"),
        ("optim.batch_size", "2.5", "not a whole number"),
        ("optim.batch_size", "2,5", "write 1,234 or 1234"),
        ("optim.batch_size", "0,500", "write 1,234 or 1234"),
        ("name", "", "Must not be empty"),
        ("name", "x" * 121, "at most 120"),
    ],
)
def test_invalid_text_stays_with_its_error(form: ConfigForm, field: str, text: str, words: str) -> None:
    if 0 < len(text) < 20:
        type_into(form, field, text)
    else:
        line(form, field).setText(text)
        line(form, field).textEdited.emit(text)
    assert form.config() is None
    assert line(form, field).text() == text
    assert words in form.errors()[field]
    row = form.row(field)
    assert row._error_label is not None
    assert row._error_label.isVisible()
    assert words in row.editor.control.accessibleDescription()
    assert form._problems.text() == "1 problem"
    form.set_value(field, RunConfig().model_dump()[field] if "." not in field else 5)
    assert form.config() is not None
    assert form.errors() == {}
    assert not form._problems.isVisible()


def test_contradictions_are_shown_at_their_fields(form: ConfigForm) -> None:
    form.set_config(preset_config("sd-clip", "demo"))
    form.set_value("teacher.kind", "none")
    taught = {"objectives.distill_similarity.weight", "objectives.distill_prototypes.weight"}
    assert taught <= set(form.errors())
    assert all(form.row(field).error for field in taught)
    assert form.config() is None
    assert form._problems.text() == f"{len(form.errors())} problems"


def test_an_unreadable_field_does_not_hide_other_errors(form: ConfigForm) -> None:
    form.set_value("optim.epochs", "many")
    form.set_value("optim.batch_size", "0")
    assert set(form.errors()) == {"optim.epochs", "optim.batch_size"}


def test_the_problems_button_cycles_through_the_errors(form: ConfigForm, qtbot) -> None:
    form.set_value("optim.eps", "x")  # under More
    form.set_value("seed", "-1")
    form.activateWindow()
    qtbot.waitUntil(form.isActiveWindow)
    line(form, "name").setFocus()
    for field in ("seed", "optim.eps", "seed"):
        form._problems.click()
        qtbot.waitUntil(lambda field=field: form.row(field).editor.control.hasFocus())
        assert form.row(field).isVisible()


def test_differences_are_marked_and_reset(form: ConfigForm) -> None:
    base = preset_config("clip", "demo")
    form.set_config(base.model_copy(update={"seed": 7}), base)
    assert form.changes() == {"seed": (0, 7)}
    row = form.row("seed")
    assert row._dot.text()
    assert row._reset is not None
    row._reset.click()
    assert form.config() == base
    assert form.changes() == {}
    assert not row._reset.isVisible()
    form.set_value("optim.learning_rate", "1e-3")  # the same value, written otherwise
    assert form.changes() == {}


def test_advanced_fields_fold_but_changed_ones_show(form: ConfigForm) -> None:
    assert not form.row("optim.beta1").isVisibleTo(form)
    form.set_value("optim.beta1", "0.8")
    assert form.row("optim.beta1").isVisibleTo(form)
    assert not form.row("optim.beta2").isVisibleTo(form)
    section = next(candidate for candidate in form._sections if candidate.group.path == "optim")
    section._more.click()
    assert form.row("optim.beta2").isVisibleTo(form)
    section._more.click()
    assert not form.row("optim.beta2").isVisibleTo(form)


def test_search_shows_what_matches(form: ConfigForm) -> None:
    form._search.setText("freeze prototypes")
    assert shown(form) == ["objectives.distill_prototypes.weight", "objectives.distill_prototypes.freeze_last"]
    form._search.setText("optimiser")
    assert form.row("optim.epochs").isVisibleTo(form)
    form._search.setText("no such thing")
    assert form._nothing.isVisible()
    form._search.clear()
    assert form.row("seed").isVisibleTo(form)
    assert not form._nothing.isVisible()


def test_the_wheel_changes_nothing(form: ConfigForm, qapp: QApplication) -> None:
    form.set_config(preset_config("sd-clip", "demo"))
    before = form.draft()
    for path in shown(form):
        control = form.row(path).editor.control
        wheel = QWheelEvent(
            QPointF(5, 5), QPointF(5, 5), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        qapp.sendEvent(control, wheel)
    assert form.draft() == before


def test_read_only(form: ConfigForm) -> None:
    form.set_value("seed", 3)
    form.set_read_only(True)
    type_into(form, "name", "other")
    assert form.draft()["name"] == "untitled"
    assert not form.row("seed")._reset.isVisible()  # type: ignore[union-attr]
    combo = form.row("teacher.kind").editor.control
    assert isinstance(combo, QComboBox)
    assert not combo.isEnabled()
    form.set_read_only(False)
    type_into(form, "name", "other")
    assert form.draft()["name"] == "other"


def test_a_draft_keeps_invalid_texts(form: ConfigForm, qtbot) -> None:
    form.set_value("optim.epochs", "ma")
    form.set_value("data.train", "/images/träin.csv")
    second_form = ConfigForm()
    qtbot.addWidget(second_form)
    second_form.set_draft({**form.draft(), "gone.field": "1"})
    assert second_form.draft() == form.draft()
    assert second_form.errors() == form.errors()


def test_hidden_values_are_kept(form: ConfigForm) -> None:
    form.set_config(preset_config("sd-clip", "tiny"))
    config = form.config()
    assert config is not None
    assert config.preset == "sd-clip"
    state = FormState([])
    state.set_config(preset_config("sd-clip", "tiny"), preset_config("clip", "tiny"))
    assert state.config == preset_config("sd-clip", "tiny"), "of what is not shown nothing is the base's"


def test_arrows_step_the_last_digit(form: ConfigForm) -> None:
    assert stepped_number("5e-4", 1) == "6e-4"
    assert stepped_number("1e-4", -1) == "9e-5"
    assert stepped_number("0.98", 1) == "0.99"
    assert stepped_number("128", -1) == "127"
    assert stepped_number("inf", 1) is None
    assert stepped_number("x", 1) is None
    form.set_value("optim.learning_rate", "5e-4")
    QTest.keyClick(line(form, "optim.learning_rate"), Qt.Key.Key_Up)
    config = form.config()
    assert config is not None
    assert config.optim.learning_rate == 6e-4


def test_suggestions(form: ConfigForm) -> None:
    form.set_choices("towers.architecture", ["ViT-B-32", "RN50"])
    completer = line(form, "towers.architecture").completer()
    completer.setCompletionPrefix("b-3")
    assert completer.currentCompletion() == "ViT-B-32"


def test_only_settings_of_the_chosen_fusion_are_shown(form: ConfigForm) -> None:
    for kind, fields in {"none": set(), "cross-attention": {"text_attention"}, "merged": {"feed_forward"},
                      "skip": {"merge_every"}, "queries": {"queries"}}.items():  # fmt: skip
        form.set_value("fusion.kind", kind)
        seen = {path.partition(".")[2] for path in shown(form) if path.startswith("fusion.")}
        assert seen == {"kind"} | (fields and fields | {"layers", "heads", "width"}), kind
    form.set_config(RunConfig())
    form.finish()
    section = form._section_of["fusion.layers"]
    assert section._more is not None
    section._more.click()
    assert "fusion.queries" in shown(form)  # nothing is out of reach


def test_an_error_in_a_folded_group_unfolds_it(form: ConfigForm) -> None:
    form.set_config(preset_config("clip", "demo"))
    assert "views.student.mask_share" not in shown(form)
    form.set_draft(form.draft() | {"views.student.mask_share": "2"})
    assert "views.student.mask_share" in shown(form)


def test_rows_are_created_between_events_from_the_top(qtbot) -> None:
    fresh = ConfigForm()
    qtbot.addWidget(fresh)
    fresh.show()
    assert sum(len(section.rows) for section in fresh._all()) == 0
    qtbot.waitUntil(lambda: not fresh._pending(), timeout=10_000)
    created = {path for section in fresh._all() for path in section.rows}
    assert {"name", "data.train", "optim.epochs", "objectives.matching.weight"} <= created
    assert "optim.beta1" not in created
    assert len(created) < 0.6 * len(fresh.draft())


def test_tab_order_follows_the_rows_regardless_of_creation_order(form: ConfigForm, qtbot) -> None:
    form.set_config(preset_config("clip", "demo"))
    form.activateWindow()
    qtbot.waitUntil(form.isActiveWindow)
    form.focus_field("objectives.matching.negatives")  # made last
    QTest.qWait(20)
    seen = []
    form.row("objectives.captioning.weight").editor.control.setFocus()
    for _ in range(3):
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        widget = QApplication.focusWidget()
        seen.append(widget.accessibleName())
    assert seen == ["Matching, expanded", "Matching: weight", "Negatives"]
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Backtab)
    assert QApplication.focusWidget().accessibleName() == "Matching: weight"
