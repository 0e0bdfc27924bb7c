"""Rules over events: every cause alerts once and in time, and healthy runs do not alert."""

from __future__ import annotations

import math
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.spec.alerts.evaluating import Alert, Evaluator
from core.spec.alerts.rules import AlertError, AlertRules, Condition, Rules
from core.spec.resources import resource_folder
from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    EventReader,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
)

RECALL = "val/student/mean_recall"
LIVE_SECONDS = 5.0  # between two measurements of the silence


def start(time: float, step: int = 0, steps: int = 1000) -> RunStarted:
    return RunStarted(step=step, total_steps=steps, config_digest="d", time=time)


def metrics(step: int, time: float, **values: float) -> Metrics:
    return Metrics(step=step, time=time, values={name.replace("__", "/"): value for name, value in values.items()})


def regular(steps: int = 50, seconds: float = 10.0) -> list[Event]:
    return [start(0.0), *(metrics(n, n * seconds, train__loss=1.0, diag__feature_std=0.9) for n in range(1, steps + 1))]


def apply(events: Iterable[Event], rules: AlertRules | None = None, recorded: bool = True) -> list[Alert]:
    evaluator = Evaluator(rules or AlertRules(), recorded)
    return [alert for event in events for alert in evaluator.apply(event)]


def apply_live(events: Iterable[Event]) -> list[Alert]:
    """Apply the events as they arrive and check for silence in between; the status shows validation and saving."""
    evaluator, alerts = Evaluator(AlertRules()), list[Alert]()
    for event in events:
        last = evaluator.last
        if last is not None and evaluator.terminal is None and isinstance(event, Metrics):
            seconds = (event.time - last.time) // LIVE_SECONDS * LIVE_SECONDS  # the longest that is measured
            alerts += evaluator.silence_alerts(seconds, last.time + seconds)
        alerts += evaluator.apply(event)
    return alerts


def healthy(seed: int) -> list[Event]:
    """A run with noise, a slow start, uneven steps, long validations, pauses over night and a resume after a kill."""
    draw = random.Random(seed)
    step_seconds = 10 ** draw.uniform(-1.5, 2)
    time, events = 1.7e9, list[Event]()
    steps, every = draw.randint(200, 600), draw.randint(20, 60)
    time += 1.0
    events.append(start(time, 0, steps))
    time += draw.uniform(1, 1500)  # compiling, caching
    for step in range(1, steps + 1):
        time += step_seconds * draw.lognormvariate(0, 0.4) * (4 if draw.random() < 0.01 else 1)
        loss = 5.0 * math.exp(-3 * step / steps) + draw.gauss(0, 0.3) + (20 if draw.random() < 0.003 else 0)
        norm = math.inf if draw.random() < 0.002 else draw.uniform(0.1, 50)  # a skipped step
        spread = min(0.95, max(0.03, 0.1 + step / steps + draw.gauss(0, 0.1)))
        if draw.random() < 0.01:
            spread = 0.01  # a single low value
        values = {"train__loss": loss, "train__grad_norm": norm, "diag__feature_std": spread}
        events.append(metrics(step, time, **values, system__disk_free_gib=draw.uniform(20, 500)))
        if step % every == 0:
            time += step_seconds * draw.uniform(1, 400)
            values = {RECALL: step / steps, "val/teacher/mean_recall": math.nan if draw.random() < 0.1 else 0.5}
            events.append(Evaluated(step=step, time=time, values=values))
            time += draw.uniform(0, 60)
            events.append(CheckpointSaved(step=step, name=f"step-{step}", time=time))
            if draw.random() < 0.1:
                events.append(RunFinished(step=step, outcome="paused", time=time))
                time += draw.uniform(60, 1e5)
                events.append(start(time, step, steps))
                time += draw.uniform(1, 1500)
    return [*events, RunFinished(step=steps, time=time)]


def recorded_runs(folder: Path) -> list[Path]:
    with tarfile.open(resource_folder("screenshots") / "recording.tar.xz") as archive:
        members = [member for member in archive.getmembers() if member.name.endswith("events.jsonl")]
        archive.extractall(folder, members, filter="data")
    return sorted(folder.rglob("events.jsonl"))


def test_healthy_runs_do_not_alert(tmp_path: Path) -> None:
    """Twenty generated runs, and the recorded runs of the screenshots, with the default rules."""
    runs = [healthy(seed) for seed in range(20)]
    trained = [EventReader(file).read_all() for file in recorded_runs(tmp_path)]
    assert len(trained) >= 6
    for run in [*runs, *trained]:
        assert [alert.cause for alert in apply(run)] == ["ended"]
        assert [alert.cause for alert in apply_live(run)] == ["ended"]


@pytest.mark.parametrize(
    ("events", "cause", "time"),
    [
        ([*regular(), RunFinished(step=50, time=501.0)], "ended", 501.0),
        ([*regular(), RunFailed(step=50, error="E", message="out of memory", time=502.0)], "failed", 502.0),
        ([*regular(), *(metrics(n, 500 + n, train__loss=math.nan) for n in (51, 52))], "train/loss not finite", 551.0),
        ([*regular(), *(metrics(51, 510 + n, system__disk_free_gib=4.0) for n in (1, 2))], "system/*disk", 511.0),
        ([*regular(200), *(metrics(200 + n, 2000 + n, diag__feature_std=0.001) for n in range(1, 9))], "coll", 2005.0),
        ([*regular(), metrics(51, 5000.0), metrics(52, 9000.0)], "stalled", 1100.0),
        ([*regular(), start(9000.0, 40), metrics(41, 9001.0)], "failed", 500.0),
    ],
)  # fmt: skip
def test_each_cause_alerts_once(events: list[Event], cause: str, time: float) -> None:
    alerts = apply(events)
    assert [(alert.cause.startswith(cause), alert.time) for alert in alerts] == [(True, time)]
    assert apply(events, AlertRules(ended=False, failed=False, stalled=0, collapsed=0, conditions=())) == []


def test_a_stalled_run_alerts_once_at_the_next_measurement() -> None:
    """After ten minutes if events arrive every ten seconds; after five times the longest pause otherwise."""
    evaluator = Evaluator(AlertRules())
    for event in regular():
        evaluator.apply(event)
    alerts = [alert for n in range(400) for alert in evaluator.silence_alerts(n * LIVE_SECONDS, 500 + n * LIVE_SECONDS)]
    assert [(alert.cause, alert.time) for alert in alerts] == [("stalled", 500 + 600 + LIVE_SECONDS)]
    slow = Evaluator(AlertRules())
    for event in [*regular(), Evaluated(step=50, time=900.0, values={}), metrics(51, 910.0, train__loss=1.0)]:
        slow.apply(event)
    assert slow.patience == 5 * 400


def test_a_resumed_run_can_fail_again_but_alerts_once_for_a_metric() -> None:
    failure = RunFailed(step=51, error="E", message="not finite", time=520.0)
    again = [
        start(600.0, 40),
        metrics(41, 610.0, train__loss=math.inf),
        RunFailed(step=41, error="", message="", time=620.0),
    ]
    events = [*regular(), metrics(51, 510.0, train__loss=math.nan), failure, *again]
    assert [alert.cause for alert in apply(events)] == ["train/loss not finite", "failed", "failed"]


def test_thresholds_apply_to_any_metric_and_to_patterns() -> None:
    rules = AlertRules(conditions=("val/*recall < 0.1", "train/loss > 10"))
    events = [*regular(), Evaluated(step=50, time=501.0, values={RECALL: 0.05}), metrics(51, 502.0, train__loss=11.0)]
    assert [(alert.cause, alert.time) for alert in apply(events, rules)] == [
        ("val/*recall < 0.1", 501.0),
        ("train/loss > 10", 502.0),
    ]
    at_the_limits = [Evaluated(step=50, time=501.0, values={RECALL: 0.1}), metrics(51, 502.0, train__loss=10.0)]
    assert apply([*regular(), *at_the_limits], rules) == []
    for wrong in ("", "train/loss", "train/loss = 3", "train/loss < many", "train/loss finite", "a b < 3"):
        with pytest.raises(AlertError, match="is not a condition; write METRIC < NUMBER"):
            Condition.parse(wrong)


def test_rules_are_saved_by_experiment_and_a_broken_file_is_named(tmp_path: Path) -> None:
    rules, quiet = Rules(tmp_path / "alerts.json"), AlertRules(ended=False, conditions=("train/loss > 9",))
    rules.save("ours", quiet)
    rules.save(None, AlertRules(stalled=7))
    read = Rules(tmp_path / "alerts.json")
    assert (read.of("ours"), read.of("other")) == (quiet, AlertRules(stalled=7))
    rules.save("ours", None)
    assert read.of("ours") == AlertRules(stalled=7)
    (tmp_path / "alerts.json").write_text('{"defaults": {"url": "file:///etc/passwd"}}')
    with pytest.raises(AlertError, match=r"alerts\.json: defaults\.url: .* must begin with https://"):
        read.of("ours")
