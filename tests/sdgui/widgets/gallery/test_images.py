"""Formats of images are known by how their files begin: no plugin is asked, and what is no image is not drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtGui import QImageReader

from sdgui.widgets.gallery.images import read_image

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect width="30" height="20" fill="red"/></svg>'


@pytest.mark.parametrize(
    ("kind", "mode", "more"),
    [
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("JPEG", "RGB", {}), ("GIF", "P", {}), ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}), ("TIFF", "RGB", {}), ("TIFF", "RGB", {"big_tiff": True}), ("ICO", "RGBA", {}),
        ("PPM", "1", {}), ("PPM", "L", {}), ("PPM", "RGB", {}),
    ],
)  # fmt: skip
def test_a_image_of_any_name_is_read_by_its_content(
    tmp_path: Path, qapp: object, kind: str, mode: str, more: dict[str, bool]
) -> None:
    path = tmp_path / "an image"
    Image.new("RGB", (30, 20), (200, 30, 40)).convert(mode).save(path, kind, **more)
    image, reason = read_image(path)
    assert reason == ""
    assert image is not None
    assert (image.width() / image.height()) == pytest.approx(1.5, abs=0.05)
    color = image.pixelColor(image.width() // 2, image.height() // 2)
    assert (color.red() > 150) == (mode not in ("1", "L"))


@pytest.mark.parametrize("content", [b"", b"P", SVG.encode(), b'<?xml version="1.0"?>' + SVG.encode(), b"RIFF1234WAVE"])
def test_what_is_no_image_is_none_whatever_its_name(tmp_path: Path, qapp: object, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert read_image(path) == (None, "a.png: Unsupported image format")


def test_no_plugin_looks_for_the_format(tmp_path: Path, qapp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qt's plugin for SVG connects a signal to look for it, which can wait for the window's thread for ever."""
    formats: list[tuple[bytes, bool]] = []
    size = QImageReader.size

    def seen(self: QImageReader) -> object:
        formats.append((bytes(self.format().data()), self.autoDetectImageFormat()))
        return size(self)

    monkeypatch.setattr(QImageReader, "size", seen)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0] is not None
    assert formats == [(b"png", False)]
