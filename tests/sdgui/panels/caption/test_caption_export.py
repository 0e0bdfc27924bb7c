"""Captions as files: what a reader of each format finds, provenance, and that nothing of a user's is overwritten."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.sources.opening import open_source
from core.spec.caption_files import Candidate, CaptionedImage, CaptionFileError
from sdgui.panels.caption.export import (
    SIDECAR_PROVENANCE,
    existing_sidecars,
    export_coco,
    export_json_lines,
    export_sidecars,
    export_table,
    save_source,
)
from sdgui.shared.export.formats import free_path

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


def test_a_saved_set_is_a_data_source_as_it_stands(made: list[CaptionedImage], tmp_path: Path) -> None:
    written = save_source(made, tmp_path / "home" / "captions", no_progress)
    source = open_source(written.path)
    assert source.bad == []
    assert [row.captions for row in source.rows] == [(image.captions[0].text,) for image in made]
    assert [row.image.resolve() for row in source.rows] == [Path(image.path) for image in made]
    assert source.label_names == ()
    told = json.loads((written.path.parent / "provenance.json").read_text())
    assert [row["from"] for row in told["rows"]] == [image.path for image in made]
    assert [told["provenance"][row["provenance"]] for row in told["rows"]] == [dict(one.provenance) for one in made]


def test_a_saved_set_may_hold_copies_and_leaves_out_what_is_gone(made: list[CaptionedImage], tmp_path: Path) -> None:
    Path(made[0].path).unlink()
    written = save_source(made, tmp_path / "set", no_progress, copy=True)
    assert written.written == 2
    assert written.skipped == [(made[0].path, "the file no longer exists")]
    assert not any(path.is_symlink() for path in (tmp_path / "set" / "images").iterdir())
    with pytest.raises(CaptionFileError, match="not empty"):
        save_source(made, tmp_path / "set", no_progress)
    assert free_path(tmp_path / "set") == tmp_path / "set-2"
    for image in made[1:]:
        Path(image.path).unlink()
    with pytest.raises(CaptionFileError, match="None of the images"):
        save_source(made, tmp_path / "nothing", no_progress)
    assert not (tmp_path / "nothing").exists()


def test_sidecars_have_their_provenance_beside_them_and_leave_a_users_alone(made: list[CaptionedImage]) -> None:
    mine = Path(made[0].path).with_suffix(".txt")
    mine.write_text("my own")
    assert existing_sidecars(made) == 1
    written = export_sidecars(made, no_progress)
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
    export_sidecars([first], no_progress)
    later = {**ABOUT, "step": 60}
    export_sidecars([CaptionedImage(second.path, second.captions, later)], no_progress)
    told = json.loads((Path(first.path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert told == {Path(first.path).name: ABOUT, Path(second.path).name: later}
    export_sidecars([CaptionedImage(first.path, first.captions, later)], no_progress, force=True)
    told = json.loads((Path(first.path).parent / SIDECAR_PROVENANCE).read_text())["captions"]
    assert told[Path(first.path).name] == later, "of a caption that was written again the newer one holds"


def test_another_programs_file_of_the_provenances_name_stays(made: list[CaptionedImage]) -> None:
    theirs = Path(made[0].path).parent / SIDECAR_PROVENANCE
    theirs.write_text('{"captions": "theirs"}')
    assert export_sidecars(made[:1], no_progress).skipped == []
    assert theirs.read_text() == '{"captions": "theirs"}'
    assert json.loads((theirs.parent / "captions-2.provenance.json").read_text())["written_by"] == "sdgui captions"


def test_a_pipe_of_the_provenances_name_is_left_alone(made: list[CaptionedImage]) -> None:
    pipe = Path(made[0].path).parent / SIDECAR_PROVENANCE
    os.mkfifo(pipe)
    assert export_sidecars(made[:1], no_progress).written == 1
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


def test_what_is_cancelled_leaves_nothing_half_done(made: list[CaptionedImage], tmp_path: Path) -> None:
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


def test_a_caption_of_a_saved_set_is_no_formula_and_comes_back(made: list[CaptionedImage], tmp_path: Path) -> None:
    formula = replace(made[0], captions=(Candidate('=HYPERLINK("http://x")', None, None),))
    table = save_source([formula], tmp_path / "set", no_progress).path
    with table.open(newline="") as file:
        assert [row["title"] for row in csv.DictReader(file)] == ['\'=HYPERLINK("http://x")']
    assert open_source(table).rows[0].captions == ('=HYPERLINK("http://x")',)
