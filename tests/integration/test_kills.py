"""Trainer and window killed together, again and again: no point is lost or doubled, and no loss is another.

``-m slow`` does twenty such kills, ``SDGUI_KILLS=300`` before the command as many as that.
"""

from __future__ import annotations

import math
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
from core.spec.config import RunConfig, override
from core.spec.run.events import EventReader, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.metric_names import higher_is_better, ranks_runs
from core.spec.run.starting import start_trainer
from core.training.train import train
from sdgui.runs.history import RunHistory
from sdgui.runs.program import core_command
from sdgui.store.records import BestPoint, MetricSummary, Run
from sdgui.store.store import Store
from sdgui.store.summary import RunSummary, folder_progress
from tests.core.images import write_pairs
from tests.core.run_files import losses as points
from tests.core.variants import variant_config

KILLS = int(os.environ.get("SDGUI_KILLS", "20"))
KILLS_PER_RUN = 15  # then another run is begun, so that each is short and can be compared
PATIENCE = 300  # seconds; the start of a program on a busy machine

WINDOW = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from PySide6.QtCore import QCoreApplication
    from sdgui.runs.follower import Follower
    from sdgui.store.store import Store
    application = QCoreApplication([])
    store = Store.open(Path(sys.argv[1]))
    follower = Follower(store)
    follower.curves_changed.connect(lambda run_id, names: print(follower.history(run_id).step, flush=True))
    follower.start()
    for run in store.runs():
        follower.show(run.id)
    application.exec()
    """
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    store.close()


def run_config(folder: Path, epochs: int) -> RunConfig:
    train_csv, val = write_pairs(folder)
    paths = [f"data.train={train_csv}", f"data.val={val}", "optim.batch_size=12", "runtime.threads=1"]
    settings = [*paths, f"optim.epochs={epochs}", "validation.every_steps=20"]
    return override(variant_config("sd-clip-every-step"), settings)


def check_store(store: Store, run: Run) -> None:
    """What a killed window left is a function of the bytes that it counts as read."""
    found = store.run(run.id)
    part = run.folder / "prefix.jsonl"
    part.write_bytes(run.dir.events.read_bytes()[: found.offset] if run.dir.events.exists() else b"")
    reader, expected = EventReader(part), RunSummary()
    events = reader.read_all()
    assert reader.offset == found.offset, "no half line is counted"
    last = max((at for at, event in enumerate(events) if isinstance(event, RunStarted)), default=0)
    history = RunHistory()
    history.apply(events)  # cuts what a resume made void
    expected.apply(events[last:])
    assert found.step == expected.step
    kept = {name: summary_of(history, name) for name in history.names if history.curve(name).steps.size}
    assert dict(store.summaries([run.id])[run.id]) == kept
    ranking = [one for one in kept.items() if ranks_runs(one[0]) and not math.isnan(one[1].best)]
    first = max(ranking, key=lambda one: (one[1].best, -one[1].best_step), default=None)
    assert found.best == (first and BestPoint(first[0], first[1].best, first[1].best_step))


def summary_of(history: RunHistory, name: str) -> MetricSummary:
    """The last and the best point of a curve."""
    curve, sign = history.curve(name), 1.0 if higher_is_better(name) else -1.0
    points_of = list(zip(curve.values.tolist(), curve.steps.tolist(), strict=True))
    last, step = points_of[-1]
    finite = [(value, at) for value, at in points_of if math.isfinite(value)]
    best, best_step = max(finite, key=lambda point: (sign * point[0], -point[1]), default=(math.nan, 0))
    return MetricSummary(last, int(step), best, int(best_step))


def kill_both(store: Store, run: Run, moments: random.Random) -> bool:
    """Start a trainer and a window, kill both at random moments; whether the run came to its end before."""
    command = [*core_command(), "train", str(run.dir.config), str(run.folder)]
    trainer = start_trainer(command, run.dir)
    window = subprocess.Popen(
        [sys.executable, "-c", WINDOW, str(store.home)], stdout=subprocess.DEVNULL, env=environment()
    )
    before = run.dir.events.stat().st_size if run.dir.events.exists() else 0
    more, deadline = moments.randint(1, 6_000), time.monotonic() + PATIENCE
    try:
        while trainer.poll() is None and time.monotonic() < deadline:
            if run.dir.events.exists() and run.dir.events.stat().st_size >= before + more:
                break
            time.sleep(0.002)
        ended = trainer.poll() is not None
    finally:
        for process in moments.sample([trainer, window], 2):
            process.kill()
            time.sleep(0.05 * moments.random())
        trainer.wait()
        window.wait()
    assert not ended or trainer.returncode == 0, run.dir.stderr_end()
    return ended


@pytest.mark.slow
def test_trainer_and_window_killed_together(store: Store, tmp_path: Path) -> None:
    config = run_config(tmp_path / "pairs", epochs=40)
    whole = RunDir(tmp_path / "whole")
    assert train(config, whole, quiet=True) == "done"
    wanted, moments, kills = points(whole), random.Random(KILLS), 0
    experiment = store.add_experiment(config)
    while kills < KILLS:
        run = store.add_run(experiment.id)
        run.dir.create()
        run.dir.config.write_text(config.to_json())
        for _ in range(min(KILLS_PER_RUN, KILLS - kills)):
            if kill_both(store, run, moments):
                break
            kills += 1
            check_store(store, run)
            shown = points(run.dir)
            assert shown == {step: wanted[step] for step in shown}
            print(f"{kills} kills, at step {max(shown, default=0)}", flush=True)
        finish(store, run, wanted)


def finish(store: Store, run: Run, wanted: dict[int, dict[str, float]]) -> None:
    """Let the run come to its end: every point is there once, in the curves as in the store."""
    command = [*core_command(), "train", str(run.dir.config), str(run.folder)]
    assert subprocess.run(command, env=environment(), stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert points(run.dir) == wanted
    history = RunHistory()
    history.apply(EventReader(run.dir.events).read_all())
    assert isinstance(history.terminal, RunFinished)
    curve = history.curve("train/loss")
    assert curve.steps.tolist() == list(wanted)
    assert curve.values.tolist() == [values["train/loss"] for values in wanted.values()]
    store.record(run.id, folder_progress(run.dir, None, time.time()))
    assert store.summaries([run.id])[run.id]["train/loss"] == summary_of(history, "train/loss")
