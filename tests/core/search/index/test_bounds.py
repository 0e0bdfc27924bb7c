"""How large a manifest may be: a hundred million images are admitted, and nothing costs more to refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.search.errors import IndexFolderError
from core.search.index import build as build_module
from core.search.index import storage
from core.search.index.encoding import TOO_LARGE
from core.search.index.manifest import (
    MAX_REMOVED_RANGES,
    SEGMENT_ROWS,
    Identity,
    Manifest,
    Segment,
    read_manifest,
    write_manifest,
)
from core.search.index.storage import IndexReader
from tests.core.search.samples import MODEL, alive, build, files_of, write_images
from tests.mutations import survives

HUNDRED_MILLION = Manifest(
    Identity(MODEL, "student", "0" * 16, {"image_size": 224}, 512),
    "/images",
    segments=(Segment(SEGMENT_ROWS, SEGMENT_ROWS, 1 << 30, (2**32 - 1,) * 4),) * -(-(10**8) // SEGMENT_ROWS),
    removed=tuple((760 * number, 1) for number in range(MAX_REMOVED_RANGES)),
)


@pytest.mark.ci
def test_a_hundred_million_images_are_accepted_or_refused_quickly(tmp_path: Path) -> None:
    """As many as are promised, with as many ranges of removed rows as a build leaves: what takes longest to check."""
    write_manifest(tmp_path, HUNDRED_MILLION)
    found = read_manifest(tmp_path)
    assert found == HUNDRED_MILLION
    assert found.rows >= 10**8
    last = HUNDRED_MILLION.removed[-1]
    write_manifest(tmp_path, replace(HUNDRED_MILLION, removed=(*HUNDRED_MILLION.removed[:-1], last, last)))

    def read() -> None:
        with pytest.raises(IndexFolderError, match="are damaged"):
            read_manifest(tmp_path)

    survives(read, seconds=3)  # of 14 MB; 0.7 to 0.8 s where nothing else runs


@pytest.mark.parametrize("many", ["[", "{", ",", ":", "\\\\"])
def test_an_oversized_manifest_is_never_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: str) -> None:
    """Each of these, repeated up to the largest size, would take seconds or gigabytes to parse."""
    monkeypatch.setattr("core.search.index.manifest.parse_json", lambda *_, **__: pytest.fail("it was parsed"))
    for name in ("manifest.json", "manifest.copy.json"):
        (tmp_path / name).write_text('{"checksum": 5, "source": "' + many * (1 << 21) + '"}', encoding="utf-8")
    with pytest.raises(IndexFolderError, match="and its copy are damaged"):
        read_manifest(tmp_path)


def test_a_manifest_that_could_not_be_read_is_not_written(own: tuple[Path, Path]) -> None:
    """What is there stays."""
    before, manifest = files_of(own[1]), read_manifest(own[1])
    assert manifest is not None
    with pytest.raises(IndexFolderError, match="would be too large"):
        write_manifest(own[1], replace(manifest, removed=tuple((run, 1) for run in range(1 << 20))))
    assert files_of(own[1]) == before


def test_fragmented_removals_are_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far below the share that else asks for it; no row of the new files is marked as removed."""
    monkeypatch.setattr(build_module, "MAX_REMOVED_RANGES", 2)
    images, folder = tmp_path / "images", tmp_path / "index"
    write_images(images)
    build(images, folder)
    expected = alive(folder)
    for taken in ([3, 9], [20, 30, 40]):
        for path in [sorted(expected)[number] for number in taken]:
            Path(path).unlink()
            del expected[path]
        report = build(images, folder)
        assert (report.removed, report.images) == (len(taken), len(expected))
        assert alive(folder) == expected
        reader = IndexReader(folder)
        generation, listed = (1, 2) if len(taken) == 2 else (2, 0)
        assert (reader.manifest.generation, len(reader.manifest.removed)) == (generation, listed)
        assert len(reader) == 48 if listed else len(expected)
    assert build(images, folder).unchanged == len(expected)


def test_too_long_captions_are_refused_when_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader would call the whole index damaged."""
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", 20_000)
    images = write_images(tmp_path / "images")
    for image, letters in ((images[3], 19_000), (images[7], 21_000), (images[9], 10_001)):
        image.with_suffix(".txt").write_text(letters // 10 * ("\u00e9" if image == images[9] else "e") * 10)
    report = build(tmp_path / "images", tmp_path / "index")
    assert [bad.location for bad in report.bad] == [str(images[7]), str(images[9])]
    assert {bad.reason for bad in report.bad} == {TOO_LARGE}
    assert set(alive(tmp_path / "index")) == {str(image) for image in images} - {str(images[7]), str(images[9])}


def test_a_foreign_record_beyond_the_limit_is_never_read(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, index = own
    records = IndexReader(index).records(range(3))
    longest = max(len(storage._record_line(record)) for record in records)
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", longest)
    assert IndexReader(index).records(range(3)) == records
    monkeypatch.setattr(storage, "MAX_RECORD_BYTES", longest - 1)
    monkeypatch.setattr(storage, "parse_record", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(IndexFolderError, match="is damaged"):
        IndexReader(index).records([max(range(3), key=lambda row: len(storage._record_line(records[row])))])
