"""A script that logs into the runs folder is seen by an open window: listed, running, its curve, done."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

import core
from core.spec.run.status import RunState
from sdgui.runs.tailer import Tailer
from sdgui.store.store import Store


def test_a_script_that_begins_to_log_is_followed_to_its_end(store: Store, tailer: Tailer, qtbot: QtBot) -> None:
    added = list[int]()
    tailer.run_added.connect(added.append)
    tailer.start()
    run = core.start_run("x", home=store.home, project="cifar", system_seconds=0, record_code=False, total_steps=4)
    run.log({"train/loss": 1.0}, step=1)
    qtbot.waitUntil(lambda: bool(added), timeout=60_000)
    (run_id,) = added
    history = tailer.show(run_id)
    qtbot.waitUntil(lambda: tailer.state(run_id) is RunState.RUNNING, timeout=60_000)
    qtbot.waitUntil(lambda: history.curve("train/loss").values.tolist() == [1.0], timeout=60_000)
    run.finish(failed="diverged")
    qtbot.waitUntil(lambda: store.run(run_id).state is RunState.FAILED, timeout=60_000)
    stored = store.run(run_id)
    assert (stored.failure, stored.total_steps, stored.is_logged) == ("diverged", 4, True)
