"""Clean's requests to a run's worker, and its marks and last rankings in the store.

Flow: ``rank`` -> worker ``noise_open`` -> ``RankedPairs`` with the store's marks -> ``ranked``; ``save`` -> worker
``noise_save`` -> ``saved``. If a ranking fails, the previous ranking stays and can still be saved. Rankings are
stored by run and data; ``recall`` shows the last one again without a worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal

from core.spec.config import expand_user
from core.spec.data.fixes import Fix
from sdgui.panels.clean.model import Key, Pair, RankedPairs
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.basket import Basket
from sdgui.shared.export.formats import ExportFormat
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.own.fixes import StoredFix
from sdgui.store.store import Store
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import NOISE_OPEN, NOISE_SAVE, Ranking, SavedPairs, Verb

PANEL = "clean"  # rankings are stored under this name
MAX_LISTED = 3000  # listed pairs, those with the lowest match scores; counts and thresholds cover all pairs
CLEANED: ExportFormat[Verb[SavedPairs]] = ExportFormat(
    "csv", "Save the cleaned pairs", "Save the remaining pairs as a new table", NOISE_SAVE, "Tables", ".csv", "cleaned"
)


@dataclass(frozen=True)
class _Session:
    """The folder of the run that ranks, its title, and the calls to its worker.

    ``weights``: the requested checkpoint and network; None for a stored ranking.
    """

    run: str
    title: str
    calls: WorkerCalls
    weights: tuple[str, str] | None = None


class CleanWork(QObject):
    """Computes one ranking at a time; a new request drops the answer of the previous one."""

    progress = Signal(str, int, int)  # activity, finished, total
    ranked = Signal(object)  # RankedPairs
    rank_failed = Signal(object)  # Failure
    saved = Signal(object)  # SavedPairs
    save_failed = Signal(object)  # Failure
    mark_failed = Signal(str)  # why marks could not be written to the store

    def __init__(self, pool: WorkerPool, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool, self._store = pool, store
        self._requested: _Session | None = None  # session of the latest requested ranking
        self._current: _Session | None = None  # session of the shown ranking
        self.background = BackgroundTasks(self)

    @property
    def is_ranking(self) -> bool:
        """Whether a ranking is being computed."""
        return self._requested is not None and self._requested.calls.busy("rank")

    @property
    def run(self) -> str:
        """The folder of the run whose ranking is shown; "" before the first."""
        return self._current.run if self._current is not None else ""

    def is_by(self, request: Mapping[str, str]) -> bool:
        """Whether the shown ranking is by the run, checkpoint and networks of ``request``; those of a stored ranking
        are unknown.
        """
        session = self._current
        return session is not None and session.run == request["run"] and session.weights in (None, _weights(request))

    def rank(self, choice: ModelChoice, request: Mapping[str, str]) -> None:
        """Rank all pairs with this model. ``request``: the arguments of ``noise_open``."""
        self._drop_request()
        calls = WorkerCalls(self._pool.client(choice.model, choice.title), self)
        session = self._requested = _Session(request["run"], choice.title, calls, _weights(request))
        calls.progress.connect(lambda _purpose, activity, done, total: self.progress.emit(activity, done, total))
        handle_answer = partial(self._on_answer, session)
        calls.ask("rank", NOISE_OPEN, handle_answer, self.rank_failed.emit, partial=None, most=MAX_LISTED, **request)

    def _drop_request(self) -> None:
        """Drop the last request because a new one replaces it; the session of the shown ranking is kept."""
        if self._requested is not None and self._requested is not self._current:
            self._requested.calls.close()

    def cancel(self) -> None:
        for session in (self._requested, self._current):
            if session is not None:
                for purpose in ("rank", "save"):
                    session.calls.cancel(purpose)

    def _on_answer(self, session: _Session, answer: Ranking) -> None:
        """Read the marks of the data and store the ranking in the background, then show the ranking."""
        key, store = source_key(str(answer["data"])), self._store

        def read() -> RankedPairs:
            store.keep_result(PANEL, session.run, key, answer)
            return RankedPairs(answer, store.pair_marks(key))

        failed = self.rank_failed.emit
        self.background.run(read, partial(self._complete, session), lambda sentence: failed(Failure(sentence)))

    @property
    def title(self) -> str:
        """The title of the model whose ranking is shown; "" before the first."""
        return self._current.title if self._current is not None else ""

    def recall(self, run: str, title: str, data: str) -> None:
        """Show the run's last stored ranking of ``data``, if any; does nothing while pairs are being ranked."""
        key, store = source_key(data), self._store

        def read() -> RankedPairs | None:
            result = store.last_result(PANEL, run, key, NOISE_OPEN.problem)
            return None if result is None else RankedPairs(result.content, store.pair_marks(key), result.made)

        self.background.run(read, partial(self._recalled, run, title))

    def _recalled(self, run: str, title: str, pairs: RankedPairs | None) -> None:
        if pairs is None or self.is_ranking:
            return
        self._drop_request()
        self._requested = _Session(run, title, WorkerCalls(self._pool.client(pairs.model), self))
        self._complete(self._requested, pairs)

    def _complete(self, session: _Session, pairs: RankedPairs) -> None:
        if session is not self._requested:
            return  # another ranking was requested in the meantime
        if self._current is not None and self._current is not session:
            self._current.calls.close()
        self._current = session
        self.ranked.emit(pairs)

    def save(self, pairs: RankedPairs, path: Path, replace: bool) -> None:
        """Write the pairs that are not excluded to ``path``."""
        if self._current is not None:
            # Clean excludes pairs; ``excluded`` would remove images with all their captions.
            arguments = pairs.save_arguments() | {"data": pairs.data, "to": str(path), "excluded": []}
            saved, failed = self.saved.emit, self.save_failed.emit
            self._current.calls.ask("save", CLEANED.write, saved, failed, replace=replace, **arguments)

    def fix(self, pair: Pair, caption: str = "") -> Fix:
        """The fix that replaces the pair's caption by ``caption``, or excludes the pair if ``caption`` is empty."""
        kind: Literal["recaptioned", "wrong"] = "recaptioned" if caption else "wrong"
        return Fix(kind=kind, path=pair.path, caption=pair.caption, value=caption, panel="Clean", run=self.run)

    @staticmethod
    def forget_corrections(pairs: RankedPairs, keys: Iterable[Key], basket: Basket) -> None:
        """Undo the corrections of these pairs, and remove their fixes from the basket."""
        undone = {(*key, text) for key in keys if (text := pairs.corrections.pop(key, None)) is not None}
        if not undone:
            return

        def remove(entries: Sequence[StoredFix]) -> None:
            fixes = {entry.id: entry.fix for entry in entries}
            basket.remove([number for number, fix in fixes.items() if (fix.path, fix.caption, fix.value) in undone])

        basket.read(remove)

    def keep_marks(self, pairs: RankedPairs, marks: Mapping[Key, bool | None]) -> None:
        """Write marks to the store in the background."""
        store, key = self._store, source_key(pairs.data)
        self.background.run(lambda: store.mark_pairs(key, marks), None, self.mark_failed.emit)


def _weights(request: Mapping[str, str]) -> tuple[str, str]:
    return request["checkpoint"], request["weights"]


def source_key(data: str) -> str:
    """The key of a data source's marks in the store."""
    return str(expand_user(data).resolve())
