"""*Export model*: what can be chosen, a program that is followed and cancelled, and the way to open the folder."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QProcess, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from core.spec.installed import NotInstalled
from core.spec.run.folder import RunDir
from sdgui.actions.export import program
from sdgui.actions.export.dialog import ExportDialog
from sdgui.actions.export.program import ExportChoice, ExportProgram

PROGRAM = """
    import signal, sys, time
    from pathlib import Path
    out, chosen = Path(sys.argv[3]), sys.argv[4:]
    def leave(*_):
        (out.parent / "cleaned").touch()
        sys.exit(130)
    signal.signal(signal.SIGTERM, leave)
    print("opening the model", file=sys.stderr, flush=True)
    print("writing the weights 1/3", file=sys.stderr, flush=True)
    if "bf16" in chosen:
        (out.parent / "waiting").touch()
        time.sleep(60)
    if "onnx" in chosen:
        print("error: no such layer in ONNX.", file=sys.stderr, flush=True)
        sys.exit(1)
    out.mkdir(parents=True)
    (out / "arguments").write_text(" ".join(sys.argv[1:3] + chosen))
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with two checkpoints, the first the best; the folders alone."""
    run = RunDir(tmp_path / "run")
    for step, networks in ((8, ("student", "teacher")), (1200, ("student",))):
        folder = run.checkpoints / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text("{}", encoding="utf-8")
        for network in networks:
            (folder / f"{network}.safetensors").touch()
    (run.checkpoints / "best").write_text("step-00000008", encoding="ascii")
    (run.checkpoints / "last").write_text("step-00001200", encoding="ascii")
    return run


@pytest.fixture
def dialog(tmp_path: Path, qtbot: QtBot) -> Iterator[ExportDialog]:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    over = QWidget()
    qtbot.addWidget(over)
    dialog = ExportDialog(over, ExportProgram(over, [sys.executable, str(program)]))
    yield dialog
    over.close()  # kept until here: the dialog is its child


def test_an_export_is_chosen_written_and_opened_by_open_clip(dialog: ExportDialog, run: RunDir, qtbot: QtBot) -> None:
    dialog.open_for(run, "one · run 1")
    qtbot.waitUntil(lambda: dialog.checkpoint.count() == 4, timeout=20_000)
    titles = [dialog.checkpoint.itemText(row) for row in range(4)]
    assert titles == ["best: step 8", "last: step 1,200", "step 1,200", "step 8"]
    assert (dialog.network.count(), dialog.network.currentText()) == (2, "teacher")
    dialog.checkpoint.setCurrentIndex(1)
    assert [dialog.network.itemText(row) for row in range(dialog.network.count())] == ["student"]
    assert Path(dialog.folder.text()) == run.path / "exports" / "open_clip-student-last"
    with qtbot.waitSignal(dialog.program.done, timeout=30_000) as done:
        dialog.start.click()
        assert dialog.stop.isVisible()
        assert not dialog.start.isVisible()
    out = run.path / "exports" / "open_clip-student-last"
    assert done.args == [out]
    arguments = (out / "arguments").read_text(encoding="utf-8")
    assert arguments == f"export {run.path}@last --format open_clip --weights student --precision fp32"
    assert f"folder = {str(out)!r}" in dialog.code.toPlainText()
    dialog.copy.click()
    assert QGuiApplication.clipboard().text() == dialog.code.toPlainText()


def test_a_failed_export_is_reported_and_a_cancelled_one_removed(
    dialog: ExportDialog, run: RunDir, qtbot: QtBot
) -> None:
    dialog.open_for(run, "one · run 1")
    qtbot.waitUntil(lambda: dialog.checkpoint.count() == 4, timeout=20_000)
    dialog.format_box.setCurrentIndex(2)
    assert dialog.precision.count() == 1  # ONNX is written in fp32 only
    with qtbot.waitSignal(dialog.program.failed, timeout=30_000):
        dialog.start.click()
    assert dialog.bar.text == "The model was not exported: no such layer in ONNX."
    assert dialog.start.isEnabled()
    dialog.format_box.setCurrentIndex(0)
    dialog.precision.setCurrentIndex(2)
    out = run.path / "exports"
    out.mkdir()
    dialog.start.click()
    qtbot.waitUntil(lambda: (out / "waiting").exists(), timeout=30_000)
    with qtbot.waitSignal(dialog.program.failed, timeout=30_000):
        dialog.stop.click()
    assert (out / "cleaned").exists()
    assert not dialog.bar.isVisible()


def test_a_run_without_a_checkpoint_shows_the_next_step(dialog: ExportDialog, tmp_path: Path, qtbot: QtBot) -> None:
    dialog.open_for(RunDir(tmp_path / "other"), "two")
    qtbot.waitUntil(lambda: dialog.bar.isVisible(), timeout=20_000)
    assert "no local checkpoint" in dialog.bar.text
    assert not dialog.start.isEnabled()


def test_the_folder_is_suggested_until_the_user_names_one(
    dialog: ExportDialog, run: RunDir, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog.open_for(run, "one · run 1")
    qtbot.waitUntil(lambda: dialog.checkpoint.count() == 4)
    suggested, typed = run.path / "exports", run.path / "mine"
    assert Path(dialog.folder.text()) == suggested / "open_clip-teacher-best"
    hidden = (dialog.replace, dialog.stop, dialog.progress, dialog.activity, dialog.outcome, dialog.code, dialog.copy)
    assert not any(one.isVisible() for one in (*hidden, dialog.show_folder))
    dialog.network.setCurrentIndex(0)
    assert Path(dialog.folder.text()) == suggested / "open_clip-student-best"
    dialog.precision.setCurrentIndex(1)
    kept = dialog.precision.currentData()
    dialog.format_box.setCurrentIndex(1)
    assert dialog.precision.currentData() == kept, "both forms have it"
    assert dialog.description.text() != ""
    answers = ["", str(run.path)]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (answers.pop(0), ""))
    dialog.browse.click()
    assert not dialog._typed
    dialog.browse.click()
    assert (dialog.folder.text(), dialog.replace.isVisible()) == (str(run.path), True), "something is there"
    dialog.replace.setChecked(True)
    dialog.format_box.setCurrentIndex(0)
    assert dialog.folder.text() == str(run.path)
    dialog.folder.clear()
    qtbot.keyClicks(dialog.folder, str(typed))
    assert (dialog.replace.isVisible(), dialog.replace.isChecked()) == (False, False)
    dialog.folder.clear()
    qtbot.keyClicks(dialog.folder, "  ")
    assert not dialog.start.isEnabled()
    dialog.open_for(run, "one · run 1")
    assert (dialog.title.text(), dialog._typed) == ("one · run 1", False)


def test_existing_files_are_replaced_only_when_ticked(
    dialog: ExportDialog, run: RunDir, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    dialog.open_for(run, "one · run 1")
    qtbot.waitUntil(lambda: dialog.checkpoint.count() == 4)
    started: list[ExportChoice] = []
    monkeypatch.setattr(dialog.program, "start", started.append)
    out = Path(dialog.folder.text())
    out.mkdir(parents=True)
    dialog._enable()
    for ticked in (False, True):
        dialog.replace.setChecked(ticked)
        dialog.start.click()
        assert (started[-1].replace, started[-1].out, started[-1].network) == (ticked, out, "teacher")
    assert started[-1].arguments()[-1] == "--force"
    dialog.program.stepped.emit("writing the weights", 1, 3)
    assert (dialog.progress.value(), dialog.progress.maximum()) == (1, 3)
    assert dialog.activity.text() == "Writing the weights…"
    dialog.program.done.emit(out)
    assert dialog.replace.isVisible(), "written anew, it takes the place of what was just written"
    assert all(one.isVisible() for one in (dialog.outcome, dialog.code, dialog.copy, dialog.show_folder))
    assert str(out) in dialog.outcome.text()
    dialog.show_folder.click()
    assert opened == [QUrl.fromLocalFile(str(out))]
    dialog.copy.click()
    assert dialog.copy.text() == "Copied"
    dialog.start.click()
    assert not dialog.outcome.isVisible(), "of the former export"


def test_missing_packages_are_named_before_the_export_starts(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed: list[str] = []

    def need(extra: str) -> None:
        needed.append(extra)
        if extra == "export":
            raise NotInstalled("ONNX is not installed.")

    monkeypatch.setattr(program, "need", need)
    ours = ExportProgram()
    monkeypatch.setattr(ours, "_command", [str(tmp_path / "nowhere")])
    choice = ExportChoice("run@best", "student", "onnx", "fp32", tmp_path / "out")
    with qtbot.waitSignal(ours.failed) as told:
        ours.start(choice)
    assert (told.args, needed, ours.active) == (["ONNX is not installed.", ""], ["train", "export"], False)
    needed.clear()
    with qtbot.waitSignal(ours.failed):
        ours.start(replace(choice, format_name="open_clip"))
    assert needed == ["train"]


def test_an_export_process_that_fails_to_start_or_dies_is_reported(qtbot: QtBot, tmp_path: Path) -> None:
    choice = ExportChoice("run@best", "student", "open_clip", "fp32", tmp_path / "out")
    nowhere = ExportProgram(None, [str(tmp_path / "nowhere")])
    with qtbot.waitSignal(nowhere.failed) as told:
        nowhere.start(choice)
    assert told.args is not None
    assert told.args[0].startswith("The export could not be started: ")
    assert not nowhere.active
    silent = ExportProgram(None, [sys.executable, "-c", "import sys; sys.exit(3)"])
    with qtbot.waitSignal(silent.failed) as told:
        silent.start(choice)
        assert silent.active
        silent.start(choice)
    assert told.args == ["The model was not exported: the program ended with code 3.", ""]
    waits = ExportProgram(
        None, [sys.executable, "-c", "import time; print('on its way 2/9', flush=True); time.sleep(60)"]
    )
    with qtbot.waitSignal(waits.stepped, check_params_cb=lambda *what: what == ("on its way", 2, 9)):
        waits.start(choice)
    process, ended = waits._process, list[object]()
    assert process is not None
    waits.failed.connect(lambda *why: ended.append(why))
    waits.close()
    assert (waits.active, process.state()) == (False, QProcess.ProcessState.NotRunning)
    waits.cancel()
    waits.close()
    assert ended == [], "nobody is told of a window that closes"
