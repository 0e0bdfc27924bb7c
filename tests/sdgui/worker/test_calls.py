"""Requests to a worker: invalid answers become failures, and every request ends."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from pytestqt.qtbot import QtBot

from sdgui.worker.calls import WorkerCalls
from sdgui.worker.client import WorkerClient
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import CAPTION, CAPTION_OPEN, DESCRIBE_SOURCE, NOISE_OPEN, SEARCH_OPEN, SEARCH_QUERY, Verb
from tests.mutations import mutated

FACTS = {
    "source": "t.csv",
    "format": "CSV",
    "pairs": 3,
    "images": 2,
    "labels": {"tone": 2},
    "bad": 0,
    "reasons": [],
}
OPENED = {
    "key": "k",
    "title": "t",
    "source": "s",
    "model": "m",
    "weights": "",
    "dim": 8,
    "images": 6,
    "captions": 6,
    "how": "exact",
    "notes": [],
}
WORKER = textwrap.dedent(
    """
    import json, sys
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "cancel":
            print(json.dumps({"event": "failed", "id": asked["id"], "message": "cancelled"}), flush=True)
        for reply in asked.get("replies", []):
            print(json.dumps({**reply, "id": asked["id"]}), flush=True)
    """
)


@pytest.fixture
def calls(qtbot: QtBot, tmp_path: Path) -> Iterator[WorkerCalls]:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    client = WorkerClient([sys.executable, "-S", "-u", str(path)])
    yield WorkerCalls(client)
    client.close()


class Outcome:
    """The outcome of one request."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.parts: list[Any] = []
        self.failed: list[Failure] = []

    def ask(self, calls: WorkerCalls, verb: Verb[Any], *replies: dict[str, Any]) -> None:
        calls.ask("it", verb, self.done.append, self.failed.append, self.parts.append, replies=list(replies))


def test_an_answer_of_another_type_fails_with_the_field(qtbot: QtBot, calls: WorkerCalls) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "source": {},
        "pairs": {**FACTS, "pairs": "3"},
        "labels": {**FACTS, "labels": [["tone", 2]]},
        "reasons.0": {**FACTS, "reasons": [5]},
        "bad": {**FACTS, "bad": True},
    }
    for field, answer in wrong.items():
        outcome = Outcome()
        outcome.ask(calls, DESCRIBE_SOURCE, {"event": "done", "result": answer})
        qtbot.waitUntil(lambda outcome=outcome: bool(outcome.failed))
        assert outcome.done == []
        assert outcome.failed[0].text.startswith("The worker's answer cannot be read. Try again")
        assert f"describe_source: {field}: " in outcome.failed[0].details
        assert not calls.busy("it")
    outcome.ask(calls, DESCRIBE_SOURCE, {"event": "done", "result": {**FACTS, "more": 1}})
    qtbot.waitUntil(lambda: bool(outcome.done))
    assert outcome.done == [{**FACTS, "more": 1}]


def test_a_part_of_another_type_ends_the_request(qtbot: QtBot, calls: WorkerCalls) -> None:
    outcome = Outcome()
    good = {
        "event": "partial",
        "result": {"index": 0, "path": "a", "captions": [{"text": "x", "log_prob": -1, "score": 0.5}]},
    }
    outcome.ask(calls, CAPTION, good, {"event": "partial", "result": {"index": "0"}}, good)
    qtbot.waitUntil(lambda: bool(outcome.failed))
    assert len(outcome.parts) == 1
    assert "caption: index" in outcome.failed[0].details


def test_a_cancelled_request_reports_cancellation_or_nothing(qtbot: QtBot, calls: WorkerCalls) -> None:
    first, second, third = Outcome(), Outcome(), Outcome()
    first.ask(calls, DESCRIBE_SOURCE)
    second.ask(calls, DESCRIBE_SOURCE)
    calls.cancel("it")
    qtbot.waitUntil(lambda: bool(second.failed))
    assert isinstance(second.failed[0], Cancelled)
    third.ask(calls, DESCRIBE_SOURCE, {"event": "done", "result": FACTS})
    qtbot.waitUntil(lambda: bool(third.done))
    assert first.failed == [], "replaced by a newer request"
    cancelled: list[int] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calls._client, "cancel", cancelled.append)
        third.ask(calls, DESCRIBE_SOURCE)
        calls.drop("it")
    assert len(cancelled) == 1, "the worker cancels unneeded work"
    assert not calls.busy("it")


@settings(max_examples=20, deadline=None)
@given(raw=mutated({"opened": OPENED, "facts": FACTS}))
def test_any_answer_is_checked_without_raising(raw: bytes) -> None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    for verb in (SEARCH_OPEN, SEARCH_QUERY, DESCRIBE_SOURCE, CAPTION_OPEN, CAPTION, NOISE_OPEN):
        for one in (value, *(value.values() if isinstance(value, dict) else ())):
            if isinstance(one, dict):
                assert len(verb.problem(one)) < 1000
                verb.problem(one, partial=True)


def test_parts_and_answers_are_checked_by_their_own_types() -> None:
    with_parts, without = Verb("numbers", dict[str, int], list[int]), Verb("numbers", dict[str, int])
    whole: Any = {"a": 1}
    part: Any = [1, 2]
    assert [with_parts.problem(one) == "" for one in (whole, part)] == [True, False]
    assert [with_parts.problem(one, partial=True) == "" for one in (whole, part)] == [False, True]
    assert [without.problem(one, partial=True) == "" for one in (whole, part)] == [True, False]
