"""The run folder: exclusive claims, atomic writes and requests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.spec.files import write_whole
from core.spec.run.folder import RunDir, RunDirError


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def test_readers_never_see_a_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    contents = [bytes([letter]) * 50_000 for letter in b"ab"]
    write_whole(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_whole(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert path.read_bytes() in contents
    finally:
        stop.set()
        writer.join()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_use_is_refused_with_the_holder(run: RunDir) -> None:
    program = (
        "import sys; from core.spec.run.folder import RunDir; from core.spec.run.status import own_status; "
        "run = RunDir(sys.argv[1]); lock = run.claim();"
        "run.write_status(own_status()); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(RunDirError, match=rf"in use by a trainer \(process {holder.pid}\); stop it first"):
            run.claim()
        holder.kill()
    run.claim().release()  # a killed holder holds nothing


def test_control_is_requested_seen_and_cleared(run: RunDir) -> None:
    assert run.pending_request() is None
    run.ask("pause")
    assert run.pending_request() == "pause"
    run.clear_control()
    run.clear_control()
    assert run.pending_request() is None
    run.ask("stop")
    run.clear_control(older_than=time.time() - 60)
    assert run.pending_request() == "stop"
    run.clear_control(older_than=time.time() + 60)
    assert run.pending_request() is None
    run.control.write_bytes(b"\xffgarbage")
    assert run.pending_request() is None


def test_a_request_does_not_wait_for_the_disk(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    run.ask("pause")
    run.ask("stop")
    assert run.pending_request() == "stop"
    assert synced == []


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match=r"cannot write the run folder .*choose another"):
        RunDir(tmp_path / "file" / "run").create()


def test_stderr_end_returns_the_last_lines_unchanged(run: RunDir) -> None:
    assert run.stderr_end() == ""
    run.stderr.write_bytes(b"first\r\nstep 1\rstep 2\rstep 3\n\xff broken\nlast\n")
    assert run.stderr_end(lines=4) == "step 3\n\ufffd broken\nlast"
