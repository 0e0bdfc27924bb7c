"""Identifies operating system processes by their start time, and checks whether a process is still running.

psutil is imported on first use, since most importers of ``core.spec`` do not need it.
"""

from __future__ import annotations

import time


def own_start_time() -> float:
    """When this process started, in seconds since the epoch."""
    import psutil  # noqa: PLC0415

    return float(psutil.Process().create_time())


def start_time(pid: int) -> float:
    """When the process ``pid`` started, in seconds since the epoch; the current time if it has already exited."""
    import psutil  # noqa: PLC0415

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return time.time()


def is_running(pid: int, started: float) -> bool:
    """Whether the process ``pid`` that started at the time ``started`` is still running, and not a zombie."""
    import psutil  # noqa: PLC0415

    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
