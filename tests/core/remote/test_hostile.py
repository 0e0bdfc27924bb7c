"""A machine that sends arbitrary answers, and full disks on both sides: reported, and no other file is written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.fetching import fetch_checkpoint
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import PROTOCOL
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from tests.core.remote.conftest import command, run_config, wait_for
from tests.core.remote.test_remote_runs import state

HELLO = {"event": "hello", "protocol": PROTOCOL}


def program_that_sends(tmp_path: Path, answer: dict[str, Any], *unasked: object) -> list[str]:
    """A remote program that greets, sends ``unasked``, and answers every request with ``answer``."""
    path = tmp_path / "hostile.py"
    lines = [json.dumps(one) if not isinstance(one, str) else one for one in (HELLO, *unasked)]
    path.write_text(
        "import json, sys\n"
        f"for line in {lines!r}: print(line, flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        f"    if 'id' in asked: print(json.dumps({{'id': asked['id'], **{answer!r}}}), flush=True)\n"
    )
    return [sys.executable, str(path)]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "home" / "runs" / "one")
    run.create()
    write_record(run, RemoteRecord(machine="near", folder="/there/one"))
    return run


def hostile(tmp_path: Path, answer: dict[str, Any], *unasked: object) -> Host:
    return Host(Machine(name="near"), command=program_that_sends(tmp_path, answer, *unasked))


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"name": "../../../../etc", "files": []},
        {"name": "step-1", "files": [{"name": "../../x", "size": 1, "stamp": 1}]},
        {"name": "step-1", "files": [{"name": ".ssh", "size": 1, "stamp": 1}]},
        {"name": "step-1", "files": [], "pointers": ["../../config.json"]},
        {"name": "step-1", "files": [{"name": "a", "size": -1, "stamp": 1}]},
        {"name": "step-1", "files": [{"name": "a", "size": 1, "stamp": 1}] * 2},
        7,
    ],
)
def test_remote_names_never_lead_out_of_the_run_folder(tmp_path: Path, run: RunDir, checkpoint: object) -> None:
    host = hostile(tmp_path, {"event": "done", "result": {"checkpoints": [checkpoint]}})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError):
        fetch_checkpoint(host, run, "last")
    host.close()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "answer",
    [
        {"event": "done"},
        {"event": "done", "result": 7},
        {"event": "done", "result": {"host": "x", "gpus": [{"index": "first"}]}},
        {"event": "done", "result": {"host": "x" * 5000}},
        {"event": "done", "result": {"host": "x", "gpus": [{"index": 0}] * 20_000}},
        {"event": "done", "id": [1]},
        {"event": "failed", "id": {}},
        {"event": "failed"},
        {"event": "failed", "message": "x" * 100_000},
    ],
)
def test_unreadable_answers_raise_a_user_error(tmp_path: Path, answer: dict[str, Any]) -> None:
    host = hostile(tmp_path, answer)
    with pytest.raises(UserError) as caught:
        host.probe().result(60)
    host.close()
    assert len(str(caught.value)) < 5000


def test_invalid_lines_are_skipped(tmp_path: Path, run: RunDir) -> None:
    part = {"event": "bytes", "folder": "/there/one", "file": "../config.json", "offset": 0, "data": "=QUJD"}
    standing = {"event": "run_status", "folder": "/there/one", "state": "winning"}
    deep = "[" * 100_000
    facts = {"event": "done", "result": {"host": "x", "cores": 3}}
    host = hostile(tmp_path, facts, "Welcome!", deep, '{"event": ', [1], part, standing, {"event": "done", "id": 99})
    assert host.probe().result(60).cores == 3
    host.close()
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "exports", "remote.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An in-memory file system of 192 kB."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "none", str(place)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` to make a small disk with")
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_remote_disk_is_reported_and_nothing_is_lost(
    small_disk: Path, tmp_path: Path, trainer: Callable[[str], None]
) -> None:
    """First there is no space for the run; then none for its events."""
    trainer("--steps 4000 --delay 0")
    machine = Machine(name="near", runs=str(small_disk / "runs"))
    machines = Machines(tmp_path / "home", command=command)
    machines.list.put(machine)
    remote = RemoteRuns(machines)
    (small_disk / "full").write_bytes(b"x" * (188 << 10))
    run = RunDir(tmp_path / "home" / "runs" / "one")
    with pytest.raises(UserError, match=r"No space left|disk"):
        remote.launch(run, "near", run_config())
    findings = {one.name: one for one in machines.host("near").check().result(60)}
    assert not findings["Disk"].works
    assert "ree some space" in findings["Disk"].remedy
    (small_disk / "full").unlink()
    run = RunDir(tmp_path / "home" / "runs" / "two")
    remote.launch(run, "near", run_config())
    wait_for(lambda: state(run) in (RunState.INTERRUPTED, RunState.FAILED))
    there = small_disk / "runs" / "two" / "events.jsonl"
    wait_for(lambda: run.events.read_bytes() == there.read_bytes())
    remote.close()


@pytest.mark.slow
def test_a_full_local_disk_is_reported_and_caught_up_later(
    small_disk: Path, runs_there: Path, tmp_path: Path, trainer: Callable[[str], None]
) -> None:
    trainer("--steps 3000 --delay 0")
    machine = Machine(name="near", runs=str(runs_there))
    machines = Machines(tmp_path / "home", command=command)
    machines.list.put(machine)
    messages: list[str] = []
    remote = RemoteRuns(machines, lambda folder, sentence: messages.append(sentence))
    run = RunDir(small_disk / "one")
    remote.launch(run, "near", run_config())
    wait_for(lambda: any("free some space" in sentence for sentence in messages))
    there = runs_there / "one" / "events.jsonl"
    wait_for(lambda: b"run_finished" in there.read_bytes())
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    wait_for(lambda: run.events.read_bytes() == there.read_bytes())
    wait_for(lambda: state(run) is RunState.DONE)
    remote.close()
