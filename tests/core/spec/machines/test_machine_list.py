"""The list of machines, refused settings, decompression limits and ssh options."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": ""}, "a machine's name must have 1 to 100 characters"),
        ({"name": "x" * 101}, "1 to 100"),
        ({"name": "a/b"}, "no slashes"),
        ({"name": " a"}, "1 to 100"),
        ({"name": "a\n"}, "1 to 100"),
        ({"host": "a" + "b" * 255}, "not a valid ssh name"),
        ({"host": "-oProxyCommand=true"}, "not a valid ssh name"),
        ({"host": "a;b"}, "not a valid ssh name"),
        ({"host": "$(x)"}, "not a valid ssh name"),
        ({"host": "a\nb"}, "not a valid ssh name"),
        ({"python": "a\nb"}, "one line of at most 2,000"),
        ({"runs": "x" * 2001}, "one line"),
        ({"setup": "x" * 20_001}, "at most 20,000"),
        ({"setup": "\x1b[2J"}, "20,000"),
        ({"sbatch": "#SBATCH -a\nrm -rf /"}, "each line of sbatch must start with '#SBATCH ', not 'rm -rf /'"),
        ({"sbatch": "#SBATCH"}, "must start with"),
        ({"script": "echo"}, "must begin with"),
        ({"script": "#!" + "x" * 99_999}, "at most 100,000"),
        ({"script": "#!\0"}, "100,000"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refused_settings_and_their_reasons(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Machine.model_validate({"name": "a"} | settings)
