"""Define: what stays of messages, experiments and drafts when saves end late, fail, or something else is shown."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.panels.define.panel import DefinePanel
from sdgui.shared.services import Selection, Services
from tests.sdgui.panels.define.defining import refuse_once, show, stored


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


@pytest.mark.parametrize("draft", ["[1, 2]", "{", "5"])
def test_an_unreadable_draft_is_ignored(define: DefinePanel, services: Services, draft: str) -> None:
    experiment = services.store.add_experiment(preset_config("clip", "demo"), "clip")
    services.settings.setValue(f"drafts/{experiment.id}", draft)
    define.select(Selection(experiment.id))
    assert define.form.config() == experiment.config


def test_a_healthy_run_stays_as_launched_until_it_fails(
    define: DefinePanel, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = show(define, services, "clip")
    run = services.store.add_run(experiment)
    run.dir.create()
    run.dir.config.write_text(override(preset_config("clip", "demo"), ["seed=41"]).to_json(), encoding="utf-8")
    define.refresh()
    assert not define.hint.isHidden()
    define.select(Selection(experiment, run.id))
    assert define.hint.isHidden()
    define.refresh()
    assert define.hint.isHidden(), "nothing of it can be edited"
    define.on_enter()
    assert define.form.draft()["seed"] == "41"
    monkeypatch.setattr(services.tailer, "state", lambda _run: RunState.FAILED)
    define.on_enter()
    assert define.form.draft()["seed"] == "0", "before the store knows that it failed"
