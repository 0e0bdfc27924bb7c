"""Evaluates alert rules: takes events one by one and returns alerts. Reads no file, clock or process.

Flow: ``runs watch`` and the window feed an ``Evaluator`` with new events and the silence since the last sign of
progress; a dry run feeds it with recorded events alone, from which it derives the silences.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from core.spec.alerts.rules import AlertRules, Condition
from core.spec.reading import excerpt
from core.spec.run.events import Evaluated, Event, Log, Metrics, RunFailed, RunFinished, RunStarted
from core.spec.run.metric_names import FEATURE_STD

COLLAPSED_REPORTS = 5  # consecutive reports below the limit that count as a collapse
COLLAPSED_FROM = 0.1  # share of the total steps before which a collapse is ignored: untrained features are similar
_RECENT_INTERVALS = 200  # number of newest intervals between events that determine the patience
_MIN_INTERVALS = 10  # with fewer, `_FIRST_SECONDS` is used: the first steps compile, cache and allocate
_FIRST_SECONDS = 1800.0  # minimum patience with a run that has just started


@dataclass(frozen=True)
class Alert:
    """An alert of a run. ``cause``: "ended", "failed", "stalled", "collapsed", or the text of a condition."""

    cause: str
    text: str  # a sentence about the run: "failed at step 12: ..."
    step: int
    time: float  # seconds since the epoch
    attempt: str = ""  # identifies the attempt that "ended" or "failed", since a resumed run may end again

    @property
    def key(self) -> str:
        """A run gets at most one alert per key."""
        return f"{self.cause} {self.attempt}".rstrip()


class Evaluator:
    """Applies rules to the events of one run; each cause alerts once.

    ``recorded``: silences between events count as stalls. Live, the caller measures them (`silence_alerts`), since a
    machine that slept is not a stall.
    """

    def __init__(self, rules: AlertRules, recorded: bool = False) -> None:
        self.set_rules(rules)
        self.terminal: RunFinished | RunFailed | None = None  # the last lifecycle event, if it ended the run
        self.step, self.total_steps = 0, 0
        self.last: Event | None = None
        self.started = 0.0  # when the current attempt started
        self._has_started = False  # a log may come before the start
        self._recorded = recorded
        self._intervals: deque[float] = deque(maxlen=_RECENT_INTERVALS)
        self._low_reports = 0
        self._fired: set[str] = set()

    def set_rules(self, rules: AlertRules) -> None:
        """Apply other rules from now on."""
        self.rules = rules
        self._conditions = tuple(map(Condition.parse, rules.conditions))
        self._conditions_of: dict[str, tuple[Condition, ...]] = {}

    def apply(self, event: Event) -> list[Alert]:
        """The alerts that ``event`` causes."""
        alerts = self._check_interval(event)
        if isinstance(event, RunStarted):
            if self.terminal is None and self._has_started and self.last is not None and self._recorded:
                alerts += self.interruption_alerts(self.last.time)
            self.terminal, self.started, self._has_started = None, event.time, True
            self.step, self.total_steps = event.step, event.total_steps
            self._low_reports = 0
            self._intervals.clear()  # a resumed run compiles and caches again, perhaps on another machine
        elif isinstance(event, (Metrics, Evaluated)):
            self.step = max(self.step, event.step)
            for name, value in event.values.items():
                alerts += self._check_value(event, name, value)
        elif isinstance(event, RunFinished):
            self.terminal = event
            if self.rules.ended and event.outcome != "paused":
                text = "finished" if event.outcome == "done" else "stopped"
                alerts += self._fire("ended", f"{text} at step {event.step:,}", event.time, event.time)
        elif isinstance(event, RunFailed):
            self.terminal = event
            if self.rules.failed:
                text = f"failed at step {event.step:,}: {excerpt(event.message, 500)}"
                alerts += self._fire("failed", text, event.time, event.time)
        self.last = event
        return alerts

    def interruption_alerts(self, time: float, note: str = "") -> list[Alert]:
        """The alert for a process that exited without an event that says why."""
        why = f": {excerpt(note, 500)}" if note else ""
        text = f"exited unexpectedly after step {self.step:,}{why}"
        return self._fire("failed", text, time, self.started) if self.rules.failed else []

    @property
    def patience(self) -> float:
        """Seconds of silence until a run counts as stalled."""
        least = 60.0 * self.rules.stalled_minutes
        if len(self._intervals) < _MIN_INTERVALS:
            return max(least, _FIRST_SECONDS)
        return max(least, self.rules.stalled * max(self._intervals))

    def silence_alerts(self, seconds: float, now: float) -> list[Alert]:
        """The alert for a run that has shown no progress for ``seconds``."""
        if not self.rules.stalled or self.terminal is not None or seconds <= self.patience:
            return []
        text = f"stalled after step {self.step:,}: no progress for {seconds / 60:.0f} min"
        return self._fire("stalled", text, now)

    def _check_interval(self, event: Event) -> list[Alert]:
        """Learn the usual interval between events; for recorded events, report a silence before ``event``."""
        if self.last is None or self.terminal is not None or isinstance(event, RunStarted):
            return []
        seconds, patience = event.time - self.last.time, self.patience
        # A silence is a stall only before metrics and logs: other events follow a validation, a sample or a save, which
        # may take long; meanwhile, the run reports its progress in the status.
        if isinstance(event, (Metrics, Log)) and seconds > patience:
            return self.silence_alerts(seconds, self.last.time + patience) if self._recorded else []
        if seconds >= 0:
            self._intervals.append(seconds)
        return []

    def _check_value(self, event: Metrics | Evaluated, name: str, value: float) -> list[Alert]:
        if name not in self._conditions_of:
            self._conditions_of[name] = tuple(condition for condition in self._conditions if condition.concerns(name))
        alerts: list[Alert] = []
        for condition in self._conditions_of[name]:
            if condition.holds(value):
                alerts += self._fire(
                    condition.text,
                    f"{excerpt(name)} is {value:.4g} at step {event.step:,} ({condition.text})",
                    event.time,
                )
        if name == FEATURE_STD and event.step > COLLAPSED_FROM * self.total_steps:
            self._low_reports = self._low_reports + 1 if value < self.rules.collapsed else 0
            if self._low_reports >= COLLAPSED_REPORTS:
                alerts += self._fire(
                    "collapsed", f"collapsed: {name} is {value:.2g} at step {event.step:,}", event.time
                )
        return alerts

    def _fire(self, cause: str, text: str, time: float, attempt: float | None = None) -> list[Alert]:
        alert = Alert(cause, text, self.step, time, "" if attempt is None else f"{attempt:.0f}")
        if alert.key in self._fired:
            return []
        self._fired.add(alert.key)
        return [alert]
