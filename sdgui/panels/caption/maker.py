"""Requests captions from a worker in batches of images and emits the captions as they arrive.

Flow: panel -> ``queue(choice, paths, settings)`` -> worker: ``caption_open``, then ``caption`` -> ``captioned`` with
each image, batched for some ms -> panel. One maker per side, so that two models work in parallel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from core.spec.generation import GenerationSettings
from sdgui.panels.caption.model import ModelCaptions, model_captions, origin_key
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.formats import capitalize
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from sdgui.worker.verbs import CAPTION, CAPTION_OPEN, Captioner, CaptionPart

_IMAGES_PER_REQUEST = 1000
_BATCH_MS = 40  # answers within this time are emitted together
# The facts that, together with the settings, are the origin of a caption.
_ORIGIN_FACTS = ("model", "pretrained", "weights", "step", "digest", "precision")


@dataclass(frozen=True)
class Answer:
    """The outcome for one image: captions or an error."""

    path: str
    captions: ModelCaptions | None
    error: str = ""


@dataclass(frozen=True)
class _Job:
    choice: ModelChoice
    paths: tuple[str, ...]
    settings: GenerationSettings


class CaptionMaker(QObject):
    """Captions images with one model."""

    opened = Signal(object)  # the answer of ``caption_open``
    origin = Signal(str, object)  # key of an origin and its content, before any caption that refers to it
    captioned = Signal(list)  # Answer objects
    progress = Signal(str, int, int)  # activity, images done, total
    finished = Signal(int, int)  # numbers of captioned and failed images; the queue is empty
    failed = Signal(object)  # Failure; the queue was dropped
    note_received = Signal(str)  # a note of the worker

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = pool
        self._calls: WorkerCalls | None = None
        self._connected_model = ""
        self._jobs: deque[_Job] = deque()
        self._waiting: set[str] = set()  # images of the queued jobs and of the running job
        self._running_job: _Job | None = None
        self._answers: list[Answer] = []
        self._answered: set[str] = set()  # images of the running job with an answer
        self.remaining: list[str] = []  # images without an answer when captioning failed or was cancelled
        self._is_first_answer = True  # of a job; it is emitted without waiting for a batch
        self._done_before_job = self._captioned_count = self._failed_count = self._total = 0
        self._timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._timer.timeout.connect(self._emit_answers)

    @property
    def busy(self) -> bool:
        return self._running_job is not None

    def is_queued(self, path: str) -> bool:
        """Whether an image is queued or being captioned."""
        return path in self._waiting

    def open(self, choice: ModelChoice) -> None:
        """Load the model in advance, before images are added."""
        if not self.busy:
            self._connect(choice).ask(
                "open", CAPTION_OPEN, self.opened.emit, self.failed.emit, model=choice.model, weights=choice.network
            )

    def queue(self, choice: ModelChoice, paths: Sequence[str], settings: GenerationSettings) -> None:
        """Queue images to caption."""
        if not self.busy and not self._jobs:
            self._done_before_job = self._captioned_count = self._failed_count = self._total = 0
            self.remaining = []
        self._total += len(paths)
        self._waiting.update(paths)
        for start in range(0, len(paths), _IMAGES_PER_REQUEST):
            self._jobs.append(_Job(choice, tuple(paths[start : start + _IMAGES_PER_REQUEST]), settings))
        if not self.busy:
            self._start_next_job()

    def cancel(self) -> None:
        """Drop the queue; ``failed`` emits ``Cancelled`` if an image was queued or being captioned."""
        if self.busy:
            self._fail_job(Cancelled())

    def drop(self) -> list[str]:
        """Drop the queue without a signal and return its images; later answers are ignored."""
        jobs = [*([self._running_job] if self._running_job is not None else []), *self._jobs]
        emitted = self._answered.difference(answer.path for answer in self._answers)
        paths = [path for job in jobs for path in job.paths if path not in emitted]
        self._timer.stop()
        self._answers.clear()
        self._jobs.clear()
        self._waiting.clear()
        self._running_job = None
        if self._calls is not None:
            self._calls.drop("open")
            self._calls.drop("caption")
        return paths

    # --- one request after another

    def _connect(self, choice: ModelChoice) -> WorkerCalls:
        if self._calls is None or self._connected_model != choice.model:
            if self._calls is not None:
                self._calls.close()
            self._calls = WorkerCalls(self._pool.client(choice.model, choice.title), self)
            self._calls.progress.connect(self._show_progress)
            self._connected_model = choice.model
        return self._calls

    def _start_next_job(self) -> None:
        if not self._jobs:
            self.finished.emit(self._captioned_count, self._failed_count)
            return
        job = self._running_job = self._jobs.popleft()
        self._answered.clear()
        self._is_first_answer, self._done_before_job = True, self._captioned_count + self._failed_count
        self.progress.emit("Opening the model", self._done_before_job, self._total)
        self._connect(job.choice).ask(
            "open", CAPTION_OPEN, self._send_job, self._fail_job, model=job.choice.model, weights=job.choice.network
        )

    def _send_job(self, facts: Captioner) -> None:
        """Fit the settings to the loaded model and send the images."""
        self.opened.emit(facts)
        job = self._running_job
        if job is None or self._calls is None:
            return
        settings = fit_to_context(job.settings, facts["max_tokens"])
        fields = settings.model_dump(mode="json")
        content = {**{name: facts.get(name) for name in _ORIGIN_FACTS}, "settings": fields}
        key = origin_key(content)
        self.origin.emit(key, content)

        def partial(result: CaptionPart) -> None:
            self._add_answer(result, key, job)

        self._calls.ask(
            "caption",
            CAPTION,
            self._finish_job,
            self._fail_job,
            partial,
            model=job.choice.model,
            weights=job.choice.network,
            paths=list(job.paths),
            settings=fields,
        )

    def _add_answer(self, result: CaptionPart, key: str, job: _Job) -> None:
        if "note" in result:
            self.note_received.emit(str(result["note"]))
        if "index" not in result:
            return
        index = result["index"]
        path = job.paths[index] if 0 <= index < len(job.paths) else result.get("path", "")
        self._answered.add(path)
        if "captions" in result:
            self._captioned_count += 1
            self._answers.append(Answer(path, model_captions(key, result["captions"])))
        else:
            self._failed_count += 1
            self._answers.append(Answer(path, None, str(result.get("error", ""))))
        if self._is_first_answer:
            self._is_first_answer = False
            self._emit_answers()
        elif not self._timer.isActive():
            self._timer.start()

    def _emit_answers(self) -> None:
        self._timer.stop()
        answers, self._answers = self._answers, []
        if answers:
            self.captioned.emit(answers)
            self.progress.emit("Captioning", self._captioned_count + self._failed_count, self._total)

    def _show_progress(self, purpose: str, activity: str, completed: int, _total: int) -> None:
        if self._running_job is None or purpose == "open":
            self.progress.emit(capitalize(activity), self._done_before_job, self._total)
        else:
            self.progress.emit("Captioning", self._done_before_job + completed, self._total)

    def _finish_job(self, _result: Mapping[str, Any]) -> None:
        self._emit_answers()
        if self._running_job is not None:
            self._waiting.difference_update(self._running_job.paths)
        self._running_job = None
        self._start_next_job()

    def _fail_job(self, failure: Failure) -> None:
        self._emit_answers()
        self.remaining = self.drop()
        self.failed.emit(failure)


def fit_to_context(settings: GenerationSettings, context_length: int) -> GenerationSettings:
    """``settings`` with the length of captions limited to the model's context length, in tokens."""
    max_tokens = min(settings.max_tokens, context_length)
    return settings.model_copy(update={"max_tokens": max_tokens, "min_tokens": min(settings.min_tokens, max_tokens)})
