"""The Search panel over workers that answer when the test says so, and what they answer."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from sdgui.panels.search.panel import SearchPanel


class Worker(QObject):
    """A worker's client that writes down what it is asked."""

    progress = Signal(int, str, int, int)
    partial = Signal(int, object)
    done = Signal(int, object)
    failed = Signal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []

    def request(self, do: str, **arguments: Any) -> int:
        self.asked.append((do, arguments))
        return len(self.asked)

    def cancel(self, number: int) -> None:
        self.cancelled.append(self.asked[number - 1][0])

    def number(self, do: str) -> int:
        """Of the last request of this verb."""
        return max(number for number, (name, _) in enumerate(self.asked, start=1) if name == do)

    def last(self, do: str) -> dict[str, Any]:
        return self.asked[self.number(do) - 1][1]

    def count(self, do: str) -> int:
        return sum(name == do for name, _ in self.asked)

    def answer(self, do: str, result: Any) -> None:
        self.done.emit(self.number(do), result)

    def fail(self, do: str, failure: Any) -> None:
        self.failed.emit(self.number(do), failure)


class Workers(dict[str, Worker]):
    """Workers by the key of their model."""

    def client(self, key: str, _title: str = "") -> Worker:
        return self.setdefault(key, Worker())


def facts(key: str, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "title": "val.csv", "source": "/val.csv", "model": key, "weights": "", "dim": 8, "pictures": 3,
        "captions": 3, "how": "exact, in memory", "notes": [], **more,
    }  # fmt: skip


def results(count: int = 3, **more: Any) -> Any:
    rows = [
        {
            "row": 10 + at, "path": f"/p/{at}.png", "there": at != 1, "caption": f"c{at}", "captions": [f"c{at}", "m"],
            "cosine": 0.9 - at / 10, "softmax": 0.5, "rank": at + 1, "above_cutoff": at == 0, "duplicates": [],
            "labels": {"tone": "dark", "x": ""}, "size": 2048, "time": 0.0,
        }
        for at in range(count)
    ]  # fmt: skip
    cutoff = {"cosine": 0.85, "rate": 0.001, "meaning": "few are above"}
    return {"rows": rows, "cutoff": cutoff, "above": 1, "searched": 9, "notes": [], "true_rank": None,
            "true_row": None, **more}  # fmt: skip


def opened(panel: SearchPanel, workers: Workers, side: int = 0, **more: Any) -> Worker:
    """This side's model has opened what is searched."""
    target = panel.sessions[side].target
    assert target is not None
    worker = workers[target.worker or target.model or target.index]
    worker.answer("search_open", facts(target.model or "made by", **more))
    return worker
