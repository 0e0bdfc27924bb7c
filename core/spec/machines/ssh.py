"""Builds ssh commands that reach a machine, and turns ssh's errors into messages with the remedy.

The system's ssh is used, with ``~/.ssh/config`` (aliases, ProxyJump, agents, multiplexing). ssh never prompts on a
terminal (BatchMode): if a password is needed, the message says how to set up a key.
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

PROTOCOL = 2  # version of the messages between local and remote program, which must be equal
INSTALLED = "$HOME/.local/share/sdgui/venv/bin/python"  # created by ``install``
SSH_VARIABLE = "SDGUI_SSH"  # environment variable with an ssh command to use instead: "ssh -F FILE"
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")


class MachineRefused(UserError):
    """A machine that cannot be used until the user fixes the problem; the message says how."""


class ConnectionLost(UserError):
    """A machine that cannot be reached at the moment; trying again later may help."""


def ssh_command(host: str) -> list[str]:
    """The ssh command for ``host``: no terminal, no prompts; a dead connection is detected within 15 s."""
    program = shlex.split(os.environ.get(SSH_VARIABLE, "ssh"), posix=os.name != "nt") or ["ssh"]
    options = [part for option in _OPTIONS for part in ("-o", option)]
    return [*program, "-T", *options, host]


def core_command(machine: Machine, arguments: Sequence[str]) -> list[str]:
    """The command that runs ``sdgui-core ARGUMENTS`` on ``machine``, through ssh unless the machine is local."""
    if machine.is_local:
        return [*python_command("core"), *arguments]
    return [*ssh_command(machine.host), "sh -c " + shlex.quote(shell_line(machine, arguments))]


def shell_line(machine: Machine, arguments: Sequence[str]) -> str:
    """The ``sh`` script that runs ``sdgui-core ARGUMENTS``: the setup, then the configured or the installed Python."""
    quoted_arguments = shlex.join(arguments)
    variables = "PYTHONUNBUFFERED=1 PYTHONIOENCODING=utf-8 PYTHONUTF8=1 PYTHONSAFEPATH=1"
    if machine.python:
        start = f"exec {quoted_home(machine.python)} -m core {quoted_arguments}"
    else:
        installed = f'exec "{INSTALLED}" -m core {quoted_arguments}'
        start = f'if [ -x "{INSTALLED}" ]; then {installed}; else exec sdgui-core {quoted_arguments}; fi'
    return "\n".join(filter(None, (machine.setup.strip(), f"export {variables}", start)))


def quoted_home(path: str) -> str:
    """A quoted path for ``sh``, with a leading ~ as the remote home."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:]) if path[1:] else '"$HOME"'
    return shlex.quote(path)


_INSTALL = "Press Install on the machine's page (or run sdgui-core machines install {name}), or set its Python."
# Output of ssh, a shell or Python -> message with the remedy. The first match counts.
_REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
        "The host key of {host} has changed, or was never confirmed. If this is expected (the machine was "
        "reinstalled), run ssh-keygen -R {host} and then ssh {host} once in a terminal; otherwise ask the machine's "
        "administrator.",
    ),
    (
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "{host} asks for a password, or refuses your key. Set up a key with ssh-copy-id {host}, or unlock your key "
        "with ssh-add, until ssh {host} true works without a prompt.",
    ),
    (
        r"Bad configuration option|terminating, \d+ bad configuration|Bad owner or permissions",
        "ssh cannot read its configuration: {output}. Fix ~/.ssh/config.",
    ),
    (
        r"unrecognized arguments|invalid choice: '?(remote|worker)|invalid choice",
        "{host} has another version of sdgui, which does not support this request. " + _INSTALL,
    ),
    (
        r"No module named '?core|ModuleNotFoundError|ImportError",
        "sdgui is missing or incomplete in the Python of {host}: {output}. " + _INSTALL,
    ),
    (
        r"not found|No such file or directory|cannot execute|Unknown option: -P|Exec format error",
        "Python or sdgui was not found on {host}: {output}. " + _INSTALL,
    ),
    (r"No space left on device|Disk quota exceeded", "The disk of {host} is full: {output}. Free some space."),
)
_TEMPORARY: tuple[tuple[str, str], ...] = (
    (
        r"Could not resolve|Name or service not known|nodename nor servname",
        "{host} is unknown: {output}. Check the name in ~/.ssh/config, and the network.",
    ),
    (
        r"Connection refused|timed out|No route to host|unreachable|Connection closed|Connection reset|kex_exchange|"
        r"Broken pipe|not responding",
        "{host} cannot be reached: {output}. Check that the machine is on, and the network or VPN.",
    ),
)


def refusal(machine: Machine, code: int | None, stderr: str) -> UserError:
    """The error for a failed ssh command to ``machine``: MachineRefused, or ConnectionLost if it may be temporary."""
    last_line = excerpt(_last_line(stderr), 300)
    values = {"host": machine.host or machine.name, "name": shlex.quote(machine.name), "output": last_line}
    for patterns, kind in ((_REFUSALS, MachineRefused), (_TEMPORARY, ConnectionLost)):
        for pattern, sentence in patterns:
            if re.search(pattern, stderr):
                return kind(sentence.format(**values))
    if code == 127 or code == 126:
        return MachineRefused(("{host} has no Python with sdgui. " + _INSTALL).format(**values))
    if code == 255 or code is None or code < 0:
        reason = f": {last_line}" if last_line else ""
        return ConnectionLost(f"The connection to {values['host']} was lost{reason}.")
    return ConnectionLost(f"The program on {values['host']} exited ({code}): {last_line or 'no output'}.")


def no_ssh(error: OSError) -> MachineRefused:
    """The error for a missing ssh on this computer."""
    remedy = "Add the optional Windows feature OpenSSH Client." if sys.platform == "win32" else "Install openssh."
    return MachineRefused(f"ssh cannot be started: {error.strerror or error}. {remedy}")


def _last_line(stderr: str) -> str:
    """The most informative line: the last error, or the last line if no line looks like an error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"(?i)error|denied|not found|fail|refused|no such|no module", line)]
    return (errors or lines or [""])[-1]
