"""Background tasks: their order, how their results and failures arrive, and what a closed one delivers."""

from __future__ import annotations

import threading
from pathlib import Path

import shiboken6
from PySide6.QtCore import QObject

from core.spec.errors import UserError
from sdgui.runs.background_tasks import BackgroundTasks


def test_tasks_run_in_order_and_results_arrive_in_the_windows_thread(qtbot) -> None:
    tasks = BackgroundTasks()
    results: list[object] = []
    for number in range(5):
        tasks.run(lambda number=number: (number, threading.get_ident()), results.append)
    qtbot.waitUntil(lambda: len(results) == 5)
    assert [number for number, _ in results] == [0, 1, 2, 3, 4]
    assert all(thread != threading.get_ident() for _, thread in results)


def test_a_failure_is_a_sentence(qtbot, tmp_path: Path) -> None:
    tasks = BackgroundTasks()
    said: list[str] = []
    missing = tmp_path / "missing.txt"

    def refuse() -> None:
        raise UserError("The table has no label column.")

    tasks.run(refuse, None, said.append)
    tasks.run(missing.read_text, None, said.append)
    tasks.run(lambda: 1 / 0, None, said.append)
    qtbot.waitUntil(lambda: len(said) == 3)
    assert said[0] == "The table has no label column."
    assert said[1].startswith(f"The file {missing} cannot be used")
    assert said[2].startswith("ZeroDivisionError")


def test_nothing_is_delivered_after_close(qtbot) -> None:
    tasks = BackgroundTasks()
    results: list[object] = []
    tasks.run(lambda: 1, results.append)
    tasks.close()
    qtbot.wait(20)
    assert results == []


def test_a_task_whose_owner_is_deleted_meanwhile_ends_quietly(qtbot) -> None:
    owner = QObject()
    tasks = BackgroundTasks(owner)
    results: list[object] = []
    running, deleting = threading.Event(), threading.Event()

    def work() -> int:
        running.set()
        deleting.wait(120)
        return 1

    tasks.run(work, results.append)
    assert running.wait(120)
    with qtbot.captureExceptions() as raised:
        owner.destroyed.connect(deleting.set)  # emitted before the tasks are deleted, which waits for their thread
        shiboken6.delete(owner)
        qtbot.wait(20)
    assert raised == []
    assert results == []
