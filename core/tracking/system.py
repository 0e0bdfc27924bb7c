"""Samples system metrics, ``system/...``: the load of the machine and of this process, in a background thread.

Percentages refer to the whole machine, except ``process_cpu_percent``, where 100 is one core. Rates are MB per second
since the last sample. Ranks other than 0 write their samples to a file in the run folder; rank 0 reports them as
``system/rank1/...``.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reading import KILOBYTE, UnreadableError, read_json
from core.tracking.gpus import Nvml

SAMPLE_SECONDS = 5.0  # default interval between samples
_MEGABYTE = 1e6

Report = Callable[[Mapping[str, float]], None]


class SystemSampler:
    """Samples the machine and this process. Rates are averages since the last ``sample``, or since creation."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: also sample the free space of its disk."""
        self._folder = folder
        self._process, self._nvml = psutil.Process(), Nvml.open()
        psutil.cpu_percent()  # starts the measurement
        self._process.cpu_percent()
        self._last_time, self._counters = time.monotonic(), _counters()

    def sample(self) -> dict[str, float]:
        """All values by name, without the prefix ``system/``."""
        values = {"cpu_percent": psutil.cpu_percent(), "memory_percent": psutil.virtual_memory().percent}
        if self._folder is not None:
            values["disk_free_gib"] = psutil.disk_usage(str(self._folder)).free / 2**30
        return values | self._rates() | self.process() | (self._nvml.values() if self._nvml else {})

    def process(self) -> dict[str, float]:
        """CPU and memory of this process only."""
        with self._process.oneshot():
            return {
                "process_cpu_percent": self._process.cpu_percent(),
                "process_memory_gib": self._process.memory_info().rss / 2**30,
            }

    def _rates(self) -> dict[str, float]:
        time_now, counters = time.monotonic(), _counters()
        seconds = max(time_now - self._last_time, 1e-3)
        rates = {
            f"{name}_mb_per_s": max(0.0, count - self._counters[name]) / _MEGABYTE / seconds
            for name, count in counters.items()
            if name in self._counters
        }
        self._last_time, self._counters = time_now, counters
        return rates

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.close()


def _counters() -> dict[str, float]:
    """Bytes read, written, sent and received since boot."""
    counters: dict[str, float] = {}
    with suppress(Exception):  # a container may hide its disks
        disk: Any = psutil.disk_io_counters()
        if disk is not None:
            counters |= {"disk_read": disk.read_bytes, "disk_write": disk.write_bytes}
    with suppress(Exception):
        network: Any = psutil.net_io_counters()
        counters |= {"network_sent": network.bytes_sent, "network_received": network.bytes_recv}
    return counters


class SystemMonitor:
    """A context manager that samples system metrics every ``seconds``; 0 turns sampling off.

    Each sample is passed to ``report``; without ``report``, ``take`` returns the latest. In a distributed run, ranks
    other than 0 write their samples into ``folder``; ``local_rank`` 0 of each machine also samples the machine.
    """

    def __init__(
        self, seconds: float, folder: Path, rank: int = 0, local_rank: int = 0, report: Report | None = None
    ) -> None:
        self._seconds, self._folder, self._rank, self._local_rank = seconds, folder / "system", rank, local_rank
        self._report = report or self._store_latest
        self._latest: Mapping[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_periodically, name="system-metrics", daemon=True)

    def take(self) -> Mapping[str, float]:
        """The latest sample since the last call; {} if there is no new one."""
        latest, self._latest = self._latest, {}
        return latest

    def _store_latest(self, values: Mapping[str, float]) -> None:
        self._latest = values

    def __enter__(self) -> Self:
        if self._seconds > 0:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _sample_periodically(self) -> None:
        try:
            sampler = SystemSampler(self._folder.parent)
        except (OSError, psutil.Error):  # a container without /proc: training continues
            return
        while not self._ended.wait(self._seconds):
            with suppress(OSError, psutil.Error):  # such as a full disk
                if self._rank:
                    self._folder.mkdir(exist_ok=True)
                    content = json.dumps(sampler.process() if self._local_rank else sampler.sample()).encode()
                    write_whole(self._folder / f"rank-{self._rank}.json", content, durable=False)
                else:
                    values = sampler.sample() | self._read_other_ranks()
                    self._report({f"system/{name}": value for name, value in values.items()})
        sampler.close()

    def _read_other_ranks(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for file in sorted(self._folder.glob("rank-*.json"))[:1024]:
            with suppress(OSError, UserError, TypeError, ValueError):  # also a file that no rank wrote
                if time.time() - file.stat().st_mtime > 3 * self._seconds:
                    continue
                raw = read_json(file, 64 * KILOBYTE, root=self._folder, error=UnreadableError)
                rank = file.stem.replace("-", "")
                values |= {f"{rank}/{name}": float(raw[name]) for name in sorted(raw)}
        return values
