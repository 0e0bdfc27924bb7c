"""Every format of pairs, and everything that is wrong with them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.errors import BadRow, DataError, check_bad_share
from core.data.sources.opening import open_source
from core.data.sources.rows import clean_caption, missing_files
from core.spec.cells import escape_row
from tests.core.data.samples import write_image

SAME_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
captions = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1).filter(
    clean_caption
)
labels = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)


def images(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        write_image(folder / name, i)
    return folder


def reasons(path: Path) -> list[str]:
    return [str(row) for row in open_source(path).bad]


# Tables


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv", ";"), ("a.csv", "\t")])
@given(rows=st.lists(st.tuples(captions, labels), min_size=1, max_size=5))
@SAME_FOLDER
def test_a_table_round_trips(tmp_path: Path, name: str, delimiter: str, rows: list[tuple[str, str]]) -> None:
    files = [f"p{i}.png" for i in range(len(rows))]
    for i, file in enumerate(files):
        if not (tmp_path / file).exists():
            write_image(tmp_path / file, i)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(("filepath", "title", "kind"))
    writer.writerows(escape_row((file, title, kind)) for file, (title, kind) in zip(files, rows, strict=True))
    (tmp_path / name).write_bytes(text.getvalue().encode())
    source = open_source(tmp_path / name)
    assert source.bad == []
    assert source.label_names == ("kind",)
    assert [row.image for row in source.rows] == [tmp_path / file for file in files]
    assert [row.captions for row in source.rows] == [(clean_caption(title),) for title, _ in rows]
    assert [row.labels["kind"] for row in source.rows] == [kind.strip() for _, kind in rows]


def test_tables_in_other_encodings_names_and_order(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "a.csv").write_bytes("\ufeffCaption;Image\r\nzwei Bäume;a.png\r\n".encode())
    assert open_source(tmp_path / "a.csv").rows[0].captions == ("zwei Bäume",)
    (tmp_path / "a.tsv").write_bytes("filepath\ttitle\r\na.png\tein Bär\r\n".encode("utf-16"))
    assert open_source(tmp_path / "a.tsv").rows[0].captions == ("ein Bär",)


def test_captions_of_one_image_are_joined(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "a.csv").write_text("filepath,title,k\na.png,one,x\nb.png,two,y\n./a.png,three,z\na.png,one,x\n")
    source = open_source(tmp_path / "a.csv")
    assert [row.captions for row in source.rows] == [("one", "three"), ("two",)]
    assert source.rows[0].labels == {"k": "x"}


def test_bad_rows_are_listed_and_the_rest_kept(tmp_path: Path) -> None:
    folder = images(tmp_path / "in", "a.png", "b.png", "sub/c.png")
    outside = write_image(tmp_path / "in-outside.png", 1)  # whose path begins as the folder's
    lines = [
        b"filepath,title",
        b"a.png,good",
        b",no path",
        b"missing.png,not there",
        b"b.png,   ",
        b"b.png",
        b"b.png,too,many",
        b"../in-outside.png,leads out",
        str(outside).encode() + b",absolute and outside",
        b"https://example.org/a.png,on the web",
        b"b.png,not \xff text",
        b"sub,a folder",
        b"",
        str(folder / "sub" / "c.png").encode() + b",absolute and inside",
    ]
    (folder / "a.csv").write_bytes(b"\n".join(lines))
    source = open_source(folder / "a.csv")
    assert [row.captions[0] for row in source.rows] == ["good", "absolute and inside"]
    told = {row.location.rpartition(" ")[2]: row.reason for row in source.bad}
    assert sorted(map(int, told)) == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    expected = [
        "empty",
        "no file",
        "no caption",
        "1 of",
        "3 cells",
        "leads out",
        "leads out",
        "web",
        "UTF-8",
        "no file",
    ]
    for line, words in enumerate(expected, 3):
        assert words in told[str(line)]
    assert "folder above the images" in told["9"]


def test_an_unclosed_quote_costs_only_its_line(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.csv").write_text('filepath,title\na.png,one\nb.png,"two\nc.png,"three\nlines"\na.png,"4" wide"\n')
    source = open_source(tmp_path / "a.csv")
    assert [row.captions for row in source.rows] == [("one",), ("three lines",)]
    assert [row.location.rpartition(" ")[2] for row in source.bad] == ["3", "6"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_in_the_folder_are_followed(tmp_path: Path) -> None:
    images(tmp_path / "elsewhere", "a.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a.csv").write_text("filepath,title\nlinked/a.png,one\nlinked/../../elsewhere/a.png,out\n")
    source = open_source(tmp_path / "data" / "a.csv")
    assert [row.captions for row in source.rows] == [("one",)]
    assert len(source.bad) == 1


# JSON


@given(rows=st.lists(st.tuples(st.lists(captions, min_size=1, max_size=3), labels), min_size=1, max_size=4))
@SAME_FOLDER
def test_json_lines_round_trip(tmp_path: Path, rows: list[tuple[list[str], str]]) -> None:
    lines = []
    for i, (texts, kind) in enumerate(rows):
        if not (tmp_path / f"p{i}.png").exists():
            write_image(tmp_path / f"p{i}.png", i)
        lines.append(json.dumps({"image": f"p{i}.png", "captions": texts, "kind": kind}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    source = open_source(tmp_path / "a.jsonl")
    assert [row.captions for row in source.rows] == [
        tuple(dict.fromkeys(map(clean_caption, texts))) for texts, _ in rows
    ]
    assert [row.labels["kind"] for row in source.rows] == [kind for _, kind in rows]
    (tmp_path / "a.json").write_text(f"[{','.join(lines)}]")
    assert [row.captions for row in open_source(tmp_path / "a.json").rows] == [row.captions for row in source.rows]


def test_bad_json_lines_are_listed(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    lines = [
        '{"filepath": "a.png", "title": "good", "n": 3, "nested": {"x": 1}}',
        "{broken",
        "[1, 2]",
        '{"title": "no path"}',
        '{"filepath": 7, "title": "a number"}',
        '{"filepath": "a.png"}',
        '{"filepath": "\\ud800.png", "title": "half a character"}',
        "[" * 100_000,
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    source = open_source(tmp_path / "a.jsonl")
    assert [dict(row.labels) for row in source.rows] == [{"n": "3"}]
    assert [row.location.rpartition(" ")[2] for row in source.bad] == ["2", "3", "4", "5", "6", "7", "8"]


def test_a_name_in_another_case_is_looked_up_and_an_unlisted_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.png" for number in range(20)]
    for name in names:
        (tmp_path / name).touch()
    asked: list[str] = []

    def there(file: str) -> bool:
        asked.append(Path(file).name)
        return True

    monkeypatch.setattr("core.data.sources.rows.is_file", there)
    files = [str(tmp_path / name) for name in (*names, "7.PNG", "99.png")]
    assert list(missing_files(files)) == [files[-1]]
    assert asked == ["7.PNG"], "a disk may hold it by that name"
    lines = ["filepath,title", *(f"{name},x" for name in (*names, "99.png"))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "a.csv")
    assert (len(source.rows), [row.location for row in source.bad]) == (20, [f"{tmp_path / 'a.csv'}, line 22"])


@pytest.mark.parametrize("place", ["annotations", "val2017", "images/val2017", "images"])
def test_coco_finds_its_images_and_joins_captions(tmp_path: Path, place: str) -> None:
    images(tmp_path / place, "1.png", "2.png")
    content = {
        "images": [
            *({"id": i, "file_name": f"{i}.png"} for i in (1, 2, 3)),
            {"id": 4, "file_name": "../../x"},
            {"id": 5},
        ],
        "annotations": [
            *({"image_id": i, "id": k, "caption": f"caption {k}"} for k, i in enumerate([1, 2, 1, 3, 4, 9])),
            {"image_id": 1, "caption": "half \ud83d"},
        ],
    }
    (tmp_path / "annotations").mkdir(exist_ok=True)
    path = tmp_path / "annotations" / "captions_val2017.json"
    path.write_text(json.dumps(content))
    source = open_source(path)
    assert [(row.image, row.captions) for row in source.rows] == [
        (tmp_path / place / "1.png", ("caption 0", "caption 2")),
        (tmp_path / place / "2.png", ("caption 1",)),
    ]
    assert len(source.bad) == 4  # missing file, escape, no file name, caption of an unknown image


# Folders


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_class_folders(tmp_path: Path) -> None:
    images(tmp_path, "red_panda/1.png", "red_panda/deep/2.JPG", "dog/3.png", ".hidden/4.png", "stray.png", "_/5.png")
    (tmp_path / "dog" / "notes.md").write_text("x")
    (tmp_path / "dog" / "itself").symlink_to(tmp_path / "dog" / "itself")
    (tmp_path / "dog" / "again").symlink_to(tmp_path)  # a cycle
    source = open_source(tmp_path)
    assert [(row.image.name, row.captions, dict(row.labels)) for row in source.rows] == [
        ("5.png", ("_",), {"class": "_"}),
        ("3.png", ("dog",), {"class": "dog"}),
        ("1.png", ("red panda",), {"class": "red_panda"}),
        ("2.JPG", ("red panda",), {"class": "red_panda"}),
    ]
    assert [Path(row.location).name for row in source.bad] == ["stray.png"]


def test_images_with_sidecars(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "a.txt").write_text("one\n\n  two \none\n")
    (tmp_path / "b.txt").write_text(" \n")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\x00")
    source = open_source(tmp_path)
    assert [row.captions for row in source.rows] == [("one", "two")]
    assert {Path(row.location).name for row in source.bad} == {"b.png", "c.png", "d.png"}
    images(tmp_path, "dog/b.png")
    with pytest.raises(DataError, match="mixes two layouts"):
        open_source(tmp_path)


def test_folders_without_captions_or_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        open_source(tmp_path)
    images(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text("filepath,title\na.png,x\n")
    with pytest.raises(
        DataError, match=r"folder per class\. To use a manifest, choose the file itself: .*train\.csv\.$"
    ):
        open_source(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(
        DataError, match=r"contains no images\. To use a manifest, choose the file itself: .*train\.csv"
    ):
        open_source(tmp_path)
    with pytest.raises(DataError, match="No data was specified"):
        open_source("  ")


# Nothing, and too much of it bad


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "no data at"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"filepath,title\n", "contains no images"),
        ("blank.csv", b"\n\n", "no header"),
        ("latin.csv", b"filepath,t\xfftle\n", "UTF-8"),
        ("blank.jsonl", b"\n\n", "contains no images"),
        ("a.parquet", b"PAR1", "unknown format"),
        ("plain", b"x", "no file extension"),
        ("a.json", b"{broken", "not JSON"),
        ("a.json", b'{"a": 1}\n{"a": 2}', "jsonl"),
        ("a.json", b'{"images": ' + b"9" * 5000, "not JSON: a number has too many digits"),
        ("a.json", b"[" * 10**5, "not JSON: it is nested too deeply"),
        ("a.jsonl", b'{"image": ' + b"9" * 5000, "not JSON: a number has too many digits"),
        ("a.json", b'{"images": []}', "annotations"),
        ("bad.csv", b"filepath,title\nmissing.png,x\n", "None of the 1 rows"),
        ("columns.csv", b"url,words\nx,y\n", "'url', 'words'.*filepath and title"),
        ("keys.jsonl", b'{"url": "x", "words": "y"}\n', "'url', 'words'"),
        ("instances.json", b'{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}', "captions_"),
    ],
)  # fmt: skip
def test_unusable_files_are_user_errors(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        open_source(tmp_path / name)
    assert name in str(caught.value)


def test_a_list_of_bad_rows_is_cut() -> None:
    bad = [BadRow(f"line {i}", "broken") for i in range(30)]
    with pytest.raises(DataError, match=r"30 of the 299 rows(.|\n)*line 19: broken\n  and 10 more") as caught:
        check_bad_share("x.csv", bad, 299, 0.1)
    assert "line 20: broken" not in str(caught.value)


@given(st.text(st.sampled_from(string.printable + "é\0\u2028"), max_size=300))
@SAME_FOLDER
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    for name in ("a.csv", "a.jsonl", "a.json"):
        (tmp_path / name).write_text("filepath,title\n" * (name == "a.csv") + text, encoding="utf-8", newline="")
        with contextlib.suppress(DataError):  # anything else fails the test
            open_source(tmp_path / name)
