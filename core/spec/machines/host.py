"""Typed questions to a machine: each returns a ``Future`` of a checked answer, called from any thread.

Flow: panel, launcher or verb -> ``Host.probe()`` -> ``Connection.call`` -> the program there -> ``Facts``. A future
fails with a UserError whose message can be shown as it is; LineDown where trying again later may help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from core.spec.errors import UserError
from core.spec.machines.answers import CheckpointFacts, Chunk, DataFacts, Facts, Finding, RunFacts, Standing, Submitted
from core.spec.machines.connection import Connection
from core.spec.machines.machine import Machine
from core.spec.reading import checked_as

End = Literal["terminate", "kill"]
Control = Literal["stop", "pause"]
Value = TypeVar("Value")


class Host(Connection):
    """A connection with a method for each thing that the program on the machine does."""

    def probe(self) -> Future[Facts]:
        """What the machine has: cores, memory, GPUs and who uses them, versions, disk, Slurm's partitions."""
        return self._typed(self.call("probe"), Facts)

    def check(self, config: str = "") -> Future[list[Finding]]:
        """What works there, what does not and the remedy; with a config (JSON) its data and weights too.

        A machine that cannot be reached now is reported at once.
        """
        asked = self.call("check", 120.0, machine=self.machine.model_dump(), config=config)
        return self._typed(asked, list[Finding], "findings", lambda found: [*self._versions(), *found])

    def _versions(self) -> list[Finding]:
        """Whether another machine has the sdgui that is here."""
        if self.machine.here:
            return []
        own, other = own_version(), self.hello.version if self.hello is not None else ""
        told = f"{other or 'a checkout'} there, {own or 'a checkout'} here"
        if own == other or not own or not other:
            return [Finding(what="sdgui", works=True, found=told)]
        remedy = (
            f"Press Install there (or sdgui-core machines install {self.machine.name}), or update the older of both."
        )
        return [Finding(what="sdgui", works=False, found=told, remedy=remedy)]

    def check_data(self, config: str) -> Future[list[Finding]]:
        """Whether the paths that a config (JSON) names are there, and can be read as data."""
        return self._typed(self.call("check_data", 45.0, config=config), list[Finding], "findings")

    def script(
        self, name: str, devices: Sequence[str] = (), machine: Machine | None = None, stage: str = ""
    ) -> Future[str]:
        """The sbatch script that would start the run ``name``, to be read and edited before it is submitted.

        ``machine``: with these settings instead. ``stage``: of a chain of that ``name``, where it begins.
        """
        settings = (machine or self.machine).model_dump()
        asked = self.call("script", machine=settings, name=name, devices=list(devices), stage=stage)
        return self._typed(asked, str, "script")

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
        """Start the run ``name`` (its folder in the runs folder there); without ``config``, resume what is there.

        ``code``: the custom code of the run, as ``pack_code`` gives it.

        The same ``token`` again starts nothing twice and answers the same. ``devices``: indices or UUIDs of GPUs.
        ``script``: in place of the sbatch script that the machine's settings make.
        """
        return self._typed(
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
        """Start the chain ``name`` (its folder in the runs folder there) with the run folder ``stage``, or resume it.

        ``chain``: its config (JSON); the folder that is answered is the stage's. Otherwise as `submit`.
        """
        asked = {"name": name, "stage": stage, "token": token, "chain": chain, "devices": list(devices)}
        machine = self.machine.model_dump()
        return self._typed(self.call("submit_chain", timeout, machine=machine, script=script, **asked), Submitted)

    def submit_study(
        self, study: str, files: Mapping[str, str], what: Sequence[str], token: str, devices: Sequence[str] = ()
    ) -> Future[Submitted]:
        """Start a part of a study's work there, or resume it; its ``files`` are ``study.json`` and its arms.

        ``what``: ``run ARM SEED STEPS``, or ``step ARM PART``. The same ``token`` again starts nothing twice.
        """
        asked = {"study": study, "files": dict(files), "what": list(what), "token": token, "devices": list(devices)}
        return self._typed(self.call("submit_study", 120.0, machine=self.machine.model_dump(), **asked), Submitted)

    def data_facts(self, paths: Mapping[str, str]) -> Future[list[DataFacts]]:
        """How many pairs lie at each of the paths there, and which."""
        return self._typed(self.call("data_facts", 300.0, paths=dict(paths)), list[DataFacts], "data")

    def control(self, folder: str, what: Control) -> Future[Standing]:
        """Ask its trainer to stop or to pause; a job that waits for its first start is taken from Slurm's queue."""
        return self._typed(self.call("control", folder=folder, what=what), Standing)

    def end(self, folder: str, how: End) -> Future[Standing]:
        """End it without waiting for its consent: a signal to its process, or ``scancel``."""
        return self._typed(self.call("end", folder=folder, how=how), Standing)

    def standing(self, folder: str) -> Future[Standing]:
        """How a run stands now."""
        return self._typed(self.call("standing", folder=folder), Standing)

    def runs(self) -> Future[list[RunFacts]]:
        """The runs in the runs folder there."""
        return self._typed(self.call("runs"), list[RunFacts], "runs")

    def checkpoints(self, folder: str) -> Future[list[CheckpointFacts]]:
        """The checkpoints of a run, oldest first, with their files."""
        return self._typed(self.call("checkpoints", folder=folder), list[CheckpointFacts], "checkpoints")

    def read(self, folder: str, file: str, offset: int, length: int, timeout: float = 60.0) -> Future[Chunk]:
        """``length`` bytes of a file of the run from ``offset`` on, at most 4 MB."""
        return self._typed(self.call("read", timeout, folder=folder, file=file, offset=offset, length=length), Chunk)

    def images(self, paths: Sequence[str], side: int = 256) -> Future[Mapping[str, Chunk]]:
        """Small JPEG copies of images that lie there, by path; of those that cannot be read, none."""
        asked = self.call("images", paths=list(paths), side=side)
        return self._typed(asked, dict[str, Chunk], "images")

    def _typed(
        self,
        asked: Future[dict[str, Any]],
        shape: Any,
        part: str = "",
        more: Callable[[Any], Any] = lambda found: found,
    ) -> Future[Any]:
        """A future of the answer as a ``shape``, or of its ``part``; ``more`` may add to it."""
        answer: Future[Any] = Future()
        where = f"the answer of {self.machine.name}"

        def settle(done: Future[dict[str, Any]]) -> None:
            with suppress(InvalidStateError):
                if answer.cancelled():
                    return
                try:
                    value = done.result().get(part) if part else done.result()
                    answer.set_result(more(checked_as(TypeAdapter(shape), value, where, remedy="Update sdgui there.")))
                except UserError as error:
                    answer.set_exception(error)

        asked.add_done_callback(settle)
        return answer


def own_version() -> str:
    """The version of sdgui here; "" of a checkout that is not installed."""
    try:
        return version("sdgui")
    except PackageNotFoundError:
        return ""


def when_done(
    future: Future[Value], done: Callable[[Value], object], failed: Callable[[UserError], object]
) -> Future[Value]:
    """Call one of both when it is answered, in a thread of the connection's."""

    def settle(answered: Future[Value]) -> None:
        if answered.cancelled():
            return
        error = answered.exception()
        if isinstance(error, UserError):
            failed(error)
        elif error is not None:
            failed(UserError(f"{type(error).__name__}: {error}"))
        else:
            done(answered.result())

    future.add_done_callback(settle)
    return future
