"""The included set ``general``: images with captions, and words."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core.data.sources.opening import check_exists, open_source
from core.objectives.anchors.text_anchors import read_texts
from core.spec.config import override, retained_sets, with_absolute_paths
from core.spec.presets import preset_config


def test_every_image_of_the_included_set_opens_and_has_its_own_caption() -> None:
    check_exists("general")
    source = open_source("general")
    assert source.bad == []
    assert len(source.rows) > 400
    captions = [row.captions for row in source.rows]
    assert len(set(captions)) == len(captions)
    for row in source.rows:
        with Image.open(row.image) as image:
            image.load()
            assert min(image.size) >= 64
    folder = source.rows[0].image.parent
    assert {row.image for row in source.rows} == set(folder.iterdir()), "no image is left over"


def test_the_included_words_are_single_and_distinct() -> None:
    words = read_texts("general")
    assert len(words) > 400
    assert all(word.isalpha() for word in words)


def test_a_file_of_this_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "general"
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / name / "image.png")
    assert len(open_source("general").rows) == 2
    config = override(preset_config("clip", "tiny"), ["data.retain=general"])
    assert retained_sets(with_absolute_paths(config).data.retain) == {"general": str(folder)}


def test_the_name_stays_a_name_in_a_stored_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another path on another machine."""
    monkeypatch.chdir(tmp_path)
    settings = ["data.retain=general", "objectives.text_anchors.source=general"]
    config = with_absolute_paths(override(preset_config("clip", "tiny"), settings))
    assert retained_sets(config.data.retain) == {"general": "general"}
    assert config.objectives.text_anchors.source == "general"
