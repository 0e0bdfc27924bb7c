"""The Caption place on a real run with the real worker: trained, dropped, captioned, saved, and defined anew."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.data.sources.opening import open_source
from core.spec.config import RunConfig, override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.app.start import make_application, make_services
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.actions import Actions
from tests.core.images import write_pairs


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of sd-coca on a few shapes."""
    pairs, held_out = write_pairs(tmp_path / "pairs")
    fields = [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=1"]
    write_whole(tmp_path / "x.json", override(preset_config("sd-coca", "tiny"), fields).to_json().encode())
    command = [sys.executable, "-m", "core", "train", str(tmp_path / "x.json"), str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    return RunDir(tmp_path / "run")


@pytest.mark.slow
def test_captions_of_a_run_become_the_next_runs_training_data(
    qtbot: QtBot, run: RunDir, home: Path, tmp_path: Path, qapp: Callable[..., object]
) -> None:
    make_application()
    services = make_services(home)
    imported = services.store.import_run(run.path)
    panel = CaptionsPanel(services)
    panel.set_actions(Actions(panel))
    panel.show()
    panel.entered()
    assert panel.view.tools.pickers["a"].set_choice(ModelChoice(f"{run.path}@last", "teacher", "tiny", imported.id))
    given = sorted(str(path) for path in (tmp_path / "pairs").glob("*.png"))[:5]
    broken = tmp_path / "pairs" / "broken.png"
    broken.write_bytes(Path(given[0]).read_bytes()[:60])
    panel.view.target.take_paths([*given, broken])
    qtbot.waitUntil(lambda: len(panel.model) == 6 and not panel.work.busy, timeout=90000)
    entries = panel.model.entries()
    assert [entry.state for entry in entries] == ["captioned"] * 5 + ["refused"]
    assert "broken or cut off" in entries[5].refused
    origin = panel._origins[entries[0].captions["a"].origin]
    assert (origin["weights"], len(origin["digest"]), origin["settings"]["beams"]) == ("teacher", 16, 6)
    assert len(entries[0].captions["a"].candidates) == 3
    panel.edits.type(entries[0].path, "a disc")
    panel.files.save_training_data()
    qtbot.waitUntil(lambda: not panel.files.task.running, timeout=10000)
    asked: list[RunConfig] = []
    panel.define_asked.connect(asked.append)
    panel.view.bar.press_remedy()
    assert asked[0].preset == "sd-coca"
    assert asked[0].data.val == str(tmp_path / "pairs" / "val.csv")
    rows = open_source(asked[0].data.train).rows
    expected = {Path(entry.path): entry.text for entry in panel.model.entries() if entry.text}
    assert {row.image.resolve(): row.captions[0] for row in rows} == expected
    assert rows[0].captions == ("a disc",)
    panel.work.makers["a"].close()
    panel.persistence.close()
    panel.view.list.close_threads()
    services.pool.close()
    services.store.close()
    panel.close()
