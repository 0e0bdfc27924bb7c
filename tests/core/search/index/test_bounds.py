"""How large a manifest may be: a hundred million pictures are admitted, and nothing costs more to refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.search.errors import IndexFolderError
from core.search.index.manifest import (
    BLOCK,
    MOST_REMOVED,
    Identity,
    Manifest,
    Segment,
    read_manifest,
    write_manifest,
)
from tests.core.search.samples import MODEL, files_of
from tests.mutations import survives

HUNDRED_MILLION = Manifest(
    Identity(MODEL, "student", "0" * 16, {"image_size": 224}, 512),
    "/pictures",
    segments=(Segment(BLOCK, BLOCK, 1 << 30, (2**32 - 1,) * 4),) * -(-(10**8) // BLOCK),
    removed=tuple((760 * run, 1) for run in range(MOST_REMOVED)),
)


def test_a_hundred_million_pictures_are_admitted_and_refused_in_time(tmp_path: Path) -> None:
    """As many as are promised, with as many runs of removed rows as a build leaves: what takes longest to check."""
    write_manifest(tmp_path, HUNDRED_MILLION)
    found = read_manifest(tmp_path)
    assert found == HUNDRED_MILLION
    assert found.rows >= 10**8
    last = HUNDRED_MILLION.removed[-1]
    write_manifest(tmp_path, replace(HUNDRED_MILLION, removed=(*HUNDRED_MILLION.removed[:-1], last, last)))
    survives(lambda: read_manifest(tmp_path))
    with pytest.raises(IndexFolderError, match="is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("many", ["[", "{", ",", ":", "\\\\"])
def test_more_of_anything_than_an_index_has_is_never_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: str
) -> None:
    """Each of these, repeated up to the largest size, would take seconds or gigabytes to parse."""
    monkeypatch.setattr("core.search.index.manifest.parse_json", lambda *_, **__: pytest.fail("it was parsed"))
    for name in ("manifest.json", "manifest.copy.json"):
        (tmp_path / name).write_text('{"checksum": 5, "source": "' + many * (1 << 21) + '"}', encoding="utf-8")
    with pytest.raises(IndexFolderError, match="is damaged, and so is its copy"):
        read_manifest(tmp_path)


def test_no_manifest_is_written_that_could_not_be_read(own: tuple[Path, Path]) -> None:
    """What is there stays."""
    before, manifest = files_of(own[1]), read_manifest(own[1])
    assert manifest is not None
    with pytest.raises(IndexFolderError, match="would be too large to be read"):
        write_manifest(own[1], replace(manifest, removed=tuple((run, 1) for run in range(1 << 20))))
    assert files_of(own[1]) == before
