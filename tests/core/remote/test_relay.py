"""A worker on another machine that is used like a local one: translated paths of images and mirrored runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.remote import relay
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.machines.path_translation import PathTranslator
from core.spec.machines.record import RemoteRecord, remote_checkpoint, write_checkpoints, write_record
from core.spec.run.folder import RunDir
from tests.core.remote.conftest import ROOT
from tests.core.remote.test_remote_runs import big_checkpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    run = RunDir(home / "runs" / "one")
    run.create()
    write_record(run, RemoteRecord(machine="gpu", folder="/there/one"))
    return home


def test_remote_checkpoints_are_listed_locally(host: Host, home: Path, runs_there: Path) -> None:
    big_checkpoint(runs_there / "one", 10)
    run = RunDir(home / "runs" / "one")
    write_checkpoints(run, host.checkpoints(str(runs_there / "one")).result(60))
    for which in ("best", "last", "10", "step-00000010"):
        assert remote_checkpoint(run, which) == "step-00000010"
    assert remote_checkpoint(run, "11") == ""


def test_a_remote_worker_answers_like_a_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh is replaced by a program that passes the remote command to a local shell."""
    home, data = tmp_path / "home", tmp_path / "data"
    data.mkdir()
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("SDGUI_SSH", str(ssh))
    fake = tmp_path / "python"  # the worker: it answers each request with an image and what it was asked
    code = (
        "import json, sys\n"
        "print(json.dumps({'event': 'ready'}), flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    result = {'image': '/data/a.png', 'asked': asked['model']}\n"
        "    print(json.dumps({'id': asked['id'], 'event': 'done', 'result': result}), flush=True)\n"
    )
    fake.write_text("#!/bin/sh\nexec " + sys.executable + " " + str(tmp_path / "worker.py") + "\n")
    (tmp_path / "worker.py").write_text(code)
    fake.chmod(0o755)
    MachineList(home).put(Machine(name="gpu", host="gpu", python=str(fake)))
    run = RunDir(home / "runs" / "one")
    run.create()
    write_record(run, RemoteRecord(machine="gpu", folder="/there/one"))
    command = [sys.executable, "-m", "core", "worker", "--on", "gpu", "--home", str(home)]
    asked = json.dumps({"id": 1, "do": "x", "model": f"{run.path}@last"}) + "\n"
    done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT, check=True)
    ready, answer = map(json.loads, done.stdout.splitlines())
    assert ready == {"event": "ready"}
    assert answer["result"]["asked"] == "/there/one@last"
    assert answer["result"]["image"] == f"{home}/remote-images/gpu/data/a.png"
    cut = 'print(\'{"event": "ready"}\', flush=True); print("Broken pipe", file=sys.stderr); sys.exit(255)'
    (tmp_path / "worker.py").write_text(f"import sys\n{cut}\n")
    left = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert left.returncode == 1
    assert "gpu cannot be reached" in left.stderr, "although it had answered before"
    fake.write_text("#!/bin/sh\necho 'No module named core' >&2; exit 1\n")
    pipe = subprocess.PIPE  # open until the end, as the window's is
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as refused:
        assert refused.wait(60) == 1
        assert refused.stderr is not None
        assert "Press Install on the machine's page" in refused.stderr.read()


def test_replies_of_a_hostile_worker_only_end_that_worker(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(relay, "_MAX_LINE_BYTES", 1000)
    answered: list[object] = []
    sender = SimpleNamespace(ready=lambda folder: None, record_answer=lambda number, failed: answered.append(number))
    replies = [{"event": "ready", "receives": ["x"]}, {"event": "done", "id": [1]}, {"event": "done", "id": 2}]
    lines = "".join(json.dumps(one) + "\n" for one in replies) + "[" * 900 + "\n" + "x" * 5000 + '\n{"id": 3}\n'
    assert relay._pass_replies(PathTranslator(home, "gpu"), io.BytesIO(lines.encode()), sender)  # type: ignore[arg-type]
    assert answered == [2]
    assert len(capsysbinary.readouterr().out.splitlines()) == 4, "nothing after an endless line"


def test_runs_of_a_study_may_be_on_any_machine(home: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "studies" / "clean" / "runs" / "clip-s0")
    run.create()
    write_record(run, RemoteRecord(machine="gpu", folder="/there/clip-s0", study=True))
    names = PathTranslator(home, "gpu")
    assert names.to_remote([f"{run.path}@last", str(tmp_path / "a.png")]) == [
        "/there/clip-s0@last",
        f"{tmp_path}/a.png",
    ]
    assert PathTranslator(home, "other").to_remote(str(run.path)) == str(run.path)
