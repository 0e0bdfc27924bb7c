"""The untrained model, images and their index are made once for all tests."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from core.checkpoint.opening import open_model
from core.search.collection import open_index
from core.search.index import encoding
from core.search.results import Searcher
from tests.core.search.samples import build, copy, quiet, write_images

_once = functools.cache(open_model)


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it again gives the same one."""
    monkeypatch.setattr(encoding, "open_model", _once)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images, and the index of them; neither is to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_images(folder / "images")
    build(folder / "images", folder / "index")
    return folder / "images", folder / "index"


@pytest.fixture
def own(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same images, and an index of its own."""
    images, index = made
    return images, copy(index, tmp_path / "index")


@pytest.fixture
def images(made: tuple[Path, Path]) -> Path:
    """The folder of both."""
    return made[0].parent


@pytest.fixture
def searching(images: Path) -> Searcher:
    return Searcher(open_index(images / "index", quiet))
