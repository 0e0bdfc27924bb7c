"""The worker of another machine, as if it were here: ``sdgui-core worker --on MACHINE``.

Flow: window -> requests on stdin -> names as they are there -> ``ssh HOST sdgui-core worker`` -> replies -> names as
they are here -> stdout. Model and data stay on the machine; only the panel's questions and answers travel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from core.spec.children import environment, process_group
from core.spec.machines import ssh
from core.spec.machines.elsewhere import Elsewhere
from core.spec.machines.machine import Machine
from core.spec.reading import UnreadableError, parse_json

_STDERR_KEPT = 16 << 10


def relay(machine: Machine, home: Path) -> int:
    """Pass lines on until either end is closed; the exit status of the worker there. UserError when it is refused."""
    names = Elsewhere(home, machine.name)
    try:
        process = subprocess.Popen(
            ssh.core_command(machine, ["worker"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            **process_group(),
        )
    except OSError as error:
        raise ssh.no_ssh(error) from error
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = bytearray()
    errors = threading.Thread(target=_pass_errors, args=(process.stderr, said), daemon=True)
    errors.start()
    threading.Thread(target=_pass_requests, args=(names, process.stdin), daemon=True).start()
    answered = _pass_replies(names, process.stdout)
    code = process.wait()
    errors.join(2.0)
    if code and (not answered or code == 255):
        raise ssh.refusal(machine, code, said.decode("utf-8", "replace"))
    return code


def _pass_requests(names: Elsewhere, out: IO[bytes]) -> None:
    """In a thread of its own, until stdin ends: then the worker's does too."""
    with suppress(OSError, ValueError), out:
        for line in sys.stdin.buffer:
            out.write(_translated(line, names, there=True))
            out.flush()


def _pass_replies(names: Elsewhere, replies: IO[bytes]) -> bool:
    """Whether there was any."""
    answered = False
    with replies:
        for line in replies:
            answered = True
            try:
                sys.stdout.buffer.write(_translated(line, names, there=False))
                sys.stdout.buffer.flush()
            except OSError:  # the window is gone; the worker's stdin ends with ours
                return answered
    return answered


def _translated(line: bytes, names: Elsewhere, there: bool) -> bytes:
    """A line with its names on the other side; what is no JSON object is passed as it is."""
    if not line.startswith(b"{"):
        return line
    try:
        value = parse_json(line, "a line")
    except UnreadableError:
        return line
    value = names.to_there(value) if there else names.to_here(value)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _pass_errors(pipe: IO[bytes], said: bytearray) -> None:
    with suppress(OSError, ValueError), pipe:
        for line in pipe:
            said += line
            del said[:-_STDERR_KEPT]
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
