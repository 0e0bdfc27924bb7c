"""Writes beside the window's thread: in order, each with its outcome, whatever goes wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from sdgui.runs.background_tasks import StoreWriter


@pytest.fixture
def writer(qapp: object) -> StoreWriter:
    return StoreWriter()


def refuse() -> None:
    raise UserError("It is locked.")


def test_writes_are_done_and_delivered_in_order(qtbot: QtBot, writer: StoreWriter) -> None:
    done, threads = list[int](), set[object]()

    def write(number: int) -> int:
        threads.add(threading.current_thread())
        return number

    for number in range(5):
        writer.submit(lambda number=number: write(number), done.append)
    assert writer.pending == 5
    with qtbot.waitSignal(writer.idle):
        pass
    assert done == [0, 1, 2, 3, 4]
    assert (writer.pending, writer.failures) == (0, 0)
    assert threading.main_thread() not in threads


def test_idle_is_said_once_and_only_after_the_last(qtbot: QtBot, writer: StoreWriter) -> None:
    idle, pending = list[bool](), list[int]()
    writer.idle.connect(lambda: idle.append(True))
    for _ in range(3):
        writer.submit(lambda: None, lambda _: pending.append(len(idle)))
    writer.wait()
    assert (idle, pending) == ([], []), "outcomes come with the event loop"
    qtbot.waitUntil(lambda: bool(idle))
    assert (idle, pending) == ([True], [0, 0, 0])


@pytest.mark.parametrize(("write", "text"), [(refuse, "It is locked."), (lambda: 1 // 0, "ZeroDivisionError: ")])
def test_a_failure_reaches_who_asked_or_else_everybody(
    qtbot: QtBot, writer: StoreWriter, write: Any, text: str
) -> None:
    told, done, failed = list[str](), list[object](), list[UserError]()
    writer.trouble.connect(told.append)
    writer.submit(write, done.append, failed.append)
    writer.submit(write, done.append)
    writer.submit(lambda: 7, done.append)
    with qtbot.waitSignal(writer.idle):
        pass
    assert [str(error).startswith(text) for error in failed] == [True]
    assert [sentence.startswith(text) for sentence in told] == [True]
    assert done == [7]
    assert writer.failures == 2


def test_a_callback_with_a_fault_leaves_the_writer_idle(qtbot: QtBot, writer: StoreWriter) -> None:
    def wrong(_result: object) -> None:
        raise RuntimeError("a fault of ours")

    with qtbot.captureExceptions() as faults, qtbot.waitSignal(writer.idle):
        writer.submit(lambda: None, wrong)
    assert len(faults) == 1
    assert writer.pending == 0


def test_no_turn_of_the_event_loop_has_more_than_one_outcome(writer: StoreWriter) -> None:
    """After another has held the database, a backlog arrives at once; what each outcome causes adds up."""
    done, turns = list[int](), list[int]()
    for number in range(5):
        writer.submit(lambda number=number: number, done.append)
    writer.wait()
    while writer.pending:
        before = len(done)
        QCoreApplication.processEvents()
        turns.append(len(done) - before)
    assert done == [0, 1, 2, 3, 4]
    assert max(turns) == 1
