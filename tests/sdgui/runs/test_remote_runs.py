"""Runs on other machines in the window: their state, the worker for their models, their images, and fetching."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from core.spec.machines.answers import CheckpointFacts, FileFacts
from core.spec.machines.fetching import FetchCancelled
from core.spec.machines.machine import Machine
from core.spec.machines.machines import Machines
from core.spec.machines.record import RemoteRecord, write_checkpoints, write_record
from core.spec.run.events import RunFailed, RunFinished, Sample
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.status import RunState, RunStatus, derive_state, process_alive
from sdgui.runs.machines import fetching, remote_access
from sdgui.runs.machines.fetching import Fetches
from sdgui.runs.machines.remote_access import RemoteImages, shown_samples, worker_command
from sdgui.runs.models import run_facts
from sdgui.store.summary import run_state
from sdgui.widgets.gallery.images import set_image_fetcher
from sdgui.widgets.gallery.thumbnail_files import THUMBNAIL_SIDE, load_thumbnail

NOW = 1.8e9
RUNNING = RunStatus(pid=3, started=NOW, heartbeat=NOW, verdict="running", host="gpu (remote)")
PAUSED = RunFinished(step=7, outcome="paused", time=NOW + 5)


@pytest.mark.parametrize(
    ("status", "terminal", "now", "state"),
    [
        (RUNNING, None, NOW + 1, RunState.RUNNING),
        (RUNNING, None, NOW + 100, RunState.LOST_CONTACT),
        (RUNNING, PAUSED, NOW + 1, RunState.PAUSED),  # its events came before the machine's next word
        (replace(RUNNING, verdict="starting"), PAUSED, NOW + 1, RunState.STARTING),  # requeued
        (replace(RUNNING, verdict="starting"), None, NOW + 100, RunState.LOST_CONTACT),
        (replace(RUNNING, verdict="interrupted"), None, NOW + 9999, RunState.INTERRUPTED),
        (replace(RUNNING, verdict="interrupted"), RunFailed(step=1, error="E", message="m"), NOW, RunState.FAILED),
        (replace(RUNNING, verdict="done"), None, NOW + 9999, RunState.DONE),
    ],
)
def test_the_answer_of_a_machine_decides_the_state(
    status: RunStatus, terminal: RunFinished | RunFailed | None, now: float, state: RunState
) -> None:
    assert derive_state(status, terminal, now) is state
    # A launch by this computer's clock says nothing about events by another's.
    assert run_state(terminal, status, NOW + 7200, now) is state


def test_processes_judged_by_another_machines_answer() -> None:
    fresh = replace(RUNNING, heartbeat=time.time())
    assert process_alive(fresh)
    assert not process_alive(replace(fresh, verdict="paused"))


def remote_run(home: Path, machine: str = "near", folder: str = "/there/one") -> RunDir:
    run = RunDir(home / "runs" / "one")
    run.create()
    run.config.write_text('{"towers": {"architecture": "ViT-B-32"}}')
    write_record(run, RemoteRecord(machine=machine, folder=folder))
    return run


def listed(*steps: int) -> list[CheckpointFacts]:
    files = [FileFacts(name=name, size=1, stamp=1) for name in ("student.safetensors", "teacher.safetensors")]
    return [
        CheckpointFacts(name=f"step-{step:08d}", files=files, pointers=["best"] if step == steps[0] else ["last"])
        for step in steps
    ]


def test_remote_models_are_offered_and_used_remotely_until_fetched(tmp_path: Path) -> None:
    run = remote_run(tmp_path)
    assert run_facts(run).steps == ()
    write_checkpoints(run, listed(20, 40))
    facts = run_facts(run)
    assert (facts.steps, facts.best, facts.last) == ((40, 20), 20, 40)
    assert facts.networks == ("teacher", "student")
    for which in ("", "@best", "@40", "@20"):
        command = worker_command(tmp_path, f"{run.path}{which}")
        assert command is not None
        assert list(command[-5:]) == ["worker", "--on", "near", "--home", str(tmp_path)]
    fetched = run.checkpoints / "step-00000040"
    fetched.mkdir()
    (fetched / "checkpoint.json").write_text("{}")
    assert worker_command(tmp_path, f"{run.path}@40") is None
    assert worker_command(tmp_path, f"{run.path}@last") is None
    assert worker_command(tmp_path, f"{run.path}@best") is not None
    assert worker_command(tmp_path, "open_clip:ViT-B-32") is None
    assert worker_command(tmp_path, str(tmp_path)) is None


def test_a_remote_run_with_an_unreadable_record_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = remote_run(tmp_path, folder="")
    samples = (Sample(step=1, what="retrieval", content={"image": "/there/a.png"}),)
    assert worker_command(tmp_path, f"{run.path}@best") is None, "it has no folder there yet"
    assert shown_samples(tmp_path, run, samples) != samples
    assert shown_samples(tmp_path, RunDir(tmp_path / "here"), samples) is samples

    def broken(_run: RunDir) -> None:
        raise RunDirError("It is no record.")

    monkeypatch.setattr(remote_access, "read_record", broken)
    assert worker_command(tmp_path, f"{run.path}@best") is None
    assert shown_samples(tmp_path, run, samples) is samples


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    """``near`` is this computer, its program a child of this process."""
    found = Machines(
        tmp_path / "home", command=lambda machine: [sys.executable, "-m", "core", "remote", "--runs", machine.runs]
    )
    found.list.put(Machine(name="near", runs=str(tmp_path / "there")))
    return found


def test_remote_images_are_shown(tmp_path: Path, machines: Machines) -> None:
    home = tmp_path / "home"
    run = remote_run(home)
    image = tmp_path / "data" / "a red one.png"
    image.parent.mkdir()
    Image.new("RGB", (800, 400), "red").save(image)
    sample = Sample(step=1, what="retrieval", content={"student": [{"hits": [{"image": str(image)}]}]})
    [shown] = shown_samples(home, run, (sample,))
    path = Path(shown.content["student"][0]["hits"][0]["image"])
    assert path == home / "remote-images" / "near" / str(image).lstrip("/")
    set_image_fetcher(RemoteImages(home, machines).fetch)
    try:
        thumbnail = load_thumbnail(path, None, THUMBNAIL_SIDE)
        assert thumbnail.image is not None
        assert thumbnail.image.width() == 2 * thumbnail.image.height()
        assert load_thumbnail(path.with_name("none.png"), None, THUMBNAIL_SIDE).missing
        assert load_thumbnail(tmp_path / "remote_access.png", None, THUMBNAIL_SIDE).missing
    finally:
        set_image_fetcher(None)
        machines.close()
    assert shown_samples(home, RunDir(tmp_path), (sample,)) == (sample,)


def test_a_checkpoint_arrives_with_progress(tmp_path: Path, machines: Machines, qtbot: QtBot) -> None:
    step = tmp_path / "there" / "one" / "checkpoints" / "step-00000010"
    step.mkdir(parents=True)
    (step / "student.safetensors").write_bytes(b"w" * 2_500_000)
    (step / "checkpoint.json").write_text("{}")
    run = remote_run(tmp_path / "home", folder=str(step.parents[1]))
    fetches = Fetches(machines)
    seen: list[tuple[int, int]] = []
    fetches.progressed.connect(lambda _run, done, total: seen.append((done, total)))
    with qtbot.waitSignal(fetches.fetched) as signal:
        fetches.start(7, run.path)
        assert fetches.active(7)
    assert signal.args == [7, run.checkpoints / "step-00000010"]
    assert seen[-1] == (2_500_002, 2_500_002)
    assert not fetches.active(7)
    with qtbot.waitSignal(fetches.failed) as signal:
        fetches.start(7, run.path, "99")
    assert "no checkpoint 99" in signal.args[1]
    with qtbot.waitSignal(fetches.failed) as signal:
        fetches.start(8, tmp_path)
    assert "is trained on this computer" in signal.args[1]
    machines.close()


def test_cancelling_a_fetch_affects_only_its_run(
    tmp_path: Path, machines: Machines, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = remote_run(tmp_path / "home", folder="/there/one"), list[int]()

    def fetch(_host: object, _run: RunDir, which: str, _show: object, cancelled: Callable[[], bool]) -> Path:
        told.append(len(told))
        while not cancelled():
            time.sleep(0.005)
        raise FetchCancelled("Cancelled.")

    monkeypatch.setattr(fetching, "fetch_checkpoint", fetch)
    fetches = Fetches(machines)
    failed = list[tuple[int, str]]()
    fetches.failed.connect(lambda one, why: failed.append((one, why)))
    for one in (7, 7, 8):  # what is being fetched is not fetched twice
        fetches.start(one, run.path)
    fetches.cancel(9)
    fetches.cancel(7)
    qtbot.waitUntil(lambda: bool(failed))
    assert (failed, len(told), fetches.active(7), fetches.active(8)) == ([(7, "")], 2, False, True)
    fetches.close()
    qtbot.waitUntil(lambda: not fetches.active(8))
    machines.close()
