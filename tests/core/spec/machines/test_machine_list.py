"""The list of machines, decompression limits and ssh options."""

from __future__ import annotations

import itertools
from pathlib import Path

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.spec.machines.answers import Chunk, pack_bytes, unpack_bytes
from core.spec.machines.machine import LOCAL, Machine
from core.spec.machines.machine_list import MachineError, MachineList
from core.spec.machines.ssh import ssh_command

FAR = Machine(name="far", host="far.example.org")


def test_the_list_keeps_its_order_and_is_edited_by_name(tmp_path: Path) -> None:
    machines = MachineList(tmp_path)
    assert machines.machines() == []
    machines.put(FAR)
    machines.put(Machine(name="b", host="b"))
    machines.put(FAR.model_copy(update={"runs": "/data/runs"}))
    assert [(one.name, one.runs) for one in machines.machines()] == [("far", "/data/runs"), ("b", "~/sdgui-runs")]
    assert machines.find(LOCAL).is_local
    machines.remove("far")
    with pytest.raises(MachineError, match=r"no machine far; known: b"):
        machines.find("far")
    with pytest.raises(MachineError, match="always listed"):
        machines.put(Machine(name=LOCAL))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not JSON"),
        ('{"version": 99, "machines": []}', "later version"),
        ('{"version": 1, "machines": [{"name": "a", "host": "-x"}]}', "not a valid ssh name"),
        ('{"version": 1, "machines": [{"name": "a", "hots": "x"}]}', "hots"),
    ],
)
def test_an_unreadable_list_is_refused_and_kept(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "machines.json"
    path.write_text(text)
    with pytest.raises(MachineError, match=said):
        MachineList(tmp_path).machines()
    with pytest.raises(MachineError):
        MachineList(tmp_path).put(FAR)
    assert path.read_text() == text


@given(st.one_of(st.text(max_size=50), st.binary(max_size=9), st.none(), st.integers()))
def test_uncompressed_data_is_refused(value: object) -> None:
    try:
        found = unpack_bytes(value)
    except ValueError:
        return
    assert isinstance(value, str)
    assert value[0] in "=z"
    assert isinstance(found, bytes)


def test_a_decompression_bomb_is_refused() -> None:
    bomb = pack_bytes(bytes(5 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(ValidationError):
        Chunk.model_validate({"data": bomb, "size": 1, "stamp": 1})


def test_ssh_never_prompts_and_dead_connections_are_noticed_soon() -> None:
    command = ssh_command("gpu")
    options = dict(one.split("=") for flag, one in itertools.pairwise(command) if flag == "-o")
    assert options["BatchMode"] == "yes"
    assert 0 < int(options["ConnectTimeout"]) <= 15
    assert 0 < int(options["ServerAliveInterval"]) * int(options["ServerAliveCountMax"]) <= 15
    assert command[-1] == "gpu"


def test_a_list_being_written_by_another_program_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = MachineList(tmp_path)
    machines.put(FAR)
    lock = machines._lock

    def held(_lock: object) -> None:
        raise filelock.Timeout(str(lock))

    monkeypatch.setattr(filelock.FileLock, "acquire", held)
    for change in (lambda: machines.put(Machine(name="b", host="b")), lambda: machines.remove("far")):
        with pytest.raises(MachineError, match=r"is being written by another program; try again\."):
            change()
    assert [one.name for one in machines.machines()] == ["far"]
