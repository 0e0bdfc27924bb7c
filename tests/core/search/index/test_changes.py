"""What changed in a source and what an index makes of it: times, labels, folders that are away, captions."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.data.errors import ImageError
from core.search.collection import open_index
from core.search.errors import IndexFolderError
from core.search.index import build as build_module
from core.search.index import encoding, source_changes, storage
from core.search.index.build import relocate
from core.search.index.manifest import read_manifest, write_manifest
from core.search.index.source_changes import scan
from core.search.index.storage import IndexReader
from core.search.queries import Query, Term
from core.search.results import Options, Searcher
from tests.core.images import draw
from tests.core.search.samples import MODEL, alive, build, quiet, write_images


def test_an_image_with_another_time_is_read_again(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    build(tmp_path / "images", tmp_path / "index")
    os.utime(paths[7], ns=(1, 1_000_000_001))
    report = build(tmp_path / "images", tmp_path / "index")
    assert (report.changed, report.added, report.removed, report.unchanged) == (1, 0, 0, 47)
    reader = IndexReader(tmp_path / "index")
    assert reader.alive().sum() == 48, "the row of before is no more"
    collection = open_index(tmp_path / "index", quiet)
    row = next(i for i, one in enumerate(reader.records(range(49))) if one.path == str(paths[7]) and reader.alive()[i])
    assert (collection.times[row], collection.sizes[row]) == (1_000_000_001, paths[7].stat().st_size)


def test_a_changed_label_or_caption_is_a_change(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    rows = [[str(path), path.stem, "x"] for path in paths]

    def again() -> tuple[int, int, int]:
        lines = ["filepath,title,kind", *(",".join(row) for row in rows)]
        (tmp_path / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
        report = build(tmp_path / "pairs.csv", tmp_path / "index")
        return report.added, report.changed, report.unchanged

    assert again() == (48, 0, 0)
    rows[3][2] = "y"
    assert again() == (0, 1, 47)
    rows[4][1] = "other words"
    assert again() == (0, 1, 47)
    found = alive(tmp_path / "index")
    assert found[str(paths[3])].labels == {"kind": "y"}
    assert found[str(paths[4])].captions == ("other words",)


def test_hidden_folders_are_skipped_and_top_level_images_have_no_label(tmp_path: Path) -> None:
    paths = write_images(tmp_path, captions=False)
    (tmp_path / ".trash").mkdir()
    shutil.copy(paths[0], tmp_path / ".trash" / "gone.png")
    shutil.copy(paths[0], tmp_path / "b.png")
    shutil.copy(paths[0], tmp_path / "a.png")
    (tmp_path / "red" / "deep").mkdir()
    shutil.copy(paths[0], tmp_path / "red" / "deep" / "in.png")
    (tmp_path / "red" / "deep" / "up").symlink_to(tmp_path)
    found = scan(str(tmp_path)).images
    assert [one.path for one in found[:2]] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert len(found) == 51
    assert [dict(one.labels) for one in found[:2]] == [{}, {}]
    deep = next(one for one in found if one.path.endswith("in.png"))
    assert deep.labels == {"folder": "red"}


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Folders that cannot be listed."""
    folders: set[str] = set()
    look = os.scandir

    def scandir(path: Any = ".") -> Any:
        if str(path) in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(source_changes.os, "scandir", scandir)
    return folders


def test_images_of_an_unresponsive_folder_are_kept(tmp_path: Path, away: set[str]) -> None:
    """And of no other: not of one whose name begins alike."""
    images = tmp_path / "images"
    paths = write_images(images, captions=False)
    (images / "red2").mkdir()
    shutil.copy(paths[0], images / "red2" / "x.png")
    build(images, tmp_path / "index")
    away.add(str(images / "red"))
    shutil.rmtree(images / "red2")
    log: list[str] = []
    report = build(images, tmp_path / "index", log)
    assert (report.unreachable, report.unchanged, report.removed, report.images) == (12, 48, 1, 48)
    assert log == [f"{images / 'red'} is unreachable; its images stay in the index."]
    report = build(images, tmp_path / "index", drop_missing=True)
    assert (report.unreachable, report.removed, report.images) == (0, 12, 36)


def test_files_that_could_not_be_opened_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_images(tmp_path / "images")
    plain = encoding.Encoder.image

    def image(encoder: encoding.Encoder, path: str) -> torch.Tensor:
        if path == str(paths[5]):
            raise ImageError("it cannot be opened: Input/output error") from OSError(errno.EIO, "Input/output error")
        if path == str(paths[6]):
            raise ImageError("it is damaged or truncated: truncated")
        return plain(encoder, path)

    with monkeypatch.context() as patch:
        patch.setattr(encoding.Encoder, "image", image)
        report = build(tmp_path / "images", tmp_path / "index")
    assert (report.images, report.captions) == (46, 46)
    assert {(row.location, row.reason) for row in report.bad} == {
        (str(paths[5]), "it cannot be opened: Input/output error"),
        (str(paths[6]), "it is damaged or truncated: truncated"),
    }
    assert open_index(tmp_path / "index", quiet).alive.sum() == 46
    again = build(tmp_path / "images", tmp_path / "index")
    assert (again.changed, again.unchanged, again.images, again.captions) == (1, 47, 47, 47)
    owner = IndexReader(tmp_path / "index").text_rows()
    found = open_index(tmp_path / "index", quiet)
    assert {
        found.captions([text])[0] for text in range(len(owner)) if owner[text] >= 0 and found.alive[owner[text]]
    } == {path.with_suffix(".txt").read_text().strip() for path in paths if path != paths[6]}


def test_captions_stay_with_their_image_when_files_are_rewritten(tmp_path: Path) -> None:
    """Images with none, two and three captions; a quarter is removed, then the rest is relocated."""
    paths = write_images(tmp_path / "images", captions=False)
    wanted = {}
    for number, path in enumerate(paths):
        lines = [f"{path.parent.name} {path.stem} {i}" for i in range((0, 2, 3)[number % 3])]
        if lines:
            path.with_suffix(".txt").write_text("\n".join(lines), encoding="utf-8")
        wanted[str(path)] = lines
    build(tmp_path / "images", tmp_path / "index")

    def check(folder: Path) -> None:
        collection = open_index(folder, quiet)
        owner = collection.owner
        records = collection.records(range(len(collection.alive)))
        for row in np.flatnonzero(collection.alive):
            texts = np.flatnonzero(owner == row).tolist()
            assert collection.captions(texts) == list(records[row].captions) == wanted[records[row].path]
            if texts:
                assert collection.texts is not None
                for text, caption in zip(texts, records[row].captions, strict=True):
                    tokens = collection.encoder.tokens([caption])
                    vector = encoding.encode_tokens(
                        collection.encoder.model.network, tokens, collection.encoder.model.runtime
                    )[0]
                    assert collection.texts.vectors(np.array([text]))[0] == pytest.approx(vector.numpy(), abs=2e-3)

    check(tmp_path / "index")
    for path in paths[:12]:
        path.unlink()
        path.with_suffix(".txt").unlink(missing_ok=True)
    report = build(tmp_path / "images", tmp_path / "index")
    assert report.captions == sum(len(wanted[str(path)]) for path in paths[12:])
    assert IndexReader(tmp_path / "index").manifest.generation == 2
    check(tmp_path / "index")
    report = build(tmp_path / "images", tmp_path / "index")
    assert (report.changed, report.unchanged) == (0, 36), "sizes and times were kept"


def test_damage_beside_removed_rows_counts_the_encoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    paths = write_images(tmp_path / "images")
    build(tmp_path / "images", tmp_path / "index")
    for path in (paths[0], paths[40]):
        path.unlink()
    build(tmp_path / "images", tmp_path / "index")
    file = tmp_path / "index" / "images-0001.bin"
    content = bytearray(file.read_bytes())
    content[3] ^= 1  # in the first segment, which has 15 left
    file.write_bytes(content)
    log: list[str] = []
    report = build(tmp_path / "images", tmp_path / "index", log)
    assert (report.rebuilt, report.added, report.images) == (15, 15, 46)
    assert "their 15 images are encoded again" in log[0]


def test_captions_of_an_unreadable_image_are_not_given_to_the_next(tmp_path: Path) -> None:
    found = []
    for name, caption in (("a", "one red bar"), ("b", "two blue discs"), ("c", "three green stars")):
        path = tmp_path / f"{name}.png"
        draw("red", "bar", 12).save(path)
        found.append(source_changes.SourceImage(str(path), path.stat().st_size, 0, (caption,)))
    Path(found[1].path).write_bytes(b"broken")
    encoder = encoding.open_encoder(MODEL, "")
    ((first, broken, last),) = encoder.entries(found)
    assert broken.texts is None
    for entry, one in ((first, found[0]), (last, found[2])):
        ((alone,),) = encoder.entries([one])
        assert entry.texts is not None
        assert alone.texts is not None
        np.testing.assert_allclose(entry.texts, alone.texts, atol=1e-2)
    assert not np.allclose(first.texts, last.texts, atol=2e-2)


def test_relocating_moves_only_what_is_below_and_the_source_with_a_folder_above_it(tmp_path: Path) -> None:
    source, moved = tmp_path / "disk" / "all", tmp_path / "mounted" / "all"
    write_images(source / "old", captions=False)
    write_images(source / "older", captions=False)
    build(source, tmp_path / "index")
    (source / "old").rename(source / "new")
    assert relocate(tmp_path / "index", str(source / "old"), str(source / "new"), quiet) == 48
    assert set(alive(tmp_path / "index")) == {str(path) for path in source.rglob("*.png")}
    assert IndexReader(tmp_path / "index").manifest.source == str(source)
    source.parent.rename(moved.parent)
    assert relocate(tmp_path / "index", str(source.parent), str(moved.parent), quiet) == 96
    report = build(moved, tmp_path / "index")
    assert (report.changed, report.unchanged) == (48, 48), "those in the renamed folder have another label"


def test_images_that_were_indexed_at_both_paths_of_a_relocation_count_once(tmp_path: Path) -> None:
    source = tmp_path / "images"
    write_images(source / "old", captions=False)
    shutil.copytree(source / "old", source / "new")
    build(source, tmp_path / "index")
    shutil.rmtree(source / "old")
    assert relocate(tmp_path / "index", str(source / "old"), str(source / "new"), quiet) == 48
    assert build(source, tmp_path / "index").images == 48
    assert IndexReader(tmp_path / "index").alive().sum() == 48


def test_a_reader_overtaken_by_a_rewrite_reads_again(own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(own[1])
    assert manifest is not None
    told = iter([replace(manifest, generation=7), manifest])
    monkeypatch.setattr(storage, "existing_manifest", lambda folder: next(told))
    assert len(IndexReader(own[1])) == 48
    monkeypatch.setattr(storage, "existing_manifest", lambda folder: replace(manifest, generation=7))
    with pytest.raises(IndexFolderError, match=r"data files of the index .* are missing; run sdgui-core index again"):
        IndexReader(own[1])


def test_an_open_index_can_be_searched_after_another_process_rewrote_it(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    build(tmp_path / "images", tmp_path / "index")
    searching = Searcher(open_index(tmp_path / "index", quiet))
    for path in paths[:30]:
        path.unlink()
    build(tmp_path / "images", tmp_path / "index")
    assert not list((tmp_path / "index").glob("*-0001.bin")), "the index was rewritten"
    found = searching.search(Query((Term(text="red"),)), Options(k=48, group=False))["rows"]
    assert {row["path"] for row in found} == {str(path) for path in paths}
    assert sum(row["exists"] for row in found) == 18


def test_an_unfinished_index_is_reported(own: tuple[Path, Path]) -> None:
    manifest = read_manifest(own[1])
    assert manifest is not None
    write_manifest(own[1], replace(manifest, complete=False))
    (note,) = open_index(own[1], quiet).notes
    assert "is being built, or its build was interrupted; only its existing part is searched" in note
    assert build(*own).unchanged == 48
    assert open_index(own[1], quiet).notes == ()
