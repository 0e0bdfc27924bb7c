"""Local images for a remote worker are uploaded once, within limits, and deleted with the worker."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.remote import image_uploads
from core.remote.image_uploads import Sender, as_line
from core.spec.machines.answers import pack_bytes
from core.spec.machines.path_translation import PathTranslator
from core.worker import receiving, server
from tests.core.remote.conftest import wait_for


class Line:
    """A sender connected to a worker whose request ``sizes`` opens images."""

    def __init__(self, folder: Path) -> None:
        self.names, self.told = PathTranslator(folder / "home", "gpu"), list[dict[str, Any]]()
        ends = [os.pipe() for _ in range(2)]
        requests, replies = os.fdopen(ends[0][0], encoding="utf-8"), os.fdopen(ends[1][1], "w", encoding="utf-8")
        self.back = os.fdopen(ends[1][0], encoding="utf-8")
        self.worker = server.Worker(requests, replies)
        self.worker._verbs["sizes"] = self._sizes
        self.sender = Sender(self.names, "gpu", os.fdopen(ends[0][1], "wb"), self.told.append)
        self.go = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._serve, self._read)]
        self._streams = (requests, replies, self.back)
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        self.worker.serve()
        self._streams[1].close()

    def _sizes(self, progress: Any, images: list[str]) -> dict[str, Any]:
        found = {}
        for image in images:
            with Image.open(image) as opened:
                found[image] = opened.size
        return {"sizes": found, "images": images}

    def _read(self) -> None:
        for line in self.back:
            reply = json.loads(line)
            if reply["event"] == "ready":
                self.go.wait()
                self.sender.ready(reply["receives"])
            elif reply["event"] in ("done", "failed"):
                self.sender.record_answer(reply["id"], reply["event"] == "failed")
            self.told.append(self.names.to_local(reply))

    def ask(self, number: int, *images: Path) -> dict[str, Any]:
        self.send(number, *images)
        return self.answer(number)

    def send(self, number: int, *images: Path) -> None:
        self.sender.put(as_line({"id": number, "do": "sizes", "images": [str(one) for one in images]}))

    def answer(self, number: int) -> dict[str, Any]:
        ends = ("done", "failed")
        wait_for(lambda: any(one.get("id") == number and one["event"] in ends for one in list(self.told)))
        return next(one for one in self.told if one.get("id") == number and one["event"] in ends)

    def close(self) -> None:
        self.go.set()
        self.sender.close()
        for thread in self._threads:
            thread.join(30)
        for stream in self._streams:
            stream.close()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(receiving.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(image_uploads, "CHUNK_BYTES", 1000)
    line = Line(tmp_path)
    yield line
    line.close()


def image(path: Path, side: int = 40) -> Path:
    Image.effect_noise((side, side), 90).save(path)
    return path


def test_images_are_sent_once_and_removed_with_the_worker(line: Line, tmp_path: Path) -> None:
    line.go.set()
    one, two = image(tmp_path / "a b.png"), image(tmp_path / "ü.PNG", 60)
    answer = line.ask(1, one, two, one)
    assert answer["result"]["images"] == [str(one), str(two), str(one)], "the answer has the local paths"
    progress = [(each["done"], each["total"]) for each in line.told if each.get("doing", "").endswith("to gpu")]
    assert progress[0] == (0, 2)
    assert progress[-1] == (2, 2)
    assert len(progress) > 5, "progress is reported for each chunk"
    (folder,) = tmp_path.glob("sdgui-sent-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    sent = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(sent.values()) == sorted(path.read_bytes() for path in (one, two))
    assert line.ask(2, two)["event"] == "done"
    assert set(sent) == {path.name for path in folder.iterdir()}, "nothing is sent again"
    image(two, 50)
    line.ask(3, two)
    assert len(list(folder.iterdir())) == 3, "except a changed image"
    there = str(tmp_path / "home" / "remote-images" / "gpu" / "no" / "such.png")
    assert "no/such.png" in line.ask(4, Path(there))["message"], "a remote image is not uploaded"
    line.close()
    assert not folder.exists()


def test_uploads_over_the_workers_limit_are_refused(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.go.set()
    one = image(tmp_path / "a.png")
    monkeypatch.setattr(receiving, "MAX_UPLOAD_BYTES", 1500)
    assert "more than" in line.ask(1, one)["message"]
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert line.ask(3, tmp_path / "gone.png")["event"] == "failed"


class RequestLog(io.BytesIO):
    """A stream that keeps the requests to a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def write(self, line: Any) -> int:
        self.lines.append(json.loads(bytes(line)))
        return len(line)


def test_a_worker_keeps_uploads_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving.tempfile, "tempdir", str(tmp_path))
    dead = f"{2**31 - 9}-{'0' * 16}"
    left, foreign = tmp_path / f"{receiving._PREFIX}{dead}", tmp_path / f"sdgui-sent-another-computer-{dead}"
    for folder in (left, foreign):
        folder.mkdir()
        os.utime(folder, (1.0, 1.0))
    received = receiving.ReceivedImages()
    name = "0" * 32 + ".png"
    for wrong in ("../a.png", "a.png", "0" * 32, "0" * 32 + ".png/x"):
        with pytest.raises(receiving.UserError, match="not a valid name"):
            received.append_part(wrong, 0, pack_bytes(b"x"))
    with pytest.raises(receiving.UserError, match="cannot be read"):
        received.append_part(name, 0, "?")
    received.append_part(name, 0, pack_bytes(b"one"))
    assert not left.exists(), "folders of killed workers are removed"
    assert foreign.exists(), "its worker may be alive"
    with pytest.raises(receiving.UserError, match="was lost"):
        received.append_part(name, 7, pack_bytes(b"two"))
    received.append_part(name, 0, pack_bytes(b"new"))
    assert (received.folder / name).read_bytes() == b"new"
    received.remove()
    assert not received.folder.exists()


def test_an_unreadable_image_is_reported_and_its_request_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, limit: int) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(image_uploads, "open_regular", denied)
    one, told, out = image(tmp_path / "a.png"), list[dict[str, Any]](), RequestLog()
    sender = Sender(PathTranslator(tmp_path / "home", "gpu"), "gpu", out, told.append)
    sender.ready("/there")
    sender.put(as_line({"id": 1, "do": "sizes", "images": [str(one)]}))
    sender.put(as_line({"id": 2, "do": "sizes", "images": []}))
    wait_for(lambda: out.lines)
    assert told == [
        {
            "id": 1,
            "event": "failed",
            "message": f"{one} cannot be read: Permission denied; check the file.",
            "details": "",
        }
    ]
    wait_for(lambda: not sender._pending)
    sender.put(as_line({"do": "cancel", "id": 2}))
    sender.close()
    wait_for(lambda: out.closed)
    assert [(line["id"], line["do"]) for line in out.lines] == [(2, "sizes"), (2, "cancel")]


def test_chunks_of_cancelled_requests_are_dropped_and_wrong_ones_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving.tempfile, "tempdir", str(tmp_path))
    replies = io.StringIO()
    worker = server.Worker(io.StringIO(), replies)
    part = {"do": "receive", "name": "0" * 32 + ".png", "at": 0, "data": pack_bytes(b"x")}
    worker._receive({**part, "id": 1})
    worker._cancelled.add(2)
    worker._receive({**part, "id": 2, "data": pack_bytes(b"yy")})
    for wrong in ({"id": 3, "name": "../a.png"}, {"id": 3, "at": "one"}, {"id": 4, "at": "one"}):
        worker._receive({**part, **wrong})
    (kept,) = worker._received.folder.iterdir()
    assert kept.read_bytes() == b"x"
    told = [json.loads(line) for line in replies.getvalue().splitlines()]
    assert [(one["id"], one["event"]) for one in told] == [(3, "failed"), (4, "failed")]
    assert "is not a valid name" in told[0]["message"]
    assert told[1]["message"].startswith("a part of an image is wrong: ValueError")
    worker._received.remove()
