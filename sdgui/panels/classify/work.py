"""What was opened and measured in a model's worker, known by what it is: a worker that was ended is asked anew.

Flow: the place -> ``measure``, ``ask`` -> worker: ``classify_open`` -> the measure -> the question about it. Numbers
that the worker gave hold for one process only; where it is another one, the steps before are done again (features are
kept on disk, so that this is soon done). Two results are compared in one worker, whatever models they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal

from sdgui.panels.classify.model import Measure, Measured, Target, measured
from sdgui.panels.classify.verbs import CLASSIFY
from sdgui.worker.calls import Done, Failed, WorkerCalls
from sdgui.worker.client import WorkerClient
from sdgui.worker.pool import WorkerPool

Numbered = Callable[[str], None]


class WorkerDesk(QObject):
    """One worker and the numbers that it gave. ``purpose``: at most one open request for each."""

    opened = Signal(object, object)  # Target, what ``classify_open`` answered

    def __init__(self, client: WorkerClient, parent: QObject) -> None:
        super().__init__(parent)
        self.calls = WorkerCalls(client, self)
        self._client = client
        self._starts = -1
        self._opened: dict[Target, dict[str, Any]] = {}
        self._results: dict[Measure, str] = {}
        self._probes: dict[Measure, str] = {}

    def _fresh(self) -> None:
        """Forget the numbers of a process that is gone."""
        if self._client.starts != self._starts or self._client.state in ("off", "waiting"):
            self._opened, self._results, self._probes = {}, {}, {}

    def open(self, purpose: str, target: Target, done: Done, failed: Failed) -> None:
        """``done`` gets what ``classify_open`` answers."""
        self._fresh()
        known = self._opened.get(target)
        if known is not None:
            done(known)
            return

        def opened(answer: dict[str, Any]) -> None:
            self._starts = self._client.starts
            self._opened[target] = answer
            self.opened.emit(target, answer)
            done(answer)

        self.calls.ask(purpose, CLASSIFY["classify_open"], opened, failed, **target.request())

    def measure(self, purpose: str, measure: Measure, done: Done, failed: Failed) -> None:
        """Measure anew; ``done`` gets `Result.plain`."""

        def answered(answer: dict[str, Any]) -> None:
            result = answer
            if measure.method == "saved":
                self._probes[measure] = str(answer["probe"])
                result = answer["result"]
            self._results[measure] = str(result["result"])
            done(result)

        def opened(answer: dict[str, Any]) -> None:
            verb, arguments = measure.request()
            self.calls.ask(purpose, CLASSIFY[verb], answered, failed, opened=answer["opened"], **arguments)

        self.open(purpose, measure.target, opened, failed)

    def number(self, purpose: str, measure: Measure, done: Numbered, failed: Failed) -> None:
        """The number of its result in this process; measured again where it has none."""
        self._fresh()
        known = self._results.get(measure)
        if known is not None:
            done(known)
        else:
            self.measure(purpose, measure, lambda answer: done(str(answer["result"])), failed)

    def probe(self, purpose: str, measure: Measure, done: Numbered, failed: Failed) -> None:
        """The number of its probe; one without data is only read from its file."""
        if measure.target.data:
            self.number(purpose, measure, lambda number: done(self._probes.get(measure, number)), failed)
            return
        self._fresh()
        known = self._probes.get(measure)
        if known is not None:
            done(known)
            return

        def loaded(answer: dict[str, Any]) -> None:
            self._starts = self._client.starts
            self._probes[measure] = str(answer["probe"])
            done(self._probes[measure])

        self.calls.ask(purpose, CLASSIFY["classify_load_probe"], loaded, failed, path=measure.path)


class ClassifySession(QObject):
    """The desks by model."""

    working = Signal(str, str, int, int)  # purpose, what is being done, done, total
    opened = Signal(object, object)  # Target, what ``classify_open`` answered

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = pool
        self._desks: dict[str, WorkerDesk] = {}
        self._homes: dict[Measure, str] = {}  # in which model's worker it was measured

    def desk(self, model: str, title: str = "") -> WorkerDesk:
        """The desk in the worker of ``model``."""
        if model not in self._desks:
            desk = WorkerDesk(self._pool.client(model, title), self)
            desk.calls.progress.connect(self.working)
            desk.opened.connect(self.opened)
            self._desks[model] = desk
        return self._desks[model]

    def home(self, measure: Measure) -> WorkerDesk:
        """The desk where it was measured, or will be."""
        return self.desk(self._homes.get(measure, measure.target.model))

    def measure(
        self, measure: Measure, done: Callable[[Measured], None], failed: Failed, beside: Measure | None = None
    ) -> None:
        """Measure in the model's own worker, or in that of the one it is to be compared with."""
        self._homes[measure] = self._homes.get(beside, beside.target.model) if beside else measure.target.model
        desk = self.home(measure)
        desk.measure("measure", measure, lambda answer: done(measured(measure, answer)), failed)

    def ask(self, purpose: str, measure: Measure, verb: str, done: Done, failed: Failed, **arguments: Any) -> None:
        """Ask ``verb`` about a result, by its number as ``result``."""
        desk = self.home(measure)

        def numbered(number: str) -> None:
            desk.calls.ask(purpose, CLASSIFY[verb], done, failed, result=number, **arguments)

        desk.number(purpose, measure, numbered, failed)

    def compare(self, a: Measure, b: Measure, done: Done, failed: Failed) -> None:
        """A minus B, in the worker of A."""
        desk = self.home(a)

        def both(first: str, second: str) -> None:
            desk.calls.ask("compare", CLASSIFY["classify_compare"], done, failed, a=first, b=second)

        desk.number(
            "compare", a, lambda first: desk.number("compare", b, lambda other: both(first, other), failed), failed
        )

    def few_shot(self, measure: Measure, draws: int, done: Done, failed: Failed, partial: Done) -> None:
        """The curve of a probe on few pictures a class, point by point."""
        desk = self.home(measure)
        by = measure.settings
        kind = "fused" if measure.method == "fused" else "image"

        def opened(answer: dict[str, Any]) -> None:
            desk.calls.ask(
                "few-shot", CLASSIFY["classify_few_shot"], done, failed, partial,
                opened=answer["opened"], kind=kind, text=by.text, templates=by.templates, draws=draws,
            )  # fmt: skip

        desk.open("few-shot", measure.target, opened, failed)

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
        """The likeliest classes of single pictures, by a probe and among names."""
        desk = self.home(probe) if probe is not None else self.desk(model[0])

        def numbered(number: str) -> None:
            desk.calls.ask(
                purpose, CLASSIFY["classify_try"], done, failed, model=model[0], weights=model[1],
                pictures=list(pictures), classes=list(classes), probe=number, top=10,
            )  # fmt: skip

        if probe is None:
            numbered("")
        else:
            desk.probe(purpose, probe, numbered, failed)

    def load(self, probe: Measure, done: Numbered, failed: Failed) -> None:
        """Read a saved probe; ``done`` gets its number."""
        self.home(probe).probe("probe", probe, done, failed)

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
        desk = self.home(probe)

        def numbered(number: str) -> None:
            arguments[name] = number
            desk.calls.ask(purpose, CLASSIFY[verb], done, failed, None, **arguments)

        desk.probe(purpose, probe, numbered, failed)

    def cancel(self, purpose: str) -> None:
        """As the user does: those who asked get ``Cancelled``."""
        for desk in self._desks.values():
            desk.calls.cancel(purpose)

    def busy(self, purpose: str) -> bool:
        """Whether an answer is still to come."""
        return any(desk.calls.busy(purpose) for desk in self._desks.values())
