"""The report of an experiment in the window: read, shown without loading anything, exported."""

from __future__ import annotations

import struct
import zlib
from contextlib import closing
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QImage, QTextDocument
from pytestqt.qtbot import QtBot

from core.spec.report.content import Report, ReportedRun
from core.spec.report.logged import LoggedImage, LoggedSample
from core.spec.run.events import EventWriter, Metrics, RunStarted, Sample
from sdgui.actions.report import _page
from sdgui.widgets.gallery.images import decode_image
from tests.sdgui.driving import OpenWindow, add, settle, trainable

IMAGE = QTextDocument.ResourceType.ImageResource


def test_the_report_shows_note_and_runs_is_refreshed_and_exported(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window = open_window()
    store, experiment = window.services.store, add(window, "mine")
    store.set_experiment_note(experiment, "A *note* <img src=http://example.org/a.png>")
    run = store.add_run(experiment)
    run.dir.create()
    run.dir.config.write_text(trainable().to_json())
    with closing(EventWriter(run.dir.events)) as writer:
        writer.write(RunStarted(step=0, total_steps=9, config_digest="d"))
        writer.write(Metrics(step=3, values={"train/loss": 2.0}))
    settle(window)
    window.window_actions["report"].trigger()
    dialog = window.dialogs.report
    qtbot.waitUntil(lambda: "A note <img" in dialog.view.toPlainText())
    assert run.folder.name in dialog.view.toPlainText()
    assert "3/9" in dialog.view.toPlainText()
    assert dialog.view.loadResource(IMAGE, QUrl("http://example.org/a.png")) is None
    assert dialog.view.loadResource(IMAGE, QUrl.fromLocalFile("/etc/hostname")) is None
    with closing(EventWriter(run.dir.events)) as writer:
        writer.write(Metrics(step=4, values={"train/loss": 1.0}))
        QImage(480, 120, QImage.Format.Format_RGB32).save(str(run.dir.path / "a.png"))
        images = [{"image": "a.png", "caption": "a logged image"}]
        writer.write(Sample(step=4, what="logged", content={"seen": {"type": "images", "images": images}}))
    qtbot.waitUntil(lambda: "4/9" in dialog.view.toPlainText() and "a logged image" in dialog.view.toPlainText())
    (url,) = dialog.view.images
    assert url in dialog.view.toHtml()
    shown = dialog.view.loadResource(IMAGE, QUrl(url))
    assert (shown.width(), shown.height()) == (240, 60)
    dialog.export_to(tmp_path / "mine.tex")
    qtbot.waitUntil(lambda: "Report written" in dialog.bar.text)
    assert r"\section*{mine}" in (tmp_path / "mine.tex").read_text()


def test_a_small_file_with_hundreds_of_millions_of_pixels_is_not_decoded() -> None:
    """300 kB are enough for them, and a gigabyte of memory."""
    lines = zlib.compress(bytes(6251) * 6000, 9)
    head = struct.pack(">IIBBBBB", 50_000, 6000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", lines), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    bomb = LoggedImage("a.png", "", b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    sample = LoggedSample("seen", 1, images=[bomb])
    page = _page(Report("r", "", "", [ReportedRun("one", Path("one"), logged={"seen": sample})], {}))
    assert [image.isNull() for image in page.images.values()] == [True]
    assert decode_image(bomb.data, "a.png", None, 299_999_999)[1] == (
        "a.png has 50000 × 6000 pixels; at most 299 million are supported"
    )
