"""The loop around its steps, of parts that note when they are called: what comes after what, and of which steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.run.events import Metrics
from core.training import loop
from core.training.loop import Loop
from core.training.step.reports import Report

TOTAL, PAIRS, RANKS = 5, 3, 2


class Looping:
    """What `Loop.run` uses of its loop. ``did`` is what was called, in order; a step is noted by its number."""

    def __init__(self, step: int, score: float | None) -> None:
        self.step, self.total_steps, self.did = step, TOTAL, list[Any]()
        self.progress = SimpleNamespace(score=score)
        self.validator = SimpleNamespace(
            due=lambda step: step == 2,
            test=lambda step: self.did.append(("test", step)),
            report_initial=lambda: self.did.append("report_initial"),
        )
        self.parts = SimpleNamespace(batches=self._batches)
        self.team = SimpleNamespace(size=RANKS, report=lambda report: {"of all": report})
        self.heartbeat = SimpleNamespace(update=lambda *what: self.did.append(("heartbeat", *what)))
        self._reports = SimpleNamespace(add=lambda *what: self.did.append(("report", *what)))
        self._guard = SimpleNamespace(take_numbers=lambda: "taken")
        self._system, self.callbacks = nullcontext(), SimpleNamespace(on_step=lambda *_step: None)
        self.network = None
        self._operations, self._peak, self.device = 7.0, 9.0, "here"
        self._terminal_note, self._ranks_in_step = "loss 1", False
        for name in ("_report_start", "check_control", "_validate_and_save", "_write_reports", "_announce_saved"):
            setattr(self, name, self._noted(name.strip("_")))

    def _noted(self, name: str) -> Any:
        return lambda wait=False: self.did.append((name, wait) if wait else name)

    def _batches(self, first: int, last: int) -> Iterator[Any]:
        try:
            for _ in range(first, last):
                yield SimpleNamespace(rows=range(PAIRS))
        finally:
            self.did.append("closed")

    def _step_with_count(self, _batch: Any) -> str:
        self.step += 1
        self.did.append(self.step)
        return f"losses {self.step}"

    def _is_reported(self, step: int) -> bool:
        return step == 3

    def _on_first_rank(self, call: Any) -> None:
        self.did.append("by first")
        call()


class Paces:
    """A pace that counts the pairs since its last report, and whether each step had its batch."""

    def __init__(self) -> None:
        self.pairs, self.waits = 0, True

    def begin(self) -> None:
        assert not self.waits
        self.waits = True

    def has_batch(self) -> None:
        assert self.waits
        self.waits = False

    def step(self, pairs: int) -> None:
        self.pairs += pairs

    def report(self, operations: float, peak: float) -> dict[str, float]:
        found, self.pairs = {"pairs": self.pairs, "reached": operations / peak}, 0
        return found


@pytest.mark.parametrize(
    ("step", "score", "validated"), [(0, None, False), (2, None, True), (2, 0.5, False), (1, None, False)]
)
def test_what_a_run_does_between_its_steps(
    monkeypatch: pytest.MonkeyPatch, step: int, score: float | None, validated: bool
) -> None:
    """A validation that a stop came before is made up for; some steps are reported, and the last one."""
    monkeypatch.setattr(loop, "Pace", Paces)
    monkeypatch.setattr(loop, "memory_gib", lambda device: {"here": 0.5}[device])
    own: Any = Looping(step, score)
    Loop.run(own)
    expected: list[Any] = [
        "report_start",
        *([] if step else ["report_initial"]),
        *(["validate_and_save"] if validated else []),
    ]
    told = step
    for number in range(step + 1, TOTAL + 1):
        expected += ["check_control", number]
        if number in (3, TOTAL):
            speed = {"pairs": (number - told) * PAIRS * RANKS, "reached": 7 / 9, "runtime/memory_gib": 0.5}
            expected.append(("report", number, {"of all": f"losses {number}"}, speed, "taken"))
            told = number
        expected += [
            "write_reports", ("heartbeat", "training", number, TOTAL, "loss 1"), "validate_and_save", "announce_saved",
        ]  # fmt: skip
    last = ["closed", ("write_reports", True), ("announce_saved", True), "by first", ("test", TOTAL)]
    assert own.did == expected + last
    assert own._ranks_in_step, "all ranks look at what is asked at the same place"


def test_a_report_that_has_arrived_is_written_after_what_was_skipped_before_it() -> None:
    did: list[Any] = []
    taken: list[Any] = ["first", "second"]
    reports = [Report(step, {"train/loss": 1.0 / step}, taken.pop(0)) for step in (3, 6)]
    own: Any = SimpleNamespace(
        _reports=SimpleNamespace(arrived=lambda wait: reports if wait else reports[:1]), _log_skipped=did.append,
        events=SimpleNamespace(write=did.append), _terminal_note="", _system=SimpleNamespace(take=dict),
    )  # fmt: skip
    Loop._write_reports(own)
    assert (did, own._terminal_note) == (
        ["first", Metrics(step=3, values={"train/loss": 1 / 3}, time=did[1].time)],
        "loss 0.333",
    )
    Loop._write_reports(own, wait=True)
    assert (did[-2], did[-1].step, own._terminal_note) == ("second", 6, "loss 0.167")
