"""Runs that scripts log: recorded whole whatever ends the script, and read as a trainer's runs are."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import core
from core.cli.run_tables import changed_fields, read_row
from core.spec.errors import UserError
from core.spec.run.events import Event, EventReader, Log, Metrics, RunFailed, RunFinished, RunStarted, Sample
from core.spec.run.folder import RunDir
from core.spec.run.logged import read_logged
from core.tracking import logged_run
from core.tracking.logged_run import LoggedRun
from core.tracking.media import sample_content

SOURCE = Path(core.__file__).parent.parent


def script(tmp_path: Path, body: str) -> list[str]:
    """The command that runs ``body``, whose run is in ``tmp_path``/run."""
    head = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import core\n"
    start = f"run = core.start_run('a run', {{'lr': 0.1}}, folder={str(tmp_path / 'run')!r}, record_code=False)\n"
    file = tmp_path / "script.py"
    file.write_text(head + start + textwrap.dedent(body), encoding="utf-8")
    return [sys.executable, str(file)]


def events(folder: Path) -> list[Event]:
    reader = EventReader(folder / "events.jsonl")
    found = reader.read_all()
    assert reader.broken == 0, reader.problem
    return found


def losses(folder: Path) -> dict[int, float]:
    return {
        event.step: event.values["loss"]
        for event in events(folder)
        if isinstance(event, Metrics) and "loss" in event.values
    }


def start(tmp_path: Path, **settings: object) -> LoggedRun:
    return core.start_run("a run", folder=tmp_path / "run", record_code=False, system_seconds=0, **settings)  # type: ignore[arg-type]


def test_a_script_without_torch_writes_a_run_that_the_verbs_list(tmp_path: Path) -> None:
    body = """
        for step in range(3):
            run.log({"train/loss": 3.0 - step, "val": {"accuracy": 0.5}}, step=step)
        run.log({"late": float("nan")})
        assert "torch" not in sys.modules
        run.finish()
    """
    subprocess.run(script(tmp_path, body), check=True, timeout=120)
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.step, row.experiment) == ("done", 3, "uncategorized")
    assert row.metrics["train/loss"].best == 1.0
    assert row.metrics["val/accuracy"].last_step == 2
    assert np.isnan(row.metrics["late"].last)
    assert isinstance(events(tmp_path / "run")[0], RunStarted)


@pytest.mark.parametrize(
    ("body", "state", "reason"),
    [
        ("raise ValueError('no such file')", "failed", "ValueError: no such file"),
        ("sys.exit(3)", "failed", "The script exited with 3."),
        ("sys.exit()", "done", ""),
        ("import threading; t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()", "done", ""),
        ("try:\n    sys.exit(3)\nexcept SystemExit:\n    pass\nrun.log({'loss': 1.0})", "done", ""),
        ("try:\n    sys.exit(3)\nfinally:\n    run.log({'loss': 1.0})", "failed", "The script exited with 3."),
        ("import atexit\natexit.register(run.log, {'loss': 1.0})\nsys.exit(3)", "failed", "The script exited with 3."),
    ],
)
def test_the_end_of_the_script_is_recorded(tmp_path: Path, body: str, state: str, reason: str) -> None:
    subprocess.run(script(tmp_path, body), check=False, timeout=120, capture_output=True)
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.note) == (state, reason)


def test_finish_records_the_end_of_a_run(tmp_path: Path) -> None:
    run = start(tmp_path)
    with pytest.raises(RuntimeError), run:
        raise RuntimeError("inside")
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.note) == ("failed", "RuntimeError: inside")
    start(tmp_path, resume_step=0).finish(failed="diverged")
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.note) == ("failed", "diverged")


def test_a_second_interrupt_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)
    run.log({"loss": 1.0}, step=1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run._thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    logged_run._end_all()  # at exit
    assert losses(tmp_path / "run") == {1: 1.0}
    assert isinstance(events(tmp_path / "run")[-1], RunFinished)
    start(tmp_path, resume_step=1).finish()


def test_nothing_flushed_is_lost_when_the_script_is_killed(tmp_path: Path) -> None:
    body = """
        for step in range(5000):
            run.log({"loss": float(step)}, step=step)
        run.flush()
        print("flushed", flush=True)
        while True:
            step += 1
            run.log({"loss": float(step)}, step=step)
    """
    with subprocess.Popen(script(tmp_path, body), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"flushed\n"
        process.kill()
    found = losses(tmp_path / "run")
    assert list(found)[:5000] == list(range(5000))
    assert all(step == value for step, value in found.items())
    assert read_row(RunDir(tmp_path / "run")).state == "interrupted"


def test_a_file_truncated_anywhere_keeps_its_complete_lines_and_continues(tmp_path: Path) -> None:
    run = start(tmp_path)
    for step in range(4):
        run.log({"loss": float(step)}, step=step)
    run.finish()
    file = tmp_path / "run" / "events.jsonl"
    content = file.read_bytes()
    first = content.index(b"metrics") - 20
    for cut in range(first, len(content)):
        file.write_bytes(content[:cut])
        whole = content[:cut].count(b'"loss"') - (b'"loss"' in content[:cut].rsplit(b"\n", 1)[-1])
        assert len(losses(tmp_path / "run")) == whole
    file.write_bytes(content[: content.rindex(b'"loss"')])  # the line of step 3 is torn
    again = start(tmp_path, resume_step=2)
    again.log({"loss": 30.0}, step=3)
    again.finish()
    reader = EventReader(file)
    values = [event.values["loss"] for event in reader.read_all() if isinstance(event, Metrics)]
    assert values == [0.0, 1.0, 2.0, 30.0]
    assert reader.broken == 1  # the torn line alone


def test_unsupported_values_are_named_once_and_the_rest_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(tmp_path)
    for _ in range(2):
        run.log({"loss": 1.0, "nothing": None, 3: 4.0, "many": np.zeros(3), "x" * 300: 1.0}, step=5)  # type: ignore[dict-item]
    run.log({"loss": np.float32(2)}, step=-1)  # type: ignore[arg-type]
    run.log("loss")  # type: ignore[arg-type]
    run.log({"cells": core.Table(["a", "b"], [[1]]), "picture": core.Image(tmp_path / "none.png")})
    run.finish()
    run.log({"loss": 3.0})
    assert [event.values for event in events(tmp_path / "run") if isinstance(event, Metrics)] == [
        {"loss": 1.0}, {"loss": 1.0}, {"loss": 2.0}
    ]  # fmt: skip
    logs = [event.message for event in events(tmp_path / "run") if isinstance(event, Log)]
    starts = (
        "nothing is None",
        "3 is not a name",
        "many is",
        "'xxx",
        "-1 is not a valid step",
        "run.log needs",
        "the table",
    )
    assert all(any(log.startswith(begin) for log in logs) for begin in starts)
    assert len(logs) == len(set(logs)) == len(starts) + 1
    assert "had ended, or in another process" in capsys.readouterr().err


def test_samples_are_kept_with_their_images_in_the_run_folder(tmp_path: Path) -> None:
    Pillow.new("RGB", (4, 3), "red").save(tmp_path / "red.png")
    run = start(tmp_path)
    pictures = [
        core.Image(tmp_path / "red.png", "a file"),
        core.Image(Pillow.new("L", (5, 5)), "PIL"),
        core.Image(np.full((3, 8, 6), 0.5, np.float32), "channels first"),
    ]
    run.log(
        {"pictures": pictures, "cells": core.Table(["n", "word"], [[1, "one"]]), "said": "hello", "loss": 1.0}, step=9
    )
    run.finish()
    content = {name: item for event in events(tmp_path / "run") if isinstance(event, Sample)
               for name, item in event.content.items()}  # fmt: skip
    assert content["cells"] == {"type": "table", "columns": ["n", "word"], "rows": [[1, "one"]]}
    assert content["said"] == {"type": "text", "text": "hello"}
    images = content["pictures"]["images"]
    assert [image["caption"] for image in images] == ["a file", "PIL", "channels first"]
    for image, size in zip(images, [(4, 3), (5, 5), (6, 8)], strict=True):
        with Pillow.open(tmp_path / "run" / image["image"]) as kept:
            assert kept.size == size


def test_scalars_of_numpy_are_numbers_and_masks_are_visible(tmp_path: Path) -> None:
    table = core.Table(["f", "i"], [[np.float32(0.5), np.int64(3)]])
    assert sample_content("t", table, tmp_path, 1)["rows"] == [[0.5, 3]]
    images = [core.Image(np.eye(2, dtype=np.bool_)), core.Image(torch.eye(2, dtype=torch.bfloat16))]
    for image in sample_content("masks", images, tmp_path, 1)["images"]:
        with Pillow.open(tmp_path / image["image"]) as saved:
            assert np.asarray(saved).tolist() == [[255, 0], [0, 255]]


def test_images_are_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "run" / "samples").mkdir(parents=True)
    (tmp_path / "run" / "samples" / "1-a-0.png").symlink_to(tmp_path / "elsewhere.png")
    sample_content("a", core.Image(np.zeros((2, 2))), tmp_path / "run", 1)
    assert not (tmp_path / "elsewhere.png").exists()


@pytest.mark.parametrize("settings", [{"total_steps": -5}, {"total_steps": 2.5}, {"resume_step": "x"}])
def test_invalid_steps_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(UserError, match="must be a whole number from 0"):
        start(tmp_path, **settings)
    assert not (tmp_path / "run").exists()
    start(tmp_path, total_steps=np.int64(7)).finish()
    assert isinstance(first := events(tmp_path / "run")[0], RunStarted)
    assert first.total_steps == 7


def test_a_folder_with_another_run_is_refused(tmp_path: Path) -> None:
    run = start(tmp_path)
    with pytest.raises(UserError, match="already contains a run"):
        start(tmp_path)
    with pytest.raises(UserError, match="in use"):
        start(tmp_path, resume_step=0)
    run.finish()
    start(tmp_path, resume_step=0).finish()
    (tmp_path / "run" / "config.json").write_text(core.preset("clip").to_json(), encoding="utf-8")
    with pytest.raises(UserError, match="contains a run of the trainer"):
        start(tmp_path, resume_step=0)
    with pytest.raises(UserError, match="1 to 200 characters"):
        core.start_run("", folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_config_of_any_values_is_kept_and_compared(tmp_path: Path) -> None:
    class Optimizer:
        def __str__(self) -> str:
            return "sgd"

    for name, rate in (("a", 0.1), ("b", float("inf"))):
        config = {"lr": rate, "optimizer": Optimizer(), "sizes": (1, 2), "nested": {"depth": 3}}
        core.start_run(name, config, folder=tmp_path / name, project="cifar", record_code=False).finish()
    read = read_logged(tmp_path / "a" / "config.json")
    assert read is not None
    assert read.config == {"lr": 0.1, "optimizer": "sgd", "sizes": [1, 2], "nested": {"depth": 3}}
    assert changed_fields([RunDir(tmp_path / "a"), RunDir(tmp_path / "b")]) == {"lr": [0.1, "inf"]}


def test_a_requested_stop_interrupts_the_script(tmp_path: Path) -> None:
    """Even of a job that a shell started in the background, with SIGINT ignored."""
    body = """
        import time
        print("begun", flush=True)
        time.sleep(60)
    """
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *script(tmp_path, body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        RunDir(tmp_path / "run").ask("stop")
        process.wait(timeout=30)
    assert read_row(RunDir(tmp_path / "run")).state == "stopped"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_writes_nothing_to_the_run(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.log({"loss": 1.0}, step=1)

    def child() -> None:
        run.log({"loss": 2.0}, step=2)
        run.finish()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    run.finish()
    assert losses(tmp_path / "run") == {1: 1.0}
    assert sum(isinstance(event, (RunFinished, RunFailed)) for event in events(tmp_path / "run")) == 1


def test_values_that_a_full_disk_refuses_until_the_end_are_reported_as_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(tmp_path)

    def refuse(lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    run._events.append = refuse  # type: ignore[method-assign]
    run.log({"loss": 1.0}, step=1)
    run.flush()
    assert "logged values are kept in memory" in capsys.readouterr().err
    run.finish()
    assert "the values logged since then are lost" in capsys.readouterr().err


def test_values_refused_by_a_full_disk_are_written_later(tmp_path: Path) -> None:
    run = start(tmp_path)
    file = run._events._file
    written = file.write

    class Full:
        def write(self, data: bytes) -> int:
            if not data or len(self.taken) > 1:
                raise OSError(28, "No space left on device")
            self.taken.append(written(data[:5]))
            return self.taken[-1]

        def __init__(self) -> None:
            self.taken: list[int] = []

        def fileno(self) -> int:
            return file.fileno()

    run._events._file = Full()  # type: ignore[assignment]
    for step in range(100):
        run.log({"loss": float(step)}, step=step)
    run.flush()
    run._events._file = file
    run.finish()
    assert list(losses(tmp_path / "run")) == list(range(100))


def _log(home: str, number: int) -> None:
    run = core.start_run(f"run {number}", {"number": number}, home=home, record_code=False, system_seconds=0.2)
    for step in range(500):
        run.log({"loss": number + step / 1000}, step=step)
    run.finish()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_64_processes_sharing_a_runs_folder_lose_nothing(tmp_path: Path) -> None:
    fork: Callable[..., multiprocessing.Process] = multiprocessing.get_context("fork").Process  # type: ignore[assignment]
    processes = [fork(target=_log, args=(str(tmp_path), number)) for number in range(64)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 64
    for folder in folders:
        number = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]["number"]
        assert losses(folder) == {step: number + step / 1000 for step in range(500)}
        assert isinstance(events(folder)[-1], RunFinished)
