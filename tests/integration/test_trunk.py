"""The whole of it: a window, a real trainer started by a key, its curves, a real worker that searches the result."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QProcess, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.status import RunState
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.runs.panel import RunsPanel
from sdgui.panels.search.layout import EVALUATION
from sdgui.panels.search.panel import SearchPanel
from tests.core.images import write_pairs


def test_define_launch_watch_search(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    train, val = write_pairs(tmp_path / "pairs")
    settings = [f"data.train={train}", f"data.val={val}", "optim.epochs=2", "optim.batch_size=12", "runtime.threads=1"]
    make_application()
    window = MainWindow(make_services(tmp_path / "home"))
    window.show()
    window.services.follower.start()
    try:
        window.activateWindow()
        qtbot.waitUntil(lambda: window.isActiveWindow() and bool(window.panels))
        window.experiment_commands.add(override(preset_config("sd-clip", "tiny"), settings), "shapes")
        qtbot.waitUntil(lambda: window.panel_name == "define")
        qtbot.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
        store = window.services.store
        qtbot.waitUntil(lambda: [run.state for run in store.runs()] == [RunState.DONE], timeout=90000)

        run = store.runs()[0]
        assert run.step == run.total_steps == 6
        assert run.best is not None
        assert run.best.metric in ("val/student/mean_recall", "val/teacher/mean_recall")
        watch = window.panels["runs"]
        assert isinstance(watch, RunsPanel)
        qtbot.waitUntil(lambda: len(watch.tabs.view.grid.points(str(run.id), "train/contrastive")[0]) == 6)
        qtbot.waitUntil(lambda: len(watch.tabs.view.grid.points(str(run.id), "val/teacher/mean_recall")[0]) == 2)

        qtbot.waitUntil(lambda: "finished" in window.bar.text)
        window.bar.press_remedy()  # "Search what it learnt"
        search = window.panels["search"]
        assert isinstance(search, SearchPanel)
        search.view.filters.group.setChecked(False)  # a tiny model takes many images for near-identical
        search.view.tabs.setCurrentIndex(EVALUATION)
        qtbot.waitUntil(lambda: search.view.evaluation.model.columnCount() == 4, timeout=90000)
        assert search.view.evaluation.model.rowCount() == 12
        search.view.evaluation.choose_first()
        for side in search.view.sides:
            qtbot.waitUntil(lambda side=side: "Correct image" in side.true_rank_label.text(), timeout=30000)
            items = side.gallery.items()
            assert [item.rank for item in items] == list(range(1, 13))
            assert [item.correct for item in items].count(True) == 1
            assert all(Path(item.path).is_file() for item in items)
    finally:
        window.close_without_asking()
        pool = window.services.pool
        qtbot.waitUntil(lambda: not pool.findChildren(QProcess), timeout=10000)
