"""What tests of panels share: workers that answer when the test says so, and services without a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from sdgui.app.start import make_application, make_services
from sdgui.shared.services import Services


class Worker(QObject):
    """A worker's client that writes down what it is asked."""

    progress = Signal(int, str, int, int)
    partial = Signal(int, object)
    done = Signal(int, object)
    failed = Signal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[int] = []

    def request(self, do: str, **arguments: Any) -> int:
        self.asked.append((do, arguments))
        return len(self.asked)

    def warm_up(self) -> None:
        """Nothing is loaded."""

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    @property
    def given_up(self) -> list[str]:
        """The verbs of what was cancelled."""
        return [self.asked[number - 1][0] for number in self.cancelled]

    def number(self, do: str) -> int:
        """Of the last request of this verb."""
        return max(number for number, (name, _) in enumerate(self.asked, start=1) if name == do)

    def last(self, do: str) -> dict[str, Any]:
        return self.asked[self.number(do) - 1][1]

    def count(self, do: str) -> int:
        return sum(name == do for name, _ in self.asked)

    def answer(self, do: str, result: Any) -> None:
        self.done.emit(self.number(do), result)

    def say(self, do: str, **part: Any) -> None:
        self.partial.emit(self.number(do), part)

    def fail(self, do: str, failure: Any) -> None:
        self.failed.emit(self.number(do), failure)


class Workers(dict[str, Worker]):
    """Workers by the key of their model, or by what they are for; a `WorkerPool` to those that ask one."""

    def client(self, key: str, _title: str = "") -> Worker:
        return self.setdefault(key, Worker())


@contextmanager
def services_in(home: Path, worker: Sequence[str] | None = None) -> Iterator[Services]:
    """All that panels work on, with this program as the worker; closed in the end."""
    make_application()
    services = make_services(home, worker=worker)
    yield services
    services.launcher.close()
    services.pool.close()
    services.store.close()
