"""The order of uploads and requests to a remote worker; repeated, cancelled and failed uploads."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.remote import image_uploads
from core.remote.image_uploads import Sender, as_line, local_images, parse_message
from core.spec.machines.path_translation import PathTranslator
from tests.core.remote.conftest import wait_for


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


def image(path: Path, size: int) -> Path:
    path.write_bytes(bytes(range(size)))
    return path


def test_images_that_the_worker_lost_are_sent_again(parts: BufferedSender, tmp_path: Path) -> None:
    one, two = image(tmp_path / "a.png", 5), image(tmp_path / "b.png", 15)
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
    image(one, 25)
    parts.ask(5, one)
    wait_for(lambda: 5 not in sender._pending)
    assert [line["do"] for line in parts.sent()[9:]] == ["receive"], "nothing more of it"
    assert parts.failures(5) == [], "the worker has told it"
    sender._write = write
    parts.ask(6, one)
    wait_for(lambda: parts.sent()[-1].get("do") == "x")
    assert len(parts.sent()) == 10 + 3 + 1


def test_failed_uploads_are_reported_with_the_remedy(
    parts: BufferedSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_uploads, "MAX_UPLOAD_BYTES", 3 << 20)
    one, two = image(tmp_path / "a.png", 5), image(tmp_path / "b.png", 5)
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
    three = image(tmp_path / "c.png", 1)
    parts.ask(3, three)
    wait_for(lambda: parts.failures(3))
    (message,) = parts.failures(3)
    assert message.startswith("the 0 MB of images exceed the 0 MB that can still be uploaded to the worker on gpu;")


def test_paths_of_local_images_are_recognised(tmp_path: Path) -> None:
    names = PathTranslator(tmp_path / "home", "gpu")
    one, text = image(tmp_path / "a.JPG", 1), tmp_path / "a.txt"
    text.write_text("x")
    there = tmp_path / "home" / "remote-images" / "gpu" / "data" / "b.png"
    there.parent.mkdir(parents=True)
    image(there, 1)
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
