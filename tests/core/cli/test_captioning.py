"""``python -m core caption`` and the caption files that it writes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.data.errors import DataError
from core.data.sources.opening import open_source
from core.spec.caption_files import (
    Candidate,
    CaptionedImage,
    CaptionFileError,
    CaptionFileExistsError,
    CaptionTable,
    Sidecars,
    coco_json,
    json_line,
    sidecar_of,
    write_new,
)
from tests.core.caption_models import CLIP, save_model
from tests.core.images import draw


@pytest.fixture(scope="module")
def coca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(tmp_path_factory.mktemp("models") / "coca"))


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    folder = tmp_path / "shapes"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c\nd \N{CAT}.png", "green")):
        draw(colour, "circle", 24).save(folder / name)
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    return folder


Printed = pytest.CaptureFixture[str]


def test_captions_are_printed_as_text_or_as_a_table(coca: str, shapes: Path, capsys: Printed) -> None:
    assert main(["caption", coca, str(shapes), "--greedy"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [path for path, _ in lines] == [
        f"{shapes}/a.png", f"{shapes}/b.jpg", f"{shapes}/c\\u000ad \N{CAT}.png",
    ]  # fmt: skip
    assert all(caption for _, caption in lines)
    assert "3 captioned, 0 failed, 1 other files skipped" in err
    assert main(["caption", coca, str(shapes), "--greedy", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["filepath"], row["title"]) for row in rows][:2] == [tuple(line) for line in lines[:2]]


def test_json_lines_name_model_and_settings(coca: str, shapes: Path, capsys: Printed) -> None:
    (shapes / "b.jpg").write_bytes(b"")
    command = ["caption", coca, str(shapes), "--json", "--top-k", "5", "--seed", "7", "--n", "3", "--max-length", "6"]
    assert main(command) == 1  # one was refused
    out, err = capsys.readouterr()
    assert "b.jpg: the file is empty" in err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [Path(line["path"]).name for line in lines] == ["a.png", "c\nd \N{CAT}.png"]
    for line in lines:
        assert len(line["captions"]) == 3
        origin = line["provenance"]
        assert (origin["model"], origin["step"], len(origin["digest"])) == (coca, None, 16)
        settings = origin["settings"]
        assert (settings["search"], settings["seed"], settings["top_k"], settings["max_tokens"]) == ("sample", 7, 5, 6)
    assert main(command) == 1
    assert capsys.readouterr().out == out  # the same seed draws the same


def test_a_table_can_be_used_as_training_data(coca: str, shapes: Path, capsys: Printed) -> None:
    table = shapes / "captions.csv"
    command = ["caption", coca, str(shapes), "--beams", "4", "--n", "2", "--csv", str(table)]
    assert main(command) == 0
    assert "note:" not in capsys.readouterr().err
    source = open_source(str(table))
    assert not source.bad
    assert [len(row.captions) for row in source.rows] == [2, 2, 2]
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"] * 3
    assert {row["filepath"] for row in rows} == {"a.png", "b.jpg", "c\nd \N{CAT}.png"}
    assert json.loads(rows[0]["settings"])["beams"] == 4
    assert len(rows[0]["digest"]) == 16
    before = table.read_bytes()
    assert main(command) == 1
    assert f"error: {table} already exists" in capsys.readouterr().err
    assert table.read_bytes() == before
    assert main([*command, "--force"]) == 0
    assert table.read_bytes() == before


def test_a_table_that_cannot_be_training_data_is_noted(
    coca: str, shapes: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shapes.parent / "tables").mkdir()
    monkeypatch.chdir(shapes.parent / "tables")
    command = ["caption", coca, str(shapes), "--greedy", "--csv"]
    assert main([*command, "captions.csv"]) == 0
    said = capsys.readouterr().err
    assert said.count(f"note: {shapes}/a.png is not inside the folder of captions.csv, so the table cannot") == 1
    with pytest.raises(DataError, match="leads out of"):
        open_source("captions.csv")
    assert main([*command, "../captions.csv"]) == 0
    assert "note:" not in capsys.readouterr().err
    assert len(open_source("../captions.csv").rows) == 3


def test_settings_that_do_not_fit_do_not_lose_the_table(coca: str, shapes: Path, capsys: Printed) -> None:
    table = shapes / "captions.csv"
    command = ["caption", coca, str(shapes), "--max-length", "99", "--csv", str(table)]
    assert main(command) == 1
    assert not table.exists()  # or the next run would refuse it
    table.write_text("mine", encoding="utf-8")
    before = sorted(shapes.iterdir())
    assert main([*command, "--force"]) == 1
    assert "max_tokens 99" in capsys.readouterr().err
    assert table.read_text(encoding="utf-8") == "mine"
    assert sorted(shapes.iterdir()) == before


def test_an_interrupt_keeps_the_table_and_finished_captions(
    coca: str, shapes: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = CaptionTable.write

    def once(table: CaptionTable, made: CaptionedImage) -> None:
        if not made.path.endswith("a.png"):
            raise KeyboardInterrupt
        write(table, made)

    monkeypatch.setattr(CaptionTable, "write", once)
    table = shapes / "captions.csv"
    command = ["caption", coca, str(shapes), "--greedy", "--csv", str(table)]
    assert main(command) == 130
    (partial,) = shapes.glob("captions.partial-*.csv")
    first = partial.read_text(encoding="utf-8")
    assert (first.count("a.png"), table.exists()) == (1, False)
    table.write_text("mine", encoding="utf-8")
    assert main([*command, "--force"]) == 130
    assert table.read_text(encoding="utf-8") == "mine"
    assert partial.read_text(encoding="utf-8") == first
    assert f"the table is not complete; the captions so far are in {partial}" in capsys.readouterr().err


def test_sidecars_never_replace_existing_files(coca: str, shapes: Path, capsys: Printed) -> None:
    (shapes / "a.txt").write_text("mine\n", encoding="utf-8")
    draw("black", "bar", 24).save(shapes / "b.webp")  # would have the same sidecar as b.jpg
    assert main(["caption", coca, str(shapes), "--greedy", "--sidecars"]) == 1
    err = capsys.readouterr().err
    assert "a.txt already exists; overwrite it with --force" in err
    assert "b.txt already contains the caption of" in err
    assert (shapes / "a.txt").read_text(encoding="utf-8") == "mine\n"
    assert (shapes / "c\nd \N{CAT}.txt").is_file()
    first = (shapes / "b.txt").read_text(encoding="utf-8")
    assert main(["caption", coca, str(shapes / "a.png"), str(shapes / "b.jpg"), "--sidecars", "--force"]) == 0
    assert (shapes / "a.txt").read_text(encoding="utf-8") != "mine\n"
    assert first
    command = ["caption", coca, str(shapes / "b.jpg"), str(shapes / "b.webp"), "--sidecars", "--force"]
    assert main(command) == 1
    assert "b.txt already contains the caption of" in capsys.readouterr().err, "also where files may be replaced"
    assert not list(shapes.glob("*.tmp"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beams", "3", "--top-k", "2"], "--top-k, --beams belong to different searches"),
        (["--greedy", "--temperature", "2"], "--temperature, --greedy belong to different searches"),
        (["--beams", "0"], "beams: Input should be greater than or equal to 1"),
        (["--max-length", "99"], "max_tokens 99 exceeds the model's context; set it to 14 or less"),
        (["--batch", "0"], "--batch 0 is not a batch size; use 1 or more"),
        (["--csv", "image.png"], "--csv image.png does not end in .csv"),
        (["--weights", "teacher"], "has only one network; leave out --weights teacher"),
    ],
)
def test_incompatible_options_are_reported(
    coca: str, shapes: Path, options: list[str], message: str, capsys: Printed
) -> None:
    assert main(["caption", coca, str(shapes), *options]) == 1
    assert message in capsys.readouterr().err


def test_a_model_that_cannot_caption(shapes: Path, tmp_path: Path, capsys: Printed) -> None:
    clip = str(save_model(tmp_path / "clip", CLIP))
    assert main(["caption", clip, str(shapes)]) == 1
    assert "clip cannot caption: CLIP has no caption decoder; choose a CoCa architecture." in capsys.readouterr().err


ABOUT: dict[str, Any] = {"model": "m", "step": 4, "digest": "d", "settings": {"seed": 1}}


def image(path: Path, *captions: str) -> CaptionedImage:
    return CaptionedImage(str(path), [Candidate(text, -1.5, -0.5) for text in captions], ABOUT)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(CaptionFileError, match=r"cannot write .*gone/a.txt: No such file .*; choose a folder that"):
        Sidecars().write(image(gone / "a.png", "x"))
    with pytest.raises(CaptionFileError, match="cannot write"):
        CaptionTable(gone / "a.csv")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(CaptionFileError, match=r"cannot write .*a.txt: Permission denied; choose a folder"):
        Sidecars().write(image(tmp_path / "a.png", "x"))
    assert not (tmp_path / "a.txt").exists()


def test_replacing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(CaptionFileError, match="No space left"):
            write_new(path, "after", force=True)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_new(path, "after", force=True)
    assert path.read_text(encoding="utf-8") == "after"
    plain = tmp_path / "plain.txt"
    plain.write_text("", encoding="utf-8")
    assert path.stat().st_mode == plain.stat().st_mode  # not the temporary file's own


def test_sidecars_are_read_as_captions(tmp_path: Path) -> None:
    draw("red", "bar", 24).save(tmp_path / "x.y.png")
    Sidecars().write(image(tmp_path / "x.y.png", "one\nline", "two"))
    assert sidecar_of("x.y.png") == Path("x.y.txt")
    source = open_source(str(tmp_path))
    assert [row.captions for row in source.rows] == [("one line", "two")]


def test_a_table_created_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    table = CaptionTable(tmp_path / "a.csv")
    table.write(image(tmp_path / "a.png", "x"))
    (tmp_path / "a.csv").write_text("theirs", encoding="utf-8")
    with pytest.raises(CaptionFileExistsError):
        table.__exit__(None, None, None)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "theirs"
    assert "a.png" in table.partial.read_text(encoding="utf-8")


def test_captions_so_far_are_written_to_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to a file that a killed program left, nor through a link in its place."""
    monkeypatch.setattr("secrets.token_hex", lambda _count: "0")
    (tmp_path / "outside").write_text("theirs", encoding="utf-8")
    (tmp_path / "a.partial-0.csv").symlink_to(tmp_path / "outside")
    with pytest.raises(CaptionFileError, match=r"cannot write .*a\.csv: File exists"):
        CaptionTable(tmp_path / "a.csv")
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "theirs"
    assert (tmp_path / "a.partial-0.csv").is_symlink()


def test_a_table_that_cannot_be_moved_into_place_changes_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "before.csv"
    before.write_text("before", encoding="utf-8")
    tables = [CaptionTable(tmp_path / "new.csv"), CaptionTable(before, force=True)]

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", denied)
    for table in tables:
        table.write(image(tmp_path / "a.png", "x"))
        with pytest.raises(CaptionFileError, match=r"cannot write .*csv: Permission denied"):
            table.__exit__(None, None, None)
    assert set(tmp_path.iterdir()) == {before, *(table.partial for table in tables)}
    assert before.read_text(encoding="utf-8") == "before"


def test_a_table_has_absolute_paths_for_images_in_other_folders(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with CaptionTable(tmp_path / "t" / "a.csv") as table:
        table.write(image(tmp_path / "t" / "in" / "a.png", "x"))
        table.write(CaptionedImage(str(tmp_path / "out.png"), [Candidate("typed")], {}))
    with (tmp_path / "t" / "a.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["filepath"] == str(Path("in") / "a.png")
    assert (second["filepath"], second["log_prob"], second["step"]) == (str(tmp_path / "out.png"), "", "")


def test_json_and_coco(tmp_path: Path) -> None:
    images = [image(tmp_path / "a.png", "one", "two"), image(tmp_path / "b.png", "three")]
    assert json.loads(json_line(images[0]))["captions"][1] == {"text": "two", "log_prob": -1.5, "score": -0.5}
    coco = json.loads(coco_json(images, tmp_path))
    assert coco["images"] == [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    assert [(a["id"], a["image_id"], a["caption"]) for a in coco["annotations"]] == [
        (1, 1, "one"), (2, 1, "two"), (3, 2, "three"),
    ]  # fmt: skip
    assert coco["info"]["provenance"] == [ABOUT]
    for name in ("a.png", "b.png"):
        draw("red", "bar", 24).save(tmp_path / name)
    (tmp_path / "captions.json").write_text(json.dumps(coco), encoding="utf-8")
    source = open_source(str(tmp_path / "captions.json"))
    assert [row.captions for row in source.rows] == [("one", "two"), ("three",)]
