"""Whatever is given to be captioned: taken rightly or refused with its reason, and the rest goes on."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from core.bench.photographs import photograph
from core.inference import images
from core.inference.caption_stream import CaptionResult, caption_images
from core.inference.captioning import CaptionModel, open_caption_model
from core.inference.images import ImageInput, find_images, read_image
from core.spec.config import DataConfig
from core.spec.generation import GenerationSettings
from tests.benchmarks.jpeg import MEAN_TOLERANCE, TOLERANCE, difference
from tests.core.caption_models import save_model
from tests.core.data.test_images import png_header

GREEDY = GenerationSettings(search="greedy", max_tokens=4, min_tokens=0)


def quiet(*_: object) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CaptionModel:
    return open_caption_model(str(save_model(tmp_path_factory.mktemp("model") / "coca")))


def photo(seed: int = 0) -> Image.Image:
    """Something to see: smooth colours, 48 x 40."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC)


def caption(model: CaptionModel, *given: object) -> dict[str, CaptionResult]:
    """By file name."""
    found = find_images([str(item) for item in given], quiet).inputs
    made = list(caption_images(model, found, GREEDY, quiet, quiet))
    assert sorted(item.index for item in made) == list(range(len(found)))
    return {Path(item.path).name: item for item in made}


def test_non_images_are_refused_and_the_rest_continues(model: CaptionModel, tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    photo().save(jpeg, format="JPEG")
    contents = {
        "text.txt": (b"a dog on a bench", "not an image"),
        "empty.jpg": (b"", "empty"),
        "cut.jpg": (jpeg.getvalue()[: len(jpeg.getvalue()) // 2], "damaged or truncated"),
        "video.mp4": (b"\0\0\0\x18ftypmp42" + b"\0" * 100, "video"),
        "film.mkv": (b"\x1a\x45\xdf\xa3" + b"\0" * 100, "not an image"),
        "bomb.png": (png_header(30_000, 30_000), "30000 x 30000 pixels"),
        "page.html": (b"<html><img src=a.png></html>", "not an image"),
    }
    for name, (content, _) in contents.items():
        (tmp_path / name).write_bytes(content)
    photo().save(tmp_path / "good.jpg")
    made = caption(model, *sorted(tmp_path.iterdir()), "https://example.org/a.jpg", tmp_path / "gone.jpg", os.devnull)
    for name, (_, reason) in contents.items():
        assert reason in made[name].error, name
        assert not made[name].captions
    assert "web address" in made["a.jpg"].error
    assert made["gone.jpg"].error == "the file does not exist"
    assert "pipe or a device" in made[Path(os.devnull).name].error
    assert made["good.jpg"].captions


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_deleted_file_and_a_pipe_do_not_stop_the_rest(model: CaptionModel, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("a.png", "b.png", "z.png"):
        photo().save(tmp_path / name)
    found = find_images([str(tmp_path)], quiet).inputs
    (tmp_path / "b.png").unlink()
    made = {Path(item.path).name: item for item in caption_images(model, found, GREEDY, quiet, quiet)}
    assert made["b.png"].error == "the file does not exist"
    assert "pipe" in made["pipe.png"].error
    assert made["a.png"].captions
    assert made["z.png"].captions


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    photo().save(inner / "a.png")
    (inner / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    found = find_images([str(tmp_path)], quiet).inputs
    assert [Path(item.path).name for item in found] == ["self.png", "a.png"]
    assert "cannot be opened" in read_image(found[0], 32, DataConfig()).error


def test_folders_are_walked_by_name_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpeg", "a/x/3.webp", "z.png", ".hidden/4.png", "b/.5.png", "__MACOSX/6.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("b/1.txt", "notes.md", "png"):
        (tmp_path / name).touch()
    gathered = find_images([str(tmp_path)], quiet)
    names = [Path(item.path).relative_to(tmp_path).as_posix() for item in gathered.inputs]
    assert names == ["z.png", "a/x/3.webp", "b/1.jpeg", "b/2.PNG"]
    assert gathered.skipped == 3
    assert find_images([str(tmp_path), str(tmp_path / "b"), str(tmp_path / "a")], quiet).skipped == 3 + 1


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo().save(tmp_path / "a.png")

    def denied(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", denied)
    found = find_images([str(tmp_path), str(tmp_path / "a.png")], quiet).inputs
    assert [item.error for item in found] == ["the folder cannot be read: Permission denied", ""]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "the path is empty"),
        ("a\0b.png", "not a file name"),
        ("n" * 5000, "cannot be opened: File name too long"),
        ("data:image/png;base64,AAAA", "web address"),
        ("~nobody-has-this-name/a.png", "does not exist"),
    ],
)
def test_paths_that_do_not_exist(given: str, reason: str) -> None:
    (item,) = find_images([given], quiet).inputs
    assert reason in item.error


def test_file_urls_as_desktops_drop_them(tmp_path: Path) -> None:
    photo().save(tmp_path / "a b ü 50%25.png")
    (item,) = find_images([(tmp_path / "a b ü 50%25.png").as_uri()], quiet).inputs
    assert (item.path, item.error) == (str(tmp_path / "a b ü 50%25.png"), "")


def test_names_that_are_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    try:
        with open(path, "wb") as file:  # noqa: PTH123  a name of bytes
            photo().save(file, format="PNG")
    except OSError:
        pytest.skip("this file system has names of text only")
    (item,) = find_images([str(tmp_path)], quiet).inputs
    assert os.fsencode(item.path) == path
    assert read_image(item, 32, DataConfig()).image is not None


def test_the_image_is_the_centre_square(tmp_path: Path) -> None:
    strip = np.zeros((40, 120, 3), np.uint8)
    strip[:, 34:86] = 255  # resizing looks a little beyond the square
    Image.fromarray(strip).save(tmp_path / "a.png")
    image = read_image(ImageInput(str(tmp_path / "a.png")), 40, DataConfig()).image
    assert image is not None
    assert torch.equal(image, torch.full((3, 40, 40), 255, dtype=torch.uint8))


def edges(width: int, height: int) -> Image.Image:
    """Letters and lines: nothing a JPEG likes."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for x in range(0, width, width // 12):
        pen.line((x, 0, width - x, height), fill=(200, 20, x % 256), width=max(1, width // 150))
        pen.text((x, height // 2), "caption", fill="black", font_size=height // 12)
    return image


@pytest.mark.parametrize(
    ("make", "side"),
    [(edges, 32), (edges, 150), (lambda w, h: photograph(w, h, 1), 70), (lambda w, h: photograph(w, h, 1), 250)],
)
def test_scaled_decoding_matches_plain_decoding(
    tmp_path: Path, make: Callable[[int, int], Image.Image], side: int
) -> None:
    """At 1/8, 1/4, 1/2 and whole; the tolerance is the one that the benchmark states."""
    make(1000, 750).save(tmp_path / "a.jpg", quality=92)
    levels = difference(tmp_path / "a.jpg", side)
    assert levels.mean() <= MEAN_TOLERANCE
    assert levels.max() <= TOLERANCE


def test_out_of_memory_while_reading_is_reported_for_that_image_only(
    model: CaptionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        photo(number).save(tmp_path / f"{number}.png")
    plain, seen = images.model_input, []

    def view(path: str, side: int, data: DataConfig) -> torch.Tensor:
        seen.append(side)
        if len(seen) == 2:
            raise MemoryError
        return plain(path, side, data)

    monkeypatch.setattr(images, "model_input", view)
    made = caption(model, tmp_path)
    assert made["1.png"].error == "not enough memory to read it"
    assert [name for name, item in made.items() if item.captions] == ["0.png", "2.png", "3.png"]
