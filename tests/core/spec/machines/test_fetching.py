"""Fetching a checkpoint in chunks from a fake machine: order of requests, and refused answers."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines import fetching
from core.spec.machines.answers import CheckpointFacts, Chunk, FileFacts
from core.spec.machines.fetching import choose, fetch_checkpoint
from core.spec.machines.record import RemoteRecord, write_record
from core.spec.run.folder import RunDir

WEIGHTS = bytes(range(95))


class FakeHost:
    """A fake machine with one checkpoint; ``asked``: requested chunks, ``ahead``: open requests at each."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"{name}.safetensors": data for name, data in files.items()}
        self.stamp, self.pointers = 7, ["best"]
        self.asked: list[tuple[str, int, int]] = []
        self.machine = SimpleNamespace(name="far")
        self.open = 0
        self.ahead: list[int] = []

    def checkpoints(self, folder: str) -> Future[Any]:
        assert folder == "/there/one"
        files = [FileFacts(name=name, size=len(data), stamp=self.stamp) for name, data in self.files.items()]
        one = CheckpointFacts.model_validate({"name": "step-00000040", "files": files, "pointers": self.pointers})
        return answered(one.model_copy(update={"name": "step-00000020", "pointers": []}), one)

    def read(self, folder: str, file: str, offset: int, length: int, timeout: float) -> Any:
        assert (folder, timeout) == ("/there/one", 300.0)
        where, _, name = file.rpartition("/")
        assert where == "checkpoints/step-00000040"
        self.asked.append((name, offset, length))
        self.open += 1
        self.ahead.append(self.open)
        data = self.files[name]
        chunk = {"data": data[offset : offset + length], "size": len(data), "stamp": self.stamp}

        def result() -> Chunk:
            self.open -= 1
            return Chunk.model_construct(**chunk | self.changed(offset))  # type: ignore[arg-type]

        return SimpleNamespace(result=result)

    def changed(self, offset: int) -> dict[str, Any]:
        """Change fields of an answer."""
        return {}


def answered(*found: CheckpointFacts) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(list(found))
    return future


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setattr(fetching, "CHUNK_BYTES", 10)
    run = RunDir(tmp_path / "one")
    run.create()
    write_record(run, RemoteRecord(machine="far", folder="/there/one"))
    return run


def fetch(host: FakeHost, run: RunDir, which: str = "last", **more: Any) -> Path:
    return fetch_checkpoint(host, run, which, **more)  # type: ignore[arg-type]


REPLACED = "step-00000040 was replaced on its machine while it was being fetched; fetch it"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stamp": 8}, REPLACED),
        ({"size": 96}, REPLACED),
        ({"data": b"short"}, "far sent 5 bytes of student.safetensors instead of 10"),
        ({"data": b"A" * 5000}, "far sent 5,000 bytes"),
    ],
)
def test_a_file_that_changes_during_a_fetch_is_refused_and_fetched_again(
    run: RunDir, wrong: dict[str, Any], said: str
) -> None:
    host = FakeHost(student=WEIGHTS)
    host.changed = lambda offset: wrong if offset == 30 else {}  # type: ignore[method-assign]
    with pytest.raises(UserError, match=re.escape(said)):
        fetch(host, run)
    assert not (run.checkpoints / "step-00000040").exists()
    assert not (run.checkpoints / "best").exists()
    held = run.checkpoints / ".step-00000040.fetch.tmp"
    assert (held / "student.safetensors").read_bytes() == WEIGHTS[:30]
    good = FakeHost(student=WEIGHTS)
    fetch(good, run)
    assert good.asked[0] == ("student.safetensors", 30, 10), "it continues from there"
    assert (run.checkpoints / "step-00000040" / "student.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("stale", ["stamps", "garbage", "longer", "none"])
def test_partial_data_of_another_file_is_dropped(run: RunDir, stale: str) -> None:
    held = run.checkpoints / ".step-00000040.fetch.tmp"
    held.mkdir()
    (held / "student.safetensors").write_bytes(b"x" * (99 if stale == "longer" else 30))
    stamps = {"stamps": json.dumps({"student.safetensors": 6}), "garbage": "{"}
    text = stamps.get(stale, json.dumps({"student.safetensors": 7}))
    if stale != "none":
        (held / ".stamps.json").write_text(text)
    host = FakeHost(student=WEIGHTS)
    folder = fetch(host, run)
    assert host.asked[0] == ("student.safetensors", 0, 10)
    assert (folder / "student.safetensors").read_bytes() == WEIGHTS
    assert [path.name for path in folder.iterdir()] == ["student.safetensors"]


def test_a_full_disk_is_reported_before_the_first_request(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    host, free = FakeHost(student=WEIGHTS), [94]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    with pytest.raises(
        UserError, match=r"step-00000040 needs 0 MB more, but the disk of .* has only 0 MB free; free some"
    ):
        fetch(host, run)
    assert host.asked == []
    held = run.checkpoints / ".step-00000040.fetch.tmp"
    (held / "student.safetensors").write_bytes(b"x")  # what is here needs no room
    fetch(host, run)
    assert host.asked


@pytest.mark.parametrize("record", [None, RemoteRecord(machine="far")])
def test_a_run_with_local_checkpoints_has_none_to_fetch(tmp_path: Path, record: RemoteRecord | None) -> None:
    run = RunDir(tmp_path / "own")
    run.create()
    if record is not None:
        write_record(run, record)
    with pytest.raises(UserError, match=r"is trained on this computer|was not written by you"):
        fetch(FakeHost(), run)


def test_a_checkpoint_is_chosen_by_step_name_or_pointer() -> None:
    names = ("step-00000000", "step-00000100", "step-00000250")
    found = [CheckpointFacts(name=name, files=[]) for name in names]
    found[1] = found[1].model_copy(update={"pointers": ["best"]})
    chosen = {which: choose(found, which).name for which in ("0", "100", "0100", "best", "last", names[2])}
    assert chosen == {
        "0": names[0], "100": names[1], "0100": names[1], "best": names[1], "last": names[2], names[2]: names[2],
    }  # fmt: skip
    found[0] = found[0].model_copy(update={"pointers": ["last"]})
    assert choose(found, "last").name == names[0], "as reported by its machine"
    with pytest.raises(UserError, match=f"has no checkpoint 25 on its machine; available: {', '.join(names)}"):
        choose(found, "25")
    for which in ("last", "best"):
        with pytest.raises(UserError, match="available: none yet"):
            choose([], which)
