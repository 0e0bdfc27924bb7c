"""One preprocessing: whoever shows a model a picture, the pixels are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.data.dataset import open_dataset
from core.data.loader import evaluation_batches
from core.inference.pictures import Found, read_picture
from core.search.index.encoding import open_encoder
from tests.benchmarks.jpeg import photograph
from tests.core.data.samples import tokenize


def china() -> Image.Image:
    datasets = pytest.importorskip("sklearn.datasets")
    return Image.fromarray(datasets.load_sample_image("china.jpg"))


@pytest.mark.parametrize("draw", [china, lambda: photograph(1200, 900, 0), lambda: photograph(30, 41, 1)])
def test_every_door_gives_the_same_pixels(tmp_path: Path, draw: Callable[[], Image.Image]) -> None:
    """Validation (cached and streamed), an index or a picture searched for, a caption, and a picture tried."""
    path = tmp_path / "picture.jpg"
    draw().save(path, quality=92)
    (tmp_path / "pairs.csv").write_text("filepath,title\npicture.jpg,a temple\n", encoding="utf-8")
    encoder = open_encoder("open_clip:sd-tiny", "")
    data, side = encoder.model.data, encoder.model.network.image_size
    assert data.oversample > 1
    seen = {"index": encoder.picture(str(path)), "caption": read_picture(Found(str(path)), side, data).picture}
    for mebibytes in (0, 64):
        changed = data.model_copy(update={"cache_mib": mebibytes})
        dataset = open_dataset(tmp_path / "pairs.csv", changed, side, tokenize)
        ((_, pictures),) = evaluation_batches(dataset, side, 4)
        seen[f"validation, cache {mebibytes}"] = pictures[0]
    for door, picture in seen.items():
        assert picture is not None
        assert torch.equal(picture, seen["index"]), door
