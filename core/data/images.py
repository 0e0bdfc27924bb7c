"""Decodes an image file to RGB pixels: handles alpha, palettes, CMYK, 16 bit, EXIF rotation and animations.

Flow: the cache (or, without one, the data set) decodes with ``decode``; views are cut from the result.

Only the formats in ``FORMATS`` are tried, recognised by their first bytes, not by file names. An image's size is read
from the header and checked before anything is decoded. Pillow's global state is neither changed nor relied on.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import IcoImagePlugin, Image, ImageFile

from core.data.errors import ImageError
from core.spec.reading import UnreadableError, open_regular
from core.spec.shards import MAX_MEMBER_BYTES, read_member, split_member

Pixels = npt.NDArray[np.uint8]

# Excluded: formats that run a program (EPS) or have no signature (TGA).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
MAX_ASPECT_RATIO = 8  # a longer strip is cropped to its middle
MIN_DRAFT_SCALE = 2  # a JPEG may be decoded at a fraction of its size, but at least at this multiple of the target size
DRAFT_FACTORS = (8, 4, 2, 1)  # the fractions of libjpeg that Pillow supports
UNRESIZED_FACTOR = 2  # with ``fast``, a shorter side of up to twice the target is not resized, since views resize it
REDUCING_GAP = 3.0  # Pillow first shrinks by integer factors, down to this multiple of the target size
ORIENTATION = 0x0112  # EXIF tag
ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SCALABLE_FORMATS = ("JPEG", "MPO")  # can be decoded at a fraction of their size
# Exceptions of Pillow's decoders for broken files, found by fuzzing; warnings too, in case they are made errors.
_DECODER_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip


@dataclass(frozen=True)
class Resizing:
    """open_clip's resizing for a model; fields have the values of the model's preprocessing config."""

    mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int = 0  # grey level of the padding, for "longest"

    def __str__(self) -> str:
        return f"{self.mode}, {self.interpolation}" + (f", fill {self.fill}" if self.mode == "longest" else "")


def decode(path: str | Path | bytes, shorter_side: int | None, max_megapixels: int, fast: bool = False) -> Pixels:
    """The image in ``path`` as writable (H, W, 3) uint8, resized so that its shorter side is ``shorter_side``.

    ``path`` is a file, a location in a tar, or the bytes of an image. ``shorter_side``: None for the original size.
    Small images are scaled up; strips are cropped to 8 times their shorter side. ``fast``: images whose shorter side is
    one to two times ``shorter_side`` are not resized, and other images are resized by torch's antialiased uint8 resize,
    in a seventh of Pillow's time. Raises ImageError.
    """
    plain, rotation = _read_plain(path, max_megapixels, shorter_side, 1 if fast else MIN_DRAFT_SCALE)
    if shorter_side is not None and not fast:
        plain = _resize(plain, shorter_side)
    if rotation is not None:
        plain = plain.transpose(rotation)
    pixels = _array(_on_white(plain))
    return _resize_bytes(pixels, shorter_side) if shorter_side is not None and fast else pixels


def decode_square(path: str | Path | bytes, side: int, max_megapixels: int, resizing: Resizing) -> Pixels:
    """The image in ``path`` as (S, S, 3) uint8, resized and cropped by open_clip's ``image_transform`` for evaluation.

    In contrast to open_clip, EXIF rotation is applied, and transparency is shown on white. Raises ImageError.
    """
    image, rotation = _read_plain(path, max_megapixels)
    if rotation is not None:
        image = image.transpose(rotation)
    return _array(_on_white(_to_square(image, side, resizing)))


def _read_plain(
    path: str | Path | bytes, max_megapixels: int, shorter_side: int | None = None, min_scale: int = 1
) -> tuple[Image.Image, Image.Transpose | None]:
    """The image as RGB or RGBA, and its pending rotation.

    ``shorter_side``: if set, a JPEG is decoded at the smallest size whose shorter side is at least ``min_scale`` times
    this.
    """
    try:
        with _open_regular(path) as file:
            image = _open(file, max_megapixels)
            _check_size(image.size, max_megapixels)
            if shorter_side is not None:
                _draft(image, min_scale * shorter_side)
            image.load()  # rotates a TIFF and removes its tag; a PNG may have its EXIF after the pixels
            return _to_rgb(image), ROTATIONS.get(_orientation(image))
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(error)) from error


def decoded_size(path: str | Path, shorter_side: int, max_megapixels: int, fast: bool = False) -> int:
    """Bytes of the array that ``decode`` returns, from the header alone. Raises ImageError."""
    size, format = image_header(path, max_megapixels)
    short, long = sorted(size)
    strip = min(long / short, MAX_ASPECT_RATIO)
    if fast:
        factor = (
            next(draft for draft in DRAFT_FACTORS if draft <= max(1, short // shorter_side))
            if format in _SCALABLE_FORMATS
            else 1
        )
        short = -(-short // factor)
        if shorter_side <= short <= UNRESIZED_FACTOR * shorter_side:
            shorter_side = short
    return 3 * shorter_side * round(strip * shorter_side)


def image_bytes(path: str | Path) -> bytes:
    """The bytes of an image in a file or a tar. Raises ImageError if the image cannot be read or is too large."""
    try:
        with _open_regular(path) as file:
            content = file.read(MAX_MEMBER_BYTES + 1)
    except OSError as error:
        raise ImageError(_reason(error)) from error
    if len(content) > MAX_MEMBER_BYTES:
        raise ImageError(f"it is larger than {MAX_MEMBER_BYTES >> 20} MB")
    return content


def file_size(path: str) -> int:
    """Bytes of the file of an image, or of its member of a tar; -1 if unknown."""
    member = split_member(path)
    if member is not None:
        return member.size
    try:
        return os.stat(path).st_size  # noqa: PTH116  (called for up to a million files)
    except OSError:
        return -1


def png_bytes(image: Image.Image) -> bytes:
    """``image`` of any mode as PNG, for ``decode``. Raises ImageError if its pixels cannot be loaded."""
    content = io.BytesIO()
    try:
        _to_rgb(image).save(content, "PNG", compress_level=0)
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(error)) from error
    return content.getvalue()


def image_header(path: str | Path | bytes, max_megapixels: int) -> tuple[tuple[int, int], str | None]:
    """Width and height in pixels, and Pillow's name of the format, from the header alone. Raises ImageError."""
    try:
        with _open_regular(path) as file:
            image = _open(file, max_megapixels)
            _check_size(image.size, max_megapixels)
    except _DECODER_ERRORS as error:
        raise ImageError(_reason(error)) from error
    return image.size, image.format


def _open_regular(path: str | Path | bytes) -> BinaryIO:
    """Open ``path``. Raises ImageError for a missing file, or one that is not regular: a pipe could block forever."""
    if isinstance(path, bytes):
        return io.BytesIO(path)
    member = split_member(path)
    try:
        return open_regular(path) if member is None else io.BytesIO(read_member(member, ImageError))
    except OSError as error:
        raise ImageError(_reason(error)) from error
    except UnreadableError as error:
        if isinstance(error.__cause__, OSError):
            raise ImageError(_reason(error.__cause__)) from error
        raise ImageError("it cannot be opened: it is a folder, a pipe or a device") from error


def _open(file: BinaryIO, max_megapixels: int) -> ImageFile.ImageFile:
    """The image with its header read. Unlike ``Image.open``, does not depend on Pillow's global size limit."""
    if not Image.OPEN.keys() >= set(FORMATS):
        Image.init()
    start = file.read(16)
    if not start:
        raise ImageError("the file is empty")
    for name in FORMATS:
        if name not in Image.OPEN:  # this Pillow was built without the format
            continue
        make, accepts = Image.OPEN[name]
        if accepts is None or accepts(start) is True:
            file.seek(0)
            if name == "ICO":  # Pillow decodes icons when it opens them
                _check_size(_size_in_icon(file), max_megapixels)
                file.seek(0)
            return make(file, "")
    kind = " (it looks like a video or HEIC)" if start[4:8] == b"ftyp" else ""
    raise ImageError(f"it is not an image in a supported format{kind}; supported: {', '.join(FORMATS)}")


def _size_in_icon(file: BinaryIO) -> tuple[int, int]:
    """Size of the PNG or BMP that Pillow decodes from an icon; it may be larger than the icon declares."""
    entry = IcoImagePlugin.IcoFile(file).entry[0]
    file.seek(entry.offset)
    start = file.read(24)
    if start.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", start[16:24])
        return width, height
    form, end = ("<HH", 8) if start[0] == 12 else ("<ii", 12)  # the length of the BMP's header; OS/2's is the short one
    width, height = map(abs, struct.unpack(form, start[4:end]))
    return width, height // 2  # the height includes the mask, which is stored below the image


def _check_size(size: tuple[int, int], max_megapixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError("it has no pixels")
    if width * height > max_megapixels * 1_000_000:
        raise ImageError(
            f"it has {width} x {height} pixels, more than data.max_megapixels allows ({max_megapixels} million)"
        )


def _draft(image: Image.Image, min_side: int) -> None:
    """Make Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size, if the shorter side is then at least ``min_side``."""
    scale = min_side / min(image.size)
    if scale < 1 and image.format in _SCALABLE_FORMATS:
        width, height = image.size
        image.draft(None, (max(1, round(width * scale)), max(1, round(height * scale))))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 (upright) if missing or unreadable."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1  # broken EXIF does not make the image unusable
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """The image as RGB or RGBA."""
    if image.mode in ("RGB", "RGBA"):
        if image.mode == "RGB" and "transparency" in image.info:
            return image.convert("RGBA")
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16 bit, 32 bit or floating point grey scaled to 8 bits; white is the type's or the image's largest value."""
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError("its pixels are not finite numbers")
    if image.mode == "F":
        white = next((limit for limit in (1.0, 255.0, 65535.0) if values.max() <= limit), float(values.max()))
    else:
        white = max(65535.0, float(values.max()))
    grey = Image.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # a PNG may declare one grey value as transparent
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return grey.convert("RGBA")
    return grey.convert("RGB")


def _resize(image: Image.Image, shorter_side: int) -> Image.Image:
    """Antialiased resize (colours weighted by alpha); a long strip is cropped to its middle."""
    width, height = image.size
    kept_width, kept_height = min(width, MAX_ASPECT_RATIO * height), min(height, MAX_ASPECT_RATIO * width)
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    box = (left, top, left + kept_width, top + kept_height)
    scale = shorter_side / min(kept_width, kept_height)
    size = (max(shorter_side, round(kept_width * scale)), max(shorter_side, round(kept_height * scale)))
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)


def _to_square(image: Image.Image, side: int, resizing: Resizing) -> Image.Image:
    """The image as (S, S), by open_clip's arithmetic; cropping a long strip first does not change the result."""
    resample = Image.Resampling.BILINEAR if resizing.interpolation == "bilinear" else Image.Resampling.BICUBIC
    width, height = image.size
    if resizing.mode == "squash":
        return image.resize((side, side), resample)
    if resizing.mode == "longest":
        scale = max(width, height) / side
        image = image.resize((max(1, round(width / scale)), max(1, round(height / scale))), resample)
        square = Image.new("RGB", (side, side), (resizing.fill,) * 3)
        square.paste(_on_white(image), ((side - image.width) // 2, (side - image.height) // 2))
        return square
    short, long = sorted(image.size)
    if long > MAX_ASPECT_RATIO * short:
        left, top = max(0, width - MAX_ASPECT_RATIO * height) // 2, max(0, height - MAX_ASPECT_RATIO * width) // 2
        image = image.crop((left, top, width - left, height - top))
        short, long = sorted(image.size)
    size = (side, int(side * long / short)) if image.width <= image.height else (int(side * long / short), side)
    image = image.resize(size, resample)
    left, top = (round((length - side) / 2) for length in size)
    return image.crop((left, top, left + side, top + side))


def _resize_bytes(pixels: Pixels, shorter_side: int) -> Pixels:
    """``pixels`` (H, W, 3), resized unless the shorter side is one to ``UNRESIZED_FACTOR`` times ``shorter_side``."""
    height, width = pixels.shape[:2]
    kept_height, kept_width = min(height, MAX_ASPECT_RATIO * width), min(width, MAX_ASPECT_RATIO * height)
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    pixels = pixels[top : top + kept_height, left : left + kept_width]
    short = min(kept_height, kept_width)
    if shorter_side <= short <= UNRESIZED_FACTOR * shorter_side:
        return pixels
    size = [max(shorter_side, round(side * shorter_side / short)) for side in (kept_height, kept_width)]
    import torch  # noqa: PLC0415  (updating an unchanged index does not need it)

    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (1, 3, H, W)
    resized: Pixels = (
        torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
    )
    return resized


def _array(image: Image.Image) -> Pixels:
    """An RGB image as a writable (H, W, 3) array; ``np.array`` would request the bytes from Pillow several times."""
    return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(image.height, image.width, 3)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _reason(error: BaseException) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be opened: {error.strerror}"
    return f"it is damaged or truncated: {str(error) or type(error).__name__}"
