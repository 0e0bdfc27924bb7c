"""The slider over kept steps, and the step that panels share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.shared.time_travel import StepSlider, TimeTravel, nearest_step


@pytest.fixture
def slider(qtbot: QtBot) -> StepSlider:
    make_application()
    made = StepSlider()
    qtbot.addWidget(made)
    made.set_steps((100, 200, 400), 399)
    made.show()
    return made


def test_the_nearest_step_is_the_last_that_is_not_after(slider: StepSlider) -> None:
    assert [nearest_step((100, 200, 400), step) for step in (1, 100, 199, 200, 9999)] == [100, 100, 100, 200, 400]
    assert (slider.step(), slider.label.text()) == (200, "Step 200 of 400")
    assert slider.neighbours() == [400, 100]
    slider.slider.setValue(2)
    assert slider.neighbours() == [200]


def test_only_where_the_slider_rests_is_opened(qtbot: QtBot, slider: StepSlider) -> None:
    told: list[int] = []
    slider.moved.connect(told.append)
    slider.set_steps((100, 200, 400), 100)
    for value in (1, 2, 1, 2):
        slider.slider.setValue(value)
    assert slider.label.text() == "Step 400 of 400", "it is said at once"
    slider.set_steps((100, 200, 400, 500), 500)  # a checkpoint is saved meanwhile
    assert slider.step() == 400
    qtbot.waitUntil(lambda: bool(told))
    qtbot.wait(200)
    assert told == [400]


def test_playing_waits_for_what_is_being_opened_and_ends_at_the_last(qtbot: QtBot, slider: StepSlider) -> None:
    told: list[int] = []
    slider.moved.connect(told.append)
    slider._tick.setInterval(1)
    slider._settle.setInterval(0)
    slider.set_steps((100, 200, 400), 400)
    slider.set_busy(True)
    slider.play.click()
    qtbot.waitUntil(lambda: told == [100])
    qtbot.wait(50)
    assert told == [100], "the first is still being opened"
    slider.set_busy(False)
    qtbot.waitUntil(lambda: not slider.play.isChecked())
    qtbot.waitUntil(lambda: told[-1] == 400)


def test_a_step_is_told_once_and_of_its_run_alone() -> None:
    travel, told = TimeTravel(), []
    travel.moved.connect(lambda run, step: told.append((run, step)))
    for run, step in (("/a", 1), ("/a", 1), ("/b", 1), ("/a", 2)):
        travel.go(Path(run), step)
    assert told == [(Path("/a"), 1), (Path("/b"), 1), (Path("/a"), 2)]
    assert (travel.step(Path("/a")), travel.step(Path("/c"))) == (2, None)
