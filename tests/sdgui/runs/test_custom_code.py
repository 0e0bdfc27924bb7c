"""Runs with custom code that the window starts: only the copies that were made at their launch may run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.code import CodeError, CodeNotAllowed, allow, kept_files
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from sdgui.runs import launcher as launching
from sdgui.store.records import Progress
from sdgui.store.store import Store
from tests.sdgui.runs.conftest import MakeLauncher

WAIT_MS = 15000


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A config with a loss in a file."""
    file = tmp_path / "losses.py"
    file.write_text("def loss(student): return student.text.sum()\n")
    return override(preset_config("clip", "tiny"), [f"objectives.custom={json.dumps({f'{file}:loss': {}})}"])


def test_a_launch_copies_the_code_and_trains_with_the_copy(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    start = launching.start_trainer
    monkeypatch.setattr(
        launching, "start_trainer", lambda command, *rest: started.append(command) or start(command, *rest)
    )
    run = make_launcher("--steps", "2").launch(store.add_experiment(config).id)
    (kept,) = kept_files(run.dir).values()
    assert (run.folder / "code" / kept.file).read_bytes() == (tmp_path / "losses.py").read_bytes()
    assert started[0][-2:] == ["--code", "kept"]


def test_an_imported_run_resumes_once_its_code_is_allowed(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path, user_folders: Path, qtbot: QtBot
) -> None:
    launcher = make_launcher("--steps", "2")
    first = launcher.launch(store.add_experiment(config).id)
    qtbot.waitUntil(lambda: any("run_finished" in line for line in _lines(first.dir)), timeout=WAIT_MS)
    foreign = RunDir(shutil.copytree(first.folder, tmp_path / "foreign"))
    foreign.status.unlink()  # its trainer may not be gone yet
    (user_folders / "sdgui" / "allowed-code.txt").unlink()
    run = store.import_run(foreign.path)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=run.offset))
    with pytest.raises(CodeNotAllowed) as refused:
        launcher.resume(run.id)
    allow(refused.value.files)
    launcher.resume(run.id)
    (tmp_path / "losses.py").write_text("another = 1\n")
    with pytest.raises(CodeError, match=r"losses\.py changed since .* began"):
        launching.check_resumed(config, foreign)


def test_an_imported_run_without_copies_runs_no_file_that_its_config_names(
    config: RunConfig, make_launcher: MakeLauncher, store: Store, tmp_path: Path
) -> None:
    foreign = RunDir(tmp_path / "foreign")
    foreign.create()
    foreign.config.write_text(config.to_json(), encoding="utf-8")
    run = store.import_run(foreign.path)
    store.record(run.id, Progress(state=RunState.INTERRUPTED, offset=run.offset))
    with pytest.raises(CodeError, match=r"has no copy of it"):
        make_launcher().resume(run.id)


def _lines(run: RunDir) -> list[str]:
    return run.events.read_text().splitlines() if run.events.exists() else []
