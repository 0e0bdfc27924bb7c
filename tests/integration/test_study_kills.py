"""A study's queue and a window that follows it, killed at random moments: nothing is lost, doubled or trained again.

``-m slow`` does twenty kills, ``SDGUI_KILLS=100`` before the command as many as that.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.spec.children import environment
from core.spec.run.events import EventReader, RunStarted
from core.spec.run.status import RunState
from core.spec.study import Study, StudyDir
from sdgui.store.store import Store
from sdgui.store.summary import RunSummary, folder_progress
from tests.core.images import write_pairs
from tests.core.studies.study.test_study import study_dict

KILLS = int(os.environ.get("SDGUI_KILLS", "20"))
STEPS, SEEDS = 30, 12
PATIENCE = 300  # seconds

JOB = textwrap.dedent(
    """
    import json, os, sys, time
    from pathlib import Path
    from core.spec.config import override
    from core.spec.files import write_whole
    from core.spec.run.events import Evaluated, EventReader, EventWriter, Metrics, RunFinished, RunStarted
    from core.spec.run.status import own_status
    from core.spec.study import StudyDir, read_study
    out, arm, seed, steps = StudyDir(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    run, parent = out.run(arm, seed), os.getppid()
    run.create()
    with run.claim():
        study = read_study(out.study)
        write_whole(run.config, override(study.recipe(study.arm(arm)), [f"seed={seed}"]).to_json().encode())
        done = [event.step for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]
        writer, start = EventWriter(run.events), max(done, default=0) // 10 * 10
        with (out.path / "calls.txt").open("a") as calls:
            calls.write(f"{arm} {seed} {start}\\n")
        writer.write(RunStarted(step=start, total_steps=steps, config_digest="d"))
        for step in range(start + 1, steps + 1):
            if os.getppid() != parent:
                sys.exit(1)
            run.write_status(own_status(step, steps, "training"))
            writer.write(Metrics(step=step, values={"train/loss": 1 / step + seed}))
            time.sleep(0.02)
        writer.write(Evaluated(step=steps, values={"val/student/mean_recall": 0.01 * seed}))
        writer.write(RunFinished(step=steps))
        writer.close()
    measures = {"version": 1, "arm": arm, "seed": seed, "steps": steps, "step_seconds": 0.1, "train_seconds": 1.0,
                "pairs": 10, "parameters": 1, "networks": {"student": {"val/R@1": 0.01 * seed}},
                "curve": [{"step": steps, "seconds": 1.0, "values": {"student/R@1": 0.01 * seed}}], "notes": []}
    run.exports.mkdir(exist_ok=True)
    write_whole(run.exports / "measures.json", json.dumps(measures).encode())
    """
)
QUEUE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from core.spec.study import StudyDir, read_study
    from core.studies.study import queue
    from core.studies.study.places import local_place
    local_place.JOB = (sys.executable, sys.argv[3])
    queue.POLL_SECONDS = 0.05
    study, out = Path(sys.argv[1]), StudyDir(Path(sys.argv[2]))
    queue.run_study(read_study(study), study.parent, out, 2, lambda text: print(text, flush=True))
    """
)
WINDOW = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from PySide6.QtCore import QCoreApplication
    from sdgui.runs.study_programs import StudyPrograms
    from sdgui.runs.follower import Follower
    from sdgui.store.store import Store
    application = QCoreApplication([])
    store = Store.open(Path(sys.argv[1]))
    follower, programs = Follower(store), StudyPrograms(store)
    programs.runs_added.connect(lambda _: [follower.show(run.id) for run in store.runs()])
    follower.start()
    programs.follow()
    application.exec()
    """
)


class Killed:
    """A study in ``folder`` with its queue and a window, which are started again after each kill."""

    def __init__(self, folder: Path) -> None:
        self.home, self.out, self.folder = folder / "home", StudyDir(folder / "home" / "studies" / "small"), folder
        write_pairs(folder)
        study = Study.model_validate(study_dict(seeds=list(range(SEEDS)), steps=STEPS))
        (folder / "study.json").write_text(study.to_json())
        (folder / "job.py").write_text(JOB)
        self.out.path.mkdir(parents=True)
        store = Store.open(self.home)
        store.add_study(self.out.path, "small")
        store.close()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        scripts = {
            "queue": [QUEUE, str(self.folder / "study.json"), str(self.out.path), str(self.folder / "job.py")],
            "window": [WINDOW, str(self.home)],
        }
        if name == "queue":
            self.calls_before = self.calls()
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", *scripts[name]], stdout=log, stderr=log, env=environment()
            )
        return self.processes[name]

    def kill(self, *names: str) -> None:
        for name in names:
            self.processes[name].kill()
            self.processes[name].wait()

    def wait_until_it_works(self) -> None:
        """Until the queue has begun a run since it was started, or has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.processes["queue"].poll() is None:
            if self.calls() > self.calls_before:
                return
            time.sleep(0.02)

    def calls(self) -> int:
        file = self.out.path / "calls.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def measured(self) -> dict[str, int]:
        """Runs with results -> the time at which these were written."""
        return {str(file): file.stat().st_mtime_ns for file in self.out.path.glob("runs/*/exports/measures.json")}

    def check_store(self, store: Store) -> None:
        """What the window left: a run is listed at most once, with what its recorded bytes say."""
        runs = store.runs()
        assert len({run.folder for run in runs}) == len(runs)
        for run in runs:
            events = run.dir.events.read_bytes()[: run.offset]
            assert events == b"" or events.endswith(b"\n")
            part = self.folder / "prefix.jsonl"
            part.write_bytes(events)
            read, expected = EventReader(part).read_all(), RunSummary()
            starts = [position for position, event in enumerate(read) if isinstance(event, RunStarted)]
            expected.apply(read[max(starts, default=0) :])
            assert run.step == expected.step


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    killed = Killed(tmp_path)
    yield killed
    killed.kill(*killed.processes)


@pytest.mark.slow
def test_killed_queues_and_windows_lose_nothing(killed: Killed, tmp_path: Path) -> None:
    moments, kills = random.Random(KILLS), 0
    measured: dict[str, int] = {}
    for name in ("queue", "window"):
        killed.start(name)
    while kills < KILLS and killed.processes["queue"].poll() is None:
        killed.wait_until_it_works()
        time.sleep(moments.uniform(0.0, 2.0))
        names = moments.choice([("queue",), ("window",), ("queue", "window")])
        killed.kill(*names)
        kills += len(names)
        store = Store.open(killed.home)
        killed.check_store(store)
        store.close()
        before, measured = measured, killed.measured()
        assert before.items() <= measured.items(), "no result is lost or written again"
        for name in names:
            killed.start(name)
        print(f"{kills} kills, {len(measured)} of {2 * SEEDS} runs measured", flush=True)
    assert killed.processes["queue"].wait(PATIENCE) == 0, (tmp_path / "queue.log").read_text()[-2000:]
    store, deadline = Store.open(killed.home), time.monotonic() + PATIENCE
    while time.monotonic() < deadline and [run.state for run in store.runs()] != [RunState.DONE] * 2 * SEEDS:
        time.sleep(0.5)
    killed.kill("window")
    runs = store.runs()
    assert sorted(run.folder.name for run in runs) == sorted(
        f"{arm}-s{seed}" for arm in ("base", "better") for seed in range(SEEDS)
    )
    for run in runs:
        assert run.state is RunState.DONE
        assert len(run.tags) == 1
        assert dict(store.summaries([run.id])[run.id]) == folder_progress(run.dir, None, time.time()).summaries
        last = [json.loads(line) for line in run.dir.events.read_text().splitlines()][-1]
        assert last["kind"] == "run_finished"
    store.close()
    status, results = killed.out.read_status(), killed.out.read_results()
    assert status is not None
    assert status.finished
    assert results is not None
    assert {arm: found["seeds"] for arm, found in results["arms"].items()} == {
        arm: list(range(SEEDS)) for arm in ("base", "better")
    }
