"""The rows of a source in parts, and its check: against the rows themselves, and files that were made alike here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.data.derived.subset import same_bytes, save_subset
from core.data.errors import DataError
from core.data.sources.opening import open_source
from core.worker.data import rows as listing
from core.worker.data.checking import check_source, overlap
from core.worker.data.describing import describe_source, sample_evenly
from core.worker.data.rows import open_rows
from core.worker.data.session import DataSession
from tests.core.data.samples import write_image, write_pairs
from tests.core.data.sources.shards.tars import write_shards


class Heard:
    """A reporter that remembers the parts."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []

    def __call__(self, _doing: str, _done: int, _total: int, /) -> None:
        return

    def partial(self, result: dict[str, Any]) -> None:
        self.parts.append(result)

    def rows(self) -> list[tuple[str, tuple[str, ...], str]]:
        return [
            (path, tuple(captions), part["labels"]["kind"][at])
            for part in self.parts
            for at, (path, captions) in enumerate(zip(part["paths"], part["captions"], strict=True))
        ]


@pytest.fixture
def splits(tmp_path: Path) -> tuple[Path, Path]:
    """Eight images to train on, of which 1, 2 and 5 are copies, 7 is broken; one to validate on is a copy of 2, one
    is the same file as 3, one is another, one is broken.
    """
    train, val = write_pairs(tmp_path, 8), tmp_path / "val.csv"
    images = tmp_path / "images"
    for number in (2, 5):
        shutil.copy(images / "001.png", images / f"{number:03}.png")
    (images / "007.png").write_bytes(b"broken")
    shutil.copy(images / "001.png", images / "a.png")
    write_image(images / "b.png", 99)
    (images / "c.png").write_bytes(b"broken too")
    names = ("a.png", "003.png", "b.png", "c.png")
    val.write_text("filepath,title\n" + "".join(f"images/{name},x\n" for name in names))
    return train, val


def test_pages_are_rows_in_order_and_statistics_cover_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pairs(tmp_path, 7, captions=2)
    with path.open("a") as file:
        file.write("images/gone.png,nothing,c1\nimages/000.png,once more,c0\n")
    monkeypatch.setattr(listing, "ROWS_PER_PART", 3)
    rows = [(row.file, row.captions, row.labels["kind"]) for row in open_source(path).rows]
    heard = Heard()
    answer = open_rows(str(path), heard)
    assert heard.rows() == rows
    assert [len(part["paths"]) for part in heard.parts] == [3, 3, 1]
    assert (answer["images"], answer["listed"], answer["pairs"], answer["bad"]) == (7, 7, 15, 1)
    assert answer["captions"] == [[2, 6], [3, 1]]
    assert answer["values"] == {"kind": 4}
    counts = {one["value"]: one["images"] for one in answer["labels"]["kind"]}
    assert counts == {"c0": 2, "c1": 2, "c2": 2, "c3": 1}
    assert [one["where"] for one in answer["reasons"]] == [f"{path}, line 16"]
    monkeypatch.setattr(listing, "MAX_ROWS", 4)
    heard = Heard()
    answer = open_rows(str(path), heard)
    assert (heard.rows(), answer["images"], answer["listed"]) == (rows[:4], 7, 4)
    assert answer["captions"] == [[2, 3], [3, 1]], "of what is listed"


def test_shards_are_listed_with_their_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, heard = write_shards(tmp_path, [3, 4]), Heard()
    monkeypatch.setattr(listing, "MAX_ROWS", 5)
    answer = open_rows(pattern, heard)
    (part,) = heard.parts
    assert list(part["captions"]) == [[f"image {number} caption"] for number in range(5)]
    assert (answer["images"], answer["listed"]) == (7, 5)
    assert describe_source(pattern, heard)["images"] == 7


def test_samples_of_a_card_are_spread_over_the_data() -> None:
    expected = [[0, 1, 2], [0, 1, 2, 3], [0, 2, 4, 6], [0, 2, 4, 6]]
    assert [sample_evenly(range(count), 4) for count in (3, 4, 8, 9)] == expected


def test_a_check_names_duplicates_leaks_and_broken_files_by_row(splits: tuple[Path, Path]) -> None:
    train, val = map(str, splits)
    found = check_source(train, Heard(), {"val": val, "itself": train, "none": "", "lost": f"{val}.gone"})
    assert (found["exact"], found["exact_groups"], found["images"]) == ([[1, 2, 5]], 1, 8)
    assert [one["row"] for one in found["broken"]] == [7], "those of the other split are not listed"
    assert list(found["unreadable"]) == ["lost"]
    leaks = {(leak["row"], leak["other_split"], Path(leak["path"]).name, leak["kind"]) for leak in found["leaks"]}
    assert (3, "val", "003.png", "same file") in leaks
    assert (1, "val", "a.png", "same bytes") in leaks
    assert {leak["split"] for leak in found["leaks"]} == {"this"}
    assert found["leak_count"] == len(found["leaks"])
    for leak in found["leaks"]:
        assert Path(leak["file"]).name == f"{leak['row']:03}.png"
    rest, files = splits[0].with_name("rest.csv"), [row.file for row in open_source(train).rows]
    save_subset(train, rest, Heard(), excluded=[files[leak["row"]] for leak in found["leaks"]])
    assert check_source(str(rest), Heard(), {"val": val})["leaks"] == [], "no copy of what leaks is left behind"
    alone = check_source(train, Heard())
    assert (alone["leaks"], alone["exact"]) == ([], [[1, 2, 5]])


def test_leaks_between_values_of_a_label(splits: tuple[Path, Path]) -> None:
    """The copies 1 and 5 are of c1, and 2 of c2."""
    found = check_source(str(splits[0]), Heard(), {}, "kind")
    assert ("c1", "c2") in {(leak["split"], leak["other_split"]) for leak in found["leaks"]}
    assert {leak["row"] for leak in found["leaks"]} <= {1, 2, 5}


def test_overlap_counts_images_by_file_and_by_bytes(splits: tuple[Path, Path], tmp_path: Path) -> None:
    train, val = map(str, splits)
    (tmp_path / "far.csv").write_text("filepath,title\nimages/b.png,x\n")
    far = str(tmp_path / "far.csv")
    assert overlap(train, Heard(), [val, far, val, f"{val}.gone"]) == {"shared": {val: 4, far: 0}}
    with pytest.raises(DataError):
        overlap(f"{train}.gone", Heard(), [val])


def test_the_first_exact_duplicate_is_named(splits: tuple[Path, Path], tmp_path: Path) -> None:
    files = [row.file for row in open_source(splits[0]).rows]
    assert same_bytes([*files, "/gone.png", "/gone.png"], Heard()) == [0, 1, 1, 3, 4, 1, 6, 7, 8, 9]


def test_a_session_saves_the_selection_and_writes_splits_to_the_requested_folder(
    splits: tuple[Path, Path], tmp_path: Path
) -> None:
    verbs, train = DataSession().verbs, str(splits[0])
    files = [row.file for row in open_source(train).rows]
    to = str(tmp_path / "some.csv")
    saved = verbs["data_save"](source=train, to=to, excluded=[files[0]], only=files[:3], progress=Heard())
    assert saved == {"path": to, "images": 2, "captions": 2}
    saved = verbs["data_save"](source=train, to=to, excluded=files[:7], replace=True, progress=Heard())
    assert [row.file for row in open_source(to).rows] == files[7:]
    (tmp_path / "out").mkdir()
    held = verbs["data_hold_out"](source=train, share=0.25, seed=1, folder=str(tmp_path / "out"), progress=Heard())
    assert (held["train"]["images"], held["held_out"]["images"]) == (6, 2)
    assert {Path(held[part]["path"]).parent for part in held} == {tmp_path / "out"}
