"""The requests of Classify to its workers: open data, evaluate, and query results.

Flow: panel -> ``evaluate`` -> worker: ``classify_open``, then the verb of the method -> ``EvaluationResult``; other
requests pass the key of that result. A key describes its result completely, so any worker can answer, also after a
restart. Two results are compared in one worker, whatever their models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.spec.run.model_names import tuned_name
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Target, read_result
from sdgui.panels.classify.verbs import CLASSIFY
from sdgui.worker.calls import Done, Failed, WorkerCalls
from sdgui.worker.pool import WorkerPool

KeyDone = Callable[[str], None]
ResultDone = Callable[[EvaluationResult], None]


class ClassifySession(QObject):
    """Sends requests; at most one is open for each purpose and model."""

    working = Signal(str, str, int, int)  # purpose, activity, done, total
    data_opened = Signal(object, object)  # Target, answer of ``classify_open``

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = pool
        self._calls: dict[str, WorkerCalls] = {}  # model -> its worker's calls
        self._worker_models: dict[Evaluation, str] = {}  # evaluation -> model whose worker computes it
        self._results: dict[Evaluation, str] = {}  # evaluation -> key of its result
        self._probes: dict[Evaluation, str] = {}  # evaluation -> key of its probe, if read from a file

    def calls(self, model: str) -> WorkerCalls:
        """The calls to the worker of ``model``; interpolated weights share the worker of their run."""
        model = tuned_name(model)
        if model not in self._calls:
            calls = self._calls[model] = WorkerCalls(self._pool.client(model), self)
            calls.progress.connect(self.working)
        return self._calls[model]

    def worker_of(self, evaluation: Evaluation) -> str:
        """The model whose worker computed ``evaluation`` or will compute it."""
        return self._worker_models.get(evaluation, evaluation.target.model)

    def calls_for(self, evaluation: Evaluation) -> WorkerCalls:
        return self.calls(self.worker_of(evaluation))

    def evaluate(
        self,
        evaluation: Evaluation,
        done: ResultDone,
        failed: Failed,
        purpose: str = "evaluate",
        worker: str = "",
        partial: ResultDone | None = None,
    ) -> None:
        """Open the data and evaluate; an open request of the same ``purpose`` is dropped.

        ``worker``: the model whose worker computes it, by default the evaluated one. ``partial`` receives preliminary
        results.
        """
        self._worker_models[evaluation] = worker or evaluation.target.model
        calls = self.calls_for(evaluation)

        def on_answer(answer: dict[str, Any]) -> None:
            if evaluation.method == "saved":
                self._probes[evaluation] = str(answer["probe"])
                answer = answer["result"]
            self._results[evaluation] = str(answer["result"])
            done(read_result(evaluation, answer))

        def on_partial(answer: dict[str, Any]) -> None:
            if partial is not None:
                partial(read_result(evaluation, answer))

        def on_opened(key: str) -> None:
            verb, arguments = evaluation.request()
            calls.ask(purpose, CLASSIFY[verb], on_answer, failed, on_partial, opened=key, **arguments)

        self._open(purpose, calls, evaluation.target, on_opened, failed)

    def drop(self, purpose: str) -> None:
        """Drop the open requests of a purpose without calling their callbacks."""
        for calls in self._calls.values():
            calls.drop(purpose)

    def register(self, result: EvaluationResult) -> None:
        """Register a result of an earlier session so that requests can refer to it."""
        self._results.setdefault(result.evaluation, str(result.answer["result"]))

    def _open(self, purpose: str, calls: WorkerCalls, target: Target, done: KeyDone, failed: Failed) -> None:
        def on_opened(answer: dict[str, Any]) -> None:
            self.data_opened.emit(target, answer)
            done(str(answer["opened"]))

        calls.ask(purpose, CLASSIFY["classify_open"], on_opened, failed, **target.request())

    def _result(self, purpose: str, evaluation: Evaluation, done: KeyDone, failed: Failed) -> None:
        """Pass the key of the result to ``done``; evaluate first if there is no result yet."""
        if evaluation in self._results:
            done(self._results[evaluation])
        else:
            worker = self.worker_of(evaluation)
            self.evaluate(evaluation, lambda _: done(self._results[evaluation]), failed, purpose, worker)

    def _probe(self, purpose: str, evaluation: Evaluation, done: KeyDone, failed: Failed) -> None:
        """Pass the key of the probe to ``done``; without data, only read the probe from its file."""
        if evaluation.target.data:
            self._result(purpose, evaluation, lambda key: done(self._probes.get(evaluation, key)), failed)
            return
        if evaluation in self._probes:
            done(self._probes[evaluation])
            return

        def on_loaded(answer: dict[str, Any]) -> None:
            self._probes[evaluation] = str(answer["probe"])
            done(self._probes[evaluation])

        self.calls_for(evaluation).ask(
            purpose, CLASSIFY["classify_load_probe"], on_loaded, failed, path=evaluation.path
        )

    def ask(
        self, purpose: str, evaluation: Evaluation, verb: str, done: Done, failed: Failed, **arguments: Any
    ) -> None:
        """Call ``verb`` on a result; the key of the result is the argument ``result``."""

        def ask_with(key: str) -> None:
            self.calls_for(evaluation).ask(purpose, CLASSIFY[verb], done, failed, result=key, **arguments)

        self._result(purpose, evaluation, ask_with, failed)

    def compare(self, a: Evaluation, b: Evaluation, done: Done, failed: Failed) -> None:
        """Compare A with B, in the worker of A."""

        def ask_with(a_key: str, b_key: str) -> None:
            self.calls_for(a).ask("compare", CLASSIFY["classify_compare"], done, failed, a=a_key, b=b_key)

        self._result("compare", a, lambda key: self._result("compare", b, partial(ask_with, key), failed), failed)

    def few_shot(self, evaluation: Evaluation, draws: int, done: Done, failed: Failed, partial: Done) -> None:
        """Compute the few-shot curve of a probe, point by point."""
        settings = evaluation.settings
        kind = "fused" if evaluation.method == "fused" else "image"
        calls = self.calls_for(evaluation)

        def on_opened(key: str) -> None:
            calls.ask(
                "few-shot", CLASSIFY["classify_few_shot"], done, failed, partial,
                opened=key, kind=kind, text=settings.text, templates=settings.templates, draws=draws,
            )  # fmt: skip

        self._open("few-shot", calls, evaluation.target, on_opened, failed)

    def try_images(
        self,
        purpose: str,
        model: tuple[str, str],
        probe: Evaluation | None,
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

    def load(self, probe: Evaluation, done: KeyDone, failed: Failed) -> None:
        """Read a saved probe and pass its key to ``done``."""
        self._probe("probe", probe, done, failed)

    def save(self, probe: Evaluation, path: str, done: Done, failed: Failed) -> None:
        """Write a probe; replaces the files of an existing probe without asking."""
        self._with_probe("probe", probe, "classify_save_probe", "result", done, failed, path=path, replace=True)

    def apply(self, probe: Evaluation, images: Sequence[str], out: str, done: Done, failed: Failed) -> None:
        """Classify folders and write a CSV file; replaces an existing file without asking."""
        target = probe.target
        request = {"images": list(images), "out": out, "model": target.model, "weights": target.weights}
        self._with_probe("apply", probe, "classify_apply", "probe", done, failed, **request, replace=True)

    def _with_probe(
        self, purpose: str, probe: Evaluation, verb: str, name: str, done: Done, failed: Failed, **arguments: Any
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
