"""A part of a study's work on another machine: handed over once, asked about until it has left its result.

Flow: ``Work.look`` -> ``Host.submit_study`` until the machine has confirmed it, then ``Host.standing`` -> ``fetched``.
Nothing waits: what is asked is a future that is looked at the next time, and what was cut with the line is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from core.spec.errors import UserError
from core.spec.machines.answers import MOST_BYTES, Standing, Submitted
from core.spec.machines.host import Host
from core.spec.machines.ssh import LineDown, MachineRefused

_AGAIN_SECONDS = 30.0  # before a machine that refuses is asked again
_PART_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """What is to be done there, as `Host.submit_study` takes it."""

    study: str
    files: Mapping[str, str]
    what: Sequence[str]
    token: str
    devices: Sequence[str] = ()


@dataclass
class Work:
    """``folder``: the run folder there, "" until it is confirmed; ``told``: what hinders it for now."""

    host: Host
    order: Order
    folder: str = ""
    told: str = ""
    _asked: Future[Submitted] | Future[Standing] | None = None
    _not_before: float = field(default=0.0)

    @property
    def untouched(self) -> bool:
        """Whether nothing was sent yet that might begin it there."""
        return not self.folder and self._asked is None

    def look(self) -> Standing | None:
        """How it stands, if that was heard since the last look. UserError when the machine refuses to begin it."""
        if self._asked is None:
            if time.monotonic() >= self._not_before:
                self._asked = self._ask()
            return None
        if not self._asked.done():
            state = self.host.state
            self.told = state.sentence if state.kind in ("waiting", "refused", "connecting") else ""
            return None
        asked, self._asked = self._asked, None
        try:
            answer = asked.result()
        except LineDown as error:
            self.told = str(error)
            return None
        except UserError as error:
            if not self.folder:
                raise
            self.told = str(error)  # it is there, and goes on
            self._not_before = time.monotonic() + (_AGAIN_SECONDS if isinstance(error, MachineRefused) else 1.0)
            return None
        self.told = ""
        if isinstance(answer, Submitted):
            self.folder = answer.folder
            return None
        return answer

    def _ask(self) -> Future[Submitted] | Future[Standing]:
        if self.folder:
            return self.host.standing(self.folder)
        order = self.order
        return self.host.submit_study(order.study, order.files, order.what, order.token, order.devices)


def fetched(host: Host, folder: str, file: str, most: int, gone: Callable[[], bool]) -> bytes:
    """A small file of the run in ``folder`` there, over every cut of the line, until ``gone``. It waits.

    UserError when it is not there, or is larger than ``most`` bytes; LineDown when ``gone``.
    """
    found = b""
    while True:
        try:
            chunk = host.read(folder, file, len(found), MOST_BYTES, _PART_SECONDS).result()
        except LineDown:
            if gone():
                raise
            continue
        found += chunk.data
        if len(found) > most or chunk.size > most:
            raise UserError(f"{file} of {folder} on {host.machine.name} has more than {most >> 20} MB.")
        if len(found) >= chunk.size or not chunk.data:
            return found
