"""Figures of a data source, against tables written here."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.data.errors import DataError
from core.data.sources.folders import WITHOUT_CAPTIONS
from core.objectives.anchors.image_anchors import find_files
from core.worker.data.describing import MAX_REASONS, describe_source
from core.worker.data.rows import rows_of


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self.said.append((doing, done, total))

    def partial(self, result: dict[str, Any]) -> None:
        raise AssertionError("nothing comes in parts")


def write(folder: Path, rows: list[tuple[str, str, str]], images: int) -> Path:
    for number in range(images):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title", "concept"), *rows])
    return folder / "pairs.csv"


def test_a_table_is_counted(tmp_path: Path) -> None:
    rows = [("0.png", "a dog", "dog"), ("0.png", "a small dog", "dog"), ("1.png", "a cat", "cat"), ("2.png", "?", "")]
    gone = [(f"gone{number}.png", "nothing", "ghost") for number in range(30)]
    heard = Heard()
    assert describe_source(str(write(tmp_path, rows + gone, 3)), heard) | {"reasons": []} == {
        "source": str(tmp_path / "pairs.csv"),
        "format": "CSV",
        "pairs": 4,
        "images": 3,
        "labels": {"concept": 2},
        "bad": 30,
        "reasons": [],
        "captions": [2, 1, 0, 0, 0, 0],
        "samples": [str(tmp_path / f"{number}.png") for number in range(3)],
        "labels_unknown": False,
    }
    assert heard.said[0] == ("reading the data", 0, 0)
    reasons = describe_source(str(tmp_path / "pairs.csv"), heard)["reasons"]
    assert len(reasons) == MAX_REASONS
    assert "line 6" in reasons[0]
    assert "gone0.png" in reasons[0]


def test_the_most_useful_label_for_classification_comes_first(tmp_path: Path) -> None:
    rows = [("rare", "a", "all", "x"), ("", "b", "all", "x"), ("", "c", "all", "y"), ("some", "d", "all", "y")]
    for number in range(len(rows)):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filepath", "title", "tone", "concept", "constant", "group"))
        writer.writerows((f"{number}.png", "a caption", *labels) for number, labels in enumerate(rows))
    labels = describe_source(str(tmp_path / "pairs.csv"), Heard())["labels"]
    assert list(labels.items()) == [("group", 2), ("concept", 4), ("constant", 1), ("tone", 2)]


def test_images_without_captions_are_accepted_only_where_captions_are_optional(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "notes.md").write_text("no image")
    for name in ("a.png", "deep.PNG", ".b.png", "deep/c.jpg", "deep/.hidden/d.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deep" / "c.jpg").rename(tmp_path / "c.jpg")
    with pytest.raises(DataError, match="have no captions"):
        describe_source(str(tmp_path), Heard())
    facts = describe_source(str(tmp_path), Heard(), images_only=True)
    assert (facts["images"], facts["pairs"], facts["format"]) == (3, 0, WITHOUT_CAPTIONS)
    assert facts["samples"] == [str(tmp_path / name) for name in ("a.png", "c.jpg", "deep.PNG")]


def test_samples_of_images_without_captions_are_spread_over_the_folder(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    samples = describe_source(str(tmp_path), Heard(), images_only=True)["samples"]
    assert samples == [str(tmp_path / f"{number:02}.png") for number in range(0, 16, 2)]


def test_a_folder_of_images_that_cannot_be_read_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    for name in ("a.png", "locked/b.png"):
        (tmp_path / name).write_bytes(b"")
    scan = os.scandir

    def refuse(path: str) -> Any:
        if path == str(locked):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    facts = describe_source(str(tmp_path), Heard(), images_only=True)
    assert (facts["images"], facts["reasons"]) == (1, [f"{locked}: the folder cannot be read: Permission denied"])
    assert len(rows_of(str(tmp_path), Heard(), images_only=True)[0].bad) == 1
    with pytest.raises(DataError, match="Permission denied"):
        find_files(str(tmp_path), Heard())


def test_missing_sources_stay_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "nothing.csv", tmp_path / "empty"):
        with pytest.raises(DataError):
            describe_source(str(source), Heard(), images_only=True)
