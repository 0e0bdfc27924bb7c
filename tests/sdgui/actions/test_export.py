"""*Export model*: what can be chosen, a program that is followed and cancelled, and the way to open the folder."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.folder import RunDir
from sdgui.actions.export.dialog import ExportDialog
from sdgui.actions.export.program import ExportProgram

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


def test_an_export_is_chosen_written_and_opened_elsewhere(dialog: ExportDialog, run: RunDir, qtbot: QtBot) -> None:
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
    assert f"local-dir:{out}" in dialog.code.toPlainText()
    dialog.copy.click()
    assert QGuiApplication.clipboard().text() == dialog.code.toPlainText()


def test_what_fails_is_told_and_what_is_cancelled_is_removed(dialog: ExportDialog, run: RunDir, qtbot: QtBot) -> None:
    dialog.open_for(run, "one · run 1")
    qtbot.waitUntil(lambda: dialog.checkpoint.count() == 4, timeout=20_000)
    dialog.form.setCurrentIndex(2)
    assert dialog.precision.count() == 1  # ONNX is written in fp32 alone
    with qtbot.waitSignal(dialog.program.failed, timeout=30_000):
        dialog.start.click()
    assert dialog.bar.text == "The model was not exported: no such layer in ONNX."
    assert dialog.start.isEnabled()
    dialog.form.setCurrentIndex(0)
    dialog.precision.setCurrentIndex(2)
    out = run.path / "exports"
    out.mkdir()
    dialog.start.click()
    qtbot.waitUntil(lambda: (out / "waiting").exists(), timeout=30_000)
    with qtbot.waitSignal(dialog.program.failed, timeout=30_000):
        dialog.stop.click()
    assert (out / "cleaned").exists()
    assert not dialog.bar.isVisible()


def test_a_run_without_a_checkpoint_says_what_to_do(dialog: ExportDialog, tmp_path: Path, qtbot: QtBot) -> None:
    dialog.open_for(RunDir(tmp_path / "other"), "two")
    qtbot.waitUntil(lambda: dialog.bar.isVisible(), timeout=20_000)
    assert "no checkpoint" in dialog.bar.text
    assert not dialog.start.isEnabled()
