"""Queue records of the store: waiting runs, their machines and devices.

Flow: the launcher reports the devices of each machine (``Slots``); ``take_next`` finds the first waiting run that fits
a free device and marks it as launched, in one transaction, so that only one window gets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.spec.run.status import RunState
from sdgui.store.records import Place, Run, StoreError
from sdgui.store.registry.activity import record_activity
from sdgui.store.runs import ALIVE_STATES, RunRecords, mark_launched, queue_end, run_row
from sdgui.store.sessions import ON_HOST
from sdgui.store.tables import ExperimentRow, RunRow


@dataclass(frozen=True)
class Slots:
    """Capacity of a machine. ``devices``: its GPUs, one run each; without GPUs, up to ``at_once`` parallel runs.

    ``in_use``: GPUs that other programs use; ``gpus_per_run``: number of GPUs of a run that requests none.
    """

    devices: tuple[str, ...] = ()
    at_once: int = 1
    in_use: frozenset[str] = frozenset()
    gpus_per_run: int = 1


class QueueRecords(RunRecords):
    """Reads and writes the queue."""

    def queue(self) -> list[Run]:
        """Waiting runs, next first."""
        with self._read() as session:
            return [self._run_record(row) for row in session.scalars(waiting())]

    def enqueue(self, run_id: int) -> Run:
        """Put a run at the end of the queue, unless it is already queued. Raises StoreError if it is active."""
        with self._write() as session:
            row = self._own_row(session, run_id)
            if row.state in ALIVE_STATES:
                raise StoreError("This run is still active; pause or stop it first.")
            if row.queue_position is None:
                row.queue_position, row.state = queue_end(session), RunState.QUEUED.value
                record_activity(session, "queued", row)
            return self._run_record(row)

    def unqueue(self, run_id: int) -> Run:
        """Remove a run from the queue and restore its previous state."""
        with self._write() as session:
            row = self._own_row(session, run_id)
            if row.queue_position is not None:
                row.queue_position = None
                row.state = (RunState(row.ending) if row.ending else RunState.INTERRUPTED).value
                record_activity(session, "removed from the queue", row)
            return self._run_record(row)

    def request_place(self, run_id: int, place: Place) -> Run:
        """Request other devices for an inactive run, or another machine for a run that has not started."""
        with self._write() as session:
            row = self._own_row(session, run_id)
            if row.state in ALIVE_STATES and row.launched is not None:
                raise StoreError(
                    "This run has started, so it stays on its machine; launch its experiment again to train elsewhere."
                )
            if row.offset and place.host != row.machine:  # its events and checkpoints would be lost
                raise StoreError(
                    f"This run has started on {row.machine or 'this computer'}, where its checkpoints are, so it stays "
                    "there; launch its experiment again to train elsewhere."
                )
            row.machine, row.devices_asked = place.host, place.devices
            return self._run_record(row)

    def _own_row(self, session: Session, run_id: int) -> RunRow:
        """The row of a run of this home. Raises StoreError for another person's run."""
        row = run_row(session, run_id)
        if refusal := self._run_record(row).refusal:
            raise StoreError(refusal)
        return row

    def record_devices(self, run_id: int, devices: str, host: str = "") -> None:
        """Record that a study has started the run on these devices of a machine ("" for this one)."""
        with self._write() as session:
            row = run_row(session, run_id)
            row.devices, row.machine = devices, host

    def record_remote_folder(self, run_id: int, computer: str, folder: str) -> None:
        """Record that the run trains in this folder of another computer."""
        with self._write() as session:
            run_row(session, run_id).remote_folder = f"{computer}{ON_HOST}{folder}"

    def assign_devices(self, run_id: int, slots: Slots) -> Run:
        """Mark a run as launched, ignoring the queue, on the requested devices or the first free ones.

        If no device is free, it gets the device with the fewest runs.
        """
        with self._write() as session:
            row = run_row(session, run_id)
            free = self._free(session, row.machine, slots, run_id)
            devices = row.devices_asked or free.allocate("")
            if devices is None and slots.devices:
                devices = min(slots.devices, key=self._busy_devices(session, row.machine, slots.devices, run_id).count)
            return self._run_record(mark_launched(row, devices or ""))

    def reorder_queue(self, run_ids: Sequence[int]) -> None:
        """Move these runs to the front of the queue, in this order; the order of the others does not change."""
        order = {run_id: position for position, run_id in enumerate(run_ids)}
        with self._write() as session:
            rows = sorted(session.scalars(waiting()), key=lambda row: order.get(row.id, len(order)))
            for position, row in enumerate(rows):
                row.queue_position = position
            if rows:
                record_activity(session, "reordered the queue", None)

    def take_next(self, machines: Mapping[str, Slots]) -> Run | None:
        """Mark the first waiting run whose machine has room as launched, and return it; None if there is none.

        ``machines``: machine ("" for this one) -> its capacity. Only runs of this home are launched. A run that waits
        for specific devices reserves them against later runs.
        """
        with self._write() as session:
            free = {host: self._free(session, host, slots) for host, slots in machines.items()}
            for row in session.scalars(waiting().where(RunRow.folder.startswith(self._local_prefix, autoescape=True))):
                room = free.get(row.machine)
                if room is None or not self._is_own(row):  # the machine is unreachable, or it is another person's run
                    continue
                devices = room.allocate(row.devices_asked)
                if devices is not None:
                    return self._run_record(mark_launched(row, devices))
            return None

    def free_devices(self, host: str, slots: Slots) -> tuple[str, ...]:
        """The GPUs of a machine that neither runs nor other programs use."""
        with self._read() as session:
            return tuple(self._free(session, host, slots).devices or ())

    def _busy(self, session: Session, host: str, except_run: int = -1) -> list[str]:
        """The devices of each live run on a machine."""
        query = select(RunRow.devices).where(
            RunRow.state.in_(ALIVE_STATES),
            RunRow.deleted.is_(None),
            RunRow.queue_position.is_(None),
            RunRow.machine == host,
        )
        if not host:
            query = query.where(RunRow.folder.startswith(self._local_prefix, autoescape=True))
        return list(session.scalars(query.where(RunRow.id != except_run)))

    def _busy_devices(self, session: Session, host: str, devices: Sequence[str], except_run: int) -> list[str]:
        """The devices of all live runs on a machine, one entry per run and device.

        A run with unknown devices uses CUDA's default: the first of ``devices``.
        """
        return [
            device
            for run_devices in self._busy(session, host, except_run)
            for device in (run_devices or devices[0]).split(",")
        ]

    def _free(self, session: Session, host: str, slots: Slots, except_run: int = -1) -> _FreeDevices:
        if not slots.devices:
            return _FreeDevices(None, max(0, slots.at_once - len(self._busy(session, host, except_run))), 1)
        used = {*self._busy_devices(session, host, slots.devices, except_run), *slots.in_use}
        return _FreeDevices([device for device in slots.devices if device not in used], 0, slots.gpus_per_run)


@dataclass
class _FreeDevices:
    """The remaining capacity of a machine while iterating over the queue. ``devices``: None if it has no GPUs."""

    devices: list[str] | None
    room: int
    gpus_per_run: int

    def allocate(self, requested: str) -> str | None:
        """Devices for a run that requests ``requested``; None if they are not free, "" on a machine without GPUs.

        Later runs do not get these devices, even if this run must still wait for some of them.
        """
        if self.devices is None:
            self.room -= 1
            return "" if self.room >= 0 else None
        devices = requested.split(",") if requested else self.devices[: self.gpus_per_run]
        enough = bool(devices) and (bool(requested) or len(devices) == self.gpus_per_run)
        free = enough and set(devices) <= set(self.devices)
        self.devices = [device for device in self.devices if device not in devices]
        return ",".join(devices) if free else None


def waiting() -> Select[RunRow]:
    """Queued runs, next first. Runs of an experiment in the bin keep their position, but do not start."""
    return (
        select(RunRow)
        .join(ExperimentRow, ExperimentRow.id == RunRow.experiment_id)
        .where(RunRow.queue_position.is_not(None), RunRow.deleted.is_(None), ExperimentRow.deleted.is_(None))
        .order_by(RunRow.queue_position)
    )
