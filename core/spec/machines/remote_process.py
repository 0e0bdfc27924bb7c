"""A session with the remote program: a process with requests on stdin and replies on stdout.

Flow: ``Connection`` starts one session after another -> lines of JSON -> its callbacks, in the reading thread.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

from core.spec.children import environment, process_group
from core.spec.reading import MEGABYTE, UnreadableError, parse_json

MAX_LINE_BYTES = 32 * MEGABYTE
_STDERR_KEPT = 16 << 10


class RemoteProcess:
    """The process of a session. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            **process_group(),
        )
        self._stdin: Any = self._process.stdin
        self._stdout: Any = self._process.stdout
        self._stderr: Any = self._process.stderr
        self._stderr_tail = bytearray()
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # so that ``send`` never blocks
        self.last_read = time.monotonic()
        self._errors = threading.Thread(target=self._read_errors, name="ssh stderr", daemon=True)
        self._writer = threading.Thread(target=self._write, name="ssh stdin", daemon=True)
        self._errors.start()
        self._writer.start()

    def send(self, request: dict[str, Any]) -> None:
        """Queue a request. If the process has ended, this does nothing, and ``read`` returns None."""
        self._waiting.put(json.dumps(request, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def _write(self) -> None:
        try:
            while (line := self._waiting.get()) is not None:
                self._stdin.write(line)
                self._stdin.flush()
        except (OSError, ValueError):
            pass
        _close(self._stdin)

    def read(self) -> dict[str, Any] | None:
        """The next reply; None after the process has ended. Other output (a shell's greeting) is skipped."""
        while line := self._read_line():
            self.last_read = time.monotonic()
            try:
                reply = parse_json(line, "a reply") if line.startswith(b"{") else None
            except UnreadableError:
                continue
            if isinstance(reply, dict):
                return reply
        return None

    def _read_line(self) -> bytes:
        try:
            line = bytes(self._stdout.readline(MAX_LINE_BYTES))
        except (OSError, ValueError):
            return b""
        return line if line.endswith(b"\n") else b""  # a truncated or endless line ends the session

    def _read_errors(self) -> None:
        while chunk := _read_some(self._stderr):
            self._stderr_tail += chunk
            del self._stderr_tail[:-_STDERR_KEPT]

    def end(self, seconds: float = 0.0) -> tuple[int | None, str]:
        """Close stdin, wait ``seconds`` for the process, then kill it; returns exit status and the end of stderr."""
        self._waiting.put(None)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._writer.join(2.0)
        self._errors.join(2.0)  # a process that ssh left behind (ControlPersist) may keep stderr open
        _close(self._stdout)
        if not self._errors.is_alive():
            _close(self._stderr)
        return self._process.returncode, self._stderr_tail.decode("utf-8", "replace")

    def kill(self) -> None:
        """Kill the process, which ends ``read``."""
        self._process.kill()


def _read_some(pipe: Any) -> bytes:
    try:
        return bytes(pipe.read1(4096))
    except (OSError, ValueError):
        return b""


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:
        return
