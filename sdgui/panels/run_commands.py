"""What can be done to runs: launch, queue, pause, stop, resume.

Flow: an action names an experiment or a run; the launcher does it; the tailer is told to look; a refusal is said in
the message bar. A launch on demo data that is still being made waits for it and says so.
"""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, QTimer, Signal

from core.config import ConfigError
from core.rundir import RunState, process_alive
from sdgui.panels.place import Services
from sdgui.panels.stages import staged_chain
from sdgui.runs.launcher import LaunchError
from sdgui.runs.stopping import Stopping, StopStage
from sdgui.store.records import Run, StoreError
from sdgui.widgets.formats import duration

_ENDING = 250  # ms between looks at a trainer that is ending
RESUMABLE = (RunState.PAUSED, RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED)


class RunCommands(QObject):
    """Actions on runs. ``said``: level, sentence, details. ``started``: a run that the user wants to see now."""

    said = Signal(str, str, str)
    started = Signal(int)
    changed = Signal()  # the list of runs, or what can be done to one

    def __init__(self, services: Services, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self._ending = False  # a resume waits for the former trainer to go
        self._waiting: list[tuple[int, bool]] = []  # (experiment, queue it) that wait for the demo data
        services.launcher.launched.connect(self._launched)
        services.launcher.launch_failed.connect(lambda _run, sentence: self.said.emit("error", sentence, ""))
        services.launcher.queue_changed.connect(self.changed)
        services.launcher.stopping.connect(lambda _run, _stopping: self.changed.emit())
        services.demo.ready.connect(self._data_ready)
        services.demo.failed.connect(self._data_failed)

    def launch(self, experiment_id: int) -> None:
        """Start a run of the experiment now, or as soon as its demo data is there."""
        self._begin(experiment_id, queue=False)

    def queue(self, experiment_id: int) -> None:
        """Put a run of the experiment behind those that train."""
        self._begin(experiment_id, queue=True)

    def waits(self, experiment_id: int) -> bool:
        """Whether a launch of this experiment waits for the demo data."""
        return any(waiting == experiment_id for waiting, _ in self._waiting)

    def _begin(self, experiment_id: int, queue: bool) -> None:
        launcher, demo = self._services.launcher, self._services.demo
        try:
            experiment = self._services.store.experiment(experiment_id)
            if experiment.deleted is not None:  # put in the bin while its launch waited
                return
            if experiment.config is None:
                self.said.emit("error", f"“{experiment.name}” cannot be launched: {experiment.problem}", "")
                return
            if demo.covers(experiment.config) and not demo.complete:
                self._wait(experiment_id, queue)
                return
            chain = staged_chain(experiment, self._services.settings)
            run = launcher.enqueue(experiment_id, chain) if queue else launcher.launch(experiment_id, chain)
        except (LaunchError, StoreError, ConfigError) as error:
            self.said.emit("error", str(error), "")
            self.changed.emit()
            return
        self._services.tailer.follow(run.id)
        self.changed.emit()
        if queue and run.queue_position is not None:
            self.said.emit("info", "Queued: it starts when no other run trains.", "")
        else:
            self.started.emit(run.id)

    def _wait(self, experiment_id: int, queue: bool) -> None:
        if not self.waits(experiment_id):
            self._waiting.append((experiment_id, queue))
        self._services.demo.make()
        self.said.emit("info", "The demo data is still being made; the launch follows as soon as it is there.", "")
        self.changed.emit()

    def _data_ready(self) -> None:
        waiting, self._waiting = self._waiting, []
        for experiment_id, queue in waiting:
            self._begin(experiment_id, queue)
        self.changed.emit()

    def _data_failed(self, sentence: str, details: str) -> None:
        self._waiting.clear()
        self.said.emit("error", sentence, details)
        self.changed.emit()

    def _launched(self, run_id: int) -> None:
        self._services.tailer.follow(run_id)
        self.changed.emit()

    # A run that is there
    def pause(self, run: Run) -> None:
        """Ask the trainer to save everything and end; its memory is free then."""
        try:
            self._services.launcher.pause(run.id)
        except (LaunchError, StoreError, OSError) as error:
            self.said.emit("error", f"The run could not be paused: {error}", "")
        self.changed.emit()

    def stop(self, run: Run) -> None:
        """Stop it, or go to the next stage of stopping; a waiting run leaves the queue."""
        try:
            if run.queue_position is not None:
                self._services.launcher.unqueue(run.id)
            else:
                self._services.launcher.stop(run.id)
        except (LaunchError, StoreError, OSError) as error:
            self.said.emit("error", f"The run could not be stopped: {error}", "")
        self.changed.emit()

    def resume(self, run: Run, patience: int = 40) -> None:
        """Go on where it stopped, in the same folder.

        A trainer takes a moment to go after it said that it paused; that long, the resume waits for it.
        """
        status = run.dir.read_status()
        if patience and not run.state.alive and status is not None and process_alive(status):
            if not self._ending:
                self.said.emit("info", "The former trainer is still ending; the run goes on in a moment.", "")
            self._ending = True
            QTimer.singleShot(_ENDING, self, lambda: self.resume(run, patience - 1))
            return
        self._ending = False
        try:
            resumed = self._services.launcher.resume(run.id)
        except (LaunchError, StoreError) as error:
            self.said.emit("error", str(error), "")
            return
        self._services.tailer.follow(resumed.id)
        self.changed.emit()
        self.started.emit(resumed.id)

    def alive(self) -> list[Run]:
        """Runs whose trainer is alive as far as is known."""
        tailer = self._services.tailer
        return [run for run in self._services.store.runs() if (tailer.state(run.id) or run.state).alive]


def stop_text(stopping: Stopping | None) -> tuple[str, str]:
    """What the stop button says at this stage, and a sentence on what happens next."""
    if stopping is None or stopping.stage == StopStage.ENDED:
        return "Stop", ""
    if stopping.host:
        return "Stop", f"Asked to stop; it trains on {stopping.host}, where alone it can be ended if it does not."
    left = "" if stopping.deadline is None else f" in {duration(max(0.0, stopping.deadline - time.time()))}"
    if stopping.stage == StopStage.ASKED:
        return "End now", f"Asked to stop; it will be told to end{left}."
    if stopping.stage == StopStage.TERMINATED:
        return "Kill", f"Told to end; it will be killed{left}."
    return "Kill", "Killed; waiting for the system to confirm."
