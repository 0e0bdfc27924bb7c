"""The gallery over real files: loading off the thread, unreadable ones, cache, selection, linking, preview."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PySide6.QtCore import QItemSelectionModel, QSemaphore, QSize, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMenu

from core.spec.shards import member_path
from sdgui.widgets.gallery.delegate import GalleryDelegate
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.gallery.images import read_image
from sdgui.widgets.gallery.thumbnail_files import THUMBNAIL_SIDE, load_thumbnail
from sdgui.widgets.gallery.thumbnail_service import ThumbnailService
from sdgui.widgets.gallery.thumbnails import Thumbnails
from sdgui.widgets.style.theme import SPACE
from tests.sdgui.widgets.gallery.conftest import filled


def test_an_empty_gallery_explains_itself(gallery: Gallery, images: list[Path]) -> None:
    assert gallery._empty.isVisible()
    filled(gallery, images)
    assert not gallery._empty.isVisible()
    assert gallery._count.text() == "12 images"


def test_cells_have_a_line_for_scores_once_items_have_them(gallery: Gallery, images: list[Path]) -> None:
    gallery.set_items([])
    low = gallery.view.gridSize().height()
    gallery.model.append([GalleryItem(images[0], score=0.5)])
    assert gallery.view.gridSize().height() > low


def test_a_caption_uses_the_width_of_its_cell(gallery: Gallery, images: list[Path]) -> None:
    gallery.set_items([GalleryItem(images[0], "person walking with a medium-dark skin tone and a white cane")])
    delegate = gallery.view.itemDelegate()
    assert isinstance(delegate, GalleryDelegate)
    gallery.view.viewport().grab()
    assert delegate.cell().width() > delegate.side + 2 * SPACE
    assert {width for _text, width in delegate._lines} == {delegate.cell().width() - 2 * SPACE}


def test_thumbnails_load_on_their_own(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    qtbot.waitUntil(lambda: gallery.thumbnails.pending() == 0 and gallery.model.thumbnail(11) is not None, timeout=5000)
    thumbnail = gallery.model.thumbnail(5)
    assert thumbnail is not None
    assert thumbnail.image is not None
    assert thumbnail.image.size() == QSize(65, 40)
    screenshot = gallery.view.viewport().grab().toImage()
    colors = {screenshot.pixelColor(x, y).getRgb()[:3] for x in range(0, 150, 4) for y in range(0, 200, 4)}
    assert (0, 100, 50) in colors


def test_unreadable_images_give_the_reason(gallery: Gallery, tmp_path: Path, qtbot) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")
    names = ["broken.jpg", "missing.png", "."]
    gallery.set_items([GalleryItem(tmp_path / name) for name in names])
    qtbot.waitUntil(lambda: all(gallery.model.thumbnail(i) is not None for i in range(3)), timeout=5000)
    tips = [gallery.model.data(gallery.model.index(i), Qt.ItemDataRole.ToolTipRole) for i in range(3)]
    assert all("Cannot be shown" in tip for tip in tips)
    assert "No such file" in tips[1]
    assert "not a file" in tips[2]
    gallery.view.viewport().grab()


def test_large_images_are_scaled_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (2000, 1000), (255, 0, 0)).save(path, exif=exif)
    thumbnail = load_thumbnail(path, None, THUMBNAIL_SIDE)
    assert thumbnail.image is not None
    assert thumbnail.image.height() == THUMBNAIL_SIDE
    assert thumbnail.image.width() == THUMBNAIL_SIDE // 2
    full_size, _ = read_image(path)
    assert full_size is not None
    assert full_size.size() == QSize(1000, 2000)


def test_outdated_requests_are_dropped_and_the_latest_come_first(images: list[Path], qtbot) -> None:
    service = ThumbnailService()
    service.pool.setMaxThreadCount(1)
    thumbnails = Thumbnails(service=service)
    came: list[str] = []
    thumbnails.ready.connect(came.append)
    gate = QSemaphore(0)
    service.pool.start(gate.acquire)  # the only thread is busy until we let it go
    for path in images:
        assert thumbnails.get(path) is None
    thumbnails.keep_only(images[:3])
    assert thumbnails.pending() == 3
    gate.release()
    qtbot.waitUntil(lambda: len(came) == 3, timeout=5000)
    assert came == [str(path) for path in (images[2], images[1], images[0])]
    assert thumbnails.get(images[0]) is not None
    service.close()


def test_closing_during_reads_ends_at_once(images: list[Path]) -> None:
    service = ThumbnailService()
    thumbnails = Thumbnails(service=service)
    for path in images * 20:
        thumbnails.get(path)
    service.close()
    assert service.pool.activeThreadCount() == 0
    assert not service._queued


def test_selection_current_image_and_links(gallery: Gallery, images: list[Path], qtbot) -> None:
    second = Gallery()
    qtbot.addWidget(second)
    second.resize(700, 500)
    second.show()
    filled(gallery, images, 20)
    filled(second, images, 20)
    gallery.link(second)
    alone = QItemSelectionModel.SelectionFlag.ClearAndSelect  # whatever keys a former test left held
    gallery.view.selectionModel().setCurrentIndex(gallery.model.index(7), alone)
    assert gallery.current() == second.current() == 7
    second.view.selectionModel().setCurrentIndex(second.model.index(2), alone)
    assert gallery.selected() == second.selected() == [2]
    gallery._slider.setValue(200)
    assert second.thumbnail_size() == 200
    qtbot.waitUntil(lambda: gallery.view.verticalScrollBar().maximum() > 0)
    qtbot.waitUntil(lambda: second.view.verticalScrollBar().maximum() == gallery.view.verticalScrollBar().maximum())
    gallery.view.verticalScrollBar().setValue(150)
    assert second.view.verticalScrollBar().value() == 150
    second.close_threads()


def test_a_linked_gallery_with_fewer_images_does_not_pull_back(gallery: Gallery, images: list[Path], qtbot) -> None:
    second = Gallery()
    qtbot.addWidget(second)
    second.resize(700, 500)
    second.show()
    filled(gallery, images, 60)
    filled(second, images, 3)
    gallery.link(second)
    mine, theirs = gallery.view.verticalScrollBar(), second.view.verticalScrollBar()
    qtbot.waitUntil(lambda: mine.maximum() > 4 * theirs.maximum() > 0)
    for value in (101, 202, 303, 404):
        mine.setValue(value)
        assert mine.value() == value
        assert theirs.value() == round(value / mine.maximum() * theirs.maximum())
    second.close_threads()


def test_setting_is_silent_and_out_of_range_is_none(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    with qtbot.assertNotEmitted(gallery.current_changed), qtbot.assertNotEmitted(gallery.selection_changed):
        gallery.set_current(3)
        gallery.set_selected([1, 4, 99])
    assert gallery.selected() == [1, 4]
    gallery.set_current(-1)
    assert gallery.current() == -1
    gallery.set_current(500)
    assert gallery.selected() == []


def test_copy_keys(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    gallery.set_selected([1, 2])
    QTest.keyClick(gallery.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == f"{images[1]}\n{images[2]}"
    assert [url.toLocalFile() for url in QGuiApplication.clipboard().mimeData().urls()] == [
        str(images[1]), str(images[2]),
    ]  # fmt: skip


def test_drag_carries_files(gallery: Gallery, images: list[Path]) -> None:
    filled(gallery, images)
    data = gallery.model.mimeData([gallery.model.index(0), gallery.model.index(5)])
    assert [url.toLocalFile() for url in data.urls()] == [str(images[0]), str(images[5])]


def test_selecting_copying_and_counting_use_ranges(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images, 100)
    heard: list[list[int]] = []
    gallery.selection_changed.connect(heard.append)
    QTest.keyClick(gallery.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert heard == [list(range(1200))]
    assert gallery.selected() == list(range(1200))
    assert gallery._count.text() == "1,200 images, 1,200 selected"
    QTest.keyClick(gallery.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert QGuiApplication.clipboard().text().splitlines()[1199] == "image 1199"


def test_items_change_while_the_selection_stays(gallery: Gallery, images: list[Path]) -> None:
    items = filled(gallery, images)
    gallery.set_selected([3, 9])
    gallery.append([GalleryItem(images[0], "late")])
    assert gallery.selected() == [3, 9]
    assert gallery._count.text() == "13 images, 2 selected"
    gallery.remove([0, 1, 5, 99, -1])
    assert gallery.selected() == [1, 6]
    assert [item.caption for item in gallery.items()][:4] == [items[i].caption for i in (2, 3, 4, 6)]
    gallery.replace(0, GalleryItem(images[1], "another"))
    assert gallery.model.data(gallery.model.index(0)) == "another"
    assert gallery.selected() == [1, 6]


def test_a_line_for_ranks_and_scores_is_reserved_only_for_items_that_have_them(
    gallery: Gallery, images: list[Path]
) -> None:
    filled(gallery, images)
    with_scores = gallery.view.gridSize().height()
    gallery.set_items([GalleryItem(path, "a caption") for path in images])
    assert gallery.view.gridSize().height() < with_scores
    filled(gallery, images)
    assert gallery.view.gridSize().height() == with_scores


def test_a_missing_file_is_grey_and_reported(gallery: Gallery, tmp_path: Path, qtbot) -> None:
    gallery.set_items(
        [GalleryItem(tmp_path / "gone.png", "a", missing=True), GalleryItem(tmp_path / "gone too.png", "b")]
    )
    thumbnail = gallery.model.thumbnail(0)
    assert thumbnail is not None
    assert thumbnail.missing
    qtbot.waitUntil(lambda: gallery.model.thumbnail(1) is not None, timeout=5000)
    assert gallery.model.thumbnail(1).missing
    gallery.view.viewport().grab()
    assert "missing" in gallery.model.data(gallery.model.index(0), Qt.ItemDataRole.AccessibleTextRole)


def test_the_menu_opens_by_key_and_includes_panel_entries(gallery: Gallery, images: list[Path], qtbot) -> None:
    filled(gallery, images)
    menus: list[tuple[list[str], list[int]]] = []

    def add(menu: QMenu, rows: list[int]) -> None:
        menu.addAction("More like this")
        menus.append(([action.text() for action in menu.actions()], rows))

    gallery.menu_opening.connect(add)
    gallery.view.setCurrentIndex(gallery.model.index(2))
    QTest.keyClick(gallery.view, Qt.Key.Key_F10, Qt.KeyboardModifier.ShiftModifier)
    ((texts, rows),) = menus
    assert rows == [2]
    assert texts[-1] == "More like this"
    gallery.findChild(QMenu).close()
    with qtbot.waitSignal(gallery.remove_requested) as signal:
        QTest.keyClick(gallery.view, Qt.Key.Key_Delete)
    assert signal.args == [[2]]


def test_an_image_in_a_tar_is_shown_like_any_other(tmp_path: Path, qapp: object) -> None:
    tar = tmp_path / "a.tar"
    image = QImage(40, 30, QImage.Format.Format_RGB32)
    image.fill(0x3366CC)
    image.save(str(tmp_path / "a.png"))
    tar.write_bytes(b"x" * 512 + (tmp_path / "a.png").read_bytes())
    size = (tmp_path / "a.png").stat().st_size
    path = Path(member_path(tar, 512, size, "0.png"))
    full_size, reason = read_image(path)
    assert reason == ""
    assert full_size is not None
    assert (full_size.width(), full_size.height(), full_size.pixelColor(5, 5).name()) == (40, 30, "#3366cc")
    small = load_thumbnail(path, tmp_path / "cache", 16).image
    assert small is not None
    assert small.width() == 16
    assert load_thumbnail(path, tmp_path / "cache", 16).stamp == (tar.stat().st_size, tar.stat().st_mtime_ns)
    assert read_image(Path(member_path(tar, 512, 10**9, "0.png")))[1].startswith(f"an image in {tar} has")
    assert "cut off" in read_image(Path(member_path(tar, 512, 10**6, "0.png")))[1]
    tar.unlink()
    assert load_thumbnail(path, None, THUMBNAIL_SIDE).missing
