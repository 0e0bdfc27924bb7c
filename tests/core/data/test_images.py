"""Images as users have them, made with Pillow, and files that only look like images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL import features as pillow_features

from core.data.errors import ImageError
from core.data.images import ROTATIONS, decode, decoded_size

ORIENTATION = 0x0112
RED, WHITE = [255, 0, 0], [255, 255, 255]


def blocks(mode: str = "RGB", width: int = 96, height: int = 64) -> Image.Image:
    """A red left half and a blue right half, the top quarter green."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    pixels[: height // 4] = (0, 255, 0)
    return Image.fromarray(pixels).convert(mode)


def near(pixels: np.ndarray, x: float, y: float, colour: list[int], within: int = 12) -> bool:
    """Whether the pixel at the given shares of width and height has about this colour."""
    height, width = pixels.shape[:2]
    return bool(np.abs(pixels[int(y * height), int(x * width)].astype(int) - colour).max() <= within)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO"])
def test_formats_are_detected_by_content(tmp_path: Path, kind: str) -> None:
    if not pillow_features.check({"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind, "pil")):
        pytest.skip("this Pillow was built without it")
    path = tmp_path / "misnamed.png"
    blocks(width=64).save(path, format=kind)
    pixels = decode(path, 32, 10)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert near(pixels, 0.25, 0.75, RED, 40)
    assert near(pixels, 0.75, 0.75, [0, 0, 255], 40)
    assert near(pixels, 0.5, 0.1, [0, 255, 0], 60)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_truncated_file_is_an_error(tmp_path: Path, kind: str) -> None:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, format=kind)
    path = tmp_path / "cut"
    for share in (0.05, 0.3, 0.6, 0.9):
        path.write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
        with pytest.raises(ImageError):
            decode(path, None, 10)


@pytest.mark.parametrize(
    ("kind", "orientation"), [("JPEG", 0), *(("JPEG", one) for one in ROTATIONS), ("PNG", 6), ("TIFF", 8)]
)
def test_exif_rotation(tmp_path: Path, kind: str, orientation: int) -> None:
    # The stored image is what a camera held so would have stored: turned back by the tag's own inverse.
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, ROTATIONS.get(orientation))
    stored = blocks() if turn is None else blocks().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "a", format=kind, exif=exif)
    for side in (None, 32):
        pixels = decode(tmp_path / "a", side, 10)
        assert pixels.shape[1] > pixels.shape[0]
        assert near(pixels, 0.25, 0.75, RED, 40)
        assert near(pixels, 0.5, 0.1, [0, 255, 0], 60)


def test_alpha_is_composited_on_white_before_and_after_resizing(tmp_path: Path) -> None:
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[:, :48] = (255, 0, 0, 255)  # opaque red beside transparent black
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for side in (None, 16):
        result = decode(tmp_path / "a.png", side, 10)
        assert near(result, 0.2, 0.5, RED)
        assert near(result, 0.8, 0.5, WHITE)
        assert result.min(axis=(0, 1))[0] >= 250  # no dark fringe: red is full everywhere
    Image.new("LA", (8, 8), (0, 128)).save(tmp_path / "b.png")
    assert near(decode(tmp_path / "b.png", None, 10), 0.5, 0.5, [127, 127, 127], 1)
    blocks().save(tmp_path / "c.png", transparency=(0, 0, 255))  # a colour that is transparent
    assert near(decode(tmp_path / "c.png", None, 10), 0.75, 0.75, WHITE)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_palettes_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(1, (0, 0, 4, 8))
    image.save(tmp_path / "a.png", transparency=transparency)
    pixels = decode(tmp_path / "a.png", None, 10)
    assert pixels[0, 0].tolist() == RED
    assert pixels[0, 7].tolist() == WHITE


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")],
)
def test_other_modes(tmp_path: Path, mode: str, kind: str) -> None:
    blocks(mode).save(tmp_path / "a", format=kind)
    pixels = decode(tmp_path / "a", None, 10)
    expected = np.asarray(blocks(mode).convert("RGB")).astype(int)
    assert np.abs(pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a", format=kind)
    assert np.abs(decode(tmp_path / "a", None, 10)[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    Image.fromarray(np.array([[0, 1000, 4000]], np.uint16)).save(tmp_path / "dark", format=kind)
    assert decode(tmp_path / "dark", None, 10)[0, :, 0].tolist() == [0, 4, 16]
    if kind == "PNG":
        values = np.array([[0, 65535], [30000, 300]], np.uint16)
        Image.fromarray(values).save(tmp_path / "clear", format=kind, transparency=300)
        assert decode(tmp_path / "clear", None, 10)[:, :, 0].tolist() == [[0, 255], [117, 255]]


def test_floating_point_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif", None, 10)[0, :, 0].tolist() == [0, 128, 255]
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ImageError, match="not finite numbers"):
        decode(tmp_path / "b.tif", None, 10)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a", format=kind, save_all=True, append_images=frames[1:])
    assert near(decode(tmp_path / "a", None, 10), 0.5, 0.5, RED)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [1001, 20_000, 60_000])  # Pillow itself warns from 89 and refuses from 179 megapixels
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    for call in (lambda: decode(tmp_path / "a.png", 64, 1), lambda: decoded_size(tmp_path / "a.png", 64, 1)):
        with pytest.raises(ImageError, match=f"{side} x {side} pixels"):
            call()


def icon(content: bytes) -> bytes:
    """An icon that says of its only image to have 16 x 16 pixels."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22) + content


@pytest.mark.parametrize("side", [1001, 20_000])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_bomb_in_an_icon_is_refused_before_it_is_decoded(tmp_path: Path, kind: str, side: int) -> None:
    bmp = struct.pack("<IiiHHIIIIII", 40, side, 2 * side, 1, 8, 1, 0, 0, 0, 0, 0)
    (tmp_path / "a.ico").write_bytes(icon(png_header(side, side) if kind == "PNG" else bmp))
    for call in (lambda: decode(tmp_path / "a.ico", 64, 1), lambda: decoded_size(tmp_path / "a.ico", 64, 1)):
        with pytest.raises(ImageError, match=f"{side} x {side} pixels"):
            call()
    Image.new("RGBA", (32, 32), "red").save(tmp_path / "b.ico", bitmap_format=kind.lower(), sizes=[(32, 32)])
    assert near(decode(tmp_path / "b.ico", None, 10), 0.5, 0.5, RED)


@pytest.mark.parametrize("limit", [4000, 2000])  # Pillow's: above it warns, above twice of it it refuses
def test_only_our_own_size_limit_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    blocks().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert decode(tmp_path / "a.png", 16, 200).shape == (16, 24, 3)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"this is no image", "not an image"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 100, "video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "damaged"),
        (b"\xff\xd8\xff" + b"\0" * 50, "damaged"),
        (b"GIF89a" + b"\0" * 50, "."),
        (b"BM" + b"\xff" * 50, "."),
        (b"II*\0" + b"\xff" * 50, "damaged"),
        (b"P6 0 0 255\n", "."),
    ],
)
def test_files_that_only_look_like_images(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        decode(tmp_path / "a.jpg", 32, 10)
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError, match="cannot be opened"):
            decode(path, 32, 10)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((100, 50), 20, (20, 40)),
        ((50, 100), 20, (40, 20)),
        ((10, 8), 20, (20, 25)),  # scaled up
        ((1, 300), 20, (160, 20)),  # a strip: its middle
        ((64, 64), 64, (64, 64)),
        ((4000, 3000), 30, (30, 40)),
    ],
)
def test_the_shorter_side_has_the_requested_size(
    tmp_path: Path, size: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    for kind in ("PNG", "JPEG"):
        Image.new("RGB", size, "red").save(tmp_path / "a", format=kind)
        pixels = decode(tmp_path / "a", side, 20)
        assert pixels.shape[:2] == expected
        assert near(pixels, 0.5, 0.5, RED)
        assert decoded_size(tmp_path / "a", side, 20) == pixels.nbytes


def test_shrinking_averages_pixels(tmp_path: Path) -> None:
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    for kind in ("PNG", "JPEG"):
        Image.fromarray(board).save(tmp_path / kind, format=kind)
        assert np.abs(decode(tmp_path / kind, 16, 10).astype(int) - 127).max() <= 3


# The fast way


def smooth(width: int, height: int) -> Image.Image:
    """Waves of several lengths in each colour."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    waves = [np.sin(6 * x + 2 * i) + np.cos(9 * y - i) + 0.3 * np.sin(40 * (x + y)) for i in range(3)]
    return Image.fromarray((127 + 50 * np.stack(waves, -1)).clip(0, 255).astype(np.uint8))


def alike(fast: np.ndarray, exact: np.ndarray) -> bool:
    """Whether two images show the same at the size of the second."""
    resized = Image.fromarray(fast).resize(exact.shape[1::-1], Image.Resampling.BICUBIC)
    return bool(np.abs(np.asarray(resized).astype(int) - exact).mean() < 2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((40, 30), (64, 85)),  # scaled up
        ((90, 64), (64, 90)),  # as it is, from once to twice what is wanted
        ((128, 200), (200, 128)),
        ((1200, 960), (64, 80)),
        ((2000, 100), (100, 800)),  # a strip: its middle
    ],
)
def test_the_fast_path_gives_nearly_the_same_image(
    tmp_path: Path, kind: str, size: tuple[int, int], found: tuple[int, int]
) -> None:
    path = tmp_path / "a"
    smooth(*size).save(path, kind, **({"quality": 95} if kind == "JPEG" else {}))
    fast = decode(path, 64, 10, fast=True)
    if kind == "JPEG":  # a fraction where that is large enough
        found = {(128, 200): (100, 64), (1200, 960): (120, 150)}.get(size, found)
    assert fast.shape[:2] == found
    assert fast.nbytes == decoded_size(path, 64, 10, fast=True)
    assert fast.flags.writeable
    assert alike(fast, decode(path, 64, 10))


def test_the_fast_path_reads_every_mode_and_applies_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for mode in ("RGBA", "LA", "P", "CMYK", "L"):
        image = smooth(200, 150).convert("RGB").convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.fromarray((np.arange(150)[:, None] + np.zeros(200)).astype(np.uint8)))
        image.save(path)
        assert alike(decode(path, 50, 10, fast=True), decode(path, 50, 10)), mode
    for turn in ROTATIONS:
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        smooth(200, 150).save(tmp_path / "a.jpg", exif=exif, quality=95)
        fast, exact = (decode(tmp_path / "a.jpg", 50, 10, fast=fast) for fast in (True, False))
        assert alike(fast, exact), turn
