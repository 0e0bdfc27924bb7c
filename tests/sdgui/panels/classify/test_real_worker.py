"""The Classify panel with a real worker on a tiny run: classify, inspect, save and apply a probe."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from sdgui.app.main_window import MainWindow
from sdgui.app.start import make_application, make_services
from sdgui.panels.classify.panel import ClassifyPanel
from tests.core.labelled import write_labelled
from tests.sdgui.conftest import leave

LONG = 240_000  # ms: a worker loads torch


@pytest.mark.slow
def test_a_real_run_is_classified_inspected_saved_and_applied(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    train_data, val_data = write_labelled(tmp_path / "pairs")
    wanted = [f"data.train={train_data}", f"data.val={val_data}", "optim.batch_size=12", "optim.epochs=1"]
    train(override(preset_config("sd-clip", "tiny"), [*wanted, "validation.batch_size=12"]), RunDir(tmp_path / "run"))
    make_application()
    services = make_services(tmp_path / "home")
    window = MainWindow(services)
    run = services.store.import_run(tmp_path / "run")
    window.reload()
    window.show()
    qtbot.waitUntil(lambda: bool(window.panels))
    panel = window.show_panel("classify")
    panel.use_run(run.id)
    assert isinstance(panel, ClassifyPanel)
    try:
        panel.view.source.data.set_source(str(val_data))
        qtbot.waitUntil(lambda: panel.view.source.data.facts() is not None, timeout=LONG)
        panel.view.source.set_label("colour")
        panel.view.source.set_method("all")
        panel.view.source.classify_button.click()
        qtbot.waitUntil(lambda: len(panel.view.results.results()) == 4 or bool(panel.view.bar.text), timeout=LONG)
        qtbot.waitUntil(panel.view.strip.isHidden, timeout=LONG)
        assert panel.view.bar.text == ""
        for found in panel.view.results.results():
            cells = found.confusion
            right = int(cells.count[cells.true == cells.predicted].sum())
            assert right / int(cells.count.sum()) == pytest.approx(found.accuracy)
        found = next(result for result in panel.view.results.results() if result.evaluation.method == "image")
        panel.view.results.choose(found.evaluation)
        true, predicted = int(found.confusion.true[0]), int(found.confusion.predicted[0])
        panel.view.matrix.ask_cell(true, predicted)
        expected = int(found.confusion.count[0])
        qtbot.waitUntil(lambda: panel.view.matrix.gallery.model.rowCount() == expected, timeout=LONG)
        assert panel.view.matrix.gallery.model.item(0).path.is_file()
        out = tmp_path / "out.csv"
        panel.probes.apply(found.evaluation, panel.view.matrix.gallery.model.item(0).path.parent, out)
        qtbot.waitUntil(lambda: "images classified" in panel.view.bar.text, timeout=LONG)
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["class"] for row in rows} <= set(found.classes)
        panel.probes.save(found.evaluation, tmp_path / "colours.safetensors")
        qtbot.waitUntil(lambda: "Saved the probe as" in panel.view.bar.text, timeout=LONG)
        assert (tmp_path / "colours.json").is_file()
    finally:
        leave(window, qtbot)
        services.store.close()
