"""A trainer writes and deletes only in its run folder, whatever links it contains, and reports failures."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from core.spec import files
from core.spec.caption_files import CaptionFileError, CaptionTable, write_new
from core.spec.children import start_program
from core.spec.errors import UserError
from core.spec.files import whole_file, write_whole
from core.spec.presets import preset_config
from core.spec.run import starting
from core.spec.run.events import EventReader, EventWriter, RunFinished, encode
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.starting import start_trainer
from core.training.errors import TrainingError
from core.training.team import recording
from core.training.train import train
from tests.core.spec.run.hostile_events import HOSTILE_LINES

CONFIG = preset_config("clip", "tiny")  # without data: training ends as soon as it has begun
FILES = ("config.json", "events.jsonl", "status.json", "control", "stdout.log", "stderr.log", ".lock")
FOLDERS = ("checkpoints", "exports")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_linked_outside_is_neither_written_nor_cleaned(run: RunDir, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    (precious / ".thesis.tmp").mkdir(parents=True)
    (precious / "step-00000001").mkdir()
    (precious / "step-00000001" / "checkpoint.json").write_text("{}")
    before = content(precious)
    (run.path / name).rmdir()
    (run.path / name).symlink_to(precious)
    with pytest.raises(
        RunDirError, match=rf"{name} is a link out of its run folder.*replace the link with the folder itself"
    ):
        train(CONFIG, run, quiet=True)
    assert content(precious) == before
    assert not run.events.exists()


@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing"])
def test_a_file_linked_outside_is_not_written(run: RunDir, tmp_path: Path, there: bool) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in FILES:
        if there:
            (precious / name).write_text("mine")
        before = content(precious)
        (run.path / name).symlink_to(precious / name)
        for begin in (lambda: start_trainer([], run), lambda: train(CONFIG, run, quiet=True)):
            with pytest.raises(RunDirError, match=rf"{name} is a link out of its run folder"):
                begin()
        assert content(precious) == before
        (run.path / name).unlink()


def test_a_trainer_with_an_unwritable_status_is_ended(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[subprocess.Popen[bytes]]()

    def start(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        started.append(start_program(*arguments, **settings))
        shutil.rmtree(run.path)
        return started[0]

    monkeypatch.setattr(starting, "start_program", start)
    with pytest.raises(FileNotFoundError, match=r"status\.json"):
        start_trainer([sys.executable, "-S", "-c", "import time; time.sleep(60)"], run)
    assert started[0].returncode == -signal.SIGKILL


def test_non_files_are_refused_at_once(run: RunDir) -> None:
    for name in FILES:
        path = run.path / name
        for create, remove in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):
            create(path)
            with pytest.raises(RunDirError, match=rf"{name} is not a file and cannot be written; remove it"):
                train(CONFIG, run, quiet=True)
            remove(path)


def test_a_link_within_the_run_folder_is_followed(run: RunDir) -> None:
    run.checkpoints.rename(run.path / "elsewhere")
    run.checkpoints.symlink_to(run.path / "elsewhere")
    run.check()


def test_writers_with_one_process_id_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """Two containers that share a folder."""
    path = tmp_path / "one.rows"
    with whole_file(path) as first:
        first.write(b"x" * 100_000)
        with whole_file(path) as second:
            second.write(b"y" * 100)
        assert path.read_bytes() == b"y" * 100
    assert path.read_bytes() == b"x" * 100_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_name_linked_outside_is_not_followed(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "77")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (run.path / f"status.json.{os.getpid()}-77.tmp").symlink_to(precious)
    with pytest.raises(OSError, match=r"status\.json"):
        write_whole(run.status, b"{}")
    assert precious.read_text() == "mine"
    write_whole(run.status, b"{}")  # the link is gone
    assert run.status.read_bytes() == b"{}"


def test_status_control_and_stderr_are_read_only_from_files_of_the_folder(run: RunDir, tmp_path: Path) -> None:
    whole = json.dumps({"pid": 1, "started": 1.0, "heartbeat": 1.0}).encode()
    for path, text in ((run.status, whole), (run.control, b"stop"), (run.stderr, b"words")):
        (tmp_path / path.name).write_bytes(text)
        path.symlink_to(tmp_path / path.name)
    assert (run.read_status(), run.pending_request(), run.stderr_end()) == (None, None, "")
    for path in (run.status, run.control, run.stderr):
        path.unlink()
        os.mkfifo(path)
    reader = threading.Thread(target=lambda: (run.read_status(), run.pending_request(), run.stderr_end()), daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive(), "it waits for the pipe"


@pytest.mark.parametrize(
    "status",
    [
        {"pid": 1, "started": "a string", "heartbeat": 1.0},
        {"pid": 2**70, "started": 1.0, "heartbeat": 1.0},
        {"pid": -5, "started": 1.0, "heartbeat": 1.0},
        {"pid": 1, "started": 1.0, "heartbeat": 1e300},
        {"pid": 1, "started": 1.0, "heartbeat": 1.0, "total_steps": 2**70},
        {"pid": 1, "started": 1.0, "heartbeat": 1.0, "seconds_left": "soon"},
    ],
)
def test_a_status_with_wrong_types_is_ignored(run: RunDir, status: dict[str, object]) -> None:
    run.status.write_text(json.dumps(status))
    assert run.read_status() is None


def test_a_status_with_unknown_fields_is_read(run: RunDir) -> None:
    run.status.write_text(json.dumps({"pid": 1, "started": 1, "heartbeat": 2.5, "mood": "fine"}))
    status = run.read_status()
    assert status is not None
    assert (status.pid, status.started, status.heartbeat, status.seconds_left) == (1, 1.0, 2.5, None)


def test_training_continues_after_malformed_events(run: RunDir) -> None:
    run.events.write_bytes(b"\n".join([*HOSTILE_LINES, b""]))
    with pytest.raises(UserError, match=r"data\.train is empty"):
        train(CONFIG, run, quiet=True)
    assert [event.kind for event in EventReader(run.events).read_all()] == ["run_failed"]
    with run.events.open("ab") as file:
        file.write(encode(RunFinished(step=3)) + HOSTILE_LINES[19] + b"\n")
    assert train(CONFIG, run, quiet=True) == "done"  # the last that can be read counts


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_before_the_config_is_written(run: RunDir, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(recording, "write_whole", full)
        with pytest.raises(UserError, match=r"run/config\.json: .*; free some space"):
            train(CONFIG, run, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(EventWriter, "__init__", full)
        with pytest.raises(TrainingError, match=r"the disk with .*run is full"):
            train(CONFIG, run, quiet=True)


def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(os.devnull)
    for path in (pipe, link):
        with pytest.raises(OSError, match="it is a pipe or a device") as caught:
            write_whole(path, b"content")
        assert caught.value.filename == str(path)
        for write in (
            lambda path=path: write_new(path, "x", force=True),
            lambda path=path: CaptionTable(path, force=True),
        ):
            with pytest.raises(CaptionFileError, match=r"a pipe or a device|cannot be overwritten"):
                write()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, pipe]
