"""A full disk in the default suite: a write that is refused half-way. tests/integration has the real ones."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from core.spec import caption_files
from core.spec.caption_files import (
    Candidate,
    CaptionedImage,
    CaptionFileError,
    CaptionTable,
    CaptionTableError,
    write_new,
)
from core.spec.errors import UserError, writing

FULL = OSError(errno.ENOSPC, "No space left on device")
IMAGE = CaptionedImage("/a.png", [Candidate("a dog"), Candidate("a cat")], {"model": "m"})


class Nearly(io.FileIO):
    """A file on a disk that has room for so many bytes."""

    room = 0

    def write(self, content: Any) -> int:
        taken = bytes(content)[: self.room]
        if not taken:
            raise FULL
        Nearly.room -= len(taken)
        return super().write(taken)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> type[Nearly]:
    """Tables are written to a disk like that."""
    monkeypatch.setattr(caption_files, "_opened", lambda path, mode: Nearly(path, mode))
    return Nearly


@pytest.mark.parametrize("more", [0, 1, 30, 50])
def test_a_table_on_a_full_disk_ends_with_a_complete_line(tmp_path: Path, room: type[Nearly], more: int) -> None:
    room.room = 10_000
    with CaptionTable(tmp_path / "whole.csv") as table:
        table.write(IMAGE)
    whole = (tmp_path / "whole.csv").read_bytes()
    room.room = len(whole) + more
    with CaptionTable(tmp_path / "a.csv") as table:
        table.write(IMAGE)
        with pytest.raises(CaptionTableError, match=r"a\.csv cannot be written: No space left .*; free some space and"):
            table.write(IMAGE)
    assert (tmp_path / "a.csv").read_bytes() == whole


def test_no_table_is_left_when_the_header_does_not_fit(tmp_path: Path, room: type[Nearly]) -> None:
    room.room = 20
    with pytest.raises(CaptionFileError, match="free some space"):
        CaptionTable(tmp_path / "a.csv")
    (tmp_path / "old.csv").write_text("a user's", encoding="utf-8")
    room.room = 20
    with pytest.raises(CaptionFileError, match="free some space"):
        CaptionTable(tmp_path / "old.csv", force=True)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"old.csv": "a user's"}


def test_a_new_file_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        Nearly.room = 3
        return io.BufferedWriter(Nearly(path, "x")) if mode.startswith("x") else plain(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(CaptionFileError, match=r"a\.txt cannot be written: No space left on device; free some space"):
        write_new(tmp_path / "a.txt", "a dog on a bench")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space and try again"),
        (errno.EDQUOT, "free some space and try again"),
        (errno.EACCES, "choose a folder that you may write to"),
    ],
)
def test_a_failed_write_names_the_file_and_the_remedy(number: int, remedy: str) -> None:
    with pytest.raises(UserError) as caught, writing("/a/b.bin", UserError, "what was there is kept"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"cannot write /a/b.bin: {os.strerror(number)}; what was there is kept; {remedy}."
