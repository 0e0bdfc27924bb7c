"""The worker of another machine, as if it were here: ``sdgui-core worker --on MACHINE``.

Flow: window -> requests on stdin -> names as they are there -> ``ssh HOST sdgui-core worker`` -> replies -> names as
they are here -> stdout. Model and data stay on the machine; only the panel's questions and answers travel,
and images of this computer that a question names (``sending``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from core.remote.sending import Sender, as_line, parsed
from core.spec.children import environment, process_group
from core.spec.machines import ssh
from core.spec.machines.machine import Machine
from core.spec.machines.path_translation import PathTranslator

_STDERR_KEPT = 16 << 10
_LONGEST_LINE = 256 << 20  # as the window takes from a worker of this computer
_STDOUT = threading.Lock()  # replies come from the worker, and from whoever sends images to it


def relay(machine: Machine, home: Path) -> int:
    """Pass lines on until either end is closed; the exit status of the worker there. UserError when it is refused."""
    names = PathTranslator(home, machine.name)
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
    sender = Sender(names, machine.name, process.stdin, _answer)
    threading.Thread(target=_pass_requests, args=(sender,), daemon=True).start()
    answered = _pass_replies(names, process.stdout, sender)
    sender.gone()
    code = process.wait()
    errors.join(2.0)
    if code and (not answered or code == 255):
        raise ssh.refusal(machine, code, said.decode("utf-8", "replace"))
    return code


def _pass_requests(sender: Sender) -> None:
    """In a thread of its own, until stdin ends: then the worker's does too."""
    # A reader of its own: Python aborts if it ends while a thread reads sys.stdin.
    with suppress(OSError, ValueError), open(sys.stdin.fileno(), "rb", closefd=False) as requests:
        for line in requests:
            sender.put(line)
    sender.close()


def _pass_replies(names: PathTranslator, replies: IO[bytes], sender: Sender) -> bool:
    """Whether there was any."""
    answered = False
    with replies:
        while (line := replies.readline(_LONGEST_LINE)).endswith(b"\n"):  # an endless line is the end
            answered = True
            value = parsed(line)
            if value is not None:
                if value.get("event") == "ready":
                    sender.ready(str(value.get("receives", "")))
                elif value.get("event") in ("done", "failed") and isinstance(value.get("id"), (int, str)):
                    sender.answered(value.get("id"), value["event"] == "failed")
                line = as_line(names.to_local(value))
            if not _write(line):  # the window is gone; the worker's stdin ends with ours
                return answered
    return answered


def _answer(value: dict[str, Any]) -> None:
    """To the window, in place of the worker."""
    _write(as_line(value))


def _write(line: bytes) -> bool:
    try:
        with _STDOUT:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except (OSError, ValueError):
        return False
    return True


def _pass_errors(pipe: IO[bytes], said: bytearray) -> None:
    with suppress(OSError, ValueError), pipe:
        while line := pipe.readline(_STDERR_KEPT):
            said += line
            del said[:-_STDERR_KEPT]
            print(line.decode("utf-8", "replace"), end="", file=sys.stderr, flush=True)
