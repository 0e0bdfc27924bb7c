"""Errors of ssh, a remote shell or Python as messages with the remedy; quoting of paths."""

from __future__ import annotations

import subprocess

import pytest

from core.spec.machines.machine import Machine
from core.spec.machines.ssh import ConnectionLost, MachineRefused, core_command, quoted_home, refusal, shell_line

FAR = Machine(name="my far", host="user@far")


@pytest.mark.parametrize(
    ("code", "said", "refused", "sentence"),
    [
        (255, "@@@\nWARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\n", True, "The host key of user@far has changed"),
        (255, "user@far: Permission denied (publickey).", True, "user@far asks for a password, or refuses your key"),
        (255, "line 3: Bad configuration option: x", True, "ssh cannot read its configuration: line 3: Bad"),
        (2, "error: argument verb: invalid choice: 'remote'", True, "user@far has another version of sdgui"),
        (
            1,
            "Welcome\nModuleNotFoundError: No module named 'core'",
            True,
            "sdgui is missing or incomplete in the Python of",
        ),
        (127, "sh: 1: sdgui-core: not found", True, "Python or sdgui was not found on user@far: sh: 1:"),
        (1, "OSError: No space left on device", True, "The disk of user@far is full: OSError: No space"),
        (255, "ssh: Could not resolve hostname far", False, "user@far is unknown: ssh: Could not resolve"),
        (255, "connect to host far port 22: Connection refused", False, "user@far cannot be reached: connect to"),
        (
            127,
            "",
            True,
            "user@far has no Python with sdgui. Press Install on the machine's page (or run sdgui-core mach",
        ),
        (255, "", False, "The connection to user@far was lost."),
        (None, "odd", False, "The connection to user@far was lost: odd."),
        (3, "some error: of its own\nbye", False, "The program on user@far exited (3): some error: of its own."),
        (0, "", False, "The program on user@far exited (0): no output."),
    ],
)
def test_exit_codes_of_remote_commands(code: int | None, said: str, refused: bool, sentence: str) -> None:
    found = refusal(FAR, code, said)
    assert isinstance(found, MachineRefused if refused else ConnectionLost)
    assert str(found).startswith(sentence)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("~", "/home/u s"),
        ("~/a b", "/home/u s/a b"),
        ("~other/x", "~other/x"),
        ("a;b", "a;b"),
    ],
)
def test_a_quoted_path_expands_only_the_home_directory(path: str, there: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"printf %s {quoted_home(path)}"], capture_output=True, check=True, env={"HOME": "/home/u s"}
    )
    assert done.stdout.decode() == there


def test_the_setup_comes_before_the_chosen_python() -> None:
    chosen = shell_line(FAR.model_copy(update={"setup": " module load x\n", "python": "~/p"}), ["worker", "a b"])
    first, second, third = chosen.split("\n")
    assert first == "module load x"
    assert second.startswith("export ")
    assert "PYTHONUNBUFFERED=1" in second
    assert third == "exec \"$HOME\"/p -m core worker 'a b'"
    found = shell_line(FAR, ["remote"]).split("\n")
    assert len(found) == 2
    assert found[1].endswith("else exec sdgui-core remote; fi")
    assert core_command(Machine(name="near"), ["remote"])[-2:] == ["core", "remote"]
    assert str(refusal(Machine(name="near"), 255, "")).startswith("The connection to near was lost")
    through = core_command(FAR, ["remote"])
    assert "user@far" in through
    assert through[-1].startswith("sh -c ")
