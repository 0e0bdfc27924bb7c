"""The slider over kept steps, and the step that panels share."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.shared.time_travel import StepSlider, last_step_up_to


@pytest.fixture
def slider(qtbot: QtBot) -> StepSlider:
    make_application()
    slider = StepSlider()
    qtbot.addWidget(slider)
    slider.set_steps((100, 200, 400), 399)
    slider.show()
    return slider


def test_the_nearest_step_is_the_last_one_before(slider: StepSlider) -> None:
    assert [last_step_up_to((100, 200, 400), step) for step in (1, 100, 199, 200, 9999)] == [100, 100, 100, 200, 400]
    assert (slider.step(), slider.label.text()) == (200, "Step 200 of 400")
    assert slider.neighbours() == [400, 100]
    slider.slider.setValue(2)
    assert slider.neighbours() == [200]


def test_only_the_step_where_the_slider_rests_is_opened(qtbot: QtBot, slider: StepSlider) -> None:
    steps: list[int] = []
    slider.moved.connect(steps.append)
    slider.set_steps((100, 200, 400), 100)
    for value in (1, 2, 1, 2):
        slider.slider.setValue(value)
    assert slider.label.text() == "Step 400 of 400", "it is said at once"
    slider.set_steps((100, 200, 400, 500), 500)  # a checkpoint is saved meanwhile
    assert slider.step() == 400
    qtbot.waitUntil(lambda: bool(steps))
    qtbot.wait(200)
    assert steps == [400]


def test_without_steps_the_slider_is_hidden(slider: StepSlider) -> None:
    slider.set_steps((), 3)
    assert (slider.step(), slider.steps, slider.neighbours(), slider.slider.maximum()) == (0, (), [], 0)
    assert (slider.label.text(), slider.slider.accessibleDescription()) == ("", "")
    with pytest.raises(ValueError, match="no steps"):
        last_step_up_to((), 3)
    slider.set_steps((5,), 3)
    assert (slider.step(), slider.slider.accessibleDescription(), slider.neighbours()) == (5, "Step 5 of 5", [])
