"""The window's one service of thumbnails: bounded in all, shared, cancelled, and never caught by what is no file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import pytest
import shiboken6
from PIL import Image
from PySide6.QtCore import QSemaphore, Qt
from PySide6.QtGui import QColor, QImage, QImageReader
from pytestqt.qtbot import QtBot

from sdgui.widgets.gallery import thumbnail_service as module
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.gallery.images import read_image
from sdgui.widgets.gallery.thumbnail_files import THUMBNAIL_SIDE, load_thumbnail, prune
from sdgui.widgets.gallery.thumbnail_service import THREADS, ThumbnailService, thumbnail_service
from sdgui.widgets.gallery.thumbnails import Thumbnails


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        Image.new("RGB", (200, 200), (number, 0, 0)).save(path)
    return paths


@pytest.fixture
def service(qapp: object) -> Iterator[ThumbnailService]:
    service = ThumbnailService()
    yield service
    service.close()


@pytest.fixture
def gate(service: ThumbnailService) -> Iterator[QSemaphore]:
    """Every thread of the service is busy until the gate is released ``THREADS`` times."""
    gate = QSemaphore(0)
    for _ in range(THREADS):
        service.pool.start(gate.acquire)
    yield gate
    gate.release(2 * THREADS)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Which images are read, and how many were at once."""
    seen = SimpleNamespace(paths=[], most=0, now=0, lock=Lock())

    def load(path: Path, cache_dir: Path | None, side: int) -> object:
        with seen.lock:
            seen.paths.append(path)
            seen.now += 1
            seen.most = max(seen.most, seen.now)
        time.sleep(0.005)
        try:
            return load_thumbnail(path, cache_dir, side)
        finally:
            with seen.lock:
                seen.now -= 1

    monkeypatch.setattr(module, "load_thumbnail", load)
    return seen


def idle(service: ThumbnailService) -> bool:
    return not service._queued and not service._loading


def test_all_galleries_share_threads_and_memory(qtbot: QtBot, images: list[Path], loads: SimpleNamespace) -> None:
    galleries = [Gallery() for _ in range(12)]
    services = {id(gallery.thumbnails.service) for gallery in galleries}
    assert services == {id(thumbnail_service())}
    assert thumbnail_service().pool.maxThreadCount() == THREADS
    for gallery in galleries:
        qtbot.addWidget(gallery)
        gallery.set_items([GalleryItem(path) for path in images])

    def all_loaded() -> bool:  # asks again, since a late layout drops the requests for rows out of view
        loaded = [gallery.model.thumbnail(row) is not None for gallery in galleries for row in range(len(images))]
        return all(loaded) and all(gallery.thumbnails.pending() == 0 for gallery in galleries)

    qtbot.waitUntil(all_loaded, timeout=60_000)
    assert sorted(loads.paths) == sorted(images), "each is read once"
    assert loads.most <= THREADS


def test_an_image_with_a_file_name_that_is_not_text_is_shown(
    qtbot: QtBot, service: ThumbnailService, images: list[Path]
) -> None:
    path = images[0].rename(images[0].with_name(os.fsdecode(b"caf\xe9.png")))
    thumbnails = Thumbnails(service=service)
    with qtbot.waitSignal(thumbnails.ready) as ready:
        assert thumbnails.get(path) is None
    assert ready.args == [str(path)]
    assert thumbnails.get(path) is not None


def test_memory_is_bounded_over_all_panels(
    qtbot: QtBot, service: ThumbnailService, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 500_000)  # three of these images
    panels = [Thumbnails(service=service) for _ in range(6)]
    for number, path in enumerate(images):
        panels[number % 6].get(path)
        qtbot.waitUntil(lambda: idle(service))
        assert 0 < service._cache_bytes <= 500_000
    assert service._cache_bytes == sum(thumbnail.size for thumbnail in service._cache.values())
    assert panels[5].get(images[11]) is not None
    assert panels[0].get(images[0]) is None, "it had to go"


def test_only_the_caller_is_notified(qtbot: QtBot, service: ThumbnailService, images: list[Path]) -> None:
    student, teacher = Thumbnails(service=service), Thumbnails(service=service)
    arrivals: list[tuple[str, str]] = []
    student.ready.connect(lambda path: arrivals.append(("one", path)))
    teacher.ready.connect(lambda path: arrivals.append(("two", path)))
    student.get(images[0])
    teacher.get(images[0])
    teacher.get(images[1])
    qtbot.waitUntil(lambda: idle(service))
    first, second = map(str, images[:2])
    assert sorted(arrivals) == [("one", first), ("two", first), ("two", second)]


def test_a_panel_cancels_only_its_own_requests(
    qtbot: QtBot, service: ThumbnailService, gate: QSemaphore, images: list[Path], loads: SimpleNamespace
) -> None:
    first, two = Thumbnails(service=service), Thumbnails(service=service)
    for path in images[:4]:
        first.get(path)
    for path in images[3:6]:
        two.get(path)
    first.close()
    assert (first.pending(), two.pending()) == (0, 3)
    gate.release(THREADS)
    qtbot.waitUntil(lambda: idle(service))
    assert sorted(loads.paths) == sorted(images[3:6])


def test_a_deleted_label_cancels_its_request(
    qtbot: QtBot, gate: QSemaphore, service: ThumbnailService, images: list[Path], monkeypatch: pytest.MonkeyPatch,
    loads: SimpleNamespace,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "_service", service)
    gone, stays = ImageLabel(64), ImageLabel(64)
    qtbot.addWidget(stays)
    for label, path in ((gone, images[0]), (stays, images[1])):
        label.show_image(path)
    shiboken6.delete(gone)
    gate.release(THREADS)
    qtbot.waitUntil(lambda: not stays.pixmap().isNull())
    assert loads.paths == [images[1]]


def test_a_label_deleted_during_a_read_is_not_notified(
    qtbot: QtBot, service: ThumbnailService, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_service", service)
    begun, go_on = QSemaphore(0), QSemaphore(0)

    def load(path: Path, cache_dir: Path | None, side: int) -> object:
        begun.release()
        go_on.acquire()
        return load_thumbnail(path, cache_dir, side)

    monkeypatch.setattr(module, "load_thumbnail", load)
    label = ImageLabel(64)
    label.show_image(images[0])
    begun.acquire()
    shiboken6.delete(label)
    with qtbot.capture_exceptions() as raised:
        go_on.release()
        qtbot.waitUntil(lambda: idle(service))
    assert raised == []


def test_a_label_shows_its_latest_request(qtbot: QtBot, images: list[Path], tmp_path: Path) -> None:
    label = ImageLabel(64)
    qtbot.addWidget(label)
    label.show_image(images[0])
    label.show_image(images[9])
    qtbot.waitUntil(lambda: not label.pixmap().isNull())
    assert label.pixmap().toImage().pixelColor(5, 5).red() == 9
    label.show_image(tmp_path / "none.png")
    qtbot.waitUntil(lambda: label.text() == "–")
    label.show_image(None)
    assert label.pixmap().isNull()


def test_a_changed_image_is_read_again_by_the_next_panel(
    qtbot: QtBot, service: ThumbnailService, images: list[Path], loads: SimpleNamespace
) -> None:
    path = images[0]
    first = Thumbnails(service=service)
    first.get(path)
    qtbot.waitUntil(lambda: idle(service))
    same = Thumbnails(service=service)
    assert same.get(path) is first.get(path) is not None, "shown at once"
    qtbot.waitUntil(lambda: idle(service))
    assert loads.paths == [path], "the file is as it was"
    Image.new("RGB", (200, 200), (0, 255, 0)).save(path)
    os.utime(path, (1, 1))
    later = Thumbnails(service=service)
    with qtbot.waitSignal(later.ready):
        later.get(path)
    thumbnail = later.get(path)
    assert thumbnail is not None
    assert thumbnail.image is not None
    assert thumbnail.image.pixelColor(5, 5).green() == 255


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a device"])
def test_non_files_are_never_waited_for(
    qtbot: QtBot, service: ThumbnailService, tmp_path: Path, images: list[Path], kind: str
) -> None:
    path = tmp_path / "x.png"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero")
    image, reason = read_image(path)
    assert image is None
    assert ", not a file; choose a regular file." in reason
    panel = Thumbnails(service=service)
    for candidate in (path, images[0]):
        panel.get(candidate)
    qtbot.waitUntil(lambda: idle(service))
    refused = panel.get(path)
    assert refused is not None
    assert ", not a file; choose a regular file." in refused.reason
    assert panel.get(images[0]) is not None


def test_the_disk_cache_is_used_and_follows_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    Image.new("RGB", (300, 300), (255, 0, 0)).save(path)
    load_thumbnail(path, cache, THUMBNAIL_SIDE)
    cached = list(cache.glob("??/*"))
    assert len(cached) == 1
    QImage(8, 8, QImage.Format.Format_RGB32).save(str(cached[0]), "PNG")  # to see that it is the one that is read
    cached = load_thumbnail(path, cache, THUMBNAIL_SIDE)
    assert cached.image is not None
    assert cached.image.width() == 8
    Image.new("RGB", (300, 300), (0, 0, 255)).save(path)
    os.utime(path, (1, 1))
    fresh = load_thumbnail(path, cache, THUMBNAIL_SIDE)
    assert fresh.image is not None
    assert fresh.image.pixelColor(5, 5).blue() == 255


def test_an_unwritable_cache_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 30)).save(path)
    (tmp_path / "file").write_text("in the way")
    assert load_thumbnail(path, tmp_path / "file", THUMBNAIL_SIDE).image is not None


def test_the_cache_on_disk_is_pruned_once_a_day(tmp_path: Path) -> None:
    for number in range(10):
        file = tmp_path / f"{number:02}" / "thumbnail"
        file.parent.mkdir()
        file.write_bytes(bytes(100))
        os.utime(file, (number, number))
    prune(tmp_path, 500)
    assert sorted(file.parent.name for file in tmp_path.glob("??/*")) == ["06", "07", "08", "09"]
    prune(tmp_path, 0)  # it was done today
    assert len(list(tmp_path.glob("??/*"))) == 4


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect width="30" height="20" fill="red"/></svg>'


@pytest.mark.parametrize(
    ("kind", "mode", "more"),
    [
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("JPEG", "RGB", {}), ("GIF", "P", {}), ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}), ("TIFF", "RGB", {}), ("TIFF", "RGB", {"big_tiff": True}), ("ICO", "RGBA", {}),
        ("PPM", "1", {}), ("PPM", "L", {}), ("PPM", "RGB", {}),
    ],
)  # fmt: skip
def test_an_image_is_recognised_by_its_content(
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
def test_a_non_image_is_refused_whatever_its_name(tmp_path: Path, qapp: object, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert read_image(path) == (None, "a.png: Unsupported image format")


def test_no_plugin_probes_the_format(tmp_path: Path, qapp: object, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_transparent_image_is_on_white_as_in_training(qtbot: QtBot, tmp_path: Path) -> None:
    image = QImage(32, 32, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    assert image.save(str(tmp_path / "clear.png"))
    label = ImageLabel(64)
    qtbot.addWidget(label)
    label.show_image(tmp_path / "clear.png")
    qtbot.waitUntil(lambda: not label.pixmap().isNull())
    assert label.pixmap().toImage().pixelColor(16, 16) == QColor("white")
