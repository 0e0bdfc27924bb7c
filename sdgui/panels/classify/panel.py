"""Classify: a model on labelled pictures, by four methods; looked at, compared, tried on pictures of one's own.

Flow: ``ClassifySource`` (model, data, label, method) -> ``ClassifySession`` -> a worker (progress, cancel) -> results
in a list -> tabs. What the tabs ask about a result goes the same way. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from sdgui.panels.classify.demo import LABEL, DemoStep, next_step
from sdgui.panels.classify.layout import PARTS, ClassifyLayout
from sdgui.panels.classify.model import Measure, Measured, Settings, Target, method_title
from sdgui.panels.classify.notes import skipped_rows
from sdgui.panels.classify.probes import Probes
from sdgui.panels.classify.tabs.compare import result_title
from sdgui.panels.classify.tabs.confusion import PAGE
from sdgui.panels.classify.tabs.mistakes import PAGE as MISTAKES
from sdgui.panels.classify.tabs.try_it import refused_text
from sdgui.panels.classify.work import ClassifySession
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.services import Selection, Services
from sdgui.widgets.actions import Actions
from sdgui.widgets.late_parts import is_made, make_in_turns
from sdgui.widgets.message import Message, Remedy
from sdgui.worker.calls import Done
from sdgui.worker.replies import Cancelled, Failure

_LONG = ("measure", "compare", "few-shot", "apply")  # what the strip tells of
_KEPT = "Cancelled. Encoded features are kept and reused next time."


class ClassifyPanel(ClassifyLayout):
    """Choices above, results on the left, tabs on the right."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(services, parent)
        self._selection = Selection()
        self._actions: Actions | None = None
        self._demo = DemoStep("")
        self._restored = False
        self._queue: list[Measure] = []  # still to be measured
        self._refusals: list[str] = []  # of several methods, those that could not be measured
        self._opened: dict[Target, Mapping[str, Any]] = {}
        self._loaded: Measure | None = None  # a saved probe, for the pictures that are tried
        self.session = ClassifySession(services.pool, self)
        self.export = ExportMenu(self.export_strip, self.show_message, self, self._title)
        self.probes = Probes(self.session, self.show_message, self.strip.start, self.strip.finish, self)
        self._connect()
        self._show_result(None)

    def _connect(self) -> None:
        self.source.run_asked.connect(self.run)
        self.source.refused.connect(lambda sentence: self.show_message(Message("error", sentence)))
        self.source.model_changed.connect(self._probe_changed)
        self.session.working.connect(self._working)
        self.session.opened.connect(self._data_opened)
        self.strip.cancelled.connect(self._cancel)
        self.empty.activated.connect(self._take_step)
        self.results.chosen.connect(self._show_result)
        self.results.save_probe.clicked.connect(lambda: self.probes.ask_save(self.probe()))
        self.results.load_probe.clicked.connect(lambda: self.probes.ask_load(self.load_probe))
        self.results.apply.clicked.connect(lambda: self.probes.ask_apply(self.probe()))
        self.class_chosen.connect(self._show_class)
        self.cell_asked.connect(self._ask_cell)
        self.mistakes_asked.connect(self._ask_mistakes)
        self.few_shot_asked.connect(self._ask_few_shot)
        self.compare_asked.connect(self._compare)
        self.measure_asked.connect(self._measure_beside)
        self.try_asked.connect(self._try)
        self.try_refused.connect(lambda refused: self.show_message(Message("warning", *refused_text(refused))))
        self.menu_opening.connect(lambda menu, gallery: self.export.fill(menu, gallery.selected_items()))

    # The place
    def set_actions(self, actions: Actions) -> None:
        self._actions = actions

    def select(self, selection: Selection) -> None:
        """The model is chosen here; the tree's run is only offered while there is none."""
        self._selection = selection
        if self.isVisible():
            self._offer_run()
            self._show_step()

    def entered(self) -> None:
        if not self._restored:
            self._restored = True
            self.source.restore()
            self._restore_tab()
            make_in_turns(self, PARTS)
        self._offer_run()
        self._show_step()

    def left(self) -> None:
        settings = self._services.settings
        if not self._restored:
            return
        self.source.save()
        for part in ("matrix", "compare", "trying"):
            if is_made(self, part):
                getattr(self, part).save()
        settings.setValue("classify/split", self.split.saveState())
        settings.setValue("classify/tab", self.tabs.currentIndex())

    def refresh(self) -> None:
        self._show_step()

    def focus_search(self) -> None:
        self.box_to_search()

    def _restore_tab(self) -> None:
        """The last tab; one that needs a result comes with the first result."""
        kept = str(self._services.settings.value("classify/tab") or "0")
        self._wanted_tab = int(kept) if kept.isdecimal() and int(kept) < self.tabs.count() else 0
        if self.tabs.isTabEnabled(self._wanted_tab):
            self.tabs.setCurrentIndex(self._wanted_tab)

    def _offer_run(self) -> None:
        run = self._selection.current_run
        if run is not None and self.source.model.choice() is None:
            self.source.model.show_run(run)

    def _show_step(self) -> None:
        self._demo = next_step(self._services)
        self.empty.set_content("Nothing classified yet", self._demo.text, self._demo.button)

    def _take_step(self) -> None:
        """The one next step of the empty place."""
        if self._demo.make:
            if self._actions is not None:
                self._actions["demo"].trigger()
        elif self._demo.run_id is not None and self.source.model.show_run(self._demo.run_id):
            self.source.set_label(LABEL)
            self.source.set_training("")
            self.source.set_method("image")
            self.source.data.set_source(self._demo.data)
            self.run()

    # Messages
    def show_message(self, message: Message) -> None:
        """Show ``message`` in the panel's message bar."""
        self.bar.show_message(message)

    def _title(self) -> str:
        found = self.results.current()
        return result_title(found.measure) if found is not None else "Classify"

    # Measuring
    def run(self) -> None:
        """What the button does."""
        problem = self.source.problem()
        if problem:
            self.show_message(Message("error", problem))
            return
        if self.session.busy("measure"):
            return
        self.bar.clear()
        self.source.save()
        self._queue, self._refusals = self.source.measures(), []
        self._next()

    def _next(self) -> None:
        if not self._queue:
            self._rest()
            if self._refusals:
                self.show_message(Message("warning", self._refusals[0], "\n".join(self._refusals[1:])))
            return
        measure = self._queue.pop(0)
        several = bool(self._queue or self._refusals)
        self._begin(f"{method_title(measure)}: opening the model")
        self.session.measure(measure, self._measured, lambda failure: self._refused(measure, failure, several))

    def _measured(self, found: Measured) -> None:
        self.results.add(found)
        self._next()

    def _refused(self, measure: Measure, failure: Failure, several: bool) -> None:
        if isinstance(failure, Cancelled):
            self._queue = []
            self._rest()
            self.show_message(Message("info", _KEPT, remedy=Remedy("Go on", self.run)))
        elif several:  # one method may not fit the model; the others go on
            self._refusals.append(f"{method_title(measure)}: {failure.text}")
            self._next()
        else:
            self._rest()
            self.show_message(Message("error", failure.text, failure.details, Remedy("Try again", self.run)))

    def _begin(self, what: str) -> None:
        self.strip.start(what)
        self.source.button.setEnabled(False)
        self.curves.set_busy(True)

    def _rest(self) -> None:
        self.strip.finish()
        self.source.button.setEnabled(True)
        self.curves.set_busy(False)

    def _working(self, purpose: str, doing: str, done: int, total: int) -> None:
        if purpose in _LONG and not self.strip.isHidden():
            self.strip.advance(done, total, doing[:1].upper() + doing[1:])

    def _cancel(self) -> None:
        for purpose in _LONG:
            self.session.cancel(purpose)

    def _data_opened(self, target: Target, answer: Mapping[str, Any]) -> None:
        self._opened[target] = answer
        self.source.options.set_layers(answer["model"]["layers"])

    # Results
    def _show_result(self, found: Measured | None) -> None:
        there = found is not None
        self.results.setVisible(bool(self.results.results()) or self._loaded is not None)
        self.first.setCurrentWidget(self.accuracy if there else self.empty)
        for number in range(1, self.tabs.count() - 1):
            self.tabs.setTabEnabled(number, there)
        self.results.save_probe.setEnabled(self.probe() is not None)
        self.results.apply.setEnabled(self.probe() is not None)
        if there or is_made(self, "compare"):
            self.compare.set_results(self.results.results(), found)
        self._probe_changed()
        if found is None:
            self.notes.show_notes([])
            return
        for tab in (self.accuracy, self.matrix, self.mistakes, self.curves):
            tab.show_result(found)
        self.trying.set_class_names(found.classes)
        self._show_notes(found)
        wanted, self._wanted_tab = self._wanted_tab, 0
        if wanted and wanted < self.tabs.count() - 1:
            self.tabs.setCurrentIndex(wanted)

    _wanted_tab = 0  # the tab used last, until there is a result to show in it

    def _show_notes(self, found: Measured) -> None:
        opened = self._opened.get(found.measure.target)
        skipped, more = skipped_rows(opened) if opened is not None else ([], 0)
        notes = [*(opened["notes"] if opened is not None else ()), *found.answer["notes"]]
        self.notes.show_notes(list(dict.fromkeys(map(str, notes))), skipped, more)

    def _show_class(self, index: int) -> None:
        self.tabs.setCurrentWidget(self.matrix)
        self.matrix.show_class(index)

    def _ask(self, purpose: str, verb: str, done: Done, failed: Callable[[], None], **arguments: Any) -> None:
        """Ask about the shown result; an answer for a result that is no longer shown is dropped."""
        found = self.results.current()
        if found is None:
            return

        def still(answer: dict[str, Any]) -> None:
            if self.results.current() is found:
                done(answer)

        def unanswered(failure: Failure) -> None:
            if self.results.current() is found:
                failed()
            self._question_failed(failure)

        self.session.ask(purpose, found.measure, verb, still, unanswered, **arguments)

    def _question_failed(self, failure: Failure) -> None:
        if not isinstance(failure, Cancelled):
            self.show_message(Message("error", failure.text, failure.details))

    def _ask_cell(self, true: int, predicted: int, offset: int) -> None:
        arguments = {"true": true, "predicted": predicted, "offset": offset, "limit": PAGE}
        self._ask("cell", "classify_cell", self.matrix.show_cell, self.matrix.cell_failed, **arguments)

    def _ask_mistakes(self, offset: int) -> None:
        tab, arguments = self.mistakes, {"offset": offset, "limit": MISTAKES}
        self._ask("mistakes", "classify_mistakes", tab.append, tab.more_failed, **arguments)

    # Curves
    def _ask_few_shot(self, kind: str, draws: int) -> None:
        found = self.results.current()
        if found is None:
            return
        target = found.measure.target
        measure = Measure(target, "fused" if kind == "fused" else "image", self.source.options.settings())

        def come(answer: dict[str, Any]) -> None:
            self.curves.show_few_shot(target, kind, answer)

        def done(answer: dict[str, Any]) -> None:
            self._rest()
            come(answer)

        self._begin("Few-shot probes")
        self.session.few_shot(measure, draws, done, self._long_failed, come)

    def _long_failed(self, failure: Failure) -> None:
        self._rest()
        if isinstance(failure, Cancelled):
            self.show_message(Message("info", _KEPT))
        else:
            self.show_message(Message("error", failure.text, failure.details))

    # Comparing
    def _compare(self, a: Measure, b: Measure) -> None:
        def done(answer: dict[str, Any]) -> None:
            self._rest()
            self.compare.show_difference(a, b, answer)

        def failed(failure: Failure) -> None:
            self.compare.show_failure()
            self._long_failed(failure)

        self._begin("Comparing")
        self.session.compare(a, b, done, failed)

    def _measure_beside(self, measure: Measure) -> None:
        """Measure something to stand beside the first result of the comparison, then compare."""
        first = self.compare.first()
        if first is None or self.session.busy("measure"):
            return

        def done(found: Measured) -> None:
            self._rest()
            self.results.add(found, show=False)
            self.compare.choose(first, measure)

        self._begin(f"{method_title(measure)}: opening the model")
        self.session.measure(measure, done, self._long_failed, beside=first)

    # Probes and pictures
    def probe(self) -> Measure | None:
        """The probe in use: the shown result's, else the loaded one, else the newest there is."""
        shown = self.results.current()
        if shown is not None and shown.has_probe:
            return shown.measure
        if self._loaded is not None:
            return self._loaded
        return next((found.measure for found in self.results.results() if found.has_probe), None)

    def load_probe(self, path: Path) -> None:
        """Take a saved probe for the chosen model; where data are chosen too, measure it on them."""
        choice = self.source.model.choice()
        if choice is None:
            self.show_message(Message("error", "First choose the model that the probe was fitted on."))
            return
        bare = Target(model=choice.model, weights=choice.weights, title=choice.title, data="")
        loaded = Measure(bare, "saved", Settings(), str(path))

        def done(_number: str) -> None:
            self._rest()
            self._loaded = loaded
            self._show_result(self.results.current())
            self.show_message(
                Message("info", f"The probe {path.name} is loaded. Try it on pictures or apply it to a folder.")
            )
            target = self.source.target()
            if target is not None:
                self._queue, self._refusals = [Measure(target, "saved", Settings(), str(path))], []
                self._next()

        self._begin("Reading the probe")
        self.session.load(loaded, done, self._long_failed)

    def _probe_changed(self) -> None:
        probe = self.probe()
        if probe is None and not is_made(self, "trying"):
            return
        self.trying.show_probe(result_title(probe) if probe is not None else "", self._trier())
        if self.trying.current():
            QTimer.singleShot(0, self, self.trying.ask)

    def _trier(self) -> Measure | tuple[str, str] | None:
        """What pictures are tried with: a probe, or a model's name and weights."""
        choice = self.source.model.choice()
        return self.probe() or ((choice.model, choice.weights) if choice is not None else None)

    def _try(self, pictures: list[str], names: list[str], current: bool) -> None:
        probe, trier, question = self.probe(), self._trier(), self.trying.question
        if trier is None:
            self.show_message(Message("error", "Choose a model first to try it on pictures."))
            return
        if probe is None and not names:
            return
        model = (trier.target.model, trier.target.weights) if isinstance(trier, Measure) else trier

        def done(answer: dict[str, Any]) -> None:
            if self.trying.question == question:  # else the names or the probe are others by now
                self.trying.show_answer(answer)
            self.trying.ask_more()

        purpose = "try" if current else "try more"
        self.session.try_pictures(purpose, model, probe, pictures, names, done, self._question_failed)
