"""Files of faiss that came from anywhere: refused before faiss reads them, or harmless."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.search.errors import IndexFolderError
from core.search.index.acceleration import Part, Sizes, make_part
from core.search.index.nearest import Scanned
from core.search.index.part_files import Kind, open_part
from tests.mutations import survives

ROWS, DIM = 64, 8
SIZES = Sizes(small=0, scan=ROWS, ivf_from=ROWS, ivf=ROWS, lists=4, per_list=16)
DATA_FILES: list[Kind] = ["scan", "ivf"]


def written(folder: Path, kind: Kind) -> tuple[Path, np.ndarray]:
    """A file as this program writes it, and the vectors (N, D) fp16 that it is of."""
    values = np.random.default_rng(0).normal(size=(ROWS, DIM))
    vectors = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)
    make_part(folder / f"{kind}.faiss", Part(kind, 0, ROWS), vectors, None, SIZES)
    return folder / f"{kind}.faiss", vectors


def search(path: Path, kind: Kind, vectors: np.ndarray) -> None:
    """Open the file and search it with a filter that is too wide to compare rows one by one."""
    opened = Scanned(vectors, [Part(kind, 0, ROWS)], [path])
    rows = opened._candidates(vectors[0].astype(np.float32), 10, np.arange(ROWS) > 3, 1.0)
    assert ((rows >= 0) & (rows < ROWS)).all()


@pytest.mark.parametrize("kind", DATA_FILES)
def test_files_written_by_this_program_are_read(tmp_path: Path, kind: Kind) -> None:
    path, vectors = written(tmp_path, kind)
    search(path, kind, vectors)
    for rows, dim in ((ROWS - 1, DIM), (ROWS, DIM + 1)):
        with pytest.raises(IndexFolderError, match="is damaged or belongs to another index"):
            open_part(path, kind, rows, dim)


@pytest.mark.parametrize("kind", DATA_FILES)
def test_every_changed_byte_of_a_header_is_detected(tmp_path: Path, kind: Kind) -> None:
    path, _ = written(tmp_path, kind)
    content = path.read_bytes()
    numbers = range(45) if kind == "scan" else range(98)  # up to the first vector
    for at in [*numbers, *(content.index(part) for part in (b"ilar", b"full") if kind == "ivf")]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        with pytest.raises(IndexFolderError, match="is damaged or belongs to another index"):
            open_part(path, kind, ROWS, DIM)


@pytest.mark.parametrize("kind", DATA_FILES)
def test_a_file_that_names_another_or_has_another_length_is_refused(tmp_path: Path, kind: Kind) -> None:
    path, _ = written(tmp_path, kind)
    content = path.read_bytes()
    name = os.fsencode(tmp_path / "pipe")
    elsewhere = content.replace(b"ilar", b"ilod") + len(name).to_bytes(8, "little") + name
    for other in (content[:-1], content + b"\0", b"", content[:50], elsewhere):
        path.write_bytes(other)
        with pytest.raises(IndexFolderError, match="is damaged or belongs to another index"):
            open_part(path, kind, ROWS, DIM)


@pytest.mark.parametrize("kind", DATA_FILES)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_file_is_refused_or_searched_safely(
    tmp_path: Path, kind: Kind, changes: list[tuple[int, bytes]]
) -> None:
    path, vectors = written(tmp_path, kind)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        at %= len(content)
        content[at : at + len(value)] = value[: len(content) - at]
    path.unlink()  # the one before may still be mapped
    path.write_bytes(bytes(content))
    survives(lambda: search(path, kind, vectors))
