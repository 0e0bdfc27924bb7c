"""Local images for a remote worker are uploaded once, in order, within limits, and deleted with the worker."""

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
from core.remote.image_uploads import Sender, as_line, local_images, parse_message
from core.spec.machines.answers import pack_bytes
from core.spec.machines.path_translation import PathTranslator
from core.worker import receiving, server
from tests.core.remote.conftest import wait_for


class Line:
    """A sender connected to a worker whose request ``sizes`` opens images."""

    def __init__(self, folder: Path) -> None:
        self.names, self.received = PathTranslator(folder / "home", "gpu"), list[dict[str, Any]]()
        ends = [os.pipe() for _ in range(2)]
        requests, replies = os.fdopen(ends[0][0], encoding="utf-8"), os.fdopen(ends[1][1], "w", encoding="utf-8")
        self.back = os.fdopen(ends[1][0], encoding="utf-8")
        self.worker = server.Worker(requests, replies)
        self.worker._verbs["sizes"] = self._sizes
        self.sender = Sender(self.names, "gpu", os.fdopen(ends[0][1], "wb"), self.received.append)
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
            self.received.append(self.names.to_local(reply))

    def ask(self, number: int, *images: Path) -> dict[str, Any]:
        self.send(number, *images)
        return self.answer(number)

    def send(self, number: int, *images: Path) -> None:
        self.sender.put(as_line({"id": number, "do": "sizes", "images": [str(one) for one in images]}))

    def answer(self, number: int) -> dict[str, Any]:
        ends = ("done", "failed")
        wait_for(lambda: any(one.get("id") == number and one["event"] in ends for one in list(self.received)))
        return next(one for one in self.received if one.get("id") == number and one["event"] in ends)

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
    progress = [(each["done"], each["total"]) for each in line.received if each.get("doing", "").endswith("to gpu")]
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
    one, replies, out = image(tmp_path / "a.png"), list[dict[str, Any]](), RequestLog()
    sender = Sender(PathTranslator(tmp_path / "home", "gpu"), "gpu", out, replies.append)
    sender.ready("/there")
    sender.put(as_line({"id": 1, "do": "sizes", "images": [str(one)]}))
    sender.put(as_line({"id": 2, "do": "sizes", "images": []}))
    wait_for(lambda: out.lines)
    assert replies == [
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
    answers = [json.loads(line) for line in replies.getvalue().splitlines()]
    assert [(one["id"], one["event"]) for one in answers] == [(3, "failed"), (4, "failed")]
    assert "is not a valid name" in answers[0]["message"]
    assert answers[1]["message"].startswith("a part of an image is wrong: ValueError")
    worker._received.remove()


class BufferedSender:
    """A sender that writes into a buffer; ``replied``: its replies in place of the worker."""

    def __init__(self, home: Path) -> None:
        self.names, self.out, self.replied = PathTranslator(home, "gpu"), io.BytesIO(), list[dict[str, Any]]()
        self.closed, self._close = threading.Event(), self.out.close
        self.out.close = self.closed.set  # type: ignore[method-assign]
        self.sender = Sender(self.names, "gpu", self.out, self.replied.append)

    def sent(self) -> list[Any]:
        return [json.loads(line) if line.startswith(b"{") else line for line in self.out.getvalue().splitlines()]

    def failures(self, number: int) -> list[str]:
        """The reasons why a request was not forwarded."""
        return [one["message"] for one in self.replied if one["id"] == number and one["event"] == "failed"]

    def ask(self, number: int, *images: Path) -> None:
        self.sender.put(as_line({"id": number, "do": "x", "images": [str(one) for one in images]}))


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BufferedSender]:
    monkeypatch.setattr(image_uploads, "CHUNK_BYTES", 10)
    monkeypatch.setattr(image_uploads, "_READY_POLL_SECONDS", 0.002)
    buffered_sender = BufferedSender(tmp_path / "home")
    yield buffered_sender
    buffered_sender.sender.worker_ended()
    buffered_sender.sender.close()
    wait_for(buffered_sender.closed.is_set)


def bytes_file(path: Path, size: int) -> Path:
    path.write_bytes(bytes(range(size)))
    return path


def test_images_that_the_worker_lost_are_sent_again(parts: BufferedSender, tmp_path: Path) -> None:
    one, two = bytes_file(tmp_path / "a.png", 5), bytes_file(tmp_path / "b.png", 15)
    parts.sender.ready("/there")
    parts.ask(1, one)
    wait_for(lambda: len(parts.sent()) == 2)
    parts.sender.record_answer(1, failed=False)
    parts.ask(2, one)
    wait_for(lambda: len(parts.sent()) == 3)
    parts.ask(3, two)
    wait_for(lambda: len(parts.sent()) == 6)
    parts.sender.record_answer(3, failed=True)
    parts.ask(4, one, two)
    wait_for(lambda: len(parts.sent()) == 9)
    assert [line["do"] for line in parts.sent()[6:]] == ["receive", "receive", "x"], "the second alone"
    assert parts.sent()[6]["name"] != parts.sent()[3]["name"], "another request may read the earlier copy"
    sender: Any = parts.sender
    write = sender._write

    def refused(line: bytes) -> None:
        write(line)
        if parse_message(line) and json.loads(line).get("do") == "receive":
            parts.sender.record_answer(5, failed=True)

    sender._write = refused
    bytes_file(one, 25)
    parts.ask(5, one)
    wait_for(lambda: 5 not in sender._pending)
    assert [line["do"] for line in parts.sent()[9:]] == ["receive"], "nothing more of it"
    assert parts.failures(5) == [], "the worker has reported it"
    sender._write = write
    parts.ask(6, one)
    wait_for(lambda: parts.sent()[-1].get("do") == "x")
    assert len(parts.sent()) == 10 + 3 + 1


def test_failed_uploads_are_reported_with_the_remedy(
    parts: BufferedSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_uploads, "MAX_UPLOAD_BYTES", 3 << 20)
    one, two = bytes_file(tmp_path / "a.png", 5), bytes_file(tmp_path / "b.png", 5)
    with two.open("r+b") as file:
        file.truncate((3 << 20) - 5)
    parts.sender.ready("")
    parts.ask(1, one)
    wait_for(lambda: parts.failures(1))
    assert parts.failures(1) == ["sdgui on gpu does not accept uploaded images; update sdgui on that machine."]
    monkeypatch.setattr(image_uploads, "CHUNK_BYTES", 1 << 20)
    parts.sender.ready("/there")
    parts.ask(2, one, two)
    wait_for(lambda: parts.sent() and parts.sent()[-1].get("do") == "x")
    three = bytes_file(tmp_path / "c.png", 1)
    parts.ask(3, three)
    wait_for(lambda: parts.failures(3))
    (message,) = parts.failures(3)
    assert message.startswith("the 0 MB of images exceed the 0 MB that can still be uploaded to the worker on gpu;")


def test_paths_of_local_images_are_recognised(tmp_path: Path) -> None:
    names = PathTranslator(tmp_path / "home", "gpu")
    one, text = bytes_file(tmp_path / "a.JPG", 1), tmp_path / "a.txt"
    text.write_text("x")
    there = tmp_path / "home" / "remote-images" / "gpu" / "data" / "b.png"
    there.parent.mkdir(parents=True)
    bytes_file(there, 1)
    deep: Any = str(one)
    for _ in range(64):
        deep = [deep]
    value = {"a": [str(one), "a.JPG", str(text)], "b": {str(one): str(one)}, "c": str(tmp_path / "none.png"), "d": [7]}
    assert local_images(value, names) == [str(one)]
    assert local_images(deep, names) == [str(one)]
    for none in ([[deep]], str(there), f"{one}\0.png", "/" + "x" * 5000 + ".png", str(tmp_path)):
        assert local_images(none, names) == []
    assert parse_message(b'{"a": 1}') == {"a": 1}
    assert parse_message(b"[1]") is parse_message(b"{") is parse_message(b" {}") is None
