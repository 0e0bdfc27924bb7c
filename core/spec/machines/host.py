"""Typed requests to a machine: each returns a ``Future`` of a validated answer, from any thread.

Flow: panel, launcher or command -> ``Host.probe()`` -> ``Connection.call`` -> the remote program -> ``Facts``. A failed
future has a UserError, or a ConnectionLost if trying again later may help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from core.spec.errors import UserError
from core.spec.installed import installed_version
from core.spec.machines.answers import (
    CheckpointFacts,
    Chunk,
    DataFacts,
    Facts,
    Finding,
    RemoteStatus,
    Submitted,
)
from core.spec.machines.connection import Connection
from core.spec.machines.machine import Machine
from core.spec.reading import validate_as
from core.spec.run.folder import Control

End = Literal["terminate", "kill"]
Value = TypeVar("Value")


class Host(Connection):
    """A connection with a method for each request."""

    def probe(self) -> Future[Facts]:
        """Query cores, memory, GPUs and their users, versions, disk and Slurm partitions.

        Fails immediately if the machine cannot be reached.
        """
        return self._read_answer(self.call("probe"), Facts)

    def check(self, config: str = "") -> Future[list[Finding]]:
        """Check the machine and list findings with remedies; with a config (JSON), also check its data and weights.

        Fails immediately if the machine cannot be reached.
        """
        reply = self.call("check", 120.0, machine=self.machine.model_dump(), config=config)
        return self._read_answer(reply, list[Finding], "findings", lambda findings: [*self._versions(), *findings])

    def _versions(self) -> list[Finding]:
        """A finding on whether a remote machine has the same version of sdgui."""
        if self.machine.is_local:
            return []
        local_version, remote_version = installed_version("sdgui"), self.hello.version if self.hello is not None else ""
        detail = f"{remote_version or 'a checkout'} there, {local_version or 'a checkout'} here"
        if local_version == remote_version or not local_version or not remote_version:
            return [Finding(name="sdgui", works=True, detail=detail)]
        remedy = (
            f"Press Install on the machine's page (or run sdgui-core machines install {self.machine.name}), or update "
            "the older sdgui."
        )
        return [Finding(name="sdgui", works=False, detail=detail, remedy=remedy)]

    def check_data(self, config: str) -> Future[list[Finding]]:
        """Check whether the paths in a config (JSON) exist on the machine and can be read as data."""
        return self._read_answer(self.call("check_data", 45.0, config=config), list[Finding], "findings")

    def script(
        self, name: str, devices: Sequence[str] = (), machine: Machine | None = None, stage: str = ""
    ) -> Future[str]:
        """Write the sbatch script that would start the run ``name``, for the user to edit.

        ``machine``: settings to use instead. ``stage``: the first stage, if ``name`` is a chain.
        """
        settings = (machine or self.machine).model_dump()
        reply = self.call("script", machine=settings, name=name, devices=list(devices), stage=stage)
        return self._read_answer(reply, str, "script")

    def submit(
        self,
        name: str,
        token: str,
        config: str = "",
        devices: Sequence[str] = (),
        script: str = "",
        timeout: float = 120.0,
        code: Mapping[str, str] | None = None,
    ) -> Future[Submitted]:
        """Start the run in the folder ``name`` of the remote runs folder; resume the run if there is no ``config``.

        Idempotent for one ``token``. ``devices``: indices or UUIDs of GPUs. ``script``: replaces the sbatch script that
        is built from the machine's settings. ``code``: the run's custom code, as returned by ``pack_code``.
        """
        return self._read_answer(
            self.call(
                "submit",
                timeout,
                machine=self.machine.model_dump(),
                name=name,
                token=token,
                config=config,
                devices=list(devices),
                script=script,
                code=dict(code or {}),
            ),
            Submitted,
        )

    def submit_chain(
        self,
        name: str,
        stage: str,
        token: str,
        chain: str = "",
        devices: Sequence[str] = (),
        script: str = "",
        timeout: float = 120.0,
    ) -> Future[Submitted]:
        """Start or resume the chain in the folder ``name`` of the remote runs folder, from the run folder ``stage``.

        ``chain``: its config (JSON). The answer contains the stage's folder. For the other arguments, see `submit`.
        """
        arguments = {"name": name, "stage": stage, "token": token, "chain": chain, "devices": list(devices)}
        machine = self.machine.model_dump()
        return self._read_answer(
            self.call("submit_chain", timeout, machine=machine, script=script, **arguments), Submitted
        )

    def submit_study(
        self, study: str, files: Mapping[str, str], work: Sequence[str], token: str, devices: Sequence[str] = ()
    ) -> Future[Submitted]:
        """Start or resume a part of a study; ``files`` are ``study.json`` and its arms.

        ``work``: ``run ARM SEED STEPS``, or ``step ARM ROUND``. Idempotent for one ``token``.
        """
        arguments = {"study": study, "files": dict(files), "what": list(work), "token": token, "devices": list(devices)}
        return self._read_answer(
            self.call("submit_study", 120.0, machine=self.machine.model_dump(), **arguments), Submitted
        )

    def data_facts(self, paths: Mapping[str, str]) -> Future[list[DataFacts]]:
        """Query the number of pairs and a digest of the data at each of the remote paths."""
        return self._read_answer(self.call("data_facts", 300.0, paths=dict(paths)), list[DataFacts], "data")

    def control(self, folder: str, request: Control) -> Future[RemoteStatus]:
        """Request the trainer to stop or pause; a pending Slurm job is removed from the queue."""
        return self._read_answer(self.call("control", folder=folder, what=request), RemoteStatus)

    def end(self, folder: str, how: End) -> Future[RemoteStatus]:
        """End the run forcibly: a signal to its process, or ``scancel``."""
        return self._read_answer(self.call("end", folder=folder, how=how), RemoteStatus)

    def run_status(self, folder: str) -> Future[RemoteStatus]:
        """Query the current state of a run."""
        return self._read_answer(self.call("run_status", folder=folder), RemoteStatus)

    def checkpoints(self, folder: str) -> Future[list[CheckpointFacts]]:
        """List the checkpoints of a run, oldest first, with their files."""
        return self._read_answer(self.call("checkpoints", folder=folder), list[CheckpointFacts], "checkpoints")

    def read(self, folder: str, file: str, offset: int, length: int, timeout: float = 60.0) -> Future[Chunk]:
        """Read ``length`` bytes (at most 4 MB) of a file of the run from ``offset`` on."""
        return self._read_answer(
            self.call("read", timeout, folder=folder, file=file, offset=offset, length=length), Chunk
        )

    def images(self, paths: Sequence[str], side: int = 256) -> Future[Mapping[str, Chunk]]:
        """Read JPEG thumbnails of remote images, by path. Unreadable images are skipped."""
        reply = self.call("images", paths=list(paths), side=side)
        return self._read_answer(reply, dict[str, Chunk], "images")

    def _read_answer(
        self,
        reply: Future[dict[str, Any]],
        shape: Any,
        key: str = "",
        convert: Callable[[Any], Any] = lambda value: value,
    ) -> Future[Any]:
        """A future of the answer, or of its item ``key``, validated as ``shape`` and then converted by ``convert``."""
        answer: Future[Any] = Future()
        subject = f"the answer of {self.machine.name}"

        def settle(reply: Future[dict[str, Any]]) -> None:
            with suppress(InvalidStateError):
                if answer.cancelled():
                    return
                try:
                    value = reply.result().get(key) if key else reply.result()
                    answer.set_result(
                        convert(validate_as(TypeAdapter(shape), value, subject, remedy="Update sdgui there."))
                    )
                except UserError as error:
                    answer.set_exception(error)

        reply.add_done_callback(settle)
        return answer


def when_done(
    future: Future[Value], succeeded: Callable[[Value], object], failed: Callable[[UserError], object]
) -> Future[Value]:
    """Call ``succeeded`` with the result or ``failed`` with the error, in a thread of the connection."""

    def settle(finished: Future[Value]) -> None:
        if finished.cancelled():
            return
        error = finished.exception()
        if isinstance(error, UserError):
            failed(error)
        elif error is not None:
            failed(UserError(f"{type(error).__name__}: {error}"))
        else:
            succeeded(finished.result())

    future.add_done_callback(settle)
    return future
