"""Answers of a machine are validated, and invalid ones become errors with the remedy."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines import host as host_module
from core.spec.machines.answers import MAX_CHUNK_BYTES, Gpu, Hello, Submitted, pack_bytes, unpack_bytes
from core.spec.machines.host import Host
from core.spec.machines.machine import Machine

FAR = Machine(name="far", host="user@far", runs="/runs")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, Any]]]:
    found: list[tuple[str, float, dict[str, Any]]] = []

    def call(host: Host, do: str, timeout: float = 60.0, **arguments: Any) -> Future[Any]:
        found.append((do, timeout, arguments))
        return Future()

    monkeypatch.setattr(Host, "call", call)
    return found


def test_an_answer_is_validated_and_dropped_if_nobody_waits() -> None:
    def settled(raw: object, part: str = "", cancelled: bool = False) -> Future[Any]:
        question: Future[Any] = Future()
        answer = Host(Machine(name="far"))._read_answer(question, Submitted if not part else list[Submitted], part)
        if cancelled:
            answer.cancel()
        if isinstance(raw, Exception):
            question.set_exception(raw)
        else:
            question.set_result(raw)
        return answer

    assert settled({"folder": "/f", "pid": 3}).result(0) == Submitted(folder="/f", pid=3)
    assert settled({"all": [{"folder": "/f"}]}, "all").result(0) == [Submitted(folder="/f")]
    for raw, part in (({}, ""), ({"folder": "/f"}, "all"), ({"all": 7}, "all")):
        with pytest.raises(UserError, match=r"the answer of far: .* Update sdgui there"):
            settled(raw, part).result(0)
    with pytest.raises(UserError, match=r"No room\."):
        settled(UserError("No room.")).result(0)
    assert settled({}, cancelled=True).cancelled()


def test_chunks_are_compressed_when_smaller_and_stay_within_the_limit() -> None:
    same = b"a" * 513
    assert pack_bytes(same[:512])[0] == "="
    assert pack_bytes(same)[0] == "z"
    odd = bytes(i * i % 251 ^ i % 7 for i in range(600))
    assert unpack_bytes(pack_bytes(odd)) == odd
    most = b"a" * MAX_CHUNK_BYTES
    assert unpack_bytes(pack_bytes(most)) == most
    with pytest.raises(ValueError, match="larger than allowed, or truncated"):
        unpack_bytes(pack_bytes(most + b"a"))
    random = os.urandom(MAX_CHUNK_BYTES)
    assert unpack_bytes(pack_bytes(random)) == random
    with pytest.raises(ValueError, match="larger than allowed"):
        unpack_bytes(pack_bytes(random + b"a"))
    with pytest.raises(ValueError, match="larger than allowed, or truncated"):
        unpack_bytes("z" + pack_bytes(same)[1:-8])
    for wrong in ("", "x" + pack_bytes(same)[1:], "zAAAA", 5, "=" * (2 * MAX_CHUNK_BYTES + 1)):
        with pytest.raises(ValueError, match=r"."):
            unpack_bytes(wrong)


@pytest.mark.parametrize(
    ("gpu", "free"),
    [
        (Gpu(index=0, users=["x (1)"]), False),
        (Gpu(index=0, memory=1000, used=600), True),
        (Gpu(index=0, memory=1000, used=601), False),
        (Gpu(index=0, memory=80_000, used=1600), True),
    ],
)
def test_a_gpu_is_free_with_no_process_and_little_memory_in_use(gpu: Gpu, free: bool) -> None:
    assert gpu.free is free
    assert gpu.device == "0"
    assert gpu.model_copy(update={"uuid": "GPU-1"}).device == "0"
    assert gpu.model_copy(update={"uuid": "MIG-1"}).device == "MIG-1"


@pytest.mark.parametrize(("there", "here", "works"), [("1.2.0", "1.2.0", True), ("1.1.0", "1.2.0", False)])
def test_a_check_compares_the_versions(monkeypatch: pytest.MonkeyPatch, there: str, here: str, works: bool) -> None:
    answers: list[Future[Any]] = [Future(), Future()]
    monkeypatch.setattr(Host, "call", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(host_module, "installed_version", lambda _package: here)
    far, near = Host(FAR, command=["none"]), Host(Machine(name="here"), command=["none"])
    far.hello = Hello(protocol=1, version=there)
    checked, local = answers
    found, alone = far.check(), near.check()
    for answer in (checked, local):
        answer.set_result({"findings": [{"name": "Disk", "works": True}]})
    first, disk = found.result(0)
    assert (first.name, first.works, first.detail) == ("sdgui", works, f"{there} there, {here} here")
    assert bool(first.remedy) is not works
    assert [one.name for one in (disk, *alone.result(0))] == ["Disk", "Disk"], "this computer has no other version"
