"""Classify: evaluate a model on labelled images by four methods; inspect, compare and try the results.

Flow: ``ClassifyView`` (choices, list of results, tabs) -> ``Evaluations`` and questions about the shown result ->
``ClassifySession`` -> a worker -> the view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.spec.data.prompt_sets import is_inline
from sdgui.panels.classify.demo import DEMO_LABEL, DemoStep, next_step
from sdgui.panels.classify.evaluations import Evaluations
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Settings, Target
from sdgui.panels.classify.notes import skipped_rows
from sdgui.panels.classify.probes import Probes
from sdgui.panels.classify.stored_results import delete_result, store_result, stored_results
from sdgui.panels.classify.tabs.compare import result_title
from sdgui.panels.classify.tabs.confusion import PAGE as CELL_PAGE
from sdgui.panels.classify.tabs.mistakes import PAGE as MISTAKES_PAGE
from sdgui.panels.classify.travel import ClassifyTravel
from sdgui.panels.classify.view import TAB_NAMES, ClassifyView
from sdgui.panels.classify.work import ClassifySession
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.panel import Panel
from sdgui.shared.services import Services
from sdgui.widgets.actions import Actions
from sdgui.widgets.dropped_files import not_added_text, refusal_lines
from sdgui.widgets.late_parts import is_made, make_in_turns
from sdgui.widgets.message import error, info, warning
from sdgui.worker.calls import Done
from sdgui.worker.replies import Cancelled, Failure


class ClassifyPanel(Panel):
    """Connects the view with the worker and the window."""

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._actions: Actions | None = None
        self._demo = DemoStep()
        self._searches = 0  # requests for the next step since the last answer
        self._restored = False
        self._opened_answers: dict[Target, Mapping[str, Any]] = {}  # data -> answer of ``classify_open``
        self._loaded: Evaluation | None = None  # the saved probe that classifies the images of Try it
        self._tasks = BackgroundTasks(self)
        self.view = ClassifyView(services, self)
        self.set_view(self.view)
        self.progress = (self.view.strip, self.view.export_strip)
        self.session = ClassifySession(services.pool, self)
        self.evaluations = Evaluations(self.view, self.session, self.view.bar.show_message)
        self.export = ExportMenu(self.view.export_strip, self.view.bar.show_message, self)
        self.travel = ClassifyTravel(services.time_travel, self.view, self.session)
        self.probes = Probes(self.session, self.view.bar.show_message, self.evaluations.set_busy, self)
        self._connect()
        self._show_result(None)

    def _connect(self) -> None:
        view = self.view
        view.source.refused.connect(lambda sentence: self.view.bar.show_message(error(sentence)))
        view.source.model_changed.connect(self._on_choices_changed)
        view.source.data.changed.connect(lambda _source: self._on_choices_changed())
        view.source.label.activated.connect(lambda _row: self._on_choices_changed())
        view.source.model.interpolated.connect(self.evaluations.follow_interpolation)
        view.source.interpolation.save_requested.connect(self.export_requested)
        self.session.data_opened.connect(self._on_data_opened)
        view.empty.activated.connect(self._do_next_step)
        view.results.result_selected.connect(self._show_result)
        view.results.added.connect(self._keep)
        view.results.removed.connect(self._forget)
        view.results.save_probe.clicked.connect(lambda: self.probes.ask_save(self.probe()))
        view.results.load_probe.clicked.connect(lambda: self.probes.ask_load(self.load_probe))
        view.results.apply_probe.clicked.connect(lambda: self.probes.ask_apply(self.probe()))
        view.class_chosen.connect(view.show_class)
        view.cell_requested.connect(self._ask_cell)
        view.mistakes_requested.connect(self._ask_mistakes)
        view.prompts_edited.connect(self._try_prompts)
        view.try_requested.connect(self._try)
        view.try_refused.connect(
            lambda refusals: self.view.bar.show_message(warning(not_added_text(refusals), refusal_lines(refusals)))
        )
        view.menu_opening.connect(lambda menu, gallery: self.export.fill(menu, gallery.selected_items()))

    # The panel
    def set_actions(self, actions: Actions) -> None:
        self._actions = actions

    def use_run(self, run_id: int) -> None:
        self.view.source.model.choose_run(run_id)

    def ask_model(self) -> None:
        self.view.source.model.open()

    def on_enter(self) -> None:
        if not self._restored:
            self._restored = True
            self.view.restore()
            make_in_turns(self.view, TAB_NAMES)
            store = self._services.store
            self._services.writer.submit(lambda: stored_results(store), self._restore_results)
            if self.view.source.model.choice() is None:
                self.view.source.model.choose_default()
        self.travel.show_slider_step()
        self._find_next_step()

    def on_leave(self) -> None:
        if self._restored:
            self.view.save()

    def refresh(self) -> None:
        if self.isVisible():
            self._find_next_step()

    def focus_search(self) -> None:
        self.view.focus_search()

    # The next step that the empty panel offers
    def _find_next_step(self) -> None:
        """Find the next step in the background; calls during a search cause one more search."""
        self._searches += 1
        if self._searches == 1:
            store = self._services.store
            self._tasks.run(lambda: next_step(store), self._show_next_step, lambda _: self._show_next_step(DemoStep()))

    def _show_next_step(self, step: DemoStep) -> None:
        searches, self._searches = self._searches, 0
        if searches > 1:
            self._find_next_step()
        self._demo = step
        self.view.show_next_step(step.button)

    def _do_next_step(self) -> None:
        source = self.view.source
        if self._demo.make:
            if self._actions is not None:
                self._actions["demo"].trigger()
        elif self._demo.data and (self._demo.run_id is None or source.model.choose_run(self._demo.run_id)):
            test = Path(self._demo.data)
            source.set_label(DEMO_LABEL)
            source.set_training("" if self._demo.run_id is not None else str(test.with_name("train.csv")))
            source.set_method("image")
            source.data.set_source(str(test))
            self.evaluations.run()

    # Results
    def _on_data_opened(self, target: Target, answer: Mapping[str, Any]) -> None:
        self._opened_answers[target] = answer
        self.view.source.options.set_layers(answer["model"]["layers"])

    def _show_result(self, result: EvaluationResult | None) -> None:
        results, probe = self.view.results, self.probe()
        results.setVisible(bool(results.results()) or self._loaded is not None)
        results.save_probe.setEnabled(probe is not None)
        results.apply_probe.setEnabled(probe is not None)
        self.view.show_result(result)
        self.travel.follow(result)
        self._on_probe_changed()
        if result is not None:
            self._show_notes(result)

    def _keep(self, result: EvaluationResult) -> None:
        store = self._services.store
        self._services.writer.submit(lambda: store_result(store, result))

    def _forget(self, result: EvaluationResult) -> None:
        store, evaluation = self._services.store, result.evaluation
        self._services.writer.submit(lambda: delete_result(store, evaluation))

    def _restore_results(self, results: list[EvaluationResult]) -> None:
        for result in results:
            self.session.register(result)
        self.view.results.restore(results)
        if self.view.results.current() is None:
            self.view.results.choose_first(lambda result: self.view.source.matches(result.evaluation.target))

    def _on_choices_changed(self) -> None:
        """Deselect a result of another model, other weights, other data or another label."""
        result = self.view.results.current()
        if result is not None and not self.view.source.matches(result.evaluation.target):
            self.view.results.deselect()
        else:
            self._on_probe_changed()

    def _show_notes(self, result: EvaluationResult) -> None:
        answer = self._opened_answers.get(result.evaluation.target)
        skipped, unlisted = skipped_rows(answer) if answer is not None else ([], 0)
        notes = [*(answer["notes"] if answer is not None else ()), *result.answer["notes"]]
        self.view.notes.show_notes(list(dict.fromkeys(map(str, notes))), skipped, unlisted)

    def _ask(self, purpose: str, verb: str, done: Done, failed: Callable[[], None], **arguments: Any) -> None:
        """Request details of the shown result, or for a cell, of the result of the shown step.

        The answer is dropped if another result is shown by then.
        """
        results, travel = self.view.results, self.travel

        def shown_result() -> EvaluationResult | None:
            return travel.shown_result if purpose == "cell" else results.current()

        result = shown_result()
        if result is None:
            return

        def on_answer(answer: dict[str, Any]) -> None:
            if shown_result() is result:
                done(answer)

        def on_failure(failure: Failure) -> None:
            if shown_result() is result:
                failed()
            self._on_question_failed(failure)

        self.session.ask(purpose, result.evaluation, verb, on_answer, on_failure, **arguments)

    def _on_question_failed(self, failure: Failure) -> None:
        if not isinstance(failure, Cancelled):
            self.view.bar.show_message(error(failure.text, failure.details))

    def _ask_cell(self, true: int, predicted: int, offset: int) -> None:
        tab, arguments = self.view.matrix, {"true": true, "predicted": predicted, "offset": offset, "limit": CELL_PAGE}
        self._ask("cell", "classify_cell", tab.show_cell, tab.cell_failed, **arguments)

    def _ask_mistakes(self, offset: int) -> None:
        tab, arguments = self.view.mistakes, {"offset": offset, "limit": MISTAKES_PAGE}
        self._ask("mistakes", "classify_mistakes", tab.append, tab.more_failed, **arguments)

    def _try_prompts(self, prompts: str) -> None:
        """Evaluate edited prompts on the shown result's data; replaces the result of the previous edit."""
        results, matrix = self.view.results, self.view.matrix
        current = results.current()
        if current is None:
            return
        settings = replace(current.evaluation.settings, templates=prompts)
        previous = (
            current
            if current.evaluation.method == "zero-shot" and is_inline(current.evaluation.settings.templates)
            else None
        )
        # set now, since the prompts may be saved as a file before the answer arrives
        self.view.source.options.set_prompts(prompts)

        def done(result: EvaluationResult) -> None:
            results.add(result, results.current() is current, previous)

        def show_trial(result: EvaluationResult) -> None:
            if results.current() is current:
                matrix.show_trial(result)

        def failed(failure: Failure) -> None:
            if not isinstance(failure, Cancelled):
                matrix.fail_trial(failure.text)

        evaluation = Evaluation(current.evaluation.target, "zero-shot", settings)
        self.session.evaluate(evaluation, done, failed, "prompts", partial=show_trial)

    # Probes and images
    def probe(self) -> Evaluation | None:
        """The probe in use: of the shown result, otherwise of the chosen model, loaded or newest."""
        current, choice = self.view.results.current(), self.view.source.model.choice()
        if current is not None and current.has_probe:
            return current.evaluation
        newest = (result.evaluation for result in self.view.results.results() if result.has_probe)
        probes = (self._loaded, *newest) if self._loaded is not None else newest
        return next(
            (
                probe
                for probe in probes
                if choice is None or (probe.target.model, probe.target.weights) == (choice.model, choice.network)
            ),
            None,
        )

    def load_probe(self, path: Path) -> None:
        """Load a saved probe for the selected model, and evaluate the probe if data is selected."""
        choice = self.view.source.model.choice()
        if choice is None:
            self.view.bar.show_message(error("Choose the model that the probe was fitted on first."))
            return
        target_without_data = Target(model=choice.model, weights=choice.network, title=choice.title, data="")
        loaded = Evaluation(target_without_data, "saved", Settings(), str(path))

        def done(_number: str) -> None:
            self.evaluations.set_busy("")
            self._loaded = loaded
            self._show_result(self.view.results.current())
            self.view.bar.show_message(
                info(f"The probe {path.name} is loaded. Try it on images or apply it to a folder.")
            )
            target = self.view.source.target()
            if target is not None:
                self.evaluations.start([Evaluation(target, "saved", Settings(), str(path))])

        self.evaluations.set_busy("Reading the probe")
        self.session.load(loaded, done, self.evaluations.failed)

    def _on_probe_changed(self) -> None:
        probe = self.probe()
        if probe is None and not is_made(self.view, "trying"):
            return
        trying = self.view.trying
        trying.show_probe(result_title(probe) if probe is not None else "", self._classifier())
        if trying.current():
            QTimer.singleShot(0, self, trying.ask)

    def _classifier(self) -> Evaluation | tuple[str, str] | None:
        """The classifier of Try it: a probe, or a model's name and weights."""
        choice = self.view.source.model.choice()
        return self.probe() or ((choice.model, choice.network) if choice is not None else None)

    def _try(self, images: list[str], names: list[str], current: bool) -> None:
        trying = self.view.trying
        probe, classifier, question = self.probe(), self._classifier(), trying.question
        if classifier is None:
            self.view.bar.show_message(error("Choose a model to classify these images."))
            return
        if probe is None and not names:
            nothing = {"probe": None, "zero_shot": None, "error": ""}
            trying.show_answer({"images": [nothing | {"image": image} for image in images]})
            trying.ask_more()
            return
        model = (
            (classifier.target.model, classifier.target.weights) if isinstance(classifier, Evaluation) else classifier
        )

        def done(answer: dict[str, Any]) -> None:
            if trying.question == question:  # otherwise names or probe have changed in the meantime
                trying.show_answer(answer)
            trying.ask_more()

        purpose = "try" if current else "try more"
        self.session.try_images(purpose, model, probe, images, names, done, self._on_question_failed)
