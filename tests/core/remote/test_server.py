"""The program on a machine, spoken to through pipes: runs are started once, followed exactly, asked and ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.remote.run_progress import WatchedRun
from core.remote.slurm import Slurm
from core.spec.errors import UserError
from core.spec.machines.answers import Bytes, RemoteStatus
from core.spec.machines.host import Host
from core.spec.machines.mirror import FILES
from core.spec.run.events import EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.starting import STARTING
from core.spec.run.status import RunState, own_status
from tests.core.remote.conftest import run_config, wait_for

Trainer = Callable[[str], None]


class Taken:
    """A sink that keeps all it is given."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {name: bytearray() for name in FILES}
        self.standings: list[RemoteStatus] = []

    def offsets(self) -> dict[str, Any]:
        return {"files": {}}

    def append(self, part: Bytes) -> None:
        held = self.files[part.file]
        if part.restart:
            held.clear()
        assert part.offset == len(held)
        held += part.data

    def update_status(self, standing: RemoteStatus) -> None:
        self.standings.append(standing)

    @property
    def states(self) -> list[RunState]:
        return [one.state for one in self.standings]


def test_it_tells_what_the_machine_has_and_what_works(host: Host) -> None:
    facts = host.probe().result(60)
    assert facts.cores >= 1
    assert facts.memory > 100
    assert facts.python
    assert facts.runs == host.machine.runs
    findings = {one.name: one for one in host.check().result(60)}
    assert findings["Python"].works
    assert findings["Runs folder"].works
    assert not any(one.remedy for one in findings.values() if one.works)


def test_a_run_is_submitted_followed_and_done(host: Host, trainer: Trainer) -> None:
    trainer("--steps 25 --delay 0.01")
    submitted = host.submit("one", "token", run_config()).result(60)
    taken = Taken()
    host.follow(submitted.folder, taken)
    wait_for(lambda: RunState.DONE in taken.states)
    there = RunDir(submitted.folder)
    assert bytes(taken.files["events.jsonl"]) == there.events.read_bytes()
    assert bytes(taken.files["stdout.log"]) == there.stdout.read_bytes() == b"begins\n"
    [row] = host.runs().result(60)
    assert (row.name, row.state, row.step) == ("one", RunState.DONE, 25)


def test_the_same_request_again_starts_nothing_more(host: Host, trainer: Trainer) -> None:
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


def test_a_run_is_paused_and_resumed_where_it_was(host: Host, trainer: Trainer) -> None:
    trainer("--steps 120 --delay 0.02")
    folder = host.submit("one", "a", run_config()).result(60).folder
    taken = Taken()
    host.follow(folder, taken)
    wait_for(lambda: b'"metrics"' in taken.files["events.jsonl"])
    host.control(folder, "pause").result(60)
    wait_for(lambda: RunState.PAUSED in taken.states)
    trainer("--steps 120 --delay 0.0")  # of this program's environment; the one on the machine has its own
    host.submit("one", "b").result(60)
    wait_for(lambda: taken.states[-1] is RunState.DONE)
    steps = [event.step for event in EventReader(RunDir(folder).events).read_all() if isinstance(event, Metrics)]
    assert steps == list(range(1, 121))


def test_what_cannot_be_started_is_refused_in_a_sentence(host: Host) -> None:
    with pytest.raises(UserError, match="cannot be the name"):
        host.submit("../one", "a", run_config()).result(60)
    with pytest.raises(UserError, match="is not a device"):
        host.submit("one", "a", run_config(), devices=["0; rm"]).result(60)
    with pytest.raises(UserError, match="no longer has a config"):
        host.submit("one", "a").result(60)
    raw = json.loads(run_config()) | {"nonsense": 1}
    with pytest.raises(UserError, match="nonsense"):
        host.submit("one", "a", json.dumps(raw)).result(60)
    with pytest.raises(UserError, match="no run folder"):
        host.control("/nowhere/at/all", "stop").result(60)


def test_data_are_looked_for_on_the_machine(host: Host) -> None:
    raw = json.loads(run_config())
    raw["data"] |= {"train": "/no/such/train.csv", "val": ""}
    [finding] = host.check_data(json.dumps(raw)).result(60)
    assert (finding.name, finding.works) == ("Training data", False)
    assert "/no/such/train.csv" in finding.detail
    assert "on that machine" in finding.remedy


def test_files_are_read_in_parts_inside_the_run_alone(host: Host, trainer: Trainer) -> None:
    trainer("--steps 10 --delay 0")
    folder = host.submit("one", "a", run_config()).result(60).folder
    wait_for(lambda: host.run_status(folder).result(60).state is RunState.DONE)
    config = RunDir(folder).config.read_bytes()
    chunk = host.read(folder, "config.json", 10, 50).result(60)
    assert (chunk.data, chunk.size) == (config[10:60], len(config))
    for path in ("../one/config.json", "/etc/hostname", "", "no-such-file"):
        with pytest.raises(UserError):
            host.read(folder, path, 0, 10).result(60)


def test_a_trainer_that_loads_for_long_is_starting_as_long_as_its_process_is_there(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.create()
    watched = WatchedRun(run, Slurm())
    old = replace(own_status(doing=STARTING), heartbeat=time.time() - 600)
    run.write_status(old)
    standing = watched.progress()
    assert (standing.state, standing.age) == (RunState.STARTING, 0.0)
    run.write_status(replace(old, doing="training"))
    assert watched.progress().state is RunState.LOST_CONTACT
    run.write_status(replace(old, started=1.0))
    assert watched.progress().state is RunState.INTERRUPTED
