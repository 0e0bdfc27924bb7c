"""Input that cannot be trained: rank 0 reports the reason once, all ranks exit, and the run has failed."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.sources.opening import open_source
from core.data.sources.shards.index import open_index, path_beside
from core.data.sources.shards.writing import write_shards
from core.spec.config import override
from core.spec.run.status import RunState
from tests.core.ranks.launched import Forked
from tests.core.ranks.settings import config_of, labelled_pairs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train.csv``, and the folder ``shards`` with the same pairs in four indexed tars."""
    manifest = labelled_pairs(tmp_path_factory.mktemp("pairs"))
    write_shards(open_source(manifest), manifest.parent / "shards", lambda done, total: None, rows=9)
    for tar in manifest.parent.glob("shards/*.tar"):
        open_index(tar)
    return manifest


def cut(tars: list[Path]) -> None:
    """Truncate a tar in the middle of an image."""
    with tarfile.open(tars[1]) as tar:
        largest = max(tar.getmembers(), key=lambda member: member.size)
    tars[1].write_bytes(tars[1].read_bytes()[: largest.offset_data + largest.size // 2])


def cut_unindexed(tars: list[Path]) -> None:
    cut(tars)
    path_beside(tars[1]).unlink()


def double(tars: list[Path]) -> None:
    shutil.copy(tars[1], tars[1].with_name("99999.tar"))


def change(tars: list[Path]) -> None:
    shutil.copy(tars[2], tars[1])


def take_captions_away(tars: list[Path]) -> None:
    for path in tars:
        kept = io.BytesIO()
        with tarfile.open(path) as old, tarfile.open(fileobj=kept, mode="w") as new:
            for member in old:
                if not member.name.endswith((".txt", ".json", ".cls")):
                    new.addfile(member, old.extractfile(member))
        path.write_bytes(kept.getvalue())
        path_beside(path).unlink()


def shards_of(source: Path, folder: Path, damage: Callable[[list[Path]], None]) -> str:
    """The setting that names a damaged copy of the shards."""
    shutil.copytree(source.parent / "shards", folder)
    damage(sorted(folder.glob("*.tar")))
    return f"data.train={folder}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "has changed since it was indexed"),
        (cut_unindexed, "is truncated in the member at byte"),
        (double, "have the same members"),
        (change, "has changed since it was indexed"),
        (take_captions_away, "no caption"),
    ],
)
def test_shards_that_cannot_be_read(
    damage: Callable[[list[Path]], None], message: str, source: Path, tmp_path: Path
) -> None:
    check(message, source, tmp_path, shards_of(source, tmp_path / "shards", damage))


@pytest.mark.slow
def test_streams_that_cannot_be_shared(source: Path, tmp_path: Path) -> None:
    shards = f"data.train={source.parent / 'shards'}"
    check("3 processes cannot share the", source, tmp_path, shards, size=3)


def check(message: str, source: Path, folder: Path, *settings: str, size: int = 2) -> None:
    config = override(config_of("clip", source, folder), list(settings))
    with Forked(config, folder / "run", size) as run:
        status, _ = run.wait()
        assert status == 1
        assert run.output.count("error: ") == 1, run.output
        assert message in run.output
        assert run.state() is RunState.FAILED
