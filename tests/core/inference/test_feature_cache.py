"""Parts of a feature cache that are not ours: pipes, names that claim a billion rows, metadata changed at random."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from core.inference.feature_cache import FeatureFolder, Part
from tests.mutations import feed, few_or_many, mutated, survives

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of lists a thousand times as long
BAD = {"1": "it is broken", "3": "it is empty"}


def part(name: str, folder: Path, bad: bytes | str) -> None:
    """A file of two readable rows, 0 and 2, and what is said of the others."""
    folder.mkdir(exist_ok=True)
    text = bad if isinstance(bad, str) else bad.decode("utf-8", "replace")
    content = save({"rows": torch.tensor([0, 2]), "values": torch.ones(2, 4)}, {"bad": text})
    (folder / name).write_bytes(content)


def test_if_the_longest_part_is_damaged_a_shorter_one_is_read(tmp_path: Path) -> None:
    folder = FeatureFolder("key", tmp_path)
    for stop in (2, 3, 5):
        folder.append(Part(0, stop, torch.arange(stop), torch.ones(stop, 4)))
    assert [found.stop for found in folder.read()] == [5]
    longest = folder.path / "000000000-000000005.safetensors"
    longest.write_bytes(longest.read_bytes()[:-8])
    folder.append(Part(3, 4, torch.tensor([3]), torch.ones(1, 4)))
    assert [(found.start, found.stop) for found in folder.read()] == [(0, 3), (3, 4)]


@pytest.mark.parametrize("sort", ["pipe", "device", "folder"])
def test_a_part_that_is_not_a_file(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "key" / "000000000-000000004.safetensors"
    path.parent.mkdir()
    match sort:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    assert FeatureFolder("key", tmp_path).read() == []


def test_a_name_that_claims_a_billion_rows(tmp_path: Path) -> None:
    part(f"000000000-{10**12}.safetensors", tmp_path / "key", "{}")
    survives(lambda: FeatureFolder("key", tmp_path).read())
    assert FeatureFolder("key", tmp_path).read() == []


def check_metadata(tmp_path: Path, bad: bytes) -> None:
    part("000000000-000000004.safetensors", tmp_path / "key", bad)

    def read() -> None:
        for found in FeatureFolder("key", tmp_path).read():
            assert sorted([*found.rows.tolist(), *found.bad]) == [0, 1, 2, 3]

    survives(read)


@few_or_many
def test_hostile_metadata(tmp_path: Path, examples: int) -> None:
    feed(lambda bad: check_metadata(tmp_path, bad), mutated(BAD, line=True), examples, b"[" * 100_000)
