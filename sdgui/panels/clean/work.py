"""Clean's requests to a model's worker, and its marks and last rankings in the store.

Flow: ``rank`` -> worker ``noise_open`` -> ``RankedPairs`` with the store's marks -> ``ranked``; ``save`` -> worker
``noise_save`` -> ``saved``, also if another ranking is shown by then. If a ranking fails, the previous ranking stays
and can still be saved. Rankings are stored by model and data; ``recall`` shows the last one again without a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from core.spec.config import expand_user
from core.spec.data.fixes import Fix
from sdgui.panels.clean.model import Key, PairState, RankedPairs
from sdgui.panels.clean.source import run_folder
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.basket import Basket, Finding
from sdgui.shared.export.formats import ExportFormat
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.local.fixes import StoredFix
from sdgui.store.store import Store
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import NOISE_OPEN, NOISE_SAVE, Ranking, SavedSource, Verb

PANEL = "clean"  # rankings are stored under this name
MAX_LISTED = 3000  # listed pairs, those with the lowest match scores; counts and thresholds cover all pairs
CLEANED_TABLE: ExportFormat[Verb[SavedSource]] = ExportFormat(
    "csv", "Save the cleaned pairs", "Save the remaining pairs as a new table", NOISE_SAVE, "Tables", ".csv", "cleaned"
)


@dataclass(frozen=True)
class _Session:
    """The model that ranks, its title, and the calls to its worker. ``weights``: the requested network."""

    model: str
    title: str
    calls: WorkerCalls
    weights: str


class CleanWork(QObject):
    """Computes one ranking at a time; a new request drops the answer of the previous one."""

    progress = Signal(str, int, int)  # activity, finished, total
    ranked = Signal(object)  # RankedPairs
    rank_failed = Signal(object)  # Failure
    saved = Signal(object, str)  # SavedSource, the model that ranked the pairs
    save_failed = Signal(object)  # Failure
    mark_failed = Signal(str)  # why marks could not be written to the store

    def __init__(self, pool: WorkerPool, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool, self._store = pool, store
        self._requested: _Session | None = None  # session of the latest requested ranking
        self._current: _Session | None = None  # session of the shown ranking
        self._saving: list[_Session] = []  # sessions that are writing pairs
        self.background = BackgroundTasks(self)

    @property
    def is_ranking(self) -> bool:
        """Whether a ranking is being computed."""
        return self._requested is not None and self._requested.calls.busy("rank")

    @property
    def is_busy(self) -> bool:
        """Whether a ranking is being computed, or pairs are being saved."""
        return self.is_ranking or bool(self._saving)

    @property
    def model(self) -> str:
        """The model whose ranking is shown; "" before the first."""
        return self._current.model if self._current is not None else ""

    def is_by(self, request: Mapping[str, str]) -> bool:
        """Whether the shown ranking is by the model and networks of ``request``."""
        session = self._current
        return session is not None and (session.model, session.weights) == (request["model"], request["weights"])

    def rank(self, choice: ModelChoice, request: Mapping[str, str]) -> None:
        """Rank all pairs with this model. ``request``: the arguments of ``noise_open``."""
        self._drop_request()
        calls = WorkerCalls(self._pool.client(choice.model, choice.title), self)
        session = self._requested = _Session(choice.model, choice.title, calls, request["weights"])
        calls.progress.connect(lambda _purpose, activity, done, total: self.progress.emit(activity, done, total))
        handle_answer = partial(self._on_answer, session)
        calls.ask("rank", NOISE_OPEN, handle_answer, self.rank_failed.emit, partial=None, most=MAX_LISTED, **request)

    def _drop_request(self) -> None:
        """Drop the last request because a new one replaces it; the session of the shown ranking is kept."""
        if self._requested is not None and self._requested is not self._current:
            self._requested.calls.close()

    def cancel(self) -> None:
        if self._requested is not None:
            self._requested.calls.cancel("rank")
        for session in self._saving:
            session.calls.cancel("save")

    def _on_answer(self, session: _Session, answer: Ranking) -> None:
        """Read the marks of the data and store the ranking in the background, then show the ranking."""
        stored = {**answer, "title": session.title, "weights": session.weights}

        def read() -> RankedPairs:
            self._store.save_result(PANEL, session.model, source_key(answer["data"]), stored)
            return self._with_verdicts(answer)

        failed = self.rank_failed.emit
        self.background.run(read, partial(self._complete, session), lambda sentence: failed(Failure(sentence)))

    @property
    def title(self) -> str:
        """The title of the model whose ranking is shown; "" before the first."""
        return self._current.title if self._current is not None else ""

    def _with_verdicts(self, answer: Mapping[str, Any], ranked_at: float = 0.0) -> RankedPairs:
        """The ranking with the user's marks, and the corrections that are in the basket."""
        key = source_key(str(answer["data"]))
        marks = self._store.pair_marks(key)
        fixes = [entry.fix for entry in self._store.fixes() if source_key(entry.source) == key]
        corrections = {(fix.path, fix.caption): fix.value for fix in fixes if fix.kind == "recaptioned"}
        corrections = {pair: caption for pair, caption in corrections.items() if marks.get(pair)}
        return RankedPairs(answer, marks, corrections, ranked_at)

    def recall(self, model: str, data: str) -> None:
        """Show the model's last stored ranking of ``data``, if any; does nothing while pairs are being ranked."""

        def read() -> tuple[RankedPairs, Mapping[str, Any]] | None:
            result = self._store.last_result(PANEL, model, source_key(data), NOISE_OPEN.problem)
            return None if result is None else (self._with_verdicts(result.content, result.made), result.content)

        self.background.run(read, partial(self._recalled, model))

    def _recalled(self, model: str, stored: tuple[RankedPairs, Mapping[str, Any]] | None) -> None:
        if stored is None or self.is_ranking:
            return
        self._drop_request()
        pairs, content = stored
        title, weights = str(content.get("title", pairs.model)), str(content.get("weights", ""))
        self._requested = _Session(model, title, WorkerCalls(self._pool.client(pairs.model), self), weights)
        self._complete(self._requested, pairs)

    def _complete(self, session: _Session, pairs: RankedPairs) -> None:
        if session is not self._requested:
            return  # another ranking was requested in the meantime
        previous, self._current = self._current, session
        if previous is not None:
            self._close_unused(previous)
        self.ranked.emit(pairs)

    def save(self, pairs: RankedPairs, path: Path, replace: bool) -> None:
        """Write the pairs that are not excluded to ``path``."""
        session = self._current
        if session is None:
            return
        # Clean excludes pairs; ``excluded`` would remove images with all their captions.
        arguments = pairs.save_arguments() | {"data": pairs.data, "to": str(path), "excluded": []}

        def end(outcome: SavedSource | Failure) -> None:
            self._saving.remove(session)
            self._close_unused(session)
            if isinstance(outcome, Failure):
                self.save_failed.emit(outcome)
            else:
                self.saved.emit(outcome, session.model)

        if session not in self._saving:  # a second request replaces the first
            self._saving.append(session)
        session.calls.ask("save", CLEANED_TABLE.write, end, end, replace=replace, **arguments)

    def _close_unused(self, session: _Session) -> None:
        if session is not self._current and session not in self._saving:
            session.calls.close()

    # Marks and corrections
    def fix(self, pair: Key, caption: str = "") -> Fix:
        """The fix that replaces the pair's caption by ``caption``, or excludes the pair if ``caption`` is empty."""
        kind: Literal["recaptioned", "wrong"] = "recaptioned" if caption else "wrong"
        return Fix(
            kind=kind,
            path=pair[0],
            caption=pair[1],
            value=caption,
            panel="Clean",
            run=str(run_folder(self.model) or ""),
        )

    def set_states(self, pairs: RankedPairs, states: Mapping[Key, PairState], basket: Basket) -> dict[Key, PairState]:
        """Mark and correct pairs, also in the store and the basket; returns the previous states."""
        before = pairs.set_states(states)
        store, key, marks = self._store, source_key(pairs.data), {pair: state.mark for pair, state in states.items()}
        self.background.run(lambda: store.mark_pairs(key, marks), None, self.mark_failed.emit)
        changed = [pair for pair in states if states[pair].correction != before[pair].correction]
        undone = {(*pair, before[pair].correction) for pair in changed if not states[pair].correction}

        def remove(entries: Sequence[StoredFix]) -> None:
            fixes = {entry.id: entry.fix for entry in entries}
            basket.remove([number for number, fix in fixes.items() if (fix.path, fix.caption, fix.value) in undone])

        if undone:
            basket.read(remove)
        fixes = tuple(self.fix(pair, states[pair].correction) for pair in changed if states[pair].correction)
        basket.add(Finding(pairs.data, fixes))
        return before


def source_key(data: str) -> str:
    """The key of a data source's marks in the store."""
    return str(expand_user(data).resolve())
