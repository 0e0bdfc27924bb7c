"""Mirrored runs lose and duplicate nothing, whatever is disconnected or killed, and whatever the clocks show."""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.spec.machines.connection import BACK_OFF
from core.spec.machines.fetching import fetch_checkpoint
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.mirror import MIRRORED_FILES, InUse, Mirror
from core.spec.machines.record import RemoteRecord, read_record, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, derive_state
from tests.core.remote.conftest import command, run_config, wait_for

Trainer = Callable[[str], None]


@pytest.fixture
def remote(machines: Machines) -> Iterator[RemoteRuns]:
    remote_runs = RemoteRuns(machines)
    yield remote_runs
    remote_runs.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """The local run folder, not created yet."""
    return RunDir(tmp_path / "home" / "runs" / "one")


def remote_run(run: RunDir) -> RunDir:
    record = read_record(run)
    assert record is not None
    return RunDir(record.folder)


def state(run: RunDir) -> RunState:
    """The state according to the local run folder."""
    status = run.read_status()
    return derive_state(status, None)


def files_are_equal(run: RunDir) -> bool:
    """Whether the local and remote files are equal, byte for byte."""
    return all(
        (run.path / name).exists() and (run.path / name).read_bytes() == (remote_run(run).path / name).read_bytes()
        for name in MIRRORED_FILES
        if (remote_run(run).path / name).exists() and (remote_run(run).path / name).stat().st_size
    )


def test_a_remote_run_is_mirrored_to_a_local_run_folder(remote: RemoteRuns, run: RunDir, trainer: Trainer) -> None:
    trainer("--steps 40 --delay 0.02")
    remote.launch(run, "near", run_config())
    wait_for(lambda: state(run) is RunState.RUNNING)
    (remote_run(run).path.parent / "hurry").touch()
    wait_for(lambda: state(run) is RunState.DONE)
    wait_for(lambda: files_are_equal(run))
    status = run.read_status()
    assert status is not None
    assert (status.step, status.total_steps) == (40, 40)
    assert not status.is_local


def test_a_run_that_its_machine_cannot_read_is_reported(machines: Machines, run: RunDir, trainer: Trainer) -> None:
    trainer("--steps 2000 --delay 0.02")
    reported: list[str] = []
    remote = RemoteRuns(machines, lambda folder, sentence: reported.append(sentence))
    remote.launch(run, "near", run_config())
    wait_for(lambda: state(run) is RunState.RUNNING)
    job = remote_run(run).path / "job.json"
    content = job.read_bytes()
    job.write_text("{")
    wait_for(lambda: reported)
    assert reported[0].startswith(f"near: {job}, line 1: not JSON")
    job.write_bytes(content)
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED)
    assert len(reported) == 1
    remote.close()


def test_local_requests_reach_the_remote_trainer(remote: RemoteRuns, run: RunDir, trainer: Trainer) -> None:
    trainer("--steps 2000 --delay 0.02")
    remote.launch(run, "near", run_config())
    wait_for(lambda: run.events.exists() and b'"metrics"' in run.events.read_bytes())
    run.ask("pause")
    wait_for(lambda: state(run) is RunState.PAUSED)
    wait_for(lambda: not run.control.exists())
    assert b'"outcome":"paused"' in remote_run(run).events.read_bytes()
    remote.resume(run)
    wait_for(lambda: state(run) is RunState.RUNNING)
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED)
    wait_for(lambda: files_are_equal(run))


def test_an_unresponsive_trainer_is_terminated_on_the_second_request(
    remote: RemoteRuns, run: RunDir, trainer: Trainer
) -> None:
    trainer("--steps 2000 --delay 0.02 --deaf")
    remote.launch(run, "near", run_config())
    wait_for(lambda: run.events.exists() and b'"metrics"' in run.events.read_bytes())
    for _ in range(3):  # asked, terminated, killed
        run.ask("stop")
        wait_for(lambda: not run.control.exists())
    wait_for(lambda: state(run) is RunState.INTERRUPTED)


def test_a_clock_that_is_off_by_hours_does_not_matter(
    remote: RemoteRuns, run: RunDir, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer("--steps 2000 --delay 0.02")
    monkeypatch.setenv("FAKE_CLOCK", "-7200")
    remote.launch(run, "near", run_config())
    wait_for(lambda: state(run) is RunState.RUNNING)
    status, own = run.read_status(), remote_run(run).read_status()
    assert status is not None
    assert own is not None
    assert abs(time.time() - own.heartbeat) > 7000
    assert abs(time.time() - status.heartbeat) < 60
    run.ask("stop")
    wait_for(lambda: state(run) is RunState.STOPPED)


def test_a_reopened_window_catches_up(machines: Machines, run: RunDir, trainer: Trainer, tmp_path: Path) -> None:
    trainer("--steps 30 --delay 0.02")
    first = RemoteRuns(machines)
    first.launch(run, "near", run_config())
    wait_for(lambda: run.events.exists() and b'"metrics"' in run.events.read_bytes())
    first.close()
    (remote_run(run).path.parent / "hurry").touch()
    wait_for(lambda: remote_run(run).events.read_bytes().endswith(b'"outcome":"done"}\n'))
    assert not files_are_equal(run)
    again = Machines(tmp_path / "home", command=command)
    second = RemoteRuns(again)
    second.attach_unsettled([run.path])
    wait_for(lambda: state(run) is RunState.DONE and files_are_equal(run))
    second.close()


@pytest.mark.ci
def test_repeated_disconnects_neither_lose_nor_duplicate_events(
    remote: RemoteRuns, machines: Machines, run: RunDir, trainer: Trainer
) -> None:
    """The session's process is killed at random moments while events arrive."""
    trainer("--steps 120 --delay 0.01")
    remote.launch(run, "near", run_config())
    host, draw = machines.host("near"), random.Random(5)
    kills = 0
    while kills < 3:
        wait_for(lambda: host.state.kind == "ready")
        time.sleep(draw.uniform(0.0, 0.3))
        if host._session is not None:
            host._session.kill()
            kills += 1
            wait_for(lambda: host.state.kind != "ready")
            host.retry()
    wait_for(lambda: state(run) is RunState.DONE)
    wait_for(lambda: files_are_equal(run))
    assert BACK_OFF[-1] <= 30.0


def test_a_launch_while_disconnected_arrives_later_and_once(
    tmp_path: Path, machine: Machine, run: RunDir, trainer: Trainer
) -> None:
    trainer("--steps 20 --delay 0.01")
    down = [sys.executable, "-c", "import sys; sys.stderr.write('Connection refused'); sys.exit(255)"]
    line = [down]
    machines = Machines(tmp_path / "home", command=lambda machine: line[0])
    machines.list.put(machine)
    remote = RemoteRuns(machines)
    machines.host("near")._command = down
    launching = threading.Thread(target=remote.launch, args=(run, "near", run_config()))
    launching.start()
    wait_for(lambda: "cannot be reached" in machines.host("near").state.message)
    assert state(run) is RunState.STARTING
    machines.host("near")._command = command(machine)
    machines.host("near").retry()
    launching.join()
    wait_for(lambda: state(run) is RunState.DONE and files_are_equal(run))
    assert remote_run(run).events.read_bytes().count(b'"run_started"') == 1
    remote.close()


def mirror_of(run: RunDir) -> Mirror:
    run.create()
    record = RemoteRecord(machine="near", folder="/there")
    write_record(run, record)
    return Mirror(run, record)


def test_a_replaced_remote_file_is_copied_again(host: Host, run: RunDir, trainer: Trainer) -> None:
    trainer("--steps 5 --delay 0")
    folder = host.submit("one", "a", run_config()).result(60).folder
    wait_for(lambda: host.run_status(folder).result(60).state is RunState.DONE)
    mirror = mirror_of(run)
    run.events.write_bytes(b"x" * 200)  # as long as a part of what is there, and something else
    host.follow(folder, mirror)
    wait_for(lambda: run.events.read_bytes() == RunDir(folder).events.read_bytes())
    host.unfollow(folder)
    mirror.close()


# Checkpoints
def big_checkpoint(folder: Path, size: int = 3_000_000) -> Path:
    step = folder / "checkpoints" / "step-00000010"
    step.mkdir(parents=True)
    (step / "student.safetensors").write_bytes(random.Random(1).randbytes(size))
    (step / "checkpoint.json").write_text("{}")
    (folder / "checkpoints" / "best").write_text(step.name)
    return step


@pytest.fixture
def fetched(machines: Machines, run: RunDir, runs_there: Path) -> tuple[Host, Path]:
    """A machine's connection, and a remote checkpoint of three megabytes."""
    step = big_checkpoint(runs_there / "one")
    (runs_there / "one" / "config.json").write_text("{}")
    run.create()
    write_record(run, RemoteRecord(machine="near", folder=str(runs_there / "one")))
    return machines.host("near"), step


def test_a_checkpoint_is_fetched_completely(fetched: tuple[Host, Path], run: RunDir) -> None:
    host, step = fetched
    seen: list[tuple[int, int]] = []
    folder = fetch_checkpoint(host, run, "best", lambda done, total: seen.append((done, total)))
    assert folder == run.checkpoints / step.name
    assert (folder / "student.safetensors").read_bytes() == (step / "student.safetensors").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.json", "student.safetensors"]
    assert seen == sorted(seen)
    assert seen[-1] == (3_000_002, 3_000_002)
    assert (run.checkpoints / "best").read_text() == step.name


def test_a_locally_deleted_run_is_no_longer_followed(remote: RemoteRuns, run: RunDir, trainer: Trainer) -> None:
    trainer("--steps 3000 --delay 0.02")
    remote.launch(run, "near", run_config())
    wait_for(lambda: run.events.exists())
    folder = remote_run(run)

    def deleted() -> bool:
        shutil.rmtree(run.path, ignore_errors=True)  # what is just being written may come and go meanwhile
        return not run.path.exists()

    wait_for(deleted)
    wait_for(lambda: run.path not in remote._attached)
    assert not run.path.exists()
    assert remote.machines.host("near").run_status(str(folder.path)).result(60).state.alive


def test_a_run_followed_by_another_program_can_be_resumed(
    remote: RemoteRuns, machines: Machines, run: RunDir, trainer: Trainer
) -> None:
    trainer("--steps 60 --delay 0.02")
    remote.launch(run, "near", run_config())
    wait_for(lambda: run.events.exists() and b'"metrics"' in run.events.read_bytes())
    run.ask("pause")
    wait_for(lambda: state(run) is RunState.PAUSED)
    (remote_run(run).path.parent / "hurry").touch()
    another, before = RemoteRuns(machines), read_record(run)
    with pytest.raises(InUse):
        another.resume(run)
    assert read_record(run) == before
    another.resume_without_following(run)
    wait_for(lambda: state(run) is RunState.DONE and files_are_equal(run))
