"""The system's ssh: commands that reach a machine, and its errors as a sentence with the remedy.

``~/.ssh/config`` applies (aliases, ProxyJump, agents, multiplexing). ssh never prompts on a terminal (BatchMode): if a
password is needed, the sentence says how to set up a key.
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

PROTOCOL = 2  # of the messages between local and remote program; another number is refused
INSTALLED = "$HOME/.local/share/sdgui/venv/bin/python"  # created by ``install``
SSH_VARIABLE = "SDGUI_SSH"  # another ssh command, with options: "ssh -F FILE"
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")


class MachineRefused(UserError):
    """A machine that cannot be used until the user acts; the message says how."""


class ConnectionLost(UserError):
    """A machine that cannot be reached; trying again later may help."""


def ssh_command(host: str) -> list[str]:
    """ssh to ``host``, without a command: no terminal, no prompts, and a dead connection is detected within 15 s."""
    program = shlex.split(os.environ.get(SSH_VARIABLE, "ssh"), posix=os.name != "nt") or ["ssh"]
    options = [part for option in _OPTIONS for part in ("-o", option)]
    return [*program, "-T", *options, host]


def core_command(machine: Machine, arguments: Sequence[str]) -> list[str]:
    """The command that runs ``sdgui-core ARGUMENTS`` on ``machine``, through ssh unless it is this computer."""
    if machine.is_local:
        return [*python_command("core"), *arguments]
    return [*ssh_command(machine.host), "sh -c " + shlex.quote(shell_line(machine, arguments))]


def shell_line(machine: Machine, arguments: Sequence[str]) -> str:
    """``sdgui-core ARGUMENTS`` for ``sh``: the setup, then the configured Python, or the one that can be found."""
    words = shlex.join(arguments)
    variables = "PYTHONUNBUFFERED=1 PYTHONIOENCODING=utf-8 PYTHONUTF8=1 PYTHONSAFEPATH=1"
    if machine.python:
        start = f"exec {quoted_home(machine.python)} -m core {words}"
    else:
        start = f'if [ -x "{INSTALLED}" ]; then exec "{INSTALLED}" -m core {words}; else exec sdgui-core {words}; fi'
    return "\n".join(filter(None, (machine.setup.strip(), f"export {variables}", start)))


def quoted_home(path: str) -> str:
    """A quoted path for ``sh``, with a leading ~ as the remote home."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:]) if path[1:] else '"$HOME"'
    return shlex.quote(path)


_INSTALL = "Press Install there (or sdgui-core machines install {name}), or set its Python."
# Output of ssh, a shell or Python -> message with the remedy. The first match counts.
_REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
        "The host key of {host} has changed, or was never confirmed. If that is expected (it was "
        "reinstalled), run ssh-keygen -R {host} and then ssh {host} once in a terminal; otherwise ask its "
        "administrator.",
    ),
    (
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "{host} asks for a password, or refuses your key. Set up a key with ssh-copy-id {host}, or unlock yours with "
        "ssh-add, until ssh {host} true answers without a question.",
    ),
    (
        r"Bad configuration option|terminating, \d+ bad configuration|Bad owner or permissions",
        "ssh cannot read its configuration: {said}. Fix ~/.ssh/config.",
    ),
    (
        r"unrecognized arguments|invalid choice: '?(remote|worker)|invalid choice",
        "{host} has another version of sdgui, which does not support this. " + _INSTALL,
    ),
    (
        r"No module named '?core|ModuleNotFoundError|ImportError",
        "The Python of {host} has no sdgui, or parts of it are missing: {said}. " + _INSTALL,
    ),
    (
        r"not found|No such file or directory|cannot execute|Unknown option: -P|Exec format error",
        "{host} has no such Python or sdgui: {said}. " + _INSTALL,
    ),
    (r"No space left on device|Disk quota exceeded", "The disk of {host} is full: {said}. Free some space on it."),
)
_PASSING: tuple[tuple[str, str], ...] = (
    (
        r"Could not resolve|Name or service not known|nodename nor servname",
        "{host} is unknown: {said}. Check its name in ~/.ssh/config, and the network.",
    ),
    (
        r"Connection refused|timed out|No route to host|unreachable|Connection closed|Connection reset|kex_exchange|"
        r"Broken pipe|not responding",
        "{host} cannot be reached: {said}. Retrying; check that it is on, and the network or VPN.",
    ),
)


def refusal(machine: Machine, code: int | None, stderr: str) -> UserError:
    """The error for a failed ssh command to ``machine``: MachineRefused, or ConnectionLost if it may be temporary."""
    last_line = excerpt(_last_line(stderr), 300)
    words = {"host": machine.host or machine.name, "name": shlex.quote(machine.name), "said": last_line}
    for patterns, kind in ((_REFUSALS, MachineRefused), (_PASSING, ConnectionLost)):
        for pattern, sentence in patterns:
            if re.search(pattern, stderr):
                return kind(sentence.format(**words))
    if code == 127 or code == 126:
        return MachineRefused(("{host} has no Python with sdgui. " + _INSTALL).format(**words))
    if code == 255 or code is None or code < 0:
        reason = f": {last_line}" if last_line else ""
        return ConnectionLost(f"The connection to {words['host']} was lost{reason}. Retrying.")
    return ConnectionLost(f"The program on {words['host']} exited ({code}): {last_line or 'no output'}. Retrying.")


def no_ssh(error: OSError) -> MachineRefused:
    """The error for a missing ssh on this computer."""
    remedy = "On Windows add the optional feature OpenSSH Client." if sys.platform == "win32" else "Install openssh."
    return MachineRefused(f"ssh cannot be started: {error.strerror or error}. {remedy}")


def _last_line(stderr: str) -> str:
    """The most informative line: the last error, or else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"(?i)error|denied|not found|fail|refused|no such|no module", line)]
    return (errors or lines or [""])[-1]
