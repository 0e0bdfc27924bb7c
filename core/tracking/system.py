"""System metrics, ``system/...``: what the machine and this process do, sampled by a thread beside training.

Percentages are of the whole machine, but ``process_cpu_percent``, where 100 is one core. Rates are MB a second
since the last sample. Ranks other than the first leave theirs in a file of the run folder, which the first reports as
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

SECONDS = 5.0  # between samples, by default
_MEGABYTE = 1e6

Report = Callable[[Mapping[str, float]], None]


class SystemSampler:
    """Samples of this machine; the first ``sample`` is what later rates are counted from."""

    def __init__(self) -> None:
        self._process, self._nvml = psutil.Process(), Nvml.open()
        psutil.cpu_percent()  # counts from here
        self._process.cpu_percent()
        self._before, self._counters = time.monotonic(), _counters()

    def sample(self) -> dict[str, float]:
        """Values by name, without the prefix."""
        values = {"cpu_percent": psutil.cpu_percent(), "memory_percent": psutil.virtual_memory().percent}
        return values | self._rates() | self.process() | (self._nvml.values() if self._nvml else {})

    def process(self) -> dict[str, float]:
        """Of this process alone."""
        with self._process.oneshot():
            return {
                "process_cpu_percent": self._process.cpu_percent(),
                "process_memory_gib": self._process.memory_info().rss / 2**30,
            }

    def _rates(self) -> dict[str, float]:
        now, counters = time.monotonic(), _counters()
        seconds = max(now - self._before, 1e-3)
        rates = {
            f"{name}_mb_per_s": max(0.0, count - self._counters[name]) / _MEGABYTE / seconds
            for name, count in counters.items()
            if name in self._counters
        }
        self._before, self._counters = now, counters
        return rates

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.close()


def _counters() -> dict[str, float]:
    """Bytes since the machine was started."""
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
    """While entered, samples system metrics every ``seconds``; never where ``seconds`` is 0.

    Each sample goes to ``report``, or waits for ``take``. ``rank``: of a run over several processes, of which all but
    the first write into ``folder``; the first of each machine (``local_rank`` 0) samples the machine too.
    """

    def __init__(
        self, seconds: float, folder: Path, rank: int = 0, local_rank: int = 0, report: Report | None = None
    ) -> None:
        self._seconds, self._folder, self._rank, self._local_rank = seconds, folder / "system", rank, local_rank
        self._report = report or self._keep
        self._latest: Mapping[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)

    def take(self) -> Mapping[str, float]:
        """The sample since the last call, once; {} where there is none."""
        latest, self._latest = self._latest, {}
        return latest

    def _keep(self, values: Mapping[str, float]) -> None:
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

    def _watch(self) -> None:
        sampler = SystemSampler()
        while not self._ended.wait(self._seconds):
            with suppress(OSError, psutil.Error):  # a full disk, or a container without /proc: training goes on
                if self._rank:
                    self._folder.mkdir(exist_ok=True)
                    own = json.dumps(sampler.process() if self._local_rank else sampler.sample()).encode()
                    write_whole(self._folder / f"rank-{self._rank}.json", own, durable=False)
                else:
                    values = sampler.sample() | self._of_other_ranks()
                    self._report({f"system/{name}": value for name, value in values.items()})
        sampler.close()

    def _of_other_ranks(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for file in sorted(self._folder.glob("rank-*.json"))[:1024]:
            with suppress(OSError, UserError):
                if time.time() - file.stat().st_mtime > 3 * self._seconds:
                    continue
                raw = read_json(file, 64 * KILOBYTE, root=self._folder, error=UnreadableError)
                rank = file.stem.replace("-", "")
                values |= {f"{rank}/{name}": float(raw[name]) for name in sorted(raw)}
        return values
