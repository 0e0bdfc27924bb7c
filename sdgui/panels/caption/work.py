"""Captions the list with one or two models: requests, results and progress.

Flow: panel -> ``caption`` -> ``CaptionMaker`` per side -> entries of ``CaptionsModel``; re-captioning is one undo step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from core.spec.generation import GenerationSettings
from sdgui.panels.caption.list.commands import ReplaceCandidates
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.maker import Answer, CaptionMaker
from sdgui.panels.caption.model import SIDES, Entry, Side
from sdgui.shared.failures import failure_message
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.message import ShowMessage, info, warning
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Failure


class CaptionsWork(QObject):
    """Captions listed images; asks ``choice`` and ``settings`` for the model and settings when captioning starts."""

    images_failed = Signal(int)  # number of images that could not be captioned
    origin = Signal(str, object)  # key and content (model, step, settings) of the origin of the following captions

    def __init__(
        self,
        pool: WorkerPool,
        model: CaptionsModel,
        undo: QUndoStack,
        choice: Callable[[Side], ModelChoice | None],
        settings: Callable[[], GenerationSettings],
        strip: ProgressStrip,
        show_message: ShowMessage,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._model, self._undo, self._choice, self._settings = model, undo, choice, settings
        self._strip, self._show_message = strip, show_message
        # side -> path -> the entry before it was captioned again, for undo
        self._before_recaptioning: dict[Side, dict[str, Entry]] = {"a": {}, "b": {}}
        self._remaining: dict[Side, list[str]] = {"a": [], "b": []}  # images left uncaptioned by a failure or a stop
        self._shown_notes: set[str] = set()  # a note is shown only once
        self.compares = False
        self.makers: dict[Side, CaptionMaker] = {side: CaptionMaker(pool, self) for side in SIDES}
        for side, maker in self.makers.items():
            maker.opened.connect(self._show_notes)
            maker.origin.connect(self.origin)
            maker.captioned.connect(partial(self._update_entries, side))
            maker.progress.connect(partial(self._show_progress, side))
            maker.finished.connect(partial(self._finish_side, side))
            maker.failed.connect(partial(self._fail_side, side))
            maker.note_received.connect(lambda note: show_message(info(note)))

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides in use: both while two models are compared."""
        return SIDES if self.compares else ("a",)

    @property
    def busy(self) -> bool:
        return any(maker.busy for maker in self.makers.values())

    def caption(self, paths: Sequence[str]) -> None:
        """Caption or re-caption these images; those already queued are skipped."""
        for side in self.sides:
            self._start_maker(side, paths)

    def caption_again(self, side: Side, paths: Sequence[str]) -> None:
        """Caption ``paths`` and the images still queued with the new weights of the side's model."""
        queued = self.makers[side].drop()
        self._start_maker(side, dict.fromkeys([*paths, *queued]))
        if not self.makers[side].busy:  # there is nothing to caption any more
            self._end_side(side)

    def complete_side(self, side: Side) -> None:
        """Caption the images that this side has not captioned yet."""
        self.caption_again(side, [entry.path for entry in self._model.entries() if side not in entry.captions])

    def caption_uncaptioned(self) -> None:
        """Complete each side in use; the first model also captions images whose caption the user has deleted."""
        for side in self.sides:  # an entry with captions of a model "waits" if the user has deleted its text
            self._start_maker(
                side,
                [
                    entry.path
                    for entry in self._model.entries()
                    if side not in entry.captions or (side == "a" and entry.state == "waiting")
                ],
            )

    def resume(self) -> None:
        """Caption the images that a failure or a stop left uncaptioned."""
        remaining, self._remaining = self._remaining, {"a": [], "b": []}
        for side in self.sides:
            self._start_maker(side, [path for path in remaining[side] if self._model.entry(path) is not None])

    def open(self, side: Side) -> None:
        """Load the side's model."""
        choice = self._choice(side)
        if choice is not None:
            self.makers[side].open(choice)

    def cancel(self) -> None:
        """Stop captioning; finished captions are kept."""
        for maker in self.makers.values():
            maker.cancel()

    def _start_maker(self, side: Side, paths: Iterable[str]) -> None:
        choice, maker = self._choice(side), self.makers[side]
        paths = [path for path in paths if not maker.is_queued(path)]
        if choice is None or not paths:
            return
        for path in paths:
            entry = self._model.entry(path)
            if entry is not None and side in entry.captions:
                self._before_recaptioning[side].setdefault(path, entry)
        if not self.busy:
            self._strip.start("Opening the model", len(paths), "images")
        maker.queue(choice, paths, self._settings())

    # --- results

    def _show_notes(self, facts: Mapping[str, Any]) -> None:
        notes = [str(note) for note in facts.get("notes", []) if str(note) not in self._shown_notes]
        self._shown_notes.update(notes)
        if notes:
            self._show_message(warning(notes[0], "\n".join(notes[1:])))

    def _update_entries(self, side: Side, answers: Sequence[Answer]) -> None:
        entries = []
        for answer in answers:
            entry, captions = self._model.entry(answer.path), answer.captions
            if entry is None:
                continue
            if captions is not None:
                entries.append(entry.with_captions(side, captions))
            else:
                entries.append(entry.with_error(answer.error or "the model returned no caption"))
        self._model.update(entries)

    def _show_progress(self, side: Side, activity: str, completed: int, total: int) -> None:
        if side == "a" or not self.makers["a"].busy:
            self._strip.advance(completed, total, activity)

    def _finish_side(self, side: Side, _captioned: int, failed_count: int) -> None:
        self._end_side(side)
        if failed_count:
            self.images_failed.emit(failed_count)

    def _fail_side(self, side: Side, failure: Failure) -> None:
        self._end_side(side)
        self._remaining[side] = self.makers[side].remaining
        stopped = "Captioning was stopped. Finished captions are kept."
        retry = self.resume if self._remaining[side] else partial(self.open, side)
        self._show_message(failure_message(failure, stopped, retry, "Continue"))

    def _end_side(self, side: Side) -> None:
        recaptioned, self._before_recaptioning[side] = self._before_recaptioning[side], {}
        changed = [entry for path, entry in recaptioned.items() if self._model.entry(path) not in (None, entry)]
        if changed:
            self._undo.push(ReplaceCandidates(self._model, changed))
        if not self.busy:
            self._strip.finish()
