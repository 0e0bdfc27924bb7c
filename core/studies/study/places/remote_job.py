"""A job of a study on another machine: submitted once, then polled until its result can be fetched.

Flow: `RemoteJob.poll` -> ``Host.submit_study`` until the machine confirms it, then ``Host.run_status`` -> `fetch_file`.
Nothing blocks: requests are futures that the next poll reads; a request lost with the connection is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from core.spec.errors import UserError
from core.spec.machines.answers import MAX_CHUNK_BYTES, RemoteStatus, Submitted
from core.spec.machines.host import Host
from core.spec.machines.ssh import ConnectionLost, MachineRefused

_RETRY_SECONDS = 30.0  # delay after a refusal
_CHUNK_SECONDS = 60.0


@dataclass(frozen=True)
class JobRequest:
    """The arguments of `Host.submit_study`."""

    study: str
    files: Mapping[str, str]
    arguments: Sequence[str]
    token: str
    devices: Sequence[str] = ()


@dataclass
class RemoteJob:
    """A submitted job. ``folder``: the remote run folder once confirmed. ``trouble``: a temporary problem."""

    host: Host
    request: JobRequest
    folder: str = ""
    trouble: str = ""
    _pending: Future[Submitted] | Future[RemoteStatus] | None = None
    _retry_at: float = field(default=0.0)

    @property
    def is_unsent(self) -> bool:
        """Whether no request that could have started the job was sent."""
        return not self.folder and self._pending is None

    def poll(self) -> RemoteStatus | None:
        """The progress received since the last poll, or None. Raises UserError if the machine refuses the job."""
        if self._pending is None:
            if time.monotonic() >= self._retry_at:
                self._pending = self._send()
            return None
        if not self._pending.done():
            state = self.host.state
            self.trouble = state.message if state.kind in ("waiting", "refused", "connecting") else ""
            return None
        reply, self._pending = self._pending, None
        try:
            answer = reply.result()
        except ConnectionLost as error:
            self.trouble = str(error)
            return None
        except UserError as error:
            if not self.folder:
                raise
            self.trouble = str(error)  # the job continues
            self._retry_at = time.monotonic() + (_RETRY_SECONDS if isinstance(error, MachineRefused) else 1.0)
            return None
        self.trouble = ""
        if isinstance(answer, Submitted):
            self.folder = answer.folder
            return None
        return answer

    def _send(self) -> Future[Submitted] | Future[RemoteStatus]:
        if self.folder:
            return self.host.run_status(self.folder)
        request = self.request
        return self.host.submit_study(request.study, request.files, request.arguments, request.token, request.devices)


def fetch_file(host: Host, folder: str, file: str, max_bytes: int, is_closed: Callable[[], bool]) -> bytes:
    """Read a small file in the remote run ``folder``. Blocks, and resumes after each lost connection.

    Raises UserError if it is missing or larger than ``max_bytes``; ConnectionLost if ``is_closed()``.
    """
    content = b""
    while True:
        try:
            chunk = host.read(folder, file, len(content), MAX_CHUNK_BYTES, _CHUNK_SECONDS).result()
        except ConnectionLost:
            if is_closed():
                raise
            continue
        content += chunk.data
        if len(content) > max_bytes or chunk.size > max_bytes:
            raise UserError(f"{file} of {folder} on {host.machine.name} is larger than {max_bytes >> 20} MB.")
        if len(content) >= chunk.size or not chunk.data:
            return content
