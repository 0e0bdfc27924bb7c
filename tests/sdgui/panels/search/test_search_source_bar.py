"""The row of models and what they search, by hand: ways to compare, names of both sides, steps, what is remembered."""

from __future__ import annotations

import json

import pytest
from pytestqt.qtbot import QtBot

from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.panels.search.collection import HELD_OUT, INDEX
from sdgui.panels.search.source import SourceBar
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.store.records import Run
from tests.sdgui.panels.scripted_workers import Workers
from tests.sdgui.panels.search.conftest import add_checkpoint

OTHER = ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32")


@pytest.fixture
def bar(qtbot: QtBot, services: Services, workers: Workers) -> SourceBar:
    assert workers == {}
    made = SourceBar(services)
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.fixture
def run(services: Services) -> Run:
    """A run with a student and a teacher after 3 and 9 steps."""
    config = preset_config("sd-clip", "tiny")
    found = services.store.add_run(services.store.add_experiment(config, "shapes").id)
    found.dir.create()
    write_whole(found.dir.config, config.to_json().encode())
    for step in (3, 9):
        add_checkpoint(found.dir.checkpoints / f"step-{step:08d}")
    return found


def chosen(bar: SourceBar) -> list[tuple[str, str] | None]:
    choices = [picker.choice() for picker in bar.pickers]
    return [None if one is None else (one.model.rpartition("/")[2], one.network) for one in choices]


def test_a_run_is_compared_with_its_teacher_and_the_two_can_be_swapped(
    bar: SourceBar, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, compared = list[int](), list[bool]()
    bar.changed.connect(opened.append)
    bar.comparing_changed.connect(compared.append)
    name = run.folder.name
    assert not bar.show_run(run.id, run.folder / "nothing", "shapes", False)
    assert (bar.comparing, bar.pickers[1].isVisible()) == (False, False)
    assert bar.show_run(run.id, run.folder, "shapes", alive=True)
    assert chosen(bar) == [(f"{name}@last", "student"), (f"{name}@last", "teacher")]
    assert (bar.comparing, bar.pickers[1].isVisible(), opened, compared) == (True, True, [], []), "who asks opens it"
    assert bar.show_run(run.id, run.folder, "shapes", alive=False)
    assert chosen(bar)[0] == (f"{name}@best", "student")
    assert [bar.name(side) for side in (0, 1)] == ["Student", "Teacher"]
    bar.swap.trigger()
    assert chosen(bar) == [(f"{name}@best", "teacher"), (f"{name}@best", "student")]
    assert opened == [-1]
    bar.student_vs_teacher.trigger()
    assert (chosen(bar)[0], opened) == ((f"{name}@best", "student"), [-1, -1])
    bar.ways_to_compare.menu().aboutToShow.emit()
    assert [one.isEnabled() for one in (bar.student_vs_teacher, bar.swap, bar.one_model)] == [True, True, True]
    bar.collection.set_kind(INDEX)
    bar.ways_to_compare.menu().aboutToShow.emit()
    assert not bar.swap.isEnabled(), "each index has its own model"
    bar.collection.set_kind(HELD_OUT)
    bar.one_model.trigger()
    assert (bar.comparing, bar.pickers[1].isVisible(), compared) == (False, False, [False])
    bar.ways_to_compare.menu().aboutToShow.emit()
    assert [one.isEnabled() for one in (bar.student_vs_teacher, bar.swap, bar.one_model)] == [True, False, False]
    assert bar.name(0) == bar.pickers[0].text() or bar.name(0).startswith("shapes")
    assert (bar.target(1), bar.same_model()) == (None, False)
    bar.compare.click()
    assert compared == [False, True]
    assert chosen(bar)[1] == (f"{name}@best", "teacher"), "it was there"
    assert bar.pickers[1].set_choice(OTHER)
    assert opened[2:] == [1]
    assert bar.name(1) == "ViT-B-32 · openai"
    assert not bar.same_model()
    assert bar.pickers[0].set_choice(OTHER)
    assert bar.same_model()
    bar.student_against_teacher()
    assert chosen(bar)[0] == (OTHER.model, ""), "it has no teacher"
    bar.ways_to_compare.menu().aboutToShow.emit()
    assert not bar.student_vs_teacher.isEnabled()
    monkeypatch.setattr(bar.pickers[0], "networks", lambda: ("student",))
    monkeypatch.setattr(bar.pickers[1], "networks", lambda: ("student", "teacher"))
    bar.student_against_teacher()
    assert chosen(bar)[0] == (OTHER.model, ""), "nor has a run with one network"
    bar.ways_to_compare.menu().aboutToShow.emit()
    assert not bar.student_vs_teacher.isEnabled()


def test_a_model_with_one_network_is_not_compared_with_itself(bar: SourceBar) -> None:
    assert bar.pickers[0].set_choice(OTHER)
    bar.compare.click()
    assert bar.comparing
    assert bar.pickers[1].choice() is None
    assert bar.pickers[1].popover.isVisible(), "the second model is chosen there"


def test_the_heading_of_a_side_has_room_for_its_run(bar: SourceBar, run: Run) -> None:
    assert bar.show_run(run.id, run.folder, "shapes", alive=False)
    assert bar.pickers[1].set_choice(OTHER)
    assert bar.short_name(0) == "shapes · run 1 · student"
    assert "step 9" in bar.name(0)


def test_a_model_of_another_panel_is_searched_with_alone(bar: SourceBar, run: Run) -> None:
    opened: list[int] = []
    bar.changed.connect(opened.append)
    assert bar.show_run(run.id, run.folder, "shapes", alive=False)
    bar.collection.set_kind(INDEX)
    opened.clear()
    bar.show_model(ModelChoice(f"{run.folder}@3", "student", "shapes", run.id))
    assert chosen(bar)[0] == (f"{run.folder.name}@3", "student")
    assert (bar.comparing, bar.kind, opened) == (False, HELD_OUT, [-1]), "an index has its own model"
    bar.show_model(ModelChoice(f"{run.folder}-gone@best", "", "gone"))
    assert chosen(bar)[0] == (f"{run.folder.name}@3", "student")
    assert opened == [-1]


def test_steps_of_one_run_are_distinguished_and_moved_together(bar: SourceBar, run: Run) -> None:
    opened: list[int] = []
    bar.changed.connect(opened.append)
    bar.go_to_step(3)
    assert (bar.run(), opened) == (None, [])
    assert bar.show_run(run.id, run.folder, "shapes", alive=False)
    assert bar.run() == run.folder
    target = bar.target(0)
    assert target is not None
    assert target.worker == ""
    bar.go_to_step(3)
    assert (chosen(bar), opened) == (
        [(f"{run.folder.name}@3", "student"), (f"{run.folder.name}@3", "teacher")], [-1],
    )  # fmt: skip
    for side in (0, 1):
        target = bar.target(side)
        assert target is not None
        assert target.worker == str(run.folder), "all steps of a run are opened by one worker"
    bar.pickers[1].set_checkpoint(9)
    assert [bar.name(side) for side in (0, 1)] == ["run 1 · step 3", "run 1 · step 9"]
    bar.compare.setChecked(False)
    bar.go_to_step(9)
    assert chosen(bar)[0] == (f"{run.folder.name}@9", "student")
    bar.go_to_step(3)
    assert chosen(bar) == [(f"{run.folder.name}@3", "student"), (f"{run.folder.name}@9", "teacher")]
    assert bar.pickers[1].set_choice(OTHER)
    bar.compare.setChecked(True)
    bar.go_to_step(9)
    assert chosen(bar) == [(f"{run.folder.name}@9", "student"), (OTHER.model, "")], "another model stays"
    bar.collection.set_kind(INDEX)
    assert bar.run() is None, "an index is of one step"
    bar.show_index_model(0, f"{run.folder}@step-00000003", "teacher")
    assert chosen(bar)[0] == (f"{run.folder.name}@3", "teacher")
    count = len(opened)
    bar.show_index_model(0, f"{run.folder}@3", "teacher")
    assert len(opened) == count, "it is chosen already"


def test_models_and_comparison_are_restored(qtbot: QtBot, services: Services, bar: SourceBar, run: Run) -> None:
    assert bar.show_run(run.id, run.folder, "shapes", alive=False)
    assert bar.pickers[1].set_choice(OTHER)
    again, opened = SourceBar(services), list[int]()
    qtbot.addWidget(again)
    again.changed.connect(opened.append)
    again.restore(json.loads(json.dumps(bar.state())))
    assert (chosen(again), again.comparing, opened) == (chosen(bar), True, [])
