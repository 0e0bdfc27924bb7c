"""The system's ssh: the commands that reach a machine, and what its refusals mean, in a sentence with the remedy.

Everything in ``~/.ssh/config`` holds (aliases, ProxyJump, agents, multiplexing). Nothing is ever asked on a terminal
(BatchMode): where a password would be, the sentence says how to set up a key.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence

from core.spec.children import python_command
from core.spec.errors import UserError
from core.spec.machines.machine import Machine
from core.spec.reading import excerpt

PROTOCOL = 1  # of the lines between this program and the one there; another number is refused
INSTALLED = "$HOME/.local/share/sdgui/venv/bin/python"  # what ``install`` makes
SSH_VARIABLE = "SDGUI_SSH"  # another ssh, with options: "ssh -F FILE"
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")


class MachineRefused(UserError):
    """A machine that cannot be used until somebody does something about it; the message says what."""


class LineDown(UserError):
    """A machine that cannot be reached for now; trying again later may help."""


def ssh_command(host: str) -> list[str]:
    """ssh to ``host``, without a command yet: no terminal, no questions, and a dead line noticed within 15 s."""
    program = shlex.split(os.environ.get(SSH_VARIABLE, "ssh"), posix=os.name != "nt") or ["ssh"]
    options = [part for option in _OPTIONS for part in ("-o", option)]
    return [*program, "-T", *options, host]


def core_command(machine: Machine, arguments: Sequence[str]) -> list[str]:
    """The command that runs ``sdgui-core ARGUMENTS`` on ``machine``: here as it is, elsewhere through ssh."""
    if machine.here:
        return [*python_command("core"), *arguments]
    return [*ssh_command(machine.host), "sh -c " + shlex.quote(shell_line(machine, arguments))]


def shell_line(machine: Machine, arguments: Sequence[str]) -> str:
    """The same as a line of ``sh``: the setup, then the chosen Python, or the one that can be found."""
    words = shlex.join(arguments)
    variables = "PYTHONUNBUFFERED=1 PYTHONIOENCODING=utf-8 PYTHONUTF8=1 PYTHONSAFEPATH=1"
    if machine.python:
        found = f"exec {quoted_home(machine.python)} -m core {words}"
    else:
        found = f'if [ -x "{INSTALLED}" ]; then exec "{INSTALLED}" -m core {words}; else exec sdgui-core {words}; fi'
    return "\n".join(filter(None, (machine.setup.strip(), f"export {variables}", found)))


def quoted_home(path: str) -> str:
    """A path for ``sh``, in which a leading ~ still is the home there."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:]) if path[1:] else '"$HOME"'
    return shlex.quote(path)


_INSTALL = "Press Install there (or sdgui-core machines install {name}), or set its Python."
# What ssh, a shell or Python say -> what it means, and the remedy. The first that fits counts.
_REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
        "{host} shows another host key than before, or one that was never confirmed. If that is expected (it was "
        "reinstalled), run ssh-keygen -R {host} and then ssh {host} once in a terminal; else ask who runs it.",
    ),
    (
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "{host} asks for a password, or refuses your key. Set up a key with ssh-copy-id {host}, or unlock yours with "
        "ssh-add, until ssh {host} true answers without a question.",
    ),
    (
        r"Bad configuration option|terminating, \d+ bad configuration|Bad owner or permissions",
        "ssh cannot read its configuration: {said}. Mend ~/.ssh/config.",
    ),
    (
        r"unrecognized arguments|invalid choice: '?(remote|worker)|invalid choice",
        "{host} has another version of sdgui, which does not know this. " + _INSTALL,
    ),
    (
        r"No module named '?core|ModuleNotFoundError|ImportError",
        "The Python of {host} has no sdgui, or parts of it are missing: {said}. " + _INSTALL,
    ),
    (
        r"not found|No such file or directory|cannot execute|Unknown option: -P|Exec format error",
        "{host} has no such Python or sdgui: {said}. " + _INSTALL,
    ),
    (r"No space left on device|Disk quota exceeded", "The disk of {host} is full: {said}. Free some space there."),
)
_PASSING: tuple[tuple[str, str], ...] = (
    (
        r"Could not resolve|Name or service not known|nodename nor servname",
        "{host} is not known: {said}. Check its name in ~/.ssh/config, and the network.",
    ),
    (
        r"Connection refused|timed out|No route to host|unreachable|Connection closed|Connection reset|kex_exchange|"
        r"Broken pipe|not responding",
        "{host} cannot be reached: {said}. It is tried again; check that it is on, and the network or VPN.",
    ),
)


def refusal(machine: Machine, code: int | None, stderr: str) -> UserError:
    """What the end of a command that reached for ``machine`` means: MachineRefused, or LineDown when it may pass."""
    said = excerpt(_last_line(stderr), 300)
    words = {"host": machine.host or machine.name, "name": shlex.quote(machine.name), "said": said}
    for patterns, kind in ((_REFUSALS, MachineRefused), (_PASSING, LineDown)):
        for pattern, sentence in patterns:
            if re.search(pattern, stderr):
                return kind(sentence.format(**words))
    if code == 127 or code == 126:
        return MachineRefused(("{host} has no Python with sdgui. " + _INSTALL).format(**words))
    if code == 255 or code is None or code < 0:
        return LineDown(f"The line to {words['host']} was cut{f': {said}' if said else ''}. It is tried again.")
    return LineDown(f"The program on {words['host']} ended ({code}): {said or 'it said nothing'}. It is tried again.")


def no_ssh(error: OSError) -> MachineRefused:
    """There is no ssh on this computer."""
    remedy = "On Windows add the optional feature OpenSSH Client." if sys.platform == "win32" else "Install openssh."
    return MachineRefused(f"ssh cannot be started: {error.strerror or error}. {remedy}")


def _last_line(stderr: str) -> str:
    """The line that says most: the last one that is no banner."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(?i)error|denied|not found|fail|refused|no such|no module", line)]
    return (telling or lines or [""])[-1]
