"""A run folder from someone else may name a machine, a remote folder and a script; none of them is used."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.fetching import fetch_checkpoint
from core.spec.machines.machines import Machines
from core.spec.machines.record import RemoteRecord, is_remote, read_record, record_file, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus

SCRIPT = "#!/bin/bash\ntouch OWNED\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "home" / "runs" / "received")
    run.create()
    run.config.write_text("{}")
    run.write_status(RunStatus(pid=0, started=0.0, heartbeat=time.time() + 3, verdict="starting"))
    return run


class CountingHost(Machines):
    """Counts attempts to reach a machine."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.names: list[str] = []

    def host(self, name: str) -> Any:
        self.names.append(name)
        raise UserError("no machine is reached in this test")


def received(run: RunDir, **fields: object) -> None:
    record_file(run.path).write_text(json.dumps({"machine": "gpu", "folder": "/home/me/run", **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"folder": "", "waiting": True, "script": SCRIPT, "token": "t0k3n"},
        {"waiting": True, "script": SCRIPT},
        {"seal": ""},
        {"seal": "0" * 64},
        {"seal": ["\ud800"]},
    ],
)
@pytest.mark.parametrize("written_before", [False, True], ids=["no key yet", "with a key"])
def test_a_record_by_another_user_contacts_no_machine(
    run: RunDir, tmp_path: Path, fields: dict[str, object], written_before: bool
) -> None:
    if written_before:
        other = RunDir(tmp_path / "own")
        other.create()
        write_record(other, RemoteRecord(machine="gpu", folder="/there/own"))
    received(run, **fields)
    run.ask("stop")
    machines = CountingHost(tmp_path / "home")
    remote = RemoteRuns(machines)
    assert remote.catch_up([run.path], 0.5) == {}
    remote.attach(run)
    with pytest.raises(UserError, match="was not written by you for this folder"):
        fetch_checkpoint(None, run)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is not a remote run"):
        remote.resume(run)
    remote.close()
    assert machines.names == [], "nothing is followed or passed on"
    assert not is_remote(run.path)


def test_a_record_is_valid_only_in_its_own_folder(run: RunDir, tmp_path: Path) -> None:
    record = RemoteRecord(machine="gpu", folder="/there/one", devices=["0"], token="t")
    write_record(run, record)
    assert read_record(run) == record
    copy = RunDir(tmp_path / "home" / "runs" / "sent-back")
    shutil.copytree(run.path, copy.path)
    assert read_record(copy) is None, "a copy from someone else"
    for name, value in (("folder", "/there/two"), ("script", SCRIPT), ("waiting", True), ("machine", "x")):
        raw = json.loads(record_file(run.path).read_text())
        record_file(run.path).write_text(json.dumps({**raw, name: value}))
        assert read_record(run) is None, name
        write_record(run, record)
    link = tmp_path / "link"
    link.symlink_to(run.path)
    assert read_record(RunDir(link)) == record, "the same folder by another name"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
def test_the_key_is_private_and_a_damaged_one_is_reported(run: RunDir, user_folders: Path) -> None:
    write_record(run, RemoteRecord(machine="gpu"))
    key = user_folders / "sdgui" / "remote.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_bytes(b"short")
    assert read_record(run) is None
    with pytest.raises(UserError, match=r"remote\.key is damaged; delete it"):
        write_record(run, RemoteRecord(machine="gpu"))
