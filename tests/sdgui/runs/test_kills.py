"""Windows and trainers killed while they write: the store stays exact, and the curve is one."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from pytestqt.qtbot import QtBot

from core.spec.children import environment
from core.spec.run.events import EventReader
from core.spec.run.starting import start_trainer
from core.spec.run.status import RunState
from sdgui.runs.follower import Follower
from sdgui.runs.history import RunHistory
from sdgui.store.records import Experiment, MetricSummary, Run
from sdgui.store.store import Store
from sdgui.store.summary import RunSummary
from tests.sdgui.driving import last_step

Command = Callable[..., list[str]]
WAIT_MS = 20000
WINDOW = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from PySide6.QtCore import QCoreApplication
    from sdgui.runs.launcher import Launcher
    from sdgui.runs.follower import Follower
    from sdgui.store.store import Store
    application = QCoreApplication([])
    store = Store.open(Path(sys.argv[1]))
    if command := sys.argv[2:]:
        Launcher(store, command=command).launch(store.experiments()[0].id)
    follower = Follower(store)
    follower.curves_changed.connect(lambda run_id, names: print(len(follower.history(run_id).names), flush=True))
    follower.start()
    for run in store.runs():
        follower.show(run.id)
    assert "torch" not in sys.modules
    application.exec()
    """
)


def kill_windows(store: Store, command: list[str], times: int, seed: int) -> Run:
    """Open a window ``times`` times and kill it at a random moment; what it left in the store is exact each time.

    The first window launches the run.
    """
    moments = random.Random(seed)
    for number in range(times):
        told = command if number == 0 else []
        window = subprocess.Popen(
            [sys.executable, "-c", WINDOW, str(store.home), *told], stdout=subprocess.PIPE, env=environment()
        )
        assert window.stdout is not None
        assert window.stdout.readline().strip().isdigit(), "it follows"
        time.sleep(moments.random() * 0.6)
        window.kill()
        window.communicate()
        (run,) = store.runs()
        found = store.run(run.id)
        part = run.folder / "prefix.jsonl"  # exactly the recorded bytes
        part.write_bytes(run.dir.events.read_bytes()[: found.offset])
        prefix, expected = EventReader(part), RunSummary()
        expected.apply(prefix.read_all())
        assert prefix.offset == found.offset
        assert (found.step, found.best) == (expected.step, expected.best)
        assert dict(store.summaries([run.id])[run.id]) == expected.metrics
    return run


def check_killed_windows(
    store: Store, command: list[str], trainer: ModuleType, qtbot: QtBot, times: int, seed: int
) -> None:
    run = kill_windows(store, command, times, seed)
    follower = Follower(store)
    follower.start()
    history: RunHistory = follower.show(run.id)
    qtbot.waitUntil(lambda: store.run(run.id).state is RunState.DONE and history.terminal is not None, timeout=120_000)
    follower.close()
    curve = history.curve("train/loss")
    assert len(history.starts) == 1
    total = history.starts[-1].total_steps
    assert curve.steps.tolist() == list(range(1, total + 1))
    assert curve.values.tolist() == [trainer.loss_at(step) for step in range(1, total + 1)]
    summary = store.summaries([run.id])[run.id]["train/loss"]
    assert summary == MetricSummary(trainer.loss_at(total), total, trainer.loss_at(total), total)
    best = store.run(run.id).best
    assert best is not None
    assert (best.step, best.value) == (total, trainer.recall_at(total))


@pytest.mark.ci
def test_a_killed_window_loses_and_duplicates_nothing_and_its_trainer_goes_on(
    store: Store, experiment: Experiment, command: Command, trainer: ModuleType, qtbot: QtBot
) -> None:
    check_killed_windows(store, command("--steps", "250", "--delay", "0.01"), trainer, qtbot, times=1, seed=5)


@pytest.mark.slow
def test_twenty_killed_windows_lose_and_duplicate_nothing(
    store: Store, experiment: Experiment, command: Command, trainer: ModuleType, qtbot: QtBot
) -> None:
    check_killed_windows(store, command("--steps", "2500", "--delay", "0.01"), trainer, qtbot, times=20, seed=20)


def test_a_killed_trainer_resumed_leaves_one_curve(
    store: Store, run: Run, command: Command, follower: Follower, trainer: ModuleType, qtbot: QtBot
) -> None:
    follower.start()
    history = follower.show(run.id)
    order = [*command("--steps", "400", "--delay", "0.1"), "train", str(run.dir.config), str(run.folder)]
    process = start_trainer(order, run.dir)
    qtbot.waitUntil(lambda: last_step(history) >= 14, timeout=WAIT_MS)
    process.kill()
    process.wait()
    qtbot.waitUntil(lambda: follower.state(run.id) is RunState.INTERRUPTED, timeout=WAIT_MS)
    (run.folder.parent / "hurry").touch()
    process = start_trainer(order, run.dir)
    process.wait()
    qtbot.waitUntil(lambda: store.run(run.id).state is RunState.DONE, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: history.terminal is not None, timeout=WAIT_MS)
    assert history.curve("train/loss").steps.tolist() == list(range(1, 401))
    assert history.starts[1].step >= 10
    assert store.summaries([run.id])[run.id]["train/loss"].last == trainer.loss_at(400)
