"""The remote program: greeting, heartbeats, answers, refusals, and runs that start once."""

from __future__ import annotations

import io
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.remote import server as server_module
from core.remote.server import Remote
from core.spec.errors import UserError
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.ssh import PROTOCOL
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus
from tests.core.remote.conftest import run_config, wait_for

NEAR = Machine(name="near").model_dump()


class Output(io.StringIO):
    """The replies of the server, as parsed JSON."""

    def all(self, event: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.getvalue().splitlines()]
        return [one for one in found if not event or one["event"] == event]


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def remote(tmp_path: Path, output: Output) -> Iterator[Remote]:
    remote = Remote(io.StringIO(), output, tmp_path / "runs")
    yield remote
    remote._follower.stop()


def request(remote: Remote, output: Output, do: str, **more: Any) -> dict[str, Any]:
    """The answer to one request."""
    before = len(output.all())
    remote._answer({"id": 3, "do": do, **more})
    [reply] = [
        one for one in output.all()[before:] if "id" in one
    ]  # there may be notifications of followed runs in between
    assert reply["id"] == 3
    return reply


def remote_run(remote: Remote, name: str = "one", **status: Any) -> RunDir:
    run = RunDir(remote._runs / name)
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json())
    if status:
        run.write_status(RunStatus(pid=1 << 22, started=1.0, heartbeat=1.0, **status))
    return run


def test_the_server_greets_once_answers_in_order_and_exits_with_its_input(tmp_path: Path, output: Output) -> None:
    lines = ['{"id": 1, "do": "ping"}', '{"do": "ping"}', "no request", "[1]", '{"id": 2}', '{"id": 4, "do": "ping"}']
    remote = Remote(io.StringIO("\n".join(lines) + "\n"), output, tmp_path)
    remote.serve()
    hello, *replies = output.all()
    assert (hello["event"], hello["protocol"], hello["host"]) == ("hello", PROTOCOL, platform.node())
    assert hello["python"] == platform.python_version()
    assert [(one["event"], one["id"]) for one in replies] == [
        ("done", 1), ("failed", None), ("failed", None), ("failed", None), ("done", 4),
    ]  # fmt: skip
    assert replies[1]["message"].startswith("not a request: no request")
    assert remote._closed.is_set()
    assert remote._follower._stopped.is_set()


def test_the_server_sends_heartbeats_and_exits_after_long_silence(
    remote: Remote, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(server_module, "ALIVE_SECONDS", 0.002)
    monkeypatch.setattr(os, "_exit", ended.append)
    beat = threading.Thread(target=remote._send_heartbeats)
    beat.start()
    wait_for(lambda: len(output.all("alive")) > 2)
    assert ended == []
    assert abs(output.all("alive")[0]["time"] - time.time()) < 60
    remote._last_heard = time.monotonic() - 119.0
    count = len(output.all("alive"))
    wait_for(lambda: len(output.all("alive")) > count + 1)
    assert ended == []
    remote._last_heard = time.monotonic() - 121.0
    wait_for(lambda: ended)
    remote._closed.set()
    beat.join(60)
    assert set(ended) == {0}


def test_unsupported_requests_are_refused_with_a_message(
    remote: Remote, output: Output, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(do: str, **more: Any) -> str:
        reply = request(remote, output, do, **more)
        assert reply["event"] == "failed"
        return str(reply["message"])

    assert (
        message("dance")
        == "This version of sdgui cannot dance; update sdgui on the machine (press Install on its page)."
    )
    assert message("run_status") == "the request run_status is incomplete or invalid: KeyError('folder'); update sdgui."
    assert message("check", machine={"name": "a/b"}).startswith("the machine's settings")
    for do in ("control", "end", "checkpoints", "read"):
        more: dict[str, Any] = {"what": "stop", "how": "kill", "file": "a", "offset": 0, "length": 1}
        expected = "the run folder /no/where does not exist on this machine; it was moved or deleted."
        assert message(do, folder="/no/where", **more) == expected
    assert capsys.readouterr().err == ""

    def broken() -> Any:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(remote._verbs, "ping", lambda request: broken())
    assert message("ping") == "ZeroDivisionError: by nothing"
    assert "ZeroDivisionError" in capsys.readouterr().err, "a bug prints its traceback"
    before = len(output.all())
    remote._answer({"do": "dance"})
    assert len(output.all()) == before, "a request without an id gets no reply"


def test_scripts_checks_data_and_files_are_served(remote: Remote, output: Output, tmp_path: Path) -> None:
    slurm = NEAR | {"launcher": "slurm"}
    script = request(remote, output, "script", machine=slurm, name="one", devices=[1])["result"]["script"]
    assert "config.json" in script
    assert "--gpus-per-node=1" in script
    reply = request(remote, output, "script", machine=slurm, name="c", stage="stage-1-a", devices=[])
    chain = reply["result"]["script"]
    assert "chain.json" in chain
    own = slurm | {"script": "#!/bin/sh\n"}
    assert request(remote, output, "script", machine=own, name="one", devices=[])["result"] == {"script": "#!/bin/sh\n"}
    findings = request(remote, output, "check", machine=NEAR)["result"]["findings"]
    assert [one["name"] for one in findings] == ["Python", "Packages", "Runs folder", "Disk", "GPUs"]
    config = preset_config("clip", "tiny")
    config = config.model_copy(update={"data": config.data.model_copy(update={"train": "/no/pairs.csv"})})
    found = request(remote, output, "check_data", config=config.to_json())["result"]["findings"]
    assert [one["name"] for one in found] == ["Training data"]
    found = request(remote, output, "check", machine=NEAR, config=config.to_json())["result"]["findings"]
    assert found[-1]["name"] == "Training data"
    facts = request(remote, output, "data_facts", paths={"train": "/no/pairs.csv"})["result"]["data"]
    assert (facts[0]["name"], facts[0]["pairs"], "pairs.csv" in facts[0]["problem"]) == ("train", 0, True)
    run = remote_run(remote)
    part = request(remote, output, "read", folder=str(run.path), file="config.json", offset="0", length="4")["result"]
    assert part["size"] == run.config.stat().st_size
    assert request(remote, output, "checkpoints", folder=str(run.path))["result"] == {"checkpoints": []}
    assert request(remote, output, "images", paths=["/none.png"], side="64")["result"] == {"images": {}}
    assert request(remote, output, "probe")["result"]["runs"] == str(remote._runs)


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
