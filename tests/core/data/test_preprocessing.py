"""One preprocessing: whoever shows a model an image, the pixels are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image

from core.bench.photographs import photograph
from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.data.images import Resizing, decode_square
from core.data.loader import evaluation_batches
from core.data.preprocessing import OVERSAMPLE, model_input
from core.inference.encoder import encode_images
from core.inference.images import ImageInput, read_image
from core.model.towers.architectures import resolve_architecture
from core.search.index.encoding import open_encoder
from tests.core.caption_models import CLIP, save_model
from tests.core.data.samples import tokenize


@pytest.mark.parametrize("size", [(1200, 900), (30, 41)])
def test_every_entry_point_gives_the_same_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    """Validation (cached and streamed), an index or an image searched for, a caption, and an image tried."""
    path = tmp_path / "image.jpg"
    photograph(*size, 0).save(path, quality=92)
    (tmp_path / "pairs.csv").write_text("filepath,title\nimage.jpg,a temple\n", encoding="utf-8")
    encoder = open_encoder("open_clip:sd-tiny", "")
    data, side = encoder.model.data, encoder.model.network.image_size
    assert OVERSAMPLE > 1
    seen = {"index": encoder.image(str(path)), "caption": read_image(ImageInput(str(path)), side, data).image}
    for mebibytes in (0, 64):
        changed = data.model_copy(update={"cache_mib": mebibytes})
        dataset = open_dataset(tmp_path / "pairs.csv", changed, side, tokenize)
        ((_, images),) = evaluation_batches(dataset, side, 4)
        seen[f"validation, cache {mebibytes}"] = images[0]
    for door, image in seen.items():
        assert image is not None
        assert torch.equal(image, seen["index"]), door


@pytest.mark.parametrize(
    "preprocess",
    [{}, {"interpolation": "bilinear", "resize_mode": "squash"}, {"resize_mode": "longest", "fill_color": 127}],
)
def test_a_published_model_preprocesses_like_open_clip(tmp_path: Path, preprocess: dict[str, Any]) -> None:
    """Resized once, by the model's own interpolation and mode: pixels equal, and vectors with them."""
    config = tmp_path / "model" / "open_clip_config.json"
    save_model(config.parent, CLIP)
    colours = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.5, 0.125]}
    config.write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": colours | preprocess}), encoding="utf-8")
    ours = open_model(str(config.parent))
    theirs, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{config.parent}")
    for name, size in (("a.png", (1200, 900)), ("b.jpg", (531, 1003)), ("c.png", (40, 31))):
        photograph(*size, 0).save(tmp_path / name)
        image = model_input(tmp_path / name, ours.network.image_size, ours.data)
        prepared = prepare(Image.open(tmp_path / name))[None]
        assert torch.allclose(ours.network.towers.normalise(image[None]), prepared, atol=1e-5)
        with torch.no_grad():
            vector = theirs.eval().encode_image(prepared, normalize=True)
        assert torch.allclose(encode_images(ours.network, image[None], ours.runtime), vector, atol=1e-5)


def test_a_published_tag_brings_its_own_preprocessing() -> None:
    own = resolve_architecture("ViT-B-16-SigLIP", "webli")["preprocess_cfg"]
    assert (own["resize_mode"], own["interpolation"]) == ("squash", "bicubic")
    assert "preprocess_cfg" not in resolve_architecture("ViT-B-16-SigLIP")


def test_a_panorama_is_cropped_before_it_is_resized(tmp_path: Path) -> None:
    """Else 100,000 x 2 pixels would be resized to 32 times the side of the model, times 50,000."""
    pixels = Image.new("RGB", (100_000, 2))
    pixels.paste((255, 255, 255), (50_000, 0, 100_000, 2))
    pixels.save(tmp_path / "strip.png")
    square = decode_square(tmp_path / "strip.png", 32, 200, Resizing())
    assert square.shape == (32, 32, 3)
    assert (int(square[16, 1, 0]), int(square[16, -2, 0])) == (0, 255)
