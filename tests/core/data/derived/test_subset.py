"""Parts of sources: what is saved opens again, says where it comes from, and leaves the source as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.derived.subset import hold_out, save_subset
from core.data.sources.opening import open_source
from core.spec.errors import UserError
from tests.core.data.samples import write_image, write_pairs
from tests.core.data.sources.shards.tars import write_shards


def heard(*_: object) -> None:
    """Progress that nobody follows."""


def test_a_selection_opens_with_captions_labels_and_provenance(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, 6, captions=2)
    rows = open_source(path).rows
    saved = save_subset(str(path), tmp_path / "some.csv", heard, excluded=[rows[1].file, rows[4].file])
    assert (saved.images, saved.captions) == (4, 8)
    found = open_source(saved.path)
    facts = [(row.file, row.captions, dict(row.labels)) for row in found.rows]
    assert facts == [(row.file, row.captions, dict(row.labels)) for row in rows if row not in (rows[1], rows[4])]
    about = json.loads((tmp_path / "some.provenance.json").read_text())
    assert (about["source"], about["how"], about["left out"]) == (str(path), "selection", 2)
    assert about["sha256"] == hashlib.sha256(saved.path.read_bytes()).hexdigest()
    mismatched = [(rows[2].file, rows[2].captions[0]), *((rows[3].file, caption) for caption in rows[3].captions)]
    only = save_subset(
        str(path), tmp_path / "one.csv", heard, selected=[rows[2].file, rows[3].file], excluded_pairs=mismatched
    )
    assert [(row.file, row.captions) for row in open_source(only.path).rows] == [(rows[2].file, rows[2].captions[1:])]


def test_images_in_other_folders_are_linked_into_the_folder(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "data", 3)
    saved = save_subset(str(path), tmp_path / "out" / "copy.csv", heard)
    assert [Path(row.file).resolve() for row in open_source(saved.path).rows] == [
        Path(row.file).resolve() for row in open_source(path).rows
    ]
    assert "images/000.png" in saved.path.read_text()
    other = tmp_path / "other"
    write_pairs(other, 3)  # images of its own, under the name of the link
    with pytest.raises(UserError, match=r"other/images does not lead to .*data/images; remove the link"):
        save_subset(str(path), other / "copy.csv", heard)
    assert not (other / "copy.csv").exists()


def test_selections_that_cannot_be_saved_are_refused(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, 3)
    files = [row.file for row in open_source(path).rows]
    cases = [
        (path, {}, "data set itself"),
        (tmp_path / "x.json", {}, "must end with .csv"),
        (tmp_path / "x.csv", {"excluded": files}, "would be left"),
        (tmp_path / "x.csv", {"excluded": ["/elsewhere.png"]}, "no image /elsewhere.png"),
    ]
    for to, chosen, words in cases:
        with pytest.raises(UserError, match=words):
            save_subset(str(path), to, heard, **chosen)
    save_subset(str(path), tmp_path / "there.csv", heard)
    with pytest.raises(UserError, match="already exists"):
        save_subset(str(path), tmp_path / "there.csv", heard)


def test_a_failed_replacement_keeps_the_manifest_and_its_provenance(
    tmp_path: Path, fill_disk: Callable[[], None]
) -> None:
    train = write_pairs(tmp_path, 3)
    files = [row.file for row in open_source(train).rows]
    save_subset(str(train), tmp_path / "less.csv", lambda *_: None, files[:1])
    written = [tmp_path / "less.csv", tmp_path / "less.provenance.json"]
    before = [path.read_bytes() for path in written]
    fill_disk()
    with pytest.raises(UserError, match="No space left"):
        save_subset(str(train), tmp_path / "less.csv", lambda *_: None, files[:2], replace=True)
    assert [path.read_bytes() for path in written] == before


def test_a_split_keeps_duplicates_together(tmp_path: Path) -> None:
    """Two folders of the same ten images: whatever is drawn, no image is on both sides."""
    for number in range(10):
        write_image(tmp_path / "photos" / "one" / f"{number}.png", number)
    shutil.copytree(tmp_path / "photos" / "one", tmp_path / "photos" / "two")
    source = str(tmp_path / "photos")
    train, held = hold_out(source, 0.2, 3, heard)
    assert (train.path.name, held.path.name) == ("photos-train.csv", "photos-held-out.csv")
    assert (train.images, held.images) == (16, 4)
    sides = [{Path(row.file).name for row in open_source(one.path).rows} for one in (train, held)]
    assert not sides[0] & sides[1]
    about = json.loads((held.path.with_name("photos-held-out.provenance.json")).read_text())
    assert (about["share"], about["seed"], about["other part"]) == (0.2, 3, "photos-train.csv")
    before = held.path.read_text()
    train.path.unlink()
    again = hold_out(source, 0.2, 3, heard)
    assert [one.path.name for one in again] == ["photos-train-2.csv", "photos-held-out-2.csv"]
    assert again[1].path.read_text() == held.path.read_text() == before, "one that exists stays, and is numbered alike"
    with pytest.raises(UserError, match="between 0 and 1"):
        hold_out(source, 1.0, 0, heard)


def test_a_large_group_of_duplicates_is_held_out_together(tmp_path: Path) -> None:
    for number in range(3):
        for copy in range(4):
            write_image(tmp_path / "photos" / f"copy {copy}" / f"{number}.png", number)
    train, held = hold_out(str(tmp_path / "photos"), 0.1, 0, heard)
    assert (train.images, held.images) == (8, 4)
    assert len({Path(row.file).name for row in open_source(held.path).rows}) == 1


def test_a_split_of_shards_names_images_in_the_tars(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [6, 6])
    train, held = hold_out(pattern, 0.25, 0, heard)
    assert (train.images, held.images) == (9, 3)
    assert len(open_source(train.path).rows) == 9
