"""Folders and labels of an index as columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.search.collection import read_columns
from core.search.index.storage import Record


def test_unsearchable_rows_have_neither_folder_nor_label() -> None:
    alive = np.array([True, False, True])
    known = read_columns(
        [Record("/a/1.png", (), {"k": "x"}), Record("/b/2.png", (), {"k": "y"}), Record("/a/3.png")], alive
    )
    assert known.folders == ["/a"]
    assert known.folder.tolist() == [0, -1, 0]
    assert known.labels["k"][0] == ["x"]
    assert known.labels["k"][1].tolist() == [0, -1, -1]


@given(st.lists(st.text("ab./ ", min_size=1, max_size=9), min_size=1))
def test_folders_are_the_parents_of_paths_however_they_are_written(paths: list[str]) -> None:
    known = read_columns([Record(path) for path in paths], np.ones(len(paths), np.bool_))
    assert [known.folders[code] for code in known.folder] == [str(Path(path).parent) for path in paths]
