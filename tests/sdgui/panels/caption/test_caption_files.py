"""Exports of captions by themselves: what is asked before, said after, and left alone while one is under way."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from core.data.sources.opening import open_source
from core.spec.caption_files import Candidate, CaptionedImage, CaptionFileError, sidecar_of
from sdgui.app.start import make_application
from sdgui.panels.caption.export import (
    CAPTION_FORMATS,
    SIDECAR_PROVENANCE,
    count_sidecars,
    export_coco,
    export_json_lines,
    export_sidecars,
    export_table,
    save_source,
)
from sdgui.panels.caption.files import CaptionFiles
from sdgui.shared.export.formats import ExportResult, free_path
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure


class Files:
    """Exports of some images, and what they told."""

    def __init__(self, folder: Path, host: QWidget) -> None:
        self.images: list[CaptionedImage] = []
        self.strip = ProgressStrip(host)
        self.messages: list[Message] = []
        self.folder = folder
        self.files = CaptionFiles(lambda: self.images, self.strip, self.messages.append, folder / "home", host)
        self.ways = {kind.name: slot for kind, slot in self.files.slots()}

    def add(self, *names: str) -> None:
        for name in names:
            path = self.folder / f"{name}.png"
            path.write_bytes(b"image")
            self.images.append(CaptionedImage(str(path), (Candidate(f"a {name}"),), {"model": "m"}))

    @property
    def text(self) -> str:
        return self.messages[-1].text


@pytest.fixture
def files(qtbot: QtBot, tmp_path: Path) -> Iterator[Files]:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    host.show()
    made = Files(tmp_path, host)
    yield made
    qtbot.waitUntil(lambda: not made.files.task.running)


def test_existing_text_files_are_counted_and_asked_about(qtbot: QtBot, files: Files) -> None:
    files.add("a", "b")
    for name in "ab":
        (files.folder / f"{name}.txt").write_text("mine")
    files.ways["text"]()
    assert not files.strip.isHidden()
    assert files.strip.text.startswith("Checking for existing text files")
    over = files.files.parent()
    assert over is not None
    qtbot.waitUntil(lambda: over.findChild(QMessageBox, "overwrite") is not None)
    box = over.findChild(QMessageBox, "overwrite")
    assert isinstance(box, QMessageBox)
    assert box.text() == "2 text files already exist next to the images."
    assert box.informativeText() == "If you overwrite them, their current content is lost."
    assert box.windowTitle() == "Export captions"
    assert box.icon() == QMessageBox.Icon.Question
    default = box.defaultButton()
    assert default is not None
    assert default.text() == "&Keep them", "Enter loses nothing"
    assert {button.text().replace("&", "") for button in box.buttons()} == {"Keep them", "Overwrite", "Cancel"}
    default.click()
    qtbot.waitUntil(lambda: bool(files.messages))
    assert files.text == "No caption was exported; 2 images skipped."
    assert files.messages[0].level == "warning"


@pytest.mark.parametrize(
    ("module", "text", "written"),
    [
        ("sdgui.panels.caption.export", "The export was cancelled; no file was written.", []),
        ("core.spec.caption_files", "The export was cancelled; text files written so far are kept.", ["a.txt"]),
    ],
    ids=["check", "export"],
)
def test_the_check_for_existing_text_files_and_their_export_can_be_cancelled(
    qtbot: QtBot, files: Files, monkeypatch: pytest.MonkeyPatch, module: str, text: str, written: list[str]
) -> None:
    files.add("a", "b")
    has_started, may_continue = Event(), Event()

    def sidecar_after_cancel(image: str) -> Path:
        has_started.set()
        may_continue.wait(20)
        return sidecar_of(image)

    monkeypatch.setattr(f"{module}.sidecar_of", sidecar_after_cancel)
    files.ways["text"]()
    qtbot.waitUntil(has_started.is_set)
    files.strip.cancelled.emit()
    may_continue.set()
    qtbot.waitUntil(lambda: bool(files.messages))
    assert (files.text, [path.name for path in files.folder.glob("*.txt")]) == (text, written)


def test_an_export_reports_what_was_written_and_the_next_dialog_opens_there(
    qtbot: QtBot, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.add("a", "b")
    asked, names = list[Path](), ["1.csv"]
    (files.folder / "out").mkdir()

    def choose(_over: object, _title: str, start: str, *_rest: Any, **_more: Any) -> tuple[str, str]:
        asked.append(Path(start))
        return str(files.folder / "out" / names.pop(0)), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    files.ways["csv"]()
    files.ways["csv"]()
    assert len(asked) == 1, "one export at a time"
    qtbot.waitUntil(lambda: bool(files.messages))
    assert files.text == f"2 captions exported to {files.folder / 'out' / '1.csv'}."
    assert files.strip.isHidden()
    names.append("1")  # typed without its ending: the dialog looked for another file
    files.ways["csv"]()
    qtbot.waitUntil(lambda: len(files.messages) == 2)
    assert asked[1] == files.folder / "out" / "captions.csv"
    assert files.text == f"{files.folder / 'out' / '1.csv'} already exists; choose another name."
    del files.images[1]
    used: list[tuple[str, int]] = []
    files.files.use_requested.connect(lambda manifest, images: used.append((manifest, images)))
    files.files.save_training_data()
    qtbot.waitUntil(lambda: len(files.messages) == 3)
    table = files.folder / "home" / "data" / "captions" / "train.csv"
    assert files.text == f"1 caption saved as training data: {table}."
    remedy = files.messages[-1].remedy
    assert remedy is not None
    assert remedy.label == "Use in a new experiment"
    remedy.do()
    assert used == [(str(table), 1)]
    files.files._show_failure(Failure("The disk is full.", "more"))
    assert (files.messages[-1].level, files.text, files.messages[-1].details) == ("error", "The disk is full.", "more")
    files.files._show_failure(Cancelled())
    assert (files.messages[-1].level, files.text) == ("info", "The export was cancelled; no file was written.")
    (files.folder / "captions").mkdir()
    (files.folder / "captions" / "mine").touch()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(files.folder))
    files.ways["data"]()
    qtbot.waitUntil(lambda: (files.folder / "captions-2" / "train.csv").is_file() and not files.files.task.running)
    files.images.clear()
    files.ways["csv"]()
    assert files.text == "There are no captions to export yet."
    files.files._show_report(ExportResult(Path("/x"), 0, [("/a.png", "it is gone")]))
    assert (files.text, files.messages[-1].details) == (
        "No caption was exported; 1 image skipped.",
        "/a.png: it is gone",
    )


def test_progress_counts_images_which_are_copied_or_linked(files: Files) -> None:
    files.add("a", "b")
    for export in CAPTION_FORMATS:
        steps: list[tuple[int, int]] = []
        where = files.folder / f"x-{export.name}"
        export.write(files.images, where, lambda *step, into=steps: into.append(step), False)
        assert steps[0] == (0, 2)
        assert steps == [(0, 2)] if export.name == "coco" else steps == [(0, 2), (1, 2)]
    folder = files.folder / "set"
    found = save_source(files.images, folder, lambda *_: None)
    assert [path.name for path in sorted((folder / "images").iterdir())] == ["000000-a.png", "000001-b.png"]
    assert (found.path, found.written, found.skipped) == (folder / "train.csv", 2, [])


ABOUT = {
    "model": "/runs/x@step-30",
    "pretrained": "",
    "weights": "teacher",
    "step": 30,
    "digest": "d" * 64,
    "precision": "fp32",
    "settings": {"search": "sample", "seed": 7},
}


def no_progress(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def made(tmp_path: Path) -> list[CaptionedImage]:
    """Three images in two folders, one edited by hand; names as people have them."""
    found = []
    for number, name in enumerate(("one/a cat.png", 'one/b, "c"\nd.png', "two/é 🦊.jpg")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
        own = number == 2
        candidate = Candidate(f"caption, {number} 🦊", None if own else -1.5, None if own else -0.5)
        found.append(CaptionedImage(str(path), (candidate,), {**ABOUT, "edited": True} if own else ABOUT))
    return found


def test_a_saved_set_is_a_data_source(made: list[CaptionedImage], tmp_path: Path) -> None:
    written = save_source(made, tmp_path / "home" / "captions", no_progress)
    source = open_source(written.path)
    assert source.bad == []
    assert [row.captions for row in source.rows] == [(image.captions[0].text,) for image in made]
    assert [row.image.resolve() for row in source.rows] == [Path(image.path) for image in made]
    assert source.label_names == ()
    told = json.loads((written.path.parent / "provenance.json").read_text())
    assert [row["from"] for row in told["rows"]] == [image.path for image in made]
    assert [told["provenance"][row["provenance"]] for row in told["rows"]] == [dict(one.provenance) for one in made]


def test_a_saved_set_omits_missing_images(made: list[CaptionedImage], tmp_path: Path) -> None:
    Path(made[0].path).unlink()
    written = save_source(made, tmp_path / "set", no_progress)
    assert written.written == 2
    assert written.skipped == [(made[0].path, "the file no longer exists")]
    with pytest.raises(CaptionFileError, match="not empty"):
        save_source(made, tmp_path / "set", no_progress)
    assert free_path(tmp_path / "set") == tmp_path / "set-2"
    for image in made[1:]:
        Path(image.path).unlink()
    with pytest.raises(CaptionFileError, match="None of the image files"):
        save_source(made, tmp_path / "nothing", no_progress)
    assert not (tmp_path / "nothing").exists()


def test_sidecars_have_their_provenance_beside_them_and_keep_a_users(made: list[CaptionedImage]) -> None:
    mine = Path(made[0].path).with_suffix(".txt")
    mine.write_text("my own")
    assert count_sidecars(made, no_progress) == 1
    written = export_sidecars(made, no_progress, force=False)
    assert written.written == 2
    assert written.skipped == [(made[0].path, f"{mine} already exists.")]
    assert mine.read_text() == "my own"
    assert Path(made[2].path).with_suffix(".txt").read_text() == "caption, 2 🦊\n"
    told = json.loads((Path(made[1].path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert told == {Path(made[1].path).name: ABOUT}
    assert export_sidecars(made, no_progress, force=True).written == 3
    assert mine.read_text() == "caption, 0 🦊\n"
    told = json.loads((Path(made[1].path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert set(told) == {Path(image.path).name for image in made[:2]}


def test_a_later_export_keeps_the_provenance_of_an_earlier_one(made: list[CaptionedImage]) -> None:
    first, second = made[:2]
    export_sidecars([first], no_progress, force=False)
    later = {**ABOUT, "step": 60}
    export_sidecars([CaptionedImage(second.path, second.captions, later)], no_progress, force=False)
    told = json.loads((Path(first.path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert told == {Path(first.path).name: ABOUT, Path(second.path).name: later}
    export_sidecars([CaptionedImage(first.path, first.captions, later)], no_progress, force=True)
    told = json.loads((Path(first.path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert told[Path(first.path).name] == later, "of a caption that was written again the newer one holds"


def test_a_pipe_with_the_provenance_name_is_left_alone(made: list[CaptionedImage]) -> None:
    pipe = Path(made[0].path).parent / SIDECAR_PROVENANCE
    os.mkfifo(pipe)
    assert export_sidecars(made[:1], no_progress, force=False).written == 1
    assert pipe.is_fifo()
    assert (pipe.parent / "captions-2.provenance.json").is_file()


def test_a_table_lines_and_coco_name_model_step_settings_and_seed(made: list[CaptionedImage], tmp_path: Path) -> None:
    table, lines, coco = (tmp_path / name for name in ("x.csv", "x.jsonl", "x.json"))
    export_table(made, table, no_progress)
    export_json_lines(made, lines, no_progress)
    export_coco(made, coco, no_progress)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["title"] for row in rows] == [image.captions[0].text for image in made]
    assert (rows[0]["filepath"], rows[0]["step"], rows[0]["seed"]) == ("images/one/a cat.png", "30", "7")
    assert (rows[0]["score"], rows[2]["score"]) == ("-0.5", "")
    read = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [one["path"] for one in read] == [image.path for image in made]
    assert read[2]["provenance"] == {**ABOUT, "edited": True}
    raw = json.loads(coco.read_text())
    assert raw["info"]["provenance"] == [ABOUT, {**ABOUT, "edited": True}]
    assert [one["provenance"] for one in raw["annotations"]] == [0, 0, 1]
    assert open_source(table).bad == []
    for path, export in ((table, export_table), (lines, export_json_lines), (coco, export_coco)):
        before = path.read_bytes()
        with pytest.raises(CaptionFileError, match=r"already exists; choose another name\.$"):
            export(made, path, no_progress)
        assert path.read_bytes() == before
        export(made[:1], path, no_progress, force=True)
        assert path.read_bytes() != before


def test_a_folder_that_may_not_be_written_is_named(made: list[CaptionedImage], tmp_path: Path) -> None:
    with pytest.raises(CaptionFileError, match=r"gone.*choose a folder"):
        export_json_lines(made, tmp_path / "gone" / "x.jsonl", no_progress)
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptionFileError, match="choose another folder"):
        save_source(made, tmp_path / "file" / "set", no_progress)


def test_a_cancelled_export_leaves_no_partial_file(made: list[CaptionedImage], tmp_path: Path) -> None:
    def cancelled(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    table = tmp_path / "x.csv"
    table.write_text("what was there")
    with pytest.raises(KeyboardInterrupt):
        export_table(made, table, cancelled, force=True)
    assert table.read_text() == "what was there"
    with pytest.raises(KeyboardInterrupt):
        save_source(made, tmp_path / "set", cancelled)
    assert not (tmp_path / "set").exists()


def test_a_caption_of_a_saved_set_is_no_formula_and_round_trips(made: list[CaptionedImage], tmp_path: Path) -> None:
    formula = replace(made[0], captions=(Candidate('=HYPERLINK("http://x")', None, None),))
    table = save_source([formula], tmp_path / "set", no_progress).path
    with table.open(newline="") as file:
        assert [row["title"] for row in csv.DictReader(file)] == ['\'=HYPERLINK("http://x")']
    assert open_source(table).rows[0].captions == ('=HYPERLINK("http://x")',)
