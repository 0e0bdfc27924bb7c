"""What a search of real images answers: near-identical ones folded, those that are gone, any words."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from core.search import results
from core.search.collection import open_index
from core.search.errors import IndexFolderError
from core.search.index.source_changes import scan
from core.search.queries import Query, Term
from core.search.results import Options, Searcher
from tests.core.search.samples import build, quiet, write_images


def test_as_many_results_as_requested_beside_near_duplicates(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    for number in range(20):
        paths[3].with_name(f"twin-{number}.png").write_bytes(paths[3].read_bytes())
    build(tmp_path / "images", tmp_path / "index")
    searching = Searcher(open_index(tmp_path / "index", quiet))
    query = Query((Term(image=str(paths[3])),))
    apart = len(searching.search(query, Options(k=68))["rows"])  # of all: the untrained model folds others too
    assert apart > 3
    found = searching.search(query, Options(k=3))
    assert len(found["rows"]) == 3
    assert len(found["rows"][0]["duplicates"]) >= 20
    assert found["above"] == sum(row["above_cutoff"] for row in found["rows"])


def test_images_that_are_gone_or_do_not_answer_end_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    paths = write_images(images, captions=False)
    build(images, tmp_path / "index")
    paths[0].unlink()
    searching = Searcher(open_index(tmp_path / "index", quiet))
    rows = searching.search(Query((Term(row=1),)), Options(k=48, group=False))["rows"]
    assert {row["path"] for row in rows if not row["exists"]} == {str(paths[0])}
    look = os.stat

    def stat(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if str(path).startswith(str(images)):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return look(path, *rest, **more)

    monkeypatch.setattr(os, "stat", stat)
    rows = searching.search(Query((Term(row=1),)), Options(k=5))["rows"]
    assert rows
    assert not any(row["exists"] for row in rows)
    with pytest.raises(IndexFolderError, match="does not exist; if it is on a network drive, connect"):
        scan(str(images))


def test_near_duplicates_are_compared_among_the_maximum_number_of_results(
    searching: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MAX_RESULTS", 10)
    compared: list[int] = []
    group = Searcher._groups

    def count(self: Searcher, rows: Any, *rest: Any) -> Any:
        compared.append(len(rows))
        return group(self, rows, *rest)

    monkeypatch.setattr(Searcher, "_groups", count)
    searching.search(Query((Term(text="red"),)), Options(k=8))
    assert compared == [10]
