"""The capacity of each machine for the queue: free GPUs, or a number of concurrent runs.

Flow: the launcher's thread -> ``MachineSlots.of`` -> a probe of this computer, or another machine's last answer ->
``Store.take_next``. Probes are only called in this thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.spec.machines.answers import Gpu
from sdgui.store.queue import Slots

_VISIBLE = "CUDA_VISIBLE_DEVICES"
GPUS_NOT_ANSWERED = (
    "The GPUs of this computer have not answered yet, so nothing is started on its CPU; try again in a moment."
)
UNLIMITED = 10_000  # parallel runs on a machine whose scheduler has its own queue


Probe = Callable[[], Sequence[Gpu] | None]  # None until the GPUs have answered
RemoteSlots = Callable[[str], Slots | None]  # machine name -> its capacity; None while it is unreachable


@dataclass(frozen=True)
class Reserved:
    """Devices of this computer that running studies hold, even between two of their runs."""

    runs: int = 0
    devices: frozenset[str] = frozenset()


class MachineSlots:
    """The capacity of all machines. ``at_once``: maximum number of parallel runs on this computer if it has no GPU.

    ``reserved``: the capacity of this computer that studies use.
    """

    reserved: Callable[[], Reserved] = Reserved

    def __init__(self, probe: Probe = lambda: (), at_once: int = 1, remote: RemoteSlots = lambda machine: None) -> None:
        self.at_once = at_once
        self._probe, self._remote = probe, remote

    def of(self, host: str) -> Slots | None:
        """The capacity of a machine ("" is this computer); None while it is unreachable or has not answered."""
        return self._remote(host) if host else self.local()

    def all(self, hosts: Iterable[str]) -> Mapping[str, Slots]:
        """The capacities of those machines that are reachable."""
        by_host = {host: self.of(host) for host in set(hosts)}
        return {host: slots for host, slots in by_host.items() if slots is not None}

    def local(self) -> Slots | None:
        """The capacity of this computer for the queue; None while its GPUs have not answered."""
        if (slots := self.unreserved()) is None:
            return None
        reserved = self.reserved()
        return replace(slots, at_once=max(0, slots.at_once - reserved.runs), in_use=slots.in_use | reserved.devices)

    def unreserved(self) -> Slots | None:
        """The capacity of this computer, including the part that studies use."""
        gpus = self._probe()
        return None if gpus is None else slots_of(visible_gpus(gpus, os.environ.get(_VISIBLE)), self.at_once)


def slots_of(gpus: Sequence[Gpu], at_once: int, gpus_per_run: int = 1) -> Slots:
    """The capacity of a machine with these GPUs; ``gpus_per_run``."""
    names = tuple(gpu.device for gpu in gpus)
    return Slots(names, at_once, frozenset(gpu.device for gpu in gpus if not gpu.free), gpus_per_run)


def visible_gpus(gpus: Sequence[Gpu], variable: str | None) -> Sequence[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES allows this program to use."""
    if variable is None:
        return gpus
    named_gpus = {part.strip() for part in variable.split(",") if part.strip()}
    return [gpu for gpu in gpus if str(gpu.index) in named_gpus or gpu.device in named_gpus or gpu.uuid in named_gpus]
