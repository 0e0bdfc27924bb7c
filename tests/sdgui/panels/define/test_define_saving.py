"""Define: what is shown of runs and broken configs, and how an edit reaches the store when that fails at first."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from shiboken6 import delete

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.define.differences import Differences
from sdgui.panels.define.panel import DefinePanel, runs_hint
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Run
from tests.sdgui.panels.define.defining import refuse_once, show, stored


def a_run(services: Services, experiment: int, *settings: str) -> Run:
    run = services.store.add_run(experiment)
    run.dir.create()
    run.dir.config.write_text(override(preset_config("clip", "demo"), list(settings)).to_json(), encoding="utf-8")
    return run


def test_differences_name_the_presets_value_first(qtbot: QtBot) -> None:
    differences = Differences()
    qtbot.addWidget(differences)
    differences.show_changes({"optim.clip_norm": (1.0, 7.0), "seed": (0, 5)}, "CLIP")
    rows = [item for row in range(2) if (item := differences.list.topLevelItem(row)) is not None]
    assert [row.text(0).splitlines()[1] for row in rows] == ["1 → 7", "0 → 5"]
    assert (differences.title.text(), differences._hint.text()) == ("2 differences", "compared with CLIP")
    assert not differences.isHidden()
    with qtbot.waitSignal(differences.field_chosen) as signal:
        differences.list.itemActivated.emit(rows[0], 0)
    assert signal.args == ["optim.clip_norm"]
    with qtbot.waitSignal(differences.field_chosen) as signal:
        differences.list.itemClicked.emit(rows[1], 0)
    assert signal.args == ["seed"]
    assert rows[1].data(0, Qt.ItemDataRole.AccessibleTextRole) == "Seed: preset 0, this experiment 5"
    assert rows[1].toolTip(0) == "seed\npreset: 0\nthis experiment: 5"
    differences.show_changes({"seed": (0, 5)}, "CLIP")
    assert differences.title.text() == "1 difference"
    differences.show_changes({}, "CLIP")
    assert (differences.list.topLevelItemCount(), differences.isHidden()) == (0, True)


def test_a_run_shows_its_launched_config_until_it_fails(
    qtbot: QtBot, define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = show(define, services, "clip")
    run = a_run(services, experiment, "seed=41")
    define.select(Selection(experiment, run.id))
    assert define.form.draft()["seed"] == "41"
    assert not define.preset_bar.preset.isEnabled()
    assert define.bar.text == "Read-only: the settings this run was launched with."
    assert define.config(experiment) is None
    assert not define.save()
    assert define.ready_to_launch()
    define.refresh()
    define.on_enter()
    assert (define.form.draft()["seed"], define.hint.isHidden()) == ("41", True)
    with qtbot.waitSignal(define.new_experiment_requested) as signal:
        define.bar.press_remedy()
    assert signal.args[0].seed == 41
    define.select(Selection(experiment))
    assert define.form.draft()["seed"] == "0"
    assert define.config(experiment) is not None
    assert define.config(experiment + 1) is None
    assert define.hint.text() == runs_hint(1)
    run.dir.config.write_text("{", encoding="utf-8")
    define.select(Selection(experiment, run.id))
    assert define.bar.text.startswith("This run's config cannot be shown: ")
    assert not define.split.isVisible()
    monkeypatch.setattr(services.follower, "state", lambda _run: RunState.FAILED)
    define.on_enter()
    assert define.form.draft()["seed"] == "0", "before the store knows that it failed"


def test_a_failed_run_shows_the_experiments_settings_to_fix(define: DefinePanel, services: Services) -> None:
    experiment = show(define, services, "clip")
    run = a_run(services, experiment, "seed=41")
    define.select(Selection(experiment, run.id))
    assert not define.preset_bar.preset.isEnabled()
    services.store.mark_failed(run.id, "The disk is full.\nFree some space.")
    define.on_enter()  # it failed while another panel was shown
    for _ in range(2):
        assert define.bar.text == "This run failed: The disk is full. Edit the settings and launch again."
        assert define.form.draft()["seed"] == "0", "the experiment's"
        assert define.preset_bar.preset.isEnabled()
        define.form.set_value("seed", 3)
        assert define.save()
        define.form.set_value("seed", 0)
        assert define.save()
        define.select(Selection())
        define.select(Selection(experiment, run.id))
    define.bar.press_remedy()
    define.on_enter()  # after a look at another panel
    assert define.form.draft()["seed"] == "41", "what it was launched with"


def test_a_draft_is_kept_until_it_is_valid_and_stored(qtbot: QtBot, define: DefinePanel, services: Services) -> None:
    experiment, key = show(define, services, "clip"), "drafts/1"
    define.form.set_value("seed", "five")
    assert not define.save()
    assert services.settings.value(key)
    define.form.set_value("seed", 6)
    with qtbot.waitSignal(define.edited) as edited:
        define.on_leave()
        assert services.settings.value(key), "until the store has it"
    assert edited.args == [experiment]
    assert not services.settings.value(key)
    define.form.set_value("seed", "five")
    define.save()
    define.form.set_value("seed", 6)
    assert define.save()
    assert not services.settings.value(key), "it is what the store has"


def test_a_failed_save_is_retried_by_its_button_and_by_the_next_save(
    qtbot: QtBot, define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = show(define, services, "clip")
    for seed, again in ((5, define.bar.press_remedy), (6, define.save)):
        refuse_once(services, monkeypatch)
        define.form.set_value("seed", seed)
        define.save()
        qtbot.waitUntil(lambda: "locked by another" in define.bar.text)
        assert define.form.draft()["seed"] == str(seed)
        assert define.saver.unsaved == {}
        again()
        qtbot.waitUntil(lambda: define.bar.text == "" and not services.writer.pending)
        config = stored(services, experiment).config
        assert config is not None
        assert config.seed == seed
        assert not services.settings.value(f"drafts/{experiment}")


def test_a_save_that_fails_after_the_panel_is_gone_stays_a_draft(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = DefinePanel(services)
    experiment = show(define, services, "clip")
    refuse_once(services, monkeypatch)
    define.form.set_value("seed", 5)
    define.save()
    delete(define)
    qtbot.waitUntil(lambda: not services.writer.pending)
    assert services.writer.failures == 1
    assert json.loads(str(services.settings.value(f"drafts/{experiment}")))["seed"] == "5"


def test_edits_during_a_save_win(qtbot: QtBot, define: DefinePanel, services: Services) -> None:
    second = services.store.add_experiment(preset_config("clip", "demo"), "other")
    experiment = show(define, services, "clip")
    for seed in (5, 6):
        define.form.set_value("seed", seed)
        define.save()
    assert define.saver.stored(experiment).config == override(preset_config("clip", "demo"), ["seed=6"])
    define.select(Selection(second.id))
    define.select(Selection(experiment))
    assert define.form.draft()["seed"] == "6"
    qtbot.waitUntil(lambda: define.saver.unsaved == {})
    assert define.form.draft()["seed"] == "6"
    assert not services.settings.value(f"drafts/{experiment}")
    config = stored(services, experiment).config
    assert config is not None
    assert config.seed == 6


def test_a_reload_during_a_save_keeps_the_edits(
    qtbot: QtBot, define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = show(define, services, "clip")
    edit, go_on = services.store.edit_experiment, threading.Event()

    def slow(*args: Any) -> Any:
        go_on.wait(120)
        return edit(*args)

    monkeypatch.setattr(services.store, "edit_experiment", slow)
    define.form.set_value("seed", 5)
    define.save()
    assert json.loads(str(services.settings.value(f"drafts/{experiment}")))["seed"] == "5", "should the window die now"
    define.refresh()
    assert define.form.draft()["seed"] == "5"
    go_on.set()
    qtbot.waitUntil(lambda: define.saver.unsaved == {})
    assert define.form.draft()["seed"] == "5"


def test_an_invalid_field_is_focused_before_a_launch(
    define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(define, services, "clip")
    assert define.ready_to_launch()
    gone = list[str]()
    monkeypatch.setattr(define.form, "focus_field", gone.append)
    define.form.set_value("seed", "five")
    define.form.set_value("optim.epochs", "many")
    assert not define.ready_to_launch()
    assert define.bar.text.endswith(" And 1 more.")
    define.bar.press_remedy()
    assert gone == [next(iter(define.form.errors()))] * 2


def test_a_finished_save_leaves_newer_edits_to_the_next(
    define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, coming = show(define, services, "clip"), list[tuple[Any, ...]]()
    monkeypatch.setattr(services.writer, "submit", lambda *args: coming.append(args))
    for seed in (5, 6):
        define.form.set_value("seed", seed)
        assert define.save()
    for write, written, _refused in coming:
        assert '"seed": "6"' in str(services.settings.value(f"drafts/{experiment}")), "a window that is killed now"
        written(write())
    assert services.settings.value(f"drafts/{experiment}") is None
    assert services.store.experiment(experiment).config.seed == 6  # type: ignore[union-attr]


@pytest.mark.parametrize("refused", [False, True])
def test_a_save_that_ends_after_a_switch_leaves_the_other_experiment_alone(
    qtbot: QtBot, define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    second = services.store.add_experiment(preset_config("clip", "demo"), "other").id
    first = show(define, services, "clip")
    if refused:
        refuse_once(services, monkeypatch)
    define.form.set_value("seed", 5)
    define.select(Selection(second))
    qtbot.waitUntil(lambda: define.saver.unsaved == {})
    assert define.config(second) is not None
    if refused:
        assert define.bar.message is not None
        assert define.bar.message.remedy is None, "the form that is shown is another one's"
    define.form.set_value("seed", 9)
    assert define.save()
    config = stored(services, second).config
    assert config is not None
    assert config.seed == 9
    config = stored(services, first).config
    assert config is not None
    assert config.seed == (0 if refused else 5)


def test_a_failed_save_does_not_affect_a_newer_one(
    qtbot: QtBot, define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = show(define, services, "clip")
    refuse_once(services, monkeypatch)
    for seed in (5, 6):
        define.form.set_value("seed", seed)
        assert define.save()
    qtbot.waitUntil(lambda: not services.writer.pending and define.saver.unsaved == {} and define.bar.message is None)
    config = stored(services, experiment).config
    assert config is not None
    assert config.seed == 6
    assert not services.settings.value(f"drafts/{experiment}")


def test_an_unreadable_draft_is_ignored(define: DefinePanel, services: Services) -> None:
    experiment = services.store.add_experiment(preset_config("clip", "demo"), "clip")
    for draft in ("[1, 2]", "{", "5"):
        services.settings.setValue(f"drafts/{experiment.id}", draft)
        define.select(Selection())
        define.select(Selection(experiment.id))
        assert define.form.config() == experiment.config
