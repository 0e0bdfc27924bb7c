"""Watches runs: polls their folders and passes events, silences and ends to the rules.

Flow: ``Watcher.poll`` -> ``WatchedRun`` -> `Evaluator` -> the log of alerts -> desktop, command, URL.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.spec.alerts.evaluating import Alert, Evaluator
from core.spec.alerts.log import AlertLog
from core.spec.alerts.rules import RULES_FILE, AlertRules, Rules
from core.spec.chain import run_label
from core.spec.errors import UserError
from core.spec.reading import excerpt
from core.spec.run.events import EventReader, Lifecycle, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import experiment_name, read_any_config
from core.spec.run.status import RunState, derive_state

POLL_SECONDS = 2.0
_TAIL_BYTES = 256 << 10  # the usual interval is learned from the earlier events in this many last bytes
_SLEPT_SECONDS = 60.0  # a longer time between two polls means that the watching computer was asleep


@dataclass(frozen=True)
class RunAlert:
    """An alert with its run, and the rules that caused it."""

    run: RunDir
    alert: Alert
    rules: AlertRules

    @property
    def sentence(self) -> str:
        return f"Run {excerpt(run_label(self.run.path))} {self.alert.text}."


class WatchedRun:
    """A run that is polled; ``ended`` once no process trains it."""

    def __init__(self, run: RunDir, experiment: str, rules: AlertRules, current_time: float) -> None:
        """Raises EventError if the events cannot be read."""
        self.run, self.experiment = run, experiment
        self.ended = False
        self.evaluator = Evaluator(rules)
        try:
            info = run.events.stat()
            size, self._last_progress = info.st_size, min(current_time, info.st_mtime)
        except OSError:
            size, self._last_progress = 0, current_time
        self._reader = EventReader(run.events, max(0, size - _TAIL_BYTES))
        self._activity: tuple[int, str] = (0, "")
        self._last_poll = 0.0
        if isinstance(start := Lifecycle(run.events).read(), RunStarted):
            self.evaluator.started, self.evaluator.total_steps = start.time, start.total_steps

    def poll(self, current_time: float) -> list[Alert]:
        """Alerts since the last call. Raises EventError, OSError if the folder cannot be read."""
        status = self.run.read_status()
        alerts = self._read_events(current_time)
        state = derive_state(status, self.evaluator.terminal, current_time)
        if state is RunState.INTERRUPTED:  # its last events may have been written after the file was read
            alerts += self._read_events(current_time)
            state = derive_state(status, self.evaluator.terminal, current_time)
        if self.evaluator.terminal is None:  # an ending among the earlier events was followed by a resume
            alerts = [alert for alert in alerts if not alert.attempt]
        if status is not None and (status.step, status.doing) != self._activity:
            self._activity = status.step, status.doing
            self._last_progress = max(self._last_progress, status.heartbeat)
        if self._last_poll and current_time - self._last_poll > _SLEPT_SECONDS:
            self._last_progress = current_time
        self._last_poll = current_time
        self.ended = not state.alive
        if state is RunState.INTERRUPTED and status is not None and self.run.pending_request() != "stop":
            alerts += self.evaluator.interruption_alerts(status.heartbeat, status.note)
        # The silence of a mirrored run whose machine cannot be reached does not show that the run has stalled.
        out_of_reach = state is RunState.LOST_CONTACT and status is not None and bool(status.verdict)
        if state.alive and not out_of_reach:
            alerts += self.evaluator.silence_alerts(current_time - self._last_progress, current_time)
        return alerts

    def _read_events(self, current_time: float) -> list[Alert]:
        alerts = list[Alert]()
        for event in self._reader:
            alerts += self.evaluator.apply(event)
            self._last_progress = current_time if self._last_poll else self._last_progress
        return alerts


class Watcher:
    """Polls the runs that were added; ``problems`` collects messages about unreadable runs and rules."""

    def __init__(self, home: Path, rules: Path | None = None) -> None:
        """``rules``: a rules file to use instead of the home folder's."""
        self.rules = Rules(rules or home / RULES_FILE)
        self.problems: list[str] = []
        self._reported: set[str] = set()
        self._log = AlertLog(home)
        self._runs: dict[Path, WatchedRun] = {}

    def add(self, run: RunDir, current_time: float | None = None) -> None:
        """Watch ``run``, unless it is already watched."""
        known = self._runs.get(run.path)
        if known is None or known.ended:
            experiment = _experiment(run)
            rules = self._rules_of(experiment, AlertRules())
            try:
                self._runs[run.path] = WatchedRun(run, experiment, rules, current_time or time.time())
            except UserError as error:
                self._report_problem(f"Run {run_label(run.path)} cannot be watched: {error}")

    @property
    def watched(self) -> list[RunDir]:
        return [watched.run for watched in self._runs.values() if not watched.ended]

    def poll(self, current_time: float | None = None) -> list[RunAlert]:
        """New alerts of all runs: one per run and cause, even if another program watches too."""
        current_time = time.time() if current_time is None else current_time
        alerts: list[RunAlert] = []
        for path, watched in list(self._runs.items()):
            if watched.ended:
                continue
            try:
                rules = self._rules_of(watched.experiment, watched.evaluator.rules)
                if rules != watched.evaluator.rules:
                    watched.evaluator.set_rules(rules)
                new_alerts = watched.poll(current_time)
            except (OSError, UserError) as error:
                self._report_problem(f"Run {run_label(path)} cannot be watched: {error}")
                del self._runs[path]
                continue
            alerts += [RunAlert(watched.run, alert, rules) for alert in new_alerts if self._log.claim(path, alert)]
        return alerts

    def _rules_of(self, experiment: str, otherwise: AlertRules) -> AlertRules:
        """The current rules of ``experiment``; ``otherwise`` while the file cannot be read."""
        try:
            return self.rules.of(experiment)
        except (OSError, UserError) as error:
            self._report_problem(str(error))
            return otherwise

    def _report_problem(self, sentence: str) -> None:
        if sentence not in self._reported:
            self._reported.add(sentence)
            self.problems.append(sentence)


def _experiment(run: RunDir) -> str:
    with suppress(UserError):
        return experiment_name(read_any_config(run.config))
    return ""


def replay(runs: Iterable[RunDir], rules: Rules | AlertRules) -> list[RunAlert]:
    """Dry run: the alerts that the rules would have caused, in order of time. Unreadable runs are skipped."""
    alerts: list[RunAlert] = []
    for run in runs:
        with suppress(UserError, OSError):
            own = rules if isinstance(rules, AlertRules) else rules.of(_experiment(run))
            alerts += [RunAlert(run, alert, own) for alert in _replay(run, own)]
    return sorted(alerts, key=lambda item: item.alert.time)


def _replay(run: RunDir, rules: AlertRules) -> list[Alert]:
    evaluator, status = Evaluator(rules, recorded=True), run.read_status()
    alerts = [alert for event in EventReader(run.events) for alert in evaluator.apply(event)]
    if status is not None and derive_state(status, evaluator.terminal) is RunState.INTERRUPTED:
        alerts += evaluator.interruption_alerts(status.heartbeat, status.note)
    return alerts
