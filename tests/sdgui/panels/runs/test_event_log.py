"""The event log of Runs: every event but the metrics, in the order of time."""

from __future__ import annotations

import time

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QIcon

from core.spec.run.events import CheckpointSaved, Evaluated, Event, Log, RunFinished, RunStarted
from sdgui.app.start import make_application
from sdgui.panels.runs.event_log import EventLogModel
from sdgui.panels.runs.model import Line, event_lines
from sdgui.runs.history import RunHistory


def test_events_are_listed_in_the_order_of_time() -> None:
    events: list[Event] = [
        RunStarted(step=0, total_steps=9, config_digest="d", device="cpu", precision="fp32", time=1.0),
        Log(level="warning", message="a row is skipped", time=2.0),
        Evaluated(step=3, values={"val/student/mean_recall": 0.5}, time=3.0),
        CheckpointSaved(step=3, name="step-00000003", best=True, time=4.0),
        Log(level="info", message="half way", time=5.0),
        RunFinished(step=9, time=6.0),
    ]
    history = RunHistory()
    history.apply(events)
    lines = event_lines(history)
    assert [moment for moment, _, _ in lines] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [sentence.split()[0] for _, _, sentence in lines] == ["Training", "a", "Validated", "Saved", "half", "Ended"]


def test_events_of_one_moment_are_in_the_order_in_which_they_are_told() -> None:
    history = RunHistory()
    history.apply([Log(level="info", message=text, time=1.0) for text in ("b", "a", "c")])
    assert [sentence for _, _, sentence in event_lines(history)] == ["b", "a", "c"]


def test_new_lines_are_appended_and_other_changes_reset_the_list() -> None:
    make_application()
    model = EventLogModel()
    happened: list[object] = []
    model.rowsInserted.connect(lambda _, first, last: happened.append((first, last)))
    model.modelReset.connect(lambda: happened.append("reset"))
    lines: list[Line] = [(float(index), "info", f"line {index}") for index in range(4)]
    for number, expected in ((2, [(0, 1)]), (2, []), (4, [(2, 3)]), (1, ["reset"])):
        model.set_lines(lines[:number])
        assert (happened, model.rowCount()) == (expected, number)
        assert model.index(number - 1, 0).data() == f"{clock(number - 1.0)}   line {number - 1}"
        happened.clear()
    model.set_lines([(0.0, "info", "another run")])
    assert (happened, model.rowCount()) == (["reset"], 1)
    assert model.rowCount(model.index(0, 0)) == 0
    assert model.rowCount(QModelIndex()) == 1


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def test_a_line_says_its_time_and_its_level() -> None:
    make_application()
    model = EventLogModel()
    model.set_lines([(1.0, "info", "half way"), (2.0, "warning", "a row <b>"), (3.0, "error", "no room")])
    assert [model.index(row, 0).data() for row in (0, 2)] == [f"{clock(1.0)}   half way", f"{clock(3.0)}   no room"]
    spoken = [model.index(row, 0).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(3)]
    assert spoken == ["info: half way", "warning: a row <b>", "error: no room"]
    icons = [model.index(row, 0).data(Qt.ItemDataRole.DecorationRole) for row in range(3)]
    assert icons[0] is None
    assert all(isinstance(icon, QIcon) and not icon.isNull() for icon in icons[1:])
    tip = model.index(1, 0).data(Qt.ItemDataRole.ToolTipRole)
    day = time.strftime("%Y-%m-%d", time.localtime(2.0))
    assert tip.splitlines() == [f"{day} {clock(2.0)}", "a row <b>"]
