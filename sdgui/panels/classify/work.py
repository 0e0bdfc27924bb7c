"""The requests of Classify to its workers: open data, evaluate, and query results.

Flow: panel -> ``measure`` -> worker: ``classify_open``, then the verb of the measure -> ``EvaluationResult``; other
requests pass the key of that result. A key describes its result completely, so any worker can answer, also after a
restart. Two results are compared in one worker, whatever their models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.spec.run.model_names import tuned_name
from sdgui.panels.classify.model import EvaluationResult, Measure, Target, read_result
from sdgui.panels.classify.verbs import CLASSIFY
from sdgui.worker.calls import Done, Failed, WorkerCalls
from sdgui.worker.pool import WorkerPool

KeyDone = Callable[[str], None]
MeasuredDone = Callable[[EvaluationResult], None]


class ClassifySession(QObject):
    """Sends requests; at most one is open for each purpose and model."""

    working = Signal(str, str, int, int)  # purpose, activity, done, total
    data_opened = Signal(object, object)  # Target, answer of ``classify_open``

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = pool
        self._calls: dict[str, WorkerCalls] = {}  # model -> its worker's calls
        self._homes: dict[Measure, str] = {}  # evaluation -> model whose worker computes it
        self._results: dict[Measure, str] = {}  # evaluation -> key of its result
        self._probes: dict[Measure, str] = {}  # evaluation -> key of its probe, if read from a file

    def calls(self, model: str, title: str = "") -> WorkerCalls:
        """The calls to the worker of ``model``; interpolated weights share the worker of their run."""
        model = tuned_name(model)
        if model not in self._calls:
            calls = self._calls[model] = WorkerCalls(self._pool.client(model, title), self)
            calls.progress.connect(self.working)
        return self._calls[model]

    def calls_for(self, measure: Measure) -> WorkerCalls:
        """The calls to the worker that evaluated ``measure`` or will evaluate it."""
        return self.calls(self._homes.get(measure, measure.target.model))

    def measure(
        self,
        measure: Measure,
        done: MeasuredDone,
        failed: Failed,
        purpose: str = "measure",
        beside: Measure | None = None,
        worker: str = "",
        partial: MeasuredDone | None = None,
    ) -> None:
        """Evaluate; an open request of the same ``purpose`` is dropped.

        It runs in the model's worker, in ``worker``, or in the worker of ``beside`` to compare both results later.
        ``partial`` receives preliminary results.
        """
        beside_worker = self._homes.get(beside, beside.target.model) if beside is not None else ""
        self._homes[measure] = beside_worker or worker or measure.target.model
        self._measure(purpose, measure, done, failed, partial)

    def drop(self, purpose: str) -> None:
        """Drop the open requests of a purpose without calling their callbacks."""
        for calls in self._calls.values():
            calls.drop(purpose)

    def register(self, result: EvaluationResult) -> None:
        """Register a result of an earlier session so that requests can refer to it."""
        self._results.setdefault(result.measure, str(result.answer["result"]))

    def _open(self, purpose: str, calls: WorkerCalls, target: Target, done: KeyDone, failed: Failed) -> None:
        def on_opened(answer: dict[str, Any]) -> None:
            self.data_opened.emit(target, answer)
            done(str(answer["opened"]))

        calls.ask(purpose, CLASSIFY["classify_open"], on_opened, failed, **target.request())

    def _measure(
        self,
        purpose: str,
        measure: Measure,
        done: MeasuredDone,
        failed: Failed,
        partial: MeasuredDone | None = None,
    ) -> None:
        """Open the data, then evaluate, in the worker that ``calls_for`` returns."""
        calls = self.calls_for(measure)

        def on_answer(answer: dict[str, Any]) -> None:
            if measure.method == "saved":
                self._probes[measure] = str(answer["probe"])
                answer = answer["result"]
            self._results[measure] = str(answer["result"])
            done(read_result(measure, answer))

        def on_partial(answer: dict[str, Any]) -> None:
            if partial is not None:
                partial(read_result(measure, answer))

        def on_opened(key: str) -> None:
            verb, arguments = measure.request()
            calls.ask(purpose, CLASSIFY[verb], on_answer, failed, on_partial, opened=key, **arguments)

        self._open(purpose, calls, measure.target, on_opened, failed)

    def _result(self, purpose: str, measure: Measure, done: KeyDone, failed: Failed) -> None:
        """Pass the key of the result to ``done``; evaluate first if there is no result yet."""
        if measure in self._results:
            done(self._results[measure])
        else:
            self._measure(purpose, measure, lambda _result: done(self._results[measure]), failed)

    def _probe(self, purpose: str, measure: Measure, done: KeyDone, failed: Failed) -> None:
        """Pass the key of the probe to ``done``; without data, only read the probe from its file."""
        if measure.target.data:
            self._result(purpose, measure, lambda key: done(self._probes.get(measure, key)), failed)
            return
        if measure in self._probes:
            done(self._probes[measure])
            return

        def on_loaded(answer: dict[str, Any]) -> None:
            self._probes[measure] = str(answer["probe"])
            done(self._probes[measure])

        self.calls_for(measure).ask(purpose, CLASSIFY["classify_load_probe"], on_loaded, failed, path=measure.path)

    def ask(self, purpose: str, measure: Measure, verb: str, done: Done, failed: Failed, **arguments: Any) -> None:
        """Call ``verb`` on a result; the key of the result is the argument ``result``."""

        def ask_with(key: str) -> None:
            self.calls_for(measure).ask(purpose, CLASSIFY[verb], done, failed, result=key, **arguments)

        self._result(purpose, measure, ask_with, failed)

    def compare(self, a: Measure, b: Measure, done: Done, failed: Failed) -> None:
        """Compare A with B, in the worker of A."""

        def ask_difference(a_key: str, b_key: str) -> None:
            self.calls_for(a).ask("compare", CLASSIFY["classify_compare"], done, failed, a=a_key, b=b_key)

        def find_b(a_key: str) -> None:
            self._result("compare", b, partial(ask_difference, a_key), failed)

        self._result("compare", a, find_b, failed)

    def few_shot(self, measure: Measure, draws: int, done: Done, failed: Failed, partial: Done) -> None:
        """Compute the few-shot curve of a probe, point by point."""
        settings = measure.settings
        kind = "fused" if measure.method == "fused" else "image"
        calls = self.calls_for(measure)

        def on_opened(key: str) -> None:
            calls.ask(
                "few-shot", CLASSIFY["classify_few_shot"], done, failed, partial,
                opened=key, kind=kind, text=settings.text, templates=settings.templates, draws=draws,
            )  # fmt: skip

        self._open("few-shot", calls, measure.target, on_opened, failed)

    def try_images(
        self,
        purpose: str,
        model: tuple[str, str],
        probe: Measure | None,
        images: Sequence[str],
        classes: Sequence[str],
        done: Done,
        failed: Failed,
    ) -> None:
        """Predict the classes of single images, by a probe and among typed names."""
        calls = self.calls_for(probe) if probe is not None else self.calls(model[0])

        def ask_with(key: str) -> None:
            calls.ask(
                purpose, CLASSIFY["classify_try"], done, failed, model=model[0], weights=model[1],
                images=list(images), classes=list(classes), probe=key, top=10,
            )  # fmt: skip

        if probe is None:
            ask_with("")
        else:
            self._probe(purpose, probe, ask_with, failed)

    def load(self, probe: Measure, done: KeyDone, failed: Failed) -> None:
        """Read a saved probe and pass its key to ``done``."""
        self._probe("probe", probe, done, failed)

    def save(self, probe: Measure, path: str, done: Done, failed: Failed) -> None:
        """Write a probe; replaces the files of an existing probe without asking."""
        self._with_probe("probe", probe, "classify_save_probe", "result", done, failed, path=path, replace=True)

    def apply(self, probe: Measure, images: Sequence[str], out: str, done: Done, failed: Failed) -> None:
        """Classify folders and write a CSV file; replaces an existing file without asking."""
        target = probe.target
        request = {"images": list(images), "out": out, "model": target.model, "weights": target.weights}
        self._with_probe("apply", probe, "classify_apply", "probe", done, failed, **request, replace=True)

    def _with_probe(
        self, purpose: str, probe: Measure, verb: str, name: str, done: Done, failed: Failed, **arguments: Any
    ) -> None:
        """Call ``verb``; the key of the probe is the argument ``name``."""

        def ask_with(key: str) -> None:
            arguments[name] = key
            self.calls_for(probe).ask(purpose, CLASSIFY[verb], done, failed, None, **arguments)

        self._probe(purpose, probe, ask_with, failed)

    def cancel(self, purpose: str) -> None:
        """Cancel the requests of a purpose; their ``failed`` receives ``Cancelled``."""
        for calls in self._calls.values():
            calls.cancel(purpose)

    def busy(self, purpose: str) -> bool:
        """Whether a request of this purpose is running."""
        return any(calls.busy(purpose) for calls in self._calls.values())
