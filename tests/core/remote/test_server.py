"""The remote program over pipes: hardware, checks, and runs that start once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.spec.errors import UserError
from core.spec.machines.host import Host
from core.spec.run.events import EventReader, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from tests.core.remote.conftest import run_config, wait_for

Trainer = Callable[[str], None]


def test_the_server_reports_the_hardware_and_the_checks(host: Host) -> None:
    facts = host.probe().result(60)
    assert facts.cores >= 1
    assert facts.memory > 100
    assert facts.python
    assert facts.runs == host.machine.runs
    findings = {one.name: one for one in host.check().result(60)}
    assert findings["Python"].works
    assert findings["Runs folder"].works
    assert not any(one.remedy for one in findings.values() if one.works)


def test_a_repeated_request_starts_nothing_more(host: Host, trainer: Trainer) -> None:
    trainer("--steps 400 --delay 0.02")
    first = host.submit("one", "token", run_config()).result(60)
    assert host.submit("one", "token", run_config()).result(60) == first
    with pytest.raises(UserError, match="already running"):
        host.submit("one", "another", run_config()).result(60)
    events = RunDir(first.folder).events
    wait_for(lambda: events.exists() and b"run_started" in events.read_bytes())
    host.end(first.folder, "kill").result(60)
    wait_for(lambda: host.run_status(first.folder).result(60).state is RunState.INTERRUPTED)
    starts = [event for event in EventReader(RunDir(first.folder).events).read_all() if isinstance(event, RunStarted)]
    assert len(starts) == 1
