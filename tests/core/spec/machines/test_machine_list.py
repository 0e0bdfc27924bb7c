"""Machines: their settings, the list of them, and what ssh's refusals mean."""

from __future__ import annotations

import itertools
from pathlib import Path

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.spec.errors import UserError
from core.spec.machines.answers import Chunk, packed, unpacked
from core.spec.machines.install import dependencies, install_script
from core.spec.machines.machine import LOCAL, Machine
from core.spec.machines.machine_list import MachineError, MachineList
from core.spec.machines.ssh import ConnectionLost, MachineRefused, core_command, refusal, shell_line, ssh_command

FAR = Machine(name="far", host="far.example.org")


@pytest.mark.parametrize("host", ["-oProxyCommand=true", "a b", "a;b", "$(x)", "a\nb", ""])
def test_a_host_is_never_an_option_or_a_command(host: str) -> None:
    if not host:
        assert Machine(name="a").is_local
        return
    with pytest.raises(ValidationError):
        Machine(name="a", host=host)


@pytest.mark.parametrize("host", ["gpu", "anna@gpu.example.org", "10.0.0.1", "[::1]", "user@host-1.x:22"])
def test_names_that_ssh_takes(host: str) -> None:
    assert core_command(Machine(name="a", host=host), ["remote"])[-2] == host


def test_the_list_is_kept_in_order_and_changed_by_name(tmp_path: Path) -> None:
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
def test_a_list_that_cannot_be_read_is_refused_and_kept(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "machines.json"
    path.write_text(text)
    with pytest.raises(MachineError, match=said):
        MachineList(tmp_path).machines()
    with pytest.raises(MachineError):
        MachineList(tmp_path).put(FAR)
    assert path.read_text() == text


REFUSALS = [
    (255, "Host key verification failed.", MachineRefused, "ssh-keygen -R far.example.org"),
    (255, "anna@far: Permission denied (publickey,password).", MachineRefused, "ssh-copy-id"),
    (127, "sh: 1: exec: sdgui-core: not found", MachineRefused, "Install there"),
    (1, "/usr/bin/python3: No module named core", MachineRefused, "Install there"),
    (2, "sdgui-core: error: argument VERB: invalid choice: 'remote'", MachineRefused, "another version"),
    (1, "OSError: [Errno 28] No space left on device", MachineRefused, "Free some space"),
    (255, "ssh: Could not resolve hostname far: Name or service not known", ConnectionLost, "not known"),
    (255, "ssh: connect to host far port 22: Connection refused", ConnectionLost, "cannot be reached"),
    (255, "ssh: connect to host far port 22: Connection timed out", ConnectionLost, "cannot be reached"),
    (-9, "", ConnectionLost, "connection to far.example.org was lost"),
    (1, "Killed", ConnectionLost, "exited (1): Killed"),
]


@pytest.mark.parametrize(("code", "stderr", "kind", "said"), REFUSALS)
def test_what_ssh_says_is_told_with_its_remedy(code: int, stderr: str, kind: type[UserError], said: str) -> None:
    found = refusal(FAR, code, f"Welcome to the cluster\n{stderr}\n")
    assert type(found) is kind
    assert said in str(found)


def test_the_line_for_the_shell_quotes_what_it_is_given() -> None:
    machine = Machine(name="a", host="a", python="~/my env/bin/python", setup="module load cuda")
    line = shell_line(machine, ["remote", "--runs", "~/a b; rm"])
    assert line.splitlines()[0] == "module load cuda"
    assert line.endswith("""exec "$HOME"'/my env/bin/python' -m core remote --runs '~/a b; rm'""")


@given(st.binary(max_size=5000))
def test_packed_parts_of_files_come_out_as_they_were(data: bytes) -> None:
    assert unpacked(packed(data)) == data


@given(st.one_of(st.text(max_size=50), st.binary(max_size=9), st.none(), st.integers()))
def test_what_was_not_packed_is_refused(value: object) -> None:
    try:
        found = unpacked(value)
    except ValueError:
        return
    assert isinstance(value, str)
    assert value[0] in "=z"
    assert isinstance(found, bytes)


def test_a_part_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = packed(bytes(5 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(ValidationError):
        Chunk.model_validate({"data": bomb, "size": 1, "stamp": 1})


def test_what_is_installed_there_is_the_trainer_s_alone() -> None:
    names = [line.lower() for line in dependencies()]
    assert any(name.startswith("torch") for name in names)
    assert not any(name.startswith(("pyside", "pyqtgraph", "sqlalchemy")) for name in names)
    script = install_script(FAR)
    assert "{" + "packages}" not in script
    assert "torch>=" in script


def test_a_line_asks_nothing_and_a_dead_one_is_noticed_soon() -> None:
    command = ssh_command("gpu")
    options = dict(one.split("=") for flag, one in itertools.pairwise(command) if flag == "-o")
    assert options["BatchMode"] == "yes"
    assert 0 < int(options["ConnectTimeout"]) <= 15
    assert 0 < int(options["ServerAliveInterval"]) * int(options["ServerAliveCountMax"]) <= 15
    assert command[-1] == "gpu"


def test_a_list_that_another_program_writes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
