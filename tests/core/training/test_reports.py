"""Reports of steps in their order: what is there is given, what is under way is waited for only when that is wanted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.training.step import reports as reports_module
from core.training.step.prefetch import prefetch
from core.training.step.reports import Reports
from core.training.step.step_guard import LossesAndNorms, StepGuard


class Copied:
    """A copy from a device that is under way until a test says otherwise."""

    def __init__(self) -> None:
        self.there, self.waited = False, 0

    def query(self) -> bool:
        return self.there

    def synchronize(self) -> None:
        self.waited += 1


def pending(reports: Reports, step: int, copied: Any = None) -> None:
    taken = LossesAndNorms(((step, ("a",)),), torch.tensor([1.0, 2.0]))
    reports._pending.append(reports_module._Pending(step, {"known": 0.5}, ("a",), torch.tensor([3.0]), taken, copied))


def test_pending_work_delays_later_reports() -> None:
    reports, first, second = Reports(), Copied(), Copied()
    pending(reports, 1, first)
    pending(reports, 2, second)
    pending(reports, 3)
    assert list(reports.take_arrived()) == []
    second.there = True
    assert list(reports.take_arrived()) == [], "they come in order"
    first.there = True
    assert [report.step for report in reports.take_arrived()] == [1, 2, 3]
    assert (first.waited, second.waited) == (0, 0)
    pending(reports, 4, third := Copied())
    [report] = reports.take_arrived(wait=True)
    assert (report.step, report.values, third.waited) == (4, {"known": 0.5, "a": 3.0}, 1)
    assert list(reports.take_arrived(wait=True)) == []


def test_a_report_on_a_cpu_is_ready_at_once() -> None:
    reports, guard = Reports(), StepGuard()
    guard.record_step(7, ["a"], torch.tensor([torch.nan]), torch.tensor(1.0))
    values = {"a": torch.tensor(1.5), "b": torch.tensor(2, dtype=torch.int64)}
    reports.add(9, values, {"speed": 3.0}, guard.take_values())
    [report] = reports.take_arrived()
    assert (report.step, report.values) == (9, {"a": 1.5, "b": 2.0, "speed": 3.0})
    assert [one.step for one in guard.find_skipped(report.collected)] == [7]


@pytest.mark.parametrize("closes", [False, True])
def test_batches_are_sent_one_by_one_and_the_loader_is_closed(closes: bool) -> None:
    made: list[object] = []

    def batches() -> Any:
        try:
            for number in range(3):
                made.append(number)
                yield number
        finally:
            made.append("closed")

    send: Any = lambda batch: batch * 10  # noqa: E731
    sent: Any = prefetch(batches(), send, torch.device("cpu"))
    assert next(sent) == 0
    assert made == [0], "none before it is asked for"
    if closes:
        sent.close()
        assert made == [0, "closed"]
    else:
        assert list(sent) == [10, 20]
        assert made == [0, 1, 2, "closed"]
