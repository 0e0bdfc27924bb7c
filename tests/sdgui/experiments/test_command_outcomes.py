"""What commands on experiments come to: folders read again, runs taken in, the demo, the bin, a note of two."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

import core
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.provenance import write_provenance
from sdgui.experiments.reproducing import ReproductionReport, message_of, read_report
from sdgui.runs.demo import DEMO_EXPERIMENTS, SHOWN_FIRST
from sdgui.store.changes import Changes
from tests.sdgui.experiments.commanding import Parts


def said(parts: Parts) -> list[tuple[str, str]]:
    """What was told since the last time, and how it is meant."""
    found: list[tuple[str, str]] = [(one.level, one.text) for one in parts.messages]
    parts.messages.clear()
    return found


def test_run_folders_are_read_again_one_scan_at_a_time_and_failures_are_reported(
    qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, rebuilt = threading.Event(), list[None]()
    found: list[Any] = [[], ["a is broken.", "b is broken."], ["c is broken."], UserError("The disk is gone."), []]

    def read() -> list[str]:
        assert gate.wait(60)
        result = found.pop(0)
        if isinstance(result, UserError):
            raise result
        return cast(list[str], result)

    monkeypatch.setattr(parts.store, "import_folders", read)
    parts.experiments.rebuilt.connect(lambda: rebuilt.append(None))
    parts.ended(parts.new())
    parts.experiments.rebuild()
    parts.experiments.rebuild()
    assert said(parts) == [("info", "Reading every run folder…"), ("info", "The run folders are already being read.")]
    gate.set()
    qtbot.waitUntil(lambda: bool(parts.messages))
    assert said(parts) == [("info", "All run folders were read; the database lists 1 run.")]
    assert (parts.follower.polled, len(rebuilt)) == ([0], 1)
    for level, text, details in (
        (
            "warning",
            "The database lists 1 run; 2 run folders could not be read: a is broken.",
            "a is broken.\n\nb is broken.",
        ),
        ("warning", "The database lists 1 run; 1 run folder could not be read: c is broken.", "c is broken."),
        ("error", "The disk is gone.", ""),
        ("info", "All run folders were read; the database lists 1 run.", ""),
    ):
        parts.experiments.rebuild()
        qtbot.waitUntil(lambda: len(parts.messages) == 2)
        assert parts.messages[1].details == details
        assert said(parts)[1] == (level, text)
    assert len(rebuilt) == 4


def test_an_imported_run_is_followed_and_selected(qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    run = parts.ended(parts.new())
    imported = list[int]()
    parts.experiments.imported.connect(imported.append)
    monkeypatch.setattr(parts.store, "import_run", lambda _folder: run)
    parts.experiments.import_run(Path("/far/run"))
    assert said(parts) == [("info", "Reading the run in /far/run…")]
    qtbot.waitUntil(lambda: bool(parts.messages))
    assert said(parts) == [("info", f"Imported run {run.key}.")]
    assert (parts.follower.polled, imported, parts.added) == ([run.id], [run.id], [])
    assert parts.changes == [Changes.of(experiment=run.experiment_id, run=run.id)]
    monkeypatch.undo()
    parts.experiments.import_run(Path("/far/none"))
    qtbot.waitUntil(lambda: len(parts.messages) == 2)
    assert "is not a readable run folder" in parts.messages[1].text


def test_an_import_program_without_output_is_reported(
    qtbot: QtBot, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exits = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr("sdgui.experiments.commands.core_command", lambda: exits)
    parts.experiments.import_run(tmp_path)
    qtbot.waitUntil(lambda: len(parts.messages) == 2)
    problem = f"{tmp_path} could not be imported: the program exited with code 3."
    assert said(parts)[1] == ("error", problem)


def test_missing_demo_experiments_are_added_and_the_main_one_is_shown(
    qtbot: QtBot, parts: Parts, tmp_path: Path
) -> None:
    cast(Any, parts.demo).folder = tmp_path
    shown: list[tuple[int, str]] = []
    parts.experiments.demo_added.connect(lambda *of: shown.append(of))
    for made in (1, 2):
        parts.experiments.add_demo("search")
        parts.wait(qtbot)
        here = {one.name: one.id for one in parts.store.experiments()}
        assert sorted(here) == sorted(DEMO_EXPERIMENTS), "once"
        assert (parts.demo.made, shown) == (made, [(here[SHOWN_FIRST], "search")] * made)
        assert set(parts.changes[-1].experiments) == set(here.values())


def test_a_note_changed_in_another_window_is_reloaded_or_replaced(qtbot: QtBot, parts: Parts) -> None:
    number = parts.new()
    run = parts.ended(number)
    parts.store.set_run_note(run.id, "theirs")
    parts.experiments.describe(number, run.id, [], "mine", ([], ""))
    parts.wait(qtbot)
    (message,) = parts.messages
    assert (message.level, message.details) == ("warning", "In the other window:\ntheirs\n\nYours:\nmine")
    assert parts.store.run(run.id).note == "theirs"
    assert parts.changes == [Changes.of(run=run.id)], "what is stored is shown again"
    assert message.remedy is not None
    assert message.second_remedy is not None
    assert (message.remedy.label, message.second_remedy.label) == ("Reload", "Keep mine")
    message.remedy.do()
    parts.wait(qtbot)
    assert parts.store.run(run.id).note == "theirs"
    message.second_remedy.do()
    parts.wait(qtbot)
    assert (parts.store.run(run.id).note, len(parts.messages)) == ("mine", 1)


def test_the_bin_is_emptied_after_confirmation_and_once_at_a_time(
    qtbot: QtBot, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    yes, cancel = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.Cancel
    answers, gate = [cancel, yes, yes], threading.Event()

    def question(_over: object, _title: str, text: str, buttons: object, first: object) -> object:
        asked.append(text)
        assert (buttons, first) == (yes | cancel, cancel), "Enter loses nothing"
        return answers.pop(0)

    monkeypatch.setattr(QMessageBox, "question", question)
    over = cast(Any, None)
    parts.experiments.empty_bin(over)
    assert (said(parts), asked) == ([("info", "The bin is empty.")], [])
    kept, gone = parts.new("kept"), [parts.new(name) for name in ("a", "b")]
    runs = [parts.ended(kept) for _ in range(2)]
    parts.ended(gone[0])
    for run in runs:
        run.dir.create()
        run.dir.config.touch()
        parts.store.delete_run(run.id)
    for number in gone:
        parts.store.delete_experiment(number)
    parts.experiments.empty_bin(over)
    words = "Permanently delete 2 experiments and 2 runs, with their run folders and checkpoints?"
    assert (asked, said(parts)) == ([words], [])
    assert len(parts.store.runs(deleted=True)) == 2
    delete = parts.store.delete_run

    def fails(*_: Any, **__: Any) -> None:
        assert gate.wait(60)
        raise UserError("The disk is gone.")

    monkeypatch.setattr(parts.store, "delete_run", fails)
    parts.experiments.empty_bin(over)
    parts.experiments.empty_bin(over)
    assert said(parts) == [("info", "Emptying the bin…"), ("info", "The bin is already being emptied.")]
    gate.set()
    qtbot.waitUntil(lambda: bool(parts.messages))
    assert said(parts) == [("error", "The disk is gone.")]
    monkeypatch.setattr(parts.store, "delete_run", delete)
    parts.experiments.empty_bin(over)
    qtbot.waitUntil(lambda: len(parts.messages) == 2)
    assert said(parts) == [("info", "Emptying the bin…"), ("info", "The bin is empty.")]
    assert parts.changes[-1] == Changes()
    assert (parts.store.runs(deleted=True), parts.store.experiments(deleted=True)) == ([], [])
    assert [run.folder.exists() for run in runs] == [False, False]
    assert [one.id for one in parts.store.experiments()] == [kept]
    far = RunDir(tmp_path / "colleague" / "run")
    far.create()
    far.config.write_text(preset_config("coca", "tiny").to_json(), encoding="utf-8")
    parts.store.delete_experiment(parts.store.import_run(far.path).experiment_id)
    answers.append(yes)
    parts.experiments.empty_bin(over)
    assert asked[-1] == "Permanently delete 1 experiment? Folders of studies and of imported runs are kept."
    qtbot.waitUntil(lambda: len(parts.messages) == 2)
    assert far.config.is_file()


def test_reproducing_a_run_names_what_has_changed() -> None:
    changes = {"data.train.number of images": ("7", "9"), "packages.numpy": ("0.1", None)}
    message = message_of(ReproductionReport(preset_config("clip", "tiny"), changes, ()))
    assert message.level == "warning"
    assert "2 things differ now, such as data.train.number of images: 7 then, 9 now." in message.text
    assert "packages.numpy: 0.1 then, none now" in message.details
    one = message_of(ReproductionReport(preset_config("clip", "tiny"), {"packages.numpy": ("0.1", None)}, ()))
    assert one.text.endswith("1 thing differs now: packages.numpy: 0.1 then, none now.")
    assert message_of(ReproductionReport(preset_config("clip", "tiny"), {}, ())).level == "info"


def test_a_logged_run_shows_how_to_repeat_its_script(tmp_path: Path) -> None:
    logged = core.start_run("x", folder=tmp_path / "run", system_seconds=0, record_code=False)
    logged.finish()
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text(encoding="utf-8"))
    provenance |= {"command": ["python", "train.py"], "code": {"commit": "abc", "diff": "source/working-tree.diff"}}
    provenance["packages"] = {"numpy": "0.1"}
    write_provenance(RunDir(tmp_path / "run"), provenance)
    report = read_report(tmp_path / "run")
    assert "packages.numpy" in report.differing
    assert report.steps == (
        "git checkout abc",
        f"git apply {tmp_path / 'run'}/source/working-tree.diff",
        "python train.py",
    )
    assert "To repeat the script, run:" in message_of(report).details


def test_a_run_without_provenance_is_reported(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    with pytest.raises(UserError, match="has no record of its code and packages"):
        read_report(run.path)
