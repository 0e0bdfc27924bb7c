"""Commands on runs: launch, queue, pause, stop, resume.

Flow: an action passes an experiment or a run; the launcher acts on it; the follower polls the run; errors go to the
message bar. A launch on demo data that is still being created waits for it and shows a message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from core.spec.config import ConfigError, RunConfig
from core.spec.errors import UserError
from core.spec.machines.answers import Finding
from core.spec.run.code import CodeNotAllowed
from core.spec.run.status import RunState, process_alive
from sdgui.runs.models import resume_step
from sdgui.runs.stages import staged_chain
from sdgui.shared.pickers.data_check import DataCheck
from sdgui.shared.run_texts import resume_text
from sdgui.shared.services import Services
from sdgui.store.changes import Changes
from sdgui.store.records import Experiment, Place, Run
from sdgui.widgets.message import error, info, warning

_DATA_CHECK_MS = 8000  # maximum time that a launch waits for the check of its data
_EXIT_POLLS = 40  # a trainer that has not exited by then is reported by the launcher
_EXIT_POLL_MS = 250  # interval of checks whether a trainer has exited
RESUMABLE = (RunState.PAUSED, RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED)


class RunCommands(QObject):
    """Commands on runs. ``message_requested``: a message for the bar. ``started``: a run to show."""

    message_requested = Signal(object)  # Message
    started = Signal(int)
    changed = Signal(object)  # Changes: changed runs; empty if only the enabled actions may differ
    code_refused = Signal(object, object)  # files of custom code by digest, callback for the user's answer
    data_refused = Signal(int, object)  # experiment id, {dotted field: problem with the data}; no run was created
    _data_checked = Signal(object, object)  # callback that starts the run, error that prevents the start

    def __init__(self, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._writer = services.writer
        self._exiting = set[int]()  # runs whose resume waits for the previous trainer to exit
        self._waiting: list[tuple[int, bool]] = []  # launches that wait for the demo data: experiment, whether to queue
        self._checks: list[tuple[int, DataCheck]] = []  # data checks of launches, by experiment
        services.launcher.launched.connect(self._poll_changed)
        services.launcher.launch_failed.connect(self._on_launch_failed)
        services.launcher.stopping.connect(lambda _run, _stopping: self.changed.emit(Changes()))
        services.demo.ready.connect(self._on_demo_ready)
        services.demo.failed.connect(self._on_demo_failed)
        services.demo.cancelled.connect(self._stop_waiting)
        self._data_checked.connect(self._on_data_checked, Qt.ConnectionType.QueuedConnection)

    def launch(self, experiment_id: int, typed: RunConfig | None = None) -> None:
        """Start a run of the experiment now, or as soon as its demo data is complete.

        ``typed``: the config in the form, which must have been saved.
        """
        self._begin(experiment_id, False, typed)

    def queue(self, experiment_id: int, typed: RunConfig | None = None) -> None:
        """Queue a run of the experiment after the active runs."""
        self._begin(experiment_id, True, typed)

    def is_waiting(self, experiment_id: int) -> bool:
        """Whether a launch of this experiment waits for its data to be created or checked."""
        return any(waiting == experiment_id for waiting, _ in (*self._waiting, *self._checks))

    def _begin(self, experiment_id: int, queue: bool, typed: RunConfig | None) -> None:
        store = self._services.store
        # read after pending writes, which include the latest edits of the form
        self._writer.submit(
            lambda: store.experiment(experiment_id),
            lambda experiment: self._begin_as_stored(experiment, queue, typed),
            self._show_refusal,
        )

    def _begin_as_stored(self, experiment: Experiment, queue: bool, typed: RunConfig | None) -> None:
        launcher, demo, config = self._services.launcher, self._services.demo, experiment.config
        if experiment.deleted is not None:  # moved to the bin while its launch waited
            return
        if config is None:
            text = f"“{experiment.name}” cannot be launched: {experiment.problem}"
            self.message_requested.emit(error(text))
            return
        if typed is not None and config != typed.model_copy(update={"name": config.name}):
            text = "The form could not be saved, so nothing was launched. Try again."
            self.message_requested.emit(error(text))
            return
        if demo.covers(config) and not demo.complete:
            self._wait_for_demo(experiment.id, queue)
            return
        try:
            chain = staged_chain(experiment, self._services.settings)
        except ConfigError as problem:
            self._show_refusal(problem)
            return
        launch_or_queue, place = launcher.enqueue if queue else launcher.launch, self._services.hosts.place

        def start() -> None:
            self._writer.submit(
                lambda: launch_or_queue(experiment.id, chain, place), partial(self._on_begun, queue), self._show_refusal
            )

        if not place.host:
            self._check_local_data(experiment.id, config, start)
        else:
            self._check_remote_data(place, config, start)

    def _check_local_data(self, experiment_id: int, config: RunConfig, start: Callable[[], None]) -> None:
        """Start if the data can be trained on, or if the check takes too long; the trainer also reports problems."""
        if self._services.demo.covers(config):
            start()
            return

        check = DataCheck(self._services.pool, self)

        def on_checked(problems: dict[str, str]) -> None:
            if (experiment_id, check) not in self._checks:  # the time limit has passed, and the run has been started
                return
            self._checks.remove((experiment_id, check))
            check.cancel()
            check.deleteLater()
            self.changed.emit(Changes())
            if problems:
                self.data_refused.emit(experiment_id, problems)
            else:
                start()

        self._checks.append((experiment_id, check))
        self.changed.emit(Changes())
        check.check(config, on_checked)
        QTimer.singleShot(_DATA_CHECK_MS, self, lambda: on_checked({}))

    def _check_remote_data(self, place: Place, config: RunConfig, start: Callable[[], None]) -> None:
        """Start if the machine has the data in the config; otherwise report what is missing, and queue nothing."""
        self.message_requested.emit(info(f"Checking the data on {place.host}…"))
        emit_answer = self._data_checked.emit

        def on_checked(findings: list[Finding]) -> None:
            problems = [finding for finding in findings if not finding.works]
            problem = UserError(_missing_data_text(place.host, problems[0], len(problems))) if problems else None
            emit_answer(start, problem)

        hosts = self._services.hosts
        hosts.check_data(place.host, config.to_json(), on_checked, lambda problem: emit_answer(start, problem))

    def _on_data_checked(self, start: Callable[[], None], problem: UserError | None) -> None:
        if problem is None:
            start()
        else:
            self._show_refusal(problem)

    def _on_begun(self, queue: bool, run: Run) -> None:
        self._services.follower.poll_now(run.id)
        self.changed.emit(Changes.of(run=run.id))
        if queue and run.queue_position is not None:
            on_machine = f" on {run.machine}" if run.machine else ""
            self.message_requested.emit(info(f"Queued: starts as soon as a device{on_machine} is free."))
        else:
            self.started.emit(run.id)

    def _wait_for_demo(self, experiment_id: int, queue: bool) -> None:
        if not self.is_waiting(experiment_id):
            self._waiting.append((experiment_id, queue))
        self._services.demo.make()
        self.message_requested.emit(
            info("The demo data is still being created; the run starts as soon as it is ready.")
        )
        self.changed.emit(Changes())

    def _on_demo_ready(self) -> None:
        waiting, self._waiting = self._waiting, []
        for experiment_id, queue in waiting:
            self._begin(experiment_id, queue, None)
        self.changed.emit(Changes())

    def _on_demo_failed(self, sentence: str, details: str) -> None:
        self.message_requested.emit(error(sentence, details))
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        """Drop the launches that wait for the demo data."""
        self._waiting.clear()
        self.changed.emit(Changes())

    def _show_refusal(self, problem: UserError) -> None:
        self.message_requested.emit(error(str(problem)))
        self.changed.emit(Changes())

    def _poll_changed(self, run_id: int) -> None:
        self._services.follower.poll_now(run_id)
        self.changed.emit(Changes.of(run=run_id))

    def _on_launch_failed(self, run_id: int, sentence: str) -> None:
        self.message_requested.emit(error(sentence))
        self.changed.emit(Changes.of(run=run_id))

    # Existing runs
    def pause(self, run: Run) -> None:
        """Ask the trainer to save its state and exit, which frees its memory."""
        try:
            self._services.launcher.pause(run.id)
        except UserError as problem:
            self.message_requested.emit(error(f"The run could not be paused: {problem}"))
        self.changed.emit(Changes())

    def stop(self, run: Run) -> None:
        """Stop a run, or go to the next stage of stopping; a queued run leaves the queue."""
        launcher = self._services.launcher
        if run.queue_position is not None:
            self._writer.submit(
                lambda: launcher.unqueue(run.id), lambda _: self._poll_changed(run.id), self._show_refusal
            )
            return
        try:
            launcher.stop(run.id)
        except UserError as problem:
            self.message_requested.emit(error(f"The run could not be stopped: {problem}"))
        self.changed.emit(Changes())

    def resume(self, run: Run) -> None:
        """Resume a run in its folder, from its last checkpoint.

        A trainer takes a moment to exit after it has reported the pause; the resume waits for that.
        """
        if run.id in self._exiting:
            return
        if self._is_exiting(run):
            self._exiting.add(run.id)
            self.message_requested.emit(
                info("The previous trainer is still shutting down; the run resumes in a moment.")
            )
            self._resume_after_exit(run, _EXIT_POLLS)
        else:
            self._resume_now(run)

    def _is_exiting(self, run: Run) -> bool:
        status = run.dir.read_status()
        return not run.state.alive and status is not None and process_alive(status)

    def _resume_after_exit(self, run: Run, polls_left: int) -> None:
        if polls_left and self._is_exiting(run):
            QTimer.singleShot(_EXIT_POLL_MS, self, lambda: self._resume_after_exit(run, polls_left - 1))
        else:
            self._exiting.discard(run.id)
            self._resume_now(run)

    def _resume_now(self, run: Run) -> None:
        launcher = self._services.launcher

        def on_refused(problem: UserError) -> None:
            if isinstance(problem, CodeNotAllowed):
                self.code_refused.emit(problem.files, lambda allowed: self.resume(run) if allowed else None)
            else:
                self._show_refusal(problem)

        self._writer.submit(lambda: (resume_step(run.dir), launcher.resume(run.id)), self._on_resumed, on_refused)

    def _on_resumed(self, result: tuple[int | None, Run]) -> None:
        """Show the run and the step that it resumes from, which is unknown for a remote checkpoint."""
        step, run = result
        self._on_begun(False, run)
        if not run.machine:
            self.message_requested.emit((info if step is not None else warning)(resume_text(step)))

    def alive(self) -> list[Run]:
        """Runs of this home that are known to have a live trainer."""
        follower = self._services.follower
        runs = [run for run in self._services.store.alive_runs() if run.is_own]
        return [run for run in runs if (follower.state(run.id) or run.state).alive]


def _missing_data_text(host: str, first: Finding, number: int) -> str:
    """A message about data that is missing on a machine, with the remedy."""
    remainder = f" {number - 1} more {'path is' if number == 2 else 'paths are'} wrong." if number > 1 else ""
    problem = f"{first.name}: {first.detail.rstrip('.')}. {first.remedy}"
    return f"{host} cannot train this: {problem}{remainder} Nothing was started."
