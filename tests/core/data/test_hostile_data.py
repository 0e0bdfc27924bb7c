"""Data that somebody else made: pipes instead of files, lines without an end, manifests changed at random."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from core.data.cache import Decoding, ImageCache, open_cache
from core.data.demo.openmoji import write_demo_data
from core.data.errors import DataError, ImageError
from core.data.images import decode, image_header
from core.data.sources import coco, manifests
from core.data.sources.opening import open_source
from core.search.index.source_changes import scan
from tests.core.data.samples import write_image
from tests.mutations import feed, few_or_many, mutated, survives

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of lists a thousand times as long


def test_a_class_folder_with_a_pipe_and_a_device(tmp_path: Path) -> None:
    """They are rows whose image cannot be read, and found again by nothing."""
    for number in range(3):
        write_image(tmp_path / "data" / "cats" / f"{number}.png", number)
    os.mkfifo(tmp_path / "data" / "cats" / "pipe.png")
    (tmp_path / "data" / "cats" / "zero.png").symlink_to("/dev/zero")
    files = [row.file for row in open_source(tmp_path / "data").rows]
    cache = open_cache(files, Decoding(16, 10), 1 << 20)
    assert cache is not None
    assert {Path(files[row]).name for row in cache.bad} == {"pipe.png", "zero.png"}
    assert [Path(one.path).name for one in scan(str(tmp_path / "data")).images] == ["0.png", "1.png", "2.png"]
    for row in cache.bad:
        for read in (lambda path: decode(path, 16, 10), lambda path: image_header(path, 10)):
            with pytest.raises(ImageError, match="cannot be opened: it is a folder, a pipe or a device"):
                read(files[row])


@pytest.mark.parametrize("sort", ["pipe", "device", "folder", "huge", "binary"])
def test_a_sidecar_that_is_not_text(tmp_path: Path, sort: str) -> None:
    """Its image has no caption; the others go on."""
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", 1)
    (tmp_path / "b.txt").write_text("a dog", encoding="utf-8")
    sidecar = tmp_path / "a.txt"
    match sort:
        case "pipe":
            os.mkfifo(sidecar)
        case "device":
            sidecar.symlink_to("/dev/zero")
        case "folder":
            sidecar.mkdir()
        case "huge":
            with sidecar.open("wb") as file:
                file.truncate(3 << 30)
        case _:
            sidecar.write_bytes(b"\xff\xfe\xff")
    source = open_source(tmp_path)
    assert [row.captions for row in source.rows] == [("a dog",)]
    assert len(source.bad) == 1
    scanned = scan(str(tmp_path))
    assert [one.captions for one in scanned.images] == [(), ("a dog",)]
    assert len(scanned.bad) == (0 if sort == "folder" and not scanned.bad else 1)


@pytest.mark.parametrize(("name", "sort"), [("a.csv", "pipe"), ("a.jsonl", "device"), ("a.json", "pipe")])
def test_a_manifest_that_is_a_pipe_or_a_device(tmp_path: Path, name: str, sort: str) -> None:
    """Also where it becomes one after it was seen to be a file."""
    path = tmp_path / name
    if sort == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        open_source(path)
    for read in (manifests.read_table, manifests.read_json_lines, coco.read_json):
        with pytest.raises(DataError, match=r"is a (named pipe|device), not a file"):
            read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_sparse_file_of_three_gigabytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("filepath,title\na.png,a dog\n" if name == "a.csv" else "", encoding="utf-8")
    with path.open("ab") as file:
        file.truncate(3 << 30)

    def read() -> None:
        with pytest.raises(DataError, match=r"more than 4,194,304 characters|larger than 1024 MB"):
            open_source(path)

    survives(read)


def test_one_overlong_name_is_one_bad_row(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 1)
    (tmp_path / "a.csv").write_text(f"filepath,title\na.png,a dog\n{'y' * 5000}.png,a cat\n", encoding="utf-8")
    (tmp_path / "b.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "y" * 5000}],
                    "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]}),
        encoding="utf-8",
    )  # fmt: skip
    for name in ("a.csv", "b.json"):
        source = open_source(tmp_path / name)
        assert [row.captions for row in source.rows] == [("a dog",)]
        assert len(source.bad) == 1


def test_names_of_thousands_of_characters_are_shortened(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", ",".join("x" * 5000 for _ in range(20)) + "\n1\n"),
        ("wide.csv", "x" * 200_000 + ",title\n1,2\n"),
        ("b.jsonl", json.dumps({"y" * 5000: 1}) + "\n"),
        ("c.csv", "filepath,title\n" + "\n".join(f"../{'z' * 5000}{i},dog" for i in range(30))),
        ("d.json", json.dumps({"images": [], "annotations": [{"image_id": "i" * 5000, "caption": "x"}]})),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(DataError) as caught:
            open_source(tmp_path / name)
        assert len(str(caught.value)) < 4000


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_thousands_of_labels_are_refused(tmp_path: Path, name: str) -> None:
    keys = ["filepath", "title", *(f"k{number}" for number in range(5000))]
    if name == "a.csv":
        content = "\n".join([",".join(keys), *(f"{i}.png,x,{i}" for i in range(100))])
    else:
        records = [dict.fromkeys(keys[i : i + 3] + keys[:2], f"{i}.png") for i in range(2, 3500, 3)]
        content = json.dumps(records) if name == "a.json" else "\n".join(map(json.dumps, records))
    (tmp_path / name).write_text(content)
    with pytest.raises(
        DataError, match=r"labels \(columns or keys other than image and caption\), more than 1,000; remove"
    ):
        open_source(tmp_path / name)


def test_a_short_line_of_a_wide_table_costs_only_its_own_cells(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", 0)
    names = ",".join(f"k{number}" for number in range(1000))
    (tmp_path / "a.csv").write_text(f"filepath,title,{names}\n0.png,a dog,x,\n")
    (row,) = open_source(tmp_path / "a.csv").rows
    assert dict(row.labels) == {"k0": "x", "k1": ""}


def test_one_image_with_fifty_thousand_captions(tmp_path: Path) -> None:
    """Joined in one go: caption by caption it would take minutes."""
    write_image(tmp_path / "a.png", 1)
    rows = "\n".join(f"a.png,dog {i}" for i in range(50_000))
    (tmp_path / "a.csv").write_text(f"filepath,title\n{rows}\n", encoding="utf-8")
    (row,) = open_source(tmp_path / "a.csv").rows
    assert row.captions == tuple(f"dog {i}" for i in range(50_000))


def test_demo_data_beside_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "demo.json")
    with pytest.raises(DataError, match=r"demo\.json is a named pipe, not a file"):
        write_demo_data(tmp_path)


def test_labels_that_are_not_text_are_a_bad_row(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 1)
    lines = [{"image": "a.png", "title": "a dog", "kind": "\ud800"}, {"image": "a.png", "title": "a cat", "kind": "c"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = open_source(tmp_path / "a.jsonl")
    assert [(row.captions, dict(row.labels)) for row in source.rows] == [(("a cat",), {"kind": "c"})]
    assert "a lone surrogate" in source.bad[0].reason


@pytest.mark.parametrize(
    "index",
    [
        {"shapes": 5, "bad": {}}, {"shapes": [[1]], "bad": {}}, {"shapes": [[-3, 4]], "bad": {}}, {"bad": {}}, [],
        {"shapes": [[2**70, 1]], "bad": {}}, {"shapes": [], "bad": {"x": "y"}}, {"shapes": [], "bad": []},
    ],
)  # fmt: skip
def test_a_cache_with_another_index_is_not_used(tmp_path: Path, index: Any) -> None:
    from core.data import cache  # noqa: PLC0415

    content = json.dumps(index).encode()
    footer = cache.FOOTER.pack(cache.MAGIC, 0, len(content), cache.zlib.crc32(content))
    (tmp_path / "a.images").write_bytes(content + footer)
    with pytest.raises(ValueError, match="damaged index"):
        ImageCache(tmp_path / "a.images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that the manifests of all examples name."""
    made = tmp_path_factory.mktemp("hostile")
    for number in range(3):
        write_image(made / f"{number}.png", number)
    return made


RECORDS = [{"image": f"{i}.png", "title": f"a dog {i}", "captions": ["x", "y"], "kind": "c", "n": 1} for i in range(3)]
COCO = {
    "images": [{"id": i, "file_name": f"{i}.png", "width": 24} for i in range(3)],
    "annotations": [{"id": i, "image_id": i, "caption": f"a dog {i}"} for i in range(3)],
}


def table(content: bytes) -> bytes:
    """A CSV of what a JSON list of lists holds; else the bytes as they are."""
    try:
        rows = json.loads(content)
        text = io.StringIO()
        csv.writer(text).writerows([row if isinstance(row, list) else [row] for row in rows])
        return text.getvalue().encode("utf-8", "replace")
    except (ValueError, TypeError, RecursionError):
        return content


def lines(content: bytes) -> bytes:
    """JSON lines of what a JSON list holds; else the bytes as they are."""
    try:
        return "\n".join(json.dumps(one) for one in json.loads(content)).encode()
    except (ValueError, TypeError, RecursionError):
        return content


TABLE = [["filepath", "title", "kind"], ["0.png", "a dog", "c"], ["1.png", 'a "cat", black', "c"], ["2.png", "x", ""]]
PLAIN = 'filepath,title\n0.png,a dog\n1.png,"a cat"\n'
SOURCES = st.one_of(
    st.tuples(st.just("a.csv"), mutated(TABLE).map(table)),
    st.tuples(st.just("a.csv"), mutated(PLAIN).map(lambda content: content.replace(b"\\n", b"\n"))),
    st.tuples(st.just("a.jsonl"), mutated(RECORDS).map(lines)),
    st.tuples(st.just("a.json"), mutated(RECORDS)),
    st.tuples(st.just("a.json"), mutated(COCO)),
)  # fmt: skip


def check_source(folder: Path, source: tuple[str, bytes]) -> None:
    """Read, and each row stays below the folder."""
    name, content = source
    (folder / name).write_bytes(content)

    def read() -> None:
        for row in open_source(folder / name).rows:
            assert row.file.startswith(str(folder))
            "\n".join([row.file, *row.captions, *row.labels, *row.labels.values()]).encode()

    survives(read)


@few_or_many
def test_hostile_sources(folder: Path, examples: int) -> None:
    nested = ("a.json", b"[" * 200_000)
    long = ("a.jsonl", b'{"image": "0.png", "title": ' + b"9" * 5000 + b"}")
    feed(lambda source: check_source(folder, source), SOURCES, examples, nested, long)
