"""Relays a worker on another machine with the interface of a local worker: ``sdgui-core worker --on MACHINE``.

Flow: window -> requests on stdin -> remote paths -> ``ssh HOST sdgui-core worker`` -> replies -> local paths -> stdout.
Model and data stay on the machine; only requests, replies and the local images that a request names are transferred
(``image_uploads``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from core.remote.image_uploads import Sender, as_line, parse_message
from core.spec.children import environment, process_group
from core.spec.machines import ssh
from core.spec.machines.machine import Machine
from core.spec.machines.path_translation import PathTranslator

_STDERR_BYTES = 16 << 10
_MAX_LINE_BYTES = 256 << 20  # the same as for a local worker
_STDOUT = threading.Lock()  # both the worker's replies and `Sender` write to stdout


def relay(machine: Machine, home: Path) -> int:
    """Forward lines until either side closes; return the remote worker's exit status. Raises UserError if refused."""
    translator = PathTranslator(home, machine.name)
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
    stderr_tail = bytearray()
    errors = threading.Thread(target=_pass_errors, args=(process.stderr, stderr_tail), daemon=True)
    errors.start()
    sender = Sender(translator, machine.name, process.stdin, _reply)
    threading.Thread(target=_pass_requests, args=(sender,), daemon=True).start()
    has_answered = _pass_replies(translator, process.stdout, sender)
    sender.worker_ended()
    code = process.wait()
    errors.join(2.0)
    if code and (not has_answered or code == 255):
        raise ssh.refusal(machine, code, stderr_tail.decode("utf-8", "replace"))
    return code


def _pass_requests(sender: Sender) -> None:
    """Forward stdin until it ends, then close the worker's stdin."""
    # A separate reader: Python aborts if it ends while a thread reads sys.stdin.
    with suppress(OSError, ValueError), open(sys.stdin.fileno(), "rb", closefd=False) as requests:
        for line in requests:
            sender.put(line)
    sender.close()


def _pass_replies(translator: PathTranslator, replies: IO[bytes], sender: Sender) -> bool:
    """Forward replies. Returns whether the worker sent any."""
    has_answered = False
    with replies:
        while (line := replies.readline(_MAX_LINE_BYTES)).endswith(b"\n"):  # a line that is too long ends the relay
            has_answered = True
            value = parse_message(line)
            if value is not None:
                if value.get("event") == "ready":
                    sender.ready(str(value.get("receives", "")))
                elif value.get("event") in ("done", "failed") and isinstance(value.get("id"), (int, str)):
                    sender.record_answer(value.get("id"), value["event"] == "failed")
                line = as_line(translator.to_local(value))
            if not _write(line):  # the window has closed; the worker's stdin ends together with our stdin
                return has_answered
    return has_answered


def _reply(value: dict[str, Any]) -> None:
    """Reply to the window in place of the worker."""
    _write(as_line(value))


def _write(line: bytes) -> bool:
    try:
        with _STDOUT:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except (OSError, ValueError):
        return False
    return True


def _pass_errors(pipe: IO[bytes], stderr_tail: bytearray) -> None:
    with suppress(OSError, ValueError), pipe:
        while line := pipe.readline(_STDERR_BYTES):
            stderr_tail += line
            del stderr_tail[:-_STDERR_BYTES]
            print(line.decode("utf-8", "replace"), end="", file=sys.stderr, flush=True)
