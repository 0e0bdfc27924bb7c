"""Define: presets chosen by search and keyboard, advice for the data, stages, labels offered."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import PRESETS, SIZES, preset_config
from sdgui.app.start import make_application
from sdgui.panels.define.panel import DefinePanel, runs_hint
from sdgui.panels.define.preset_bar import PresetBar
from sdgui.runs.chains import PREVIOUS_GENERATION
from sdgui.runs.stages import staged_chain, wants_stages
from sdgui.shared.form.editors import ColumnEditor
from sdgui.shared.form.texts import field_title, value_text
from sdgui.shared.pickers.preset_facts import preset_needs
from sdgui.shared.pickers.presets import PresetChooser
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Action, Actions
from sdgui.widgets.message import info
from tests.sdgui.panels.define.defining import show, stored


def test_a_preset_shows_its_requirements() -> None:
    kinds = {name: {need.kind for need in preset_needs(name, size)} for size in SIZES for name in PRESETS}
    assert kinds["clip"] == set()
    assert kinds["coca"] == {"captions"}
    assert kinds["fixmatch"] == {"labels"}
    assert kinds["kd"] == {"labels", "run"}
    assert kinds["born-again"] == {"labels", "chain"}
    assert kinds["dino"] == {"images"}
    assert "chain" in kinds["blip"]
    assert {need.kind for need in preset_needs("blip2", "demo")} == {"run"}  # frozen towers that nobody trained
    assert preset_needs("blip2", "base") == ()  # it names its own


def test_presets_are_found_by_words_and_chosen_by_keyboard(qtbot: QtBot, define: DefinePanel) -> None:
    chooser = PresetChooser(define)
    qtbot.addWidget(chooser)
    chooser.open("clip", "demo")
    assert (chooser.selected_preset(), chooser.selected_size()) == ("clip", "demo")
    QTest.keyClicks(chooser.line, "label strongly")
    assert chooser.selected_preset() == "fixmatch"
    assert PRESETS["fixmatch"].description == chooser.about.text()
    assert "data.label" in chooser.needs.text()
    chooser.line.setText("furlanello")
    assert chooser.selected_preset() == "born-again"
    chooser.line.setText("no such system")
    assert chooser.selected_preset() == ""
    assert not chooser.button.isEnabled()
    chooser.line.clear()
    QTest.keyClick(chooser.line, Qt.Key.Key_Down)  # past the heading of the next family
    assert chooser.selected_preset() in PRESETS
    chooser.open("silc", "tiny")
    with qtbot.waitSignal(chooser.chosen) as took:
        QTest.keyClick(chooser.line, Qt.Key.Key_Return)
    assert took.args == ["silc", "tiny"]
    assert not chooser.isVisible()


def test_choosing_fills_the_form_and_can_be_undone(define: DefinePanel, services: Services) -> None:
    experiment = show(define, services, "clip", "data.val=/v.csv", "seed=5")
    define.preset_bar.preset_chosen.emit("sd-clip", "tiny")
    config = stored(services, experiment).config
    assert config is not None
    assert (config.preset, config.data.val, config.name, config.seed) == ("sd-clip", "/v.csv", "clip", 5)
    assert config.towers == preset_config("sd-clip", "tiny").towers
    define.bar.press_remedy()
    config = stored(services, experiment).config
    assert config is not None
    assert config.preset == "clip"
    assert (define.form.read_only, define.preset_bar.preset.isEnabled()) == (False, True)


def test_advice_arrives_with_the_data_and_is_applied(
    qtbot: QtBot, define: DefinePanel, services: Services, tmp_path: Path
) -> None:
    data = tmp_path / "train.csv"
    data.touch()
    experiment = show(define, services, "sd-clip", "objectives.distill_prototypes.prototypes=64")
    assert not define.advice.isVisible()
    define.form.set_value("data.train", str(data))
    qtbot.waitUntil(define.advice.isVisible, timeout=10_000)
    assert "2,555 pairs" in define.advice.text.text()
    assert "Prototypes 1024 (now 64). About 1,024 prototypes suit 2,555 images." in define.advice.text.text()
    define.advice.apply.click()
    config = stored(services, experiment).config
    assert config is not None
    assert config.objectives.distill_prototypes.prototypes == 1024
    assert not define.advice.apply.isVisible()
    define.bar.press_remedy()  # Undo
    assert define.form.draft()["objectives.distill_prototypes.prototypes"] == "64"


def test_label_columns_are_offered(qtbot: QtBot, define: DefinePanel, services: Services, tmp_path: Path) -> None:
    data = tmp_path / "train.csv"
    data.touch()
    show(define, services, "clip", f"data.train={data}", "data.label=colour")
    qtbot.waitUntil(define.advice.isVisible, timeout=10_000)
    assert "no column “colour”" in define.advice.text.text()
    editor = define.form.row("data.label").editor
    assert isinstance(editor, ColumnEditor)
    menu = editor.menu()
    assert [action.text() for action in menu.actions()] == ["none", "concept · 55 classes", "group · 9 classes"]
    menu.actions()[2].trigger()
    config = define.form.config()
    assert config is not None
    assert config.data.label == "group"
    qtbot.waitUntil(lambda: "no column" not in define.advice.text.text())


def test_a_staged_preset_trains_in_stages_unless_disabled(define: DefinePanel, services: Services) -> None:
    experiment = show(define, services, "born-again")
    bar = define.preset_bar
    assert bar.in_stages.isVisible()
    assert bar.in_stages.isChecked()
    define.form.set_value("data.train", "/a.csv")  # without stages it would now want a former run
    assert define.form.errors() == {}
    assert define.form.draft()["teacher.checkpoint"] == PREVIOUS_GENERATION
    assert define.save()
    chain = staged_chain(stored(services, experiment), services.settings)
    assert chain is not None
    assert len(chain.stages) == 3
    bar.in_stages.click()
    assert set(define.form.errors()) == {"teacher.checkpoint"}
    define.form.set_value("teacher.checkpoint", "/runs/former")
    assert define.save()
    config = define.form.config()
    assert config is not None
    assert not wants_stages(config, experiment, services.settings)
    assert staged_chain(stored(services, experiment), services.settings) is None
    other = show(define, services, "clip")
    assert not bar.in_stages.isVisible()
    assert staged_chain(stored(services, other), services.settings) is None


def test_an_unedited_form_follows_the_store_and_never_overwrites_it(define: DefinePanel, services: Services) -> None:
    experiment = show(define, services, "clip")
    config = stored(services, experiment).config
    assert config is not None
    services.store.edit_experiment(experiment, override(config, ["seed=777"]))  # as another window does
    define.refresh()
    assert define.form.draft()["seed"] == "777"
    services.store.edit_experiment(experiment, override(config, ["seed=778"]))
    define._experiment = stored(services, experiment)  # known, and not shown yet
    assert define.save()
    config = stored(services, experiment).config
    assert config is not None
    assert config.seed == 778
    assert define.hint.isHidden()
    services.store.add_run(experiment)
    services.store.rename_experiment(experiment, "other")
    define.form.set_value("seed", 5)
    define.refresh()
    assert define.hint.text() == runs_hint(1)
    assert (define.form.draft()["name"], define.form.draft()["seed"]) == ("other", "5")


@pytest.mark.parametrize("keep", [False, True])
def test_editing_a_config_changed_by_another_window_asks(
    define: DefinePanel, services: Services, qtbot: QtBot, keep: bool
) -> None:
    experiment = show(define, services, "clip")
    config = stored(services, experiment).config
    assert config is not None
    define.form.set_value("seed", 5)
    services.store.edit_experiment(experiment, override(config, ["optim.batch_size=48"]))
    define.refresh()
    assert define.form.draft()["seed"] == "5", "a form that is being edited keeps what was typed"
    assert define.save()
    qtbot.waitUntil(lambda: "was changed in another window" in define.bar.text)
    assert stored(services, experiment).config == override(config, ["optim.batch_size=48"]), "nothing was written"
    assert services.settings.value(f"drafts/{experiment}"), "what was typed is kept"
    if keep:
        define.bar.press_second_remedy()
        qtbot.waitUntil(lambda: not services.writer.pending)
        assert stored(services, experiment).config == override(config, ["seed=5"])
    else:
        define.bar.press_remedy()
        assert (define.form.draft()["optim.batch_size"], define.form.draft()["seed"]) == ("48", str(config.seed))
    assert not services.settings.value(f"drafts/{experiment}")
    define.form.set_value("seed", 6)
    define.save()
    edited = stored(services, experiment).config
    assert edited is not None
    assert (edited.seed, edited.optim.batch_size) == (6, config.optim.batch_size if keep else 48)


def test_a_conflict_of_a_hidden_experiment_links_back_to_it(
    define: DefinePanel, services: Services, qtbot: QtBot
) -> None:
    experiment = show(define, services, "clip")
    config = stored(services, experiment).config
    assert config is not None
    services.store.edit_experiment(experiment, override(config, ["optim.batch_size=48"]))
    define.form.set_value("seed", 5)
    define.select(Selection())
    qtbot.waitUntil(lambda: "was changed in another window" in define.bar.text)
    with qtbot.waitSignal(define.experiment_requested) as signal:
        define.bar.press_remedy()
    assert signal.args == [experiment]
    define.select(Selection(experiment))
    assert define.form.draft()["seed"] == "5"
    define.save()
    qtbot.waitUntil(lambda: define.bar.message is not None and define.bar.message.second_remedy is not None)
    assert stored(services, experiment).config == override(config, ["optim.batch_size=48"])


def test_edits_are_kept_when_another_experiment_is_selected_at_once(define: DefinePanel, services: Services) -> None:
    second = services.store.add_experiment(preset_config("clip", "demo"), "other")
    first = show(define, services, "sd-clip")
    define.form.set_value("optim.epochs", 7)
    define.select(Selection(second.id))
    edited, untouched = (stored(services, experiment_id).config for experiment_id in (first, second.id))
    assert edited is not None
    assert untouched is not None
    assert (edited.optim.epochs, untouched.optim.epochs) == (7, preset_config("clip", "demo").optim.epochs)
    define.form.set_value("optim.epochs", "many")  # a draft, not a config yet
    define.select(Selection(first))
    define.select(Selection(second.id))
    assert define.form.draft()["optim.epochs"] == "many"


def test_differences_and_search_lead_to_fields_and_edits_are_saved_after_a_pause(
    qtbot: QtBot, define: DefinePanel, services: Services
) -> None:
    experiment = show(define, services, "clip", "optim.clip_norm=7")
    define.activateWindow()
    define.focus_search()
    assert define.form._search.hasFocus()
    (row,) = [define.differences.list.topLevelItem(0)]
    assert row is not None
    define.differences.list.itemClicked.emit(row, 0)
    assert define.form.row("optim.clip_norm").editor.isAncestorOf(define.form.focusWidget())
    define.form.set_value("seed", 5)
    assert define._timer.isActive()
    with qtbot.waitSignal(define.edited):
        define._timer.timeout.emit()
    config = stored(services, experiment).config
    assert config is not None
    assert (config.seed, define._timer.isActive()) == (5, False)
    define.split.setSizes([300, 600])
    define.split.splitterMoved.emit(300, 1)
    again = DefinePanel(services)
    qtbot.addWidget(again)
    assert again.split.saveState() == define.split.saveState()


def test_without_an_experiment_the_page_creates_one_and_an_external_fix_is_shown(
    define: DefinePanel, services: Services
) -> None:
    actions, calls = Actions(define), list[str]()
    tip = "Define a new experiment"
    actions.register([Action("new", "Experiment", "&New", tip, lambda _: calls.append("new"), "Ctrl+N")], None)
    define._empty.set_content("x", "y")
    define.head.set_actions = lambda actions: calls.append("head")  # type: ignore[method-assign]
    define.set_actions(actions)
    assert define._empty._button.text() == "New experiment   Ctrl+N"
    define._empty._button.click()
    assert calls == ["head", "new"]
    hidden = (define.head, define.preset_bar, define.hint, define.advice, define.split)
    assert [widget.isVisible() for widget in hidden] == [False] * 5
    broken = services.store.add_experiment('{"name": "x", "optim": {"epochs": -1}}')
    define.select(Selection(broken.id))
    define.refresh()
    assert define.bar.message is not None
    assert ("epochs" in define.bar.text, define.bar.message.details) == (True, broken.config_json)
    assert (define.split.isVisible(), define.save()) == (False, False)
    services.store.edit_experiment(broken.id, preset_config("clip", "demo"))
    define.refresh()
    assert (define.bar.message, define.split.isVisible(), define.form.draft()["name"]) == (
        None, True, preset_config("clip", "demo").name
    )  # fmt: skip
    assert not define._empty.isVisible()
    assert [widget.isVisible() for widget in (define.head, define.preset_bar)] == [True, True]


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
    assert (chooser.isVisible(), chooser.selected_preset(), chooser.selected_size()) == (True, "born-again", "tiny")
    chooser.chosen.emit("clip", "demo")
    chooser.hide()
    bar.preset.click()
    assert bar.chooser is chooser, "it is made once"
    chooser.hide()
    assert received == [True, ("clip", "demo")]
    bar.show_origin("clip", "", read_only=False)
    assert bar._paper.text().startswith(PRESETS["clip"].paper), "of a size that is not known what the demo needs"
    assert (bar.in_stages.isVisible(), bar.in_stages.toolTip()) == (False, "")


@pytest.mark.parametrize(("points_at_it", "moves"), [(True, False), (False, True)])
def test_a_message_does_not_move_the_rows_under_the_mouse(
    qtbot: QtBot,
    define: DefinePanel,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    points_at_it: bool,
    moves: bool,
) -> None:
    show(define, services, "clip")
    define.form.finish()
    area = define.form._area
    monkeypatch.setattr(area, "underMouse", lambda: points_at_it)
    area.verticalScrollBar().setValue(200)
    QTest.qWait(50)  # the layout is done
    before, height = define.form._page.mapToGlobal(QPoint()).y(), define.form.height()
    define.bar.show_message(info("A message above the form."))
    qtbot.waitUntil(lambda: define.form.height() < height)
    QTest.qWait(50)
    assert (define.form._page.mapToGlobal(QPoint()).y() != before) is moves
