"""What Classify asks its workers: data are opened, measured, and results asked about.

Flow: panel -> ``measure`` -> worker: ``classify_open``, then the verb of the measure -> ``Measured``; ``ask`` and the
others name that result by the key that the worker gave it. Keys describe results, so that any worker can answer about
them, also one that was restarted meanwhile. Two results are compared in one worker, whatever models they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal

from sdgui.panels.classify.model import Measure, Measured, Target, measured
from sdgui.panels.classify.verbs import CLASSIFY
from sdgui.worker.calls import Done, Failed, WorkerCalls
from sdgui.worker.pool import WorkerPool

KeyDone = Callable[[str], None]


class ClassifySession(QObject):
    """At most one open request for each purpose and model."""

    working = Signal(str, str, int, int)  # purpose, what is being done, done, total
    opened = Signal(object, object)  # Target, what ``classify_open`` answered

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = pool
        self._calls: dict[str, WorkerCalls] = {}  # by model
        self._homes: dict[Measure, str] = {}  # in which model's worker it was measured
        self._results: dict[Measure, str] = {}  # their keys
        self._probes: dict[Measure, str] = {}  # keys of probes from files

    def calls(self, model: str, title: str = "") -> WorkerCalls:
        """The requests to the worker of ``model``."""
        if model not in self._calls:
            calls = self._calls[model] = WorkerCalls(self._pool.client(model, title), self)
            calls.progress.connect(self.working)
        return self._calls[model]

    def home(self, measure: Measure) -> WorkerCalls:
        """The worker where it was measured, or will be."""
        return self.calls(self._homes.get(measure, measure.target.model))

    def measure(
        self, measure: Measure, done: Callable[[Measured], None], failed: Failed, beside: Measure | None = None
    ) -> None:
        """Measure in the model's own worker, or in that of the one it is to be compared with."""
        self._homes[measure] = self._homes.get(beside, beside.target.model) if beside else measure.target.model
        self._measure("measure", measure, lambda answer: done(measured(measure, answer)), failed)

    def try_prompts(
        self, measure: Measure, done: Callable[[Measured], None], partial: Callable[[Measured], None], failed: Failed
    ) -> None:
        """Zero-shot by prompts that are being edited; the answers to older ones are dropped.

        ``partial`` gets what the first of the templates bring.
        """
        self._homes[measure] = measure.target.model
        self._measure(
            "prompts",
            measure,
            lambda answer: done(measured(measure, answer)),
            failed,
            lambda answer: partial(measured(measure, answer)),
        )

    def measure_step(self, measure: Measure, worker: str, done: Callable[[Measured], None], failed: Failed) -> None:
        """The same evaluation of another step of a run, all in one ``worker``."""
        self._homes[measure] = worker
        self._measure("step", measure, lambda answer: done(measured(measure, answer)), failed)

    def drop(self, purpose: str) -> None:
        """Whoever asked is not interested any more."""
        for calls in self._calls.values():
            calls.drop(purpose)

    def know(self, found: Measured) -> None:
        """A result of an earlier time: what is asked about it names it by its key."""
        self._results.setdefault(found.measure, str(found.answer["result"]))

    def _open(self, purpose: str, calls: WorkerCalls, target: Target, done: KeyDone, failed: Failed) -> None:
        def opened(answer: dict[str, Any]) -> None:
            self.opened.emit(target, answer)
            done(str(answer["opened"]))

        calls.ask(purpose, CLASSIFY["classify_open"], opened, failed, **target.request())

    def _measure(self, purpose: str, measure: Measure, done: Done, failed: Failed, partial: Done | None = None) -> None:
        calls = self.home(measure)

        def answered(answer: dict[str, Any]) -> None:
            if measure.method == "saved":
                self._probes[measure] = str(answer["probe"])
                answer = answer["result"]
            self._results[measure] = str(answer["result"])
            done(answer)

        def opened(key: str) -> None:
            verb, arguments = measure.request()
            calls.ask(purpose, CLASSIFY[verb], answered, failed, partial, opened=key, **arguments)

        self._open(purpose, calls, measure.target, opened, failed)

    def _result(self, purpose: str, measure: Measure, done: KeyDone, failed: Failed) -> None:
        """The key of its result; it is measured first where it has none."""
        if measure in self._results:
            done(self._results[measure])
        else:
            self._measure(purpose, measure, lambda answer: done(str(answer["result"])), failed)

    def _probe(self, purpose: str, measure: Measure, done: KeyDone, failed: Failed) -> None:
        """The key of its probe; one without data is only read from its file."""
        if measure.target.data:
            self._result(purpose, measure, lambda key: done(self._probes.get(measure, key)), failed)
            return
        if measure in self._probes:
            done(self._probes[measure])
            return

        def loaded(answer: dict[str, Any]) -> None:
            self._probes[measure] = str(answer["probe"])
            done(self._probes[measure])

        self.home(measure).ask(purpose, CLASSIFY["classify_load_probe"], loaded, failed, path=measure.path)

    def ask(self, purpose: str, measure: Measure, verb: str, done: Done, failed: Failed, **arguments: Any) -> None:
        """Ask ``verb`` about a result, which it takes as ``result``."""

        def known(key: str) -> None:
            self.home(measure).ask(purpose, CLASSIFY[verb], done, failed, result=key, **arguments)

        self._result(purpose, measure, known, failed)

    def compare(self, a: Measure, b: Measure, done: Done, failed: Failed) -> None:
        """A minus B, in the worker of A."""

        def both(first: str, second: str) -> None:
            self.home(a).ask("compare", CLASSIFY["classify_compare"], done, failed, a=first, b=second)

        def with_first(first: str) -> None:
            self._result("compare", b, partial(both, first), failed)

        self._result("compare", a, with_first, failed)

    def few_shot(self, measure: Measure, draws: int, done: Done, failed: Failed, partial: Done) -> None:
        """The curve of a probe on few pictures per class, point by point."""
        by = measure.settings
        kind = "fused" if measure.method == "fused" else "image"
        calls = self.home(measure)

        def opened(key: str) -> None:
            calls.ask(
                "few-shot", CLASSIFY["classify_few_shot"], done, failed, partial,
                opened=key, kind=kind, text=by.text, templates=by.templates, draws=draws,
            )  # fmt: skip

        self._open("few-shot", calls, measure.target, opened, failed)

    def try_pictures(
        self,
        purpose: str,
        model: tuple[str, str],
        probe: Measure | None,
        pictures: Sequence[str],
        classes: Sequence[str],
        done: Done,
        failed: Failed,
    ) -> None:
        """The most likely classes of single pictures, by a probe and among typed names."""
        calls = self.home(probe) if probe is not None else self.calls(model[0])

        def known(key: str) -> None:
            calls.ask(
                purpose, CLASSIFY["classify_try"], done, failed, model=model[0], weights=model[1],
                pictures=list(pictures), classes=list(classes), probe=key, top=10,
            )  # fmt: skip

        if probe is None:
            known("")
        else:
            self._probe(purpose, probe, known, failed)

    def load(self, probe: Measure, done: KeyDone, failed: Failed) -> None:
        """Read a saved probe; ``done`` gets its key."""
        self._probe("probe", probe, done, failed)

    def save(self, probe: Measure, path: str, done: Done, failed: Failed) -> None:
        """Write a probe; whoever calls has asked before a file is replaced."""
        self._with_probe("probe", probe, "classify_save_probe", "result", done, failed, path=path, replace=True)

    def apply(self, probe: Measure, pictures: Sequence[str], out: str, done: Done, failed: Failed) -> None:
        """Classify folders into a CSV; whoever calls has asked before a file is replaced."""
        target = probe.target
        asked = {"pictures": list(pictures), "out": out, "model": target.model, "weights": target.weights}
        self._with_probe("apply", probe, "classify_apply", "probe", done, failed, **asked, replace=True)

    def _with_probe(
        self, purpose: str, probe: Measure, verb: str, name: str, done: Done, failed: Failed, **arguments: Any
    ) -> None:
        def known(key: str) -> None:
            arguments[name] = key
            self.home(probe).ask(purpose, CLASSIFY[verb], done, failed, None, **arguments)

        self._probe(purpose, probe, known, failed)

    def cancel(self, purpose: str) -> None:
        """As the user does: those who asked get ``Cancelled``."""
        for calls in self._calls.values():
            calls.cancel(purpose)

    def busy(self, purpose: str) -> bool:
        """Whether an answer is still to come."""
        return any(calls.busy(purpose) for calls in self._calls.values())
