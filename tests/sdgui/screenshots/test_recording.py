"""What is photographed, in one file: answers of workers, folders without weights, good in any home."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.screenshots import recording
from tests.screenshots.answers import gathered, record, replay
from tests.screenshots.recording import pack, unpack

FAKE = Path(__file__).parents[1] / "fake_worker.py"


def _lines(*requests: dict[str, Any]) -> io.StringIO:
    return io.StringIO("".join(json.dumps(request) + "\n" for request in requests))


def _replies(text: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_recorded_answers_are_replayed_in_another_folder(tmp_path: Path) -> None:
    there, here, noted = tmp_path / "there", tmp_path / "elsewhere" / "here", tmp_path / "noted"
    noted.mkdir()
    said = io.StringIO()
    asked = {"id": 1, "do": "describe_source", "source": str(there / "val.csv")}
    unknown = {"id": 2, "do": "search_open", "model": "m"}
    record(noted, there, _lines(asked, unknown, {"do": "shutdown"}), said, [sys.executable, str(FAKE)])
    first = next(reply for reply in _replies(said) if reply.get("event") == "done")
    file = tmp_path / "answers.jsonl"
    file.write_text(gathered(noted), encoding="utf-8")
    assert str(tmp_path) not in file.read_text(encoding="utf-8")

    again = io.StringIO()
    asked = {"id": 7, "do": "describe_source", "source": str(here / "val.csv")}
    newer = {"id": 8, "do": "describe_source", "source": str(here / "val.csv"), "also": "a setting of a later version"}
    replay(file, here, _lines(asked, {"do": "cancel", "id": 7}, newer, unknown, {"do": "shutdown"}), again)
    ready, same, alike, failed = _replies(again)
    assert ready == {"event": "ready"}
    assert same == {"id": 7, "event": "done", "result": first["result"] | {"source": str(here / "val.csv")}}
    assert alike == same | {"id": 8}
    assert (failed["id"], failed["event"]) == (2, "failed")
    assert "search_open" in failed["message"]


def test_a_recording_is_small_and_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    study = home / "studies" / "one"
    checkpoint = study / "runs" / "clip-s0" / "checkpoints" / "best"
    tables = study / "data" / "openmoji"
    for folder in (checkpoint, tables / "images"):
        folder.mkdir(parents=True)
    (checkpoint / "student.safetensors").write_bytes(b"\0" * 100_000)
    (checkpoint / "state.safetensors").write_bytes(b"\0" * 100_000)
    (study / "status.json").write_text(json.dumps({"host": "a", "pid": 1, "folder": str(study)}))
    (tables / "val.csv").write_text("filepath,title\n")
    (tables / "images" / "1.png").write_bytes(b"drawn anew")
    packed = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}.tar.xz"
        pack(file, home, '{"path": "@HOME@"}\n')
        packed.append(file.read_bytes())
    assert packed[0] == packed[1]
    assert len(packed[0]) < 2000

    drawing = "import sys, pathlib; (pathlib.Path(sys.argv[-1]) / 'images').mkdir(parents=True)"
    monkeypatch.setattr(recording, "python_command", lambda _module: [sys.executable, "-c", drawing])
    new = tmp_path / "new"
    answers = unpack(tmp_path / "a.tar.xz", new)
    folder = new / "studies" / "one"
    status = json.loads((folder / "status.json").read_text())
    assert status["host"] == ""
    assert status["folder"] == str(folder), "paths are those of where it lies now"
    assert (folder / "runs" / "clip-s0" / "checkpoints" / "best" / "student.safetensors").read_bytes() == b""
    assert not list(folder.rglob("state.safetensors"))
    assert (folder / "data" / "openmoji" / "images").is_dir()
    assert answers.read_text() == '{"path": "@HOME@"}\n', "they are filled in when they are given"
