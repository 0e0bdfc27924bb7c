"""What a search keeps for the next one, and where room is made; an animated image, point by point."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.search import animation, cached_indexes, layouts
from core.search.animation import GAP, HEAD, SIDE, Frame, Hit
from core.search.cached_indexes import MAX_INDEXES, update_folder_index
from core.search.errors import NoImagesError
from core.search.index import manifest
from core.search.layouts import layout_digest, load_layout, save_layout
from core.spec.errors import UserError
from tests.core.search.samples import MODEL, alive, quiet, write_images


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked for of indexes, which are folders without anything in them."""
    found: list[tuple[Any, ...]] = []

    def build(model: str, source: str, path: Path, progress: object, log: object, weights: str) -> None:
        found.append((model, source, weights))
        if source.endswith("empty"):
            raise NoImagesError("There are no images.")
        if source.endswith("odd"):
            raise UserError("There is no such model.")
        path.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(cached_indexes, "build_index", build)
    return found


def test_each_model_and_folder_has_its_own_index(built: list[tuple[Any, ...]], tmp_path: Path) -> None:
    home = tmp_path / "home" / "indexes"
    folder = str(tmp_path / ("long" * 20))
    asked = [("m", "student", folder), ("m", "teacher", folder), ("n", "student", folder), ("m", "student", "/other")]
    paths = [update_folder_index(home, *one, quiet) for one in asked]
    assert [(model, weights, source) for model, source, weights in built] == asked
    assert len(set(paths)) == 4
    assert [path.name[:41] for path in paths if path][:3] == [("long" * 10) + "-"] * 3
    assert update_folder_index(home, *asked[0], quiet) == paths[0]
    assert update_folder_index(home, "m", "", str(tmp_path / "empty"), quiet) is None
    with pytest.raises(UserError, match="no such model"):
        update_folder_index(home, "m", "", str(tmp_path / "odd"), quiet)


def test_the_least_recently_searched_index_is_evicted(built: list[tuple[Any, ...]], tmp_path: Path) -> None:
    home = tmp_path / "indexes"
    paths = [update_folder_index(home, "m", "", f"/images/{number}", quiet) for number in range(MAX_INDEXES)]
    for number, path in enumerate(paths):
        assert path is not None
        os.utime(path, (number + 1, number + 1))
    (home / "mine").mkdir()
    (home / f"file-{'0' * 20}").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (home / f"link-{'0' * 20}").symlink_to(tmp_path / "elsewhere")
    for name in ("mine", f"file-{'0' * 20}"):
        os.utime(home / name, (0, 0))
    assert update_folder_index(home, "m", "", "/images/0", quiet) == paths[0], "it is the last now"
    assert all(path is not None and path.is_dir() for path in paths)
    new = update_folder_index(home, "m", "", "/images/new", quiet)
    assert new is not None
    there = {path for path in home.iterdir() if path.is_dir() and not path.is_symlink()}
    assert there == {home / "mine", new, *paths} - {paths[1]}
    assert (home / f"file-{'0' * 20}").exists()
    assert (tmp_path / "elsewhere").is_dir()


def test_a_cached_index_follows_a_folder_whose_images_are_all_replaced(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    cached = update_folder_index(tmp_path / "home", MODEL, "", str(tmp_path / "images"), quiet)
    for path in paths:
        path.rename(path.with_stem("new"))
    assert update_folder_index(tmp_path / "home", MODEL, "", str(tmp_path / "images"), quiet) == cached
    assert cached is not None
    assert {Path(path).stem for path in alive(cached)} == {"new"}
    for path in (tmp_path / "images").rglob("*.png"):
        path.unlink()
    assert update_folder_index(tmp_path / "home", MODEL, "", str(tmp_path / "images"), quiet) is None
    assert alive(cached), "the folder may be unavailable for now"


def test_a_damaged_cached_index_is_replaced(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", captions=False)
    cached = update_folder_index(tmp_path / "home", MODEL, "", str(tmp_path / "images"), quiet)
    assert cached is not None
    for name in (manifest.NAME, manifest.COPY):
        (cached / name).write_text('{"checksum": 0}')
    assert update_folder_index(tmp_path / "home", MODEL, "", str(tmp_path / "images"), quiet) == cached
    assert len(alive(cached)) == len(paths)


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layouts, "cache_folder", lambda: tmp_path)
    return tmp_path / "maps"


def test_a_cached_layout_is_reused_and_others_are_computed(maps: Path) -> None:
    layout = np.arange(10.0).reshape(5, 2) / 8
    assert len({layout_digest(layout, "a"), layout_digest(layout, "b"), layout_digest(layout.T, "a")}) == 3
    assert load_layout("a", 5) is None
    save_layout("a", layout)
    found = load_layout("a", 5)
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == layout.tolist()
    assert load_layout("a", 4) is None
    others: list[Any] = [layout.astype(np.float32).T, layout, np.full((5, 2), np.nan, np.float32)]
    for number, other in enumerate(others):
        np.save(maps / f"{number}.npy", other)
        assert load_layout(str(number), 5) is None, "of another shape, kind, or without values"
    (maps / "text.npy").write_text("no layout")
    np.save(maps / "object.npy", np.array([{}]), allow_pickle=True)
    assert load_layout("text", 5) is load_layout("object", 5) is None


def test_the_least_recently_used_layout_is_evicted(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MAX_LAYOUTS", 3)
    layout = np.zeros((1, 2))
    for number in range(3):
        save_layout(str(number), layout)
        os.utime(maps / f"{number}.npy", (number + 1, number + 1))
    assert load_layout("0", 1) is not None
    save_layout("new", layout)
    assert {path.stem for path in maps.iterdir()} == {"0", "2", "new"}
    monkeypatch.setattr(layouts, "cache_folder", lambda: maps / "2.npy")
    save_layout("nowhere", layout)  # a file where a folder would be: it is computed again the next time
    assert load_layout("nowhere", 1) is None


def drawn(frame: Frame, total: int = 10, title: str = "") -> Any:
    return np.asarray(animation._draw(frame, total, title)).astype(int)


def near(pixel: Any, colour: str) -> bool:
    wanted = np.array(Image.new("RGB", (1, 1), colour))[0, 0].astype(int)
    return bool(np.abs(pixel - wanted).max() < 12)


def test_results_are_rows_of_four_under_a_bar_of_progress(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "red").save(tmp_path / "red.png")
    Image.new("RGB", (300, 150), "lime").save(tmp_path / "wide.png")
    red, wide = Hit(str(tmp_path / "red.png")), Hit(str(tmp_path / "wide.png"))
    hits = (red, wide, Hit(red.path, below=True), Hit(red.path, text="a caption"), red, *(wide for _ in range(20)))
    sheet = drawn(Frame(5, (("student", hits), ("teacher", (wide,)))))
    across = 4 * (SIDE + GAP) + GAP
    assert sheet.shape == (2 * HEAD + 3 * (SIDE + GAP) + GAP, 2 * across, 3)
    assert near(sheet[HEAD - 3, across - 2], "#4ea1ff"), "step 5 of 10"
    assert not near(sheet[HEAD - 3, across + 2], "#4ea1ff")

    def cell(place: int, network: int = 0) -> Any:
        x, y = network * across + GAP + place % 4 * (SIDE + GAP), HEAD + 4 * GAP + place // 4 * (SIDE + GAP)
        return sheet[y : y + SIDE, x : x + SIDE]

    middle, edge = SIDE // 2, 2
    assert near(cell(0)[edge, edge], "red"), "a square image fills its place"
    assert near(cell(1)[middle, edge], "lime")
    assert near(cell(1)[edge, middle], "#2a2d34"), "a wide one is in its middle"
    assert 60 < cell(2)[middle, middle][0] < 160, "under the cut-off it is faint"
    assert near(cell(3)[SIDE - 2, SIDE - 2], "#16181d"), "its caption has a ground of its own"
    assert near(cell(4)[middle, middle], "red"), "the second row"
    assert near(cell(0, 1)[middle, middle], "lime")
    assert near(cell(1, 1)[middle, middle], "#16181d")
    assert animation._shorten("a\n b   c") == "a b c"
    assert animation._shorten("abcdef", 5) == "abcd…"
