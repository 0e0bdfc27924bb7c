"""Duplicates and leaks among real image files, and near pairs against every pair compared."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from core.data.cache import SIGNATURES_SUFFIX, cache_folder
from core.data.inspection.duplicates import (
    MAX_HASH_DISTANCE,
    MAX_PIXEL_DISTANCE,
    REPORT_EVERY,
    duplicates,
    near_pairs,
)
from core.data.inspection.leaks import leaks
from core.data.inspection.signatures import ENTRY, TINY_SIDE, read_signatures
from core.data.inspection.statistics import MAX_WORDS, count_statistics
from core.data.sources.rows import Row


def heard(*_: object) -> None:
    """Progress that nobody follows."""


def scene(seed: int, size: int = 96) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        corner = rng.integers(0, size // 2, 2)
        box = [*corner.tolist(), *(corner + rng.integers(8, size // 2, 2)).tolist()]
        pen.ellipse(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """0 a scene, 1 its bytes, 2 smaller, 3 compressed, 4 inverted, 5 another, 6 its bytes, 7 broken, 8 and 9 flat."""
    names = [str(tmp_path / f"{number}.png") for number in range(10)]
    names[3] = str(tmp_path / "3.jpg")
    scene(1).save(names[0])
    shutil.copy(names[0], names[1])
    scene(1).resize((60, 60)).save(names[2])
    scene(1).save(names[3], quality=60)
    ImageOps.invert(scene(1)).save(names[4])
    scene(2).save(names[5])
    shutil.copy(names[5], names[6])
    Path(names[7]).write_bytes(b"no image")
    Image.new("RGB", (64, 64), "red").save(names[8])
    Image.new("RGB", (64, 64), "blue").save(names[9])
    return names


def test_exact_and_near_duplicates_are_found(files: list[str]) -> None:
    signatures = read_signatures(files, heard)
    assert list(signatures.broken) == [7]
    assert "not an image" in signatures.broken[7]
    found = duplicates(signatures, heard)
    assert found.exact == [[0, 1], [5, 6]]
    assert found.near == [[0, 2, 3]]  # neither the inverted one, nor flat ones of other colours
    again = read_signatures(files, heard)  # from the cache folder
    assert (again.entries == signatures.entries).all()
    assert again.broken == signatures.broken
    (cached,) = cache_folder().glob(f"*{SIGNATURES_SUFFIX}")
    cached.write_bytes(b"")  # as after a power failure
    assert (read_signatures(files, heard).entries == signatures.entries).all()


def test_leaks_name_the_split_and_the_kind(files: list[str]) -> None:
    splits = ["train", "val", "train", "test", "val", "train", "train", "val", "", ""]
    every, named = [*files, files[5]], [*splits, "val"]
    found = leaks(every, named, duplicates(read_signatures(every, heard), heard))
    assert sorted((leak.left, leak.right, leak.kind) for leak in found) == [
        (0, 1, "same bytes"),
        (0, 3, "nearly the same"),
        (2, 3, "nearly the same"),
        (5, 10, "same file"),
        (6, 10, "same bytes"),
    ]


def test_no_near_pair_is_missed() -> None:
    """Hashes a few bits apart in random places, against all pairs compared one by one."""
    rng = np.random.default_rng(0)
    entries = np.zeros(300, ENTRY)
    hashes = rng.integers(0, 1 << 63, 60, dtype=np.uint64)
    for row in range(300):
        flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, row % 7).astype(np.uint64), initial=0)
        entries["hash"][row] = hashes[row % 60] ^ np.uint64(flips)
    entries["tiny"] = rng.integers(100, 100 + MAX_PIXEL_DISTANCE + 3, (300, TINY_SIDE, TINY_SIDE, 3))
    left, right = near_pairs(entries, heard)
    found = {tuple(sorted(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    wanted = set()
    for a, b in combinations(range(300), 2):
        bits = bin(int(entries["hash"][a] ^ entries["hash"][b])).count("1")
        apart = np.abs(entries["tiny"][a].astype(float) - entries["tiny"][b].astype(float)).mean(-1).max()
        if bits <= MAX_HASH_DISTANCE and apart <= MAX_PIXEL_DISTANCE:
            wanted.add((a, b))
    assert found == wanted
    assert len(wanted) > 50


def test_statistics_of_captions_and_labels() -> None:
    rows = [
        Row("a", ("a red hat", "hat"), {"split": "train", "kind": "hat"}),
        Row("b", ("a red hat",), {"split": "val"}),
        Row("c", ("word " * 100,), {"split": "train", "kind": "hat"}),
        Row("d", ()),
    ]
    found = count_statistics(rows, ("kind", "split"))
    assert (found.images, found.pairs, found.distinct) == (4, 4, 3)
    assert found.captions == {0: 1, 1: 2, 2: 1}
    assert (found.words[1], found.words[3], found.words[MAX_WORDS]) == (1, 2, 1)
    assert found.median_words == 3
    assert found.labels["kind"] == {"hat": 2, "": 2}
    assert found.split_label() == "split"


def test_a_band_full_of_flat_images_reports_progress_and_can_be_cancelled() -> None:
    entries = np.zeros(3 * REPORT_EVERY, ENTRY)  # one bucket in every band
    entries["tiny"] = np.arange(len(entries))[:, None, None, None] % 2 * 100  # and few pairs
    shares: list[tuple[int, int]] = []

    def cancelled(_activity: str, done: int, total: int) -> None:
        shares.append((done, total))
        if len(shares) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        near_pairs(entries, cancelled)
    total = 5 * len(entries)
    assert shares == [(0, total), *((number * REPORT_EVERY, total) for number in (1, 2)), (len(entries), total)]
