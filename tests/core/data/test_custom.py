"""Images of custom data sets: any mode of PIL's, and damaged files that are opened lazily."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from core.data.custom import open_custom
from core.data.dataset import PairDataset
from core.data.errors import ImageError
from core.spec.config import DataConfig


def one_image(image: Image.Image) -> PairDataset:
    return open_custom(
        lambda name: [(image, "a caption")], "mine", "train", DataConfig(), 8, lambda texts: torch.ones(len(texts), 2)
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "YCbCr", "HSV", "F"])
def test_images_of_every_mode_are_decoded(mode: str) -> None:
    image = Image.new("RGB", (16, 16), "white")
    image = Image.new("F", (16, 16), 1.0) if mode == "F" else image.convert(mode)
    decoded = one_image(image).image(0)
    assert decoded.shape[0] == 3
    assert (decoded > 250).all()


def test_a_damaged_image_is_a_bad_row(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 80).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with Image.open(tmp_path / "a.jpg") as image, pytest.raises(ImageError, match="damaged or truncated"):
        one_image(image).image(0)
