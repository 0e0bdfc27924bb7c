"""What is searched, by itself: which two of it are steps of one run; what is said while it is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.search.opening import OpeningMessages
from sdgui.panels.search.work import Target
from sdgui.widgets.message import Remedy, error, info, warning
from sdgui.widgets.message_bar import MessageBar

BEST = Target("/runs/one@best", "student", "one · best", data="/data.csv", worker="/runs/one")


@pytest.mark.parametrize(
    ("change", "stepped"),
    [
        ({"model": "/runs/one@8"}, True),
        ({}, False),
        ({"model": "/runs/two@8"}, False),
        ({"model": "/runs/one@8", "weights": "teacher"}, False),
        ({"model": "/runs/one@8", "data": "/other.csv"}, False),
        ({"model": "/runs/one@8", "worker": ""}, False),
        ({"model": "/runs/one@8", "index": "/index"}, False),
    ],
)
def test_another_step_is_of_the_same_network_and_images(change: dict[str, str], stepped: bool) -> None:
    assert replace(BEST, **change).stepped_from(BEST) is stepped  # type: ignore[arg-type]
    assert not BEST.stepped_from(None)


def test_what_both_sides_say_alike_is_said_once_and_a_newer_message_stays(qtbot: QtBot) -> None:
    bar = MessageBar()
    qtbot.addWidget(bar)
    opening = OpeningMessages(bar, lambda side: ("Student", "Teacher")[side])
    again = Remedy("Try again", lambda: bar.show_message(info("It is being tried.")))
    opening.set(0, error("It ended.", "a traceback", again))
    opening.set(1, error("It ended.", "a traceback", again))
    assert bar.message is not None
    assert (bar.message.text, bar.message.details) == ("It ended.", "a traceback")
    opening.set(0, warning("Some are damaged."))
    bar.press_remedy()
    assert bar.text == "It is being tried."
