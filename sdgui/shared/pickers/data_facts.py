"""Requests facts about one source at a time: its contents, overlap with other splits, a held-out part.

Flow: data picker, Define's fields -> ``DataFacts.set_source`` -> worker ``describe_source`` -> ``described``. Requests
that read images (``look_for_overlap``, ``hold_out``) use a separate process. A new source cancels all requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from sdgui.shared.export.formats import free_path
from sdgui.shared.services import Services
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.data_verbs import DATA_HOLD_OUT, DATA_OVERLAP, HeldOut, Overlap
from sdgui.worker.pool import CHECK_WORKER, DATA_WORKER
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import DESCRIBE_SOURCE, SourceFacts

HELD_OUT_SHARE = 0.1  # share of pairs that are held out
HELD_OUT_SEED = 0
_DESCRIBE, _OVERLAP, _HOLD_OUT = "describe", "overlap", "hold out"


class DataFacts(QObject):
    """``source`` and the facts about it; ``facts`` is None until they are known."""

    progress = Signal(str, int)  # activity, finished
    described = Signal(object)  # SourceFacts
    refused = Signal(object)  # Failure: the source cannot be used
    overlapped = Signal(object)  # dict: source -> number of shared images
    held_out = Signal(str, str)  # paths of the training and held-out manifests
    not_held_out = Signal(object)  # Failure

    def __init__(self, services: Services, images_only: bool = False, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._images_only, self._folder = images_only, services.store.home / "data"
        pool = services.pool
        self._data = WorkerCalls(pool.client(DATA_WORKER, "data"), self)
        self._checks = WorkerCalls(pool.client(CHECK_WORKER, "data checks"), self)
        self.source = ""
        self.facts: SourceFacts | None = None
        self.shared: dict[str, int] = {}
        self._data.progress.connect(lambda _purpose, activity, done, _total: self.progress.emit(activity, done))

    @property
    def asking(self) -> bool:
        """Whether the description is pending."""
        return self._data.busy(_DESCRIBE)

    def set_source(self, source: str) -> None:
        """Describe ``source``; "" for none."""
        self.cancel()
        self.source, self.facts, self.shared = source, None, {}
        if source:
            request = {"source": source, "images_only": self._images_only}
            self._data.ask(_DESCRIBE, DESCRIBE_SOURCE, self._on_described, self.refused.emit, None, **request)

    def cancel(self) -> None:
        """Drop all pending requests."""
        self._data.drop(_DESCRIBE)
        self._checks.drop(_OVERLAP)
        self._checks.drop(_HOLD_OUT)

    def look_for_overlap(self, sources: Sequence[str]) -> None:
        """Count the images that each of ``sources`` shares with this one; known counts are not requested again."""
        unknown = [source for source in sources if source not in self.shared]
        if self.source and unknown and not self._checks.busy(_OVERLAP):
            request = {"source": self.source, "others": unknown}
            self._checks.ask(_OVERLAP, DATA_OVERLAP, self._on_overlap, lambda _failure: None, None, **request)

    def hold_out(self) -> None:
        """Write a tenth of the source, and the rest, as two manifests in a new folder of the home."""
        if self.source:
            folder = free_path(self._folder / (Path(self.source).stem or "split"))
            request = {"source": self.source, "share": HELD_OUT_SHARE, "seed": HELD_OUT_SEED, "folder": str(folder)}
            self._checks.ask(_HOLD_OUT, DATA_HOLD_OUT, self._on_held_out, self.not_held_out.emit, None, **request)

    def _on_described(self, facts: SourceFacts) -> None:
        self.facts = facts
        self.described.emit(facts)

    def _on_overlap(self, answer: Overlap) -> None:
        self.shared |= answer["shared"]
        self.overlapped.emit(self.shared)

    def _on_held_out(self, answer: HeldOut) -> None:
        self.held_out.emit(answer["train"]["path"], answer["held_out"]["path"])


def failure_lines(failure: Failure) -> tuple[str, str]:
    """The first line of an error, and the whole message."""
    first = (failure.text.splitlines() or ["The data cannot be read."])[0]
    return first, "\n".join(part for part in (failure.text, failure.details) if part)
