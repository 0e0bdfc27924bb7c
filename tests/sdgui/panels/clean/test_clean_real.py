"""Clean from end to end: a tiny run really trained, its pairs ranked by the worker, marked, saved and read again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PySide6.QtCore import QProcess, Qt
from pytestqt.qtbot import QtBot

from core.data.derived.noisy import write_noisy
from core.data.sources.opening import open_source
from core.spec.children import environment
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.start import make_application, make_services
from sdgui.panels.clean.panel import CleanPanel
from sdgui.runs.program import core_command
from tests.core.images import write_pairs

pytestmark = pytest.mark.slow


def test_a_trained_run_ranks_its_pairs_and_the_cleaned_data_can_be_opened(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    train, val = write_pairs(tmp_path)
    noisy, kept = tmp_path / "noisy.csv", tmp_path / "kept.csv"
    rows, wrong = write_noisy(train, 0.3, 0, noisy, kept)
    sizes = ["optim.batch_size=12", "optim.epochs=2", "runtime.threads=1"]
    config = override(preset_config("sd-clip", "tiny"), [f"data.train={noisy}", f"data.val={val}", *sizes])
    file, run = tmp_path / "config.json", RunDir(tmp_path / "run")
    file.write_text(config.to_json(), encoding="utf-8")
    command = [*core_command(), "train", str(file), str(run.path)]
    subprocess.run(command, check=True, capture_output=True, env=environment())

    make_application()
    services = make_services(tmp_path / "home")
    imported = services.store.import_run(run.path)
    place = CleanPanel(services)
    qtbot.addWidget(place)
    place.show()
    place.on_enter()
    place.use_run(imported.id)
    place.rank()
    qtbot.waitUntil(lambda: place.ranked is not None or bool(place.view.bar.text), timeout=240_000)
    assert place.view.bar.text == ""
    ranked = place.ranked
    assert ranked is not None
    assert (ranked.total, ranked.shuffled) == (rows, wrong)
    assert int(ranked.bins.sum()) == rows
    assert ranked.shuffled_bins is not None
    assert int(ranked.shuffled_bins.sum()) == wrong
    qtbot.keyClick(place.view.gallery.view, Qt.Key.Key_X)
    place.view.histogram.box.setValue((ranked.pairs[4].bin + 1) / 1000)
    place.view.exclude_below.setChecked(True)
    expected = {pair.key for pair in ranked.pairs if ranked.is_excluded(pair)}
    assert len(expected) >= 5
    place.save(tmp_path / "cleaned.csv")
    qtbot.waitUntil(lambda: place.view.use_button.isEnabled(), timeout=60_000)
    before = {(row.file, caption) for row in open_source(noisy).rows for caption in row.captions}
    after = {(row.file, caption) for row in open_source(tmp_path / "cleaned.csv").rows for caption in row.captions}
    assert after == before - expected
    place.save(tmp_path / "cleaned.csv")
    qtbot.waitUntil(lambda: "already exists" in place.view.bar.text, timeout=60_000)
    place.save(noisy, replace=True)
    qtbot.waitUntil(lambda: "the data set itself" in place.view.bar.text, timeout=60_000)
    place.work.background.wait()
    place.view.gallery.close_threads()
    services.pool.shutdown()
    qtbot.waitUntil(lambda: not services.pool.findChildren(QProcess), timeout=20_000)
    services.launcher.close()
