"""The operating system's processes: which one this is, and whether another is still there.

psutil is imported when it is first asked: most of what imports ``core.spec`` never does.
"""

from __future__ import annotations

import time


def own_start_time() -> float:
    """When this process started, in seconds since the epoch."""
    import psutil  # noqa: PLC0415

    return float(psutil.Process().create_time())


def start_time(pid: int) -> float:
    """When the process began; now, where it has exited already (its output says why)."""
    import psutil  # noqa: PLC0415

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return time.time()


def is_running(pid: int, started: float) -> bool:
    """Whether the process ``pid`` is still the one that ``started`` then, and no zombie."""
    import psutil  # noqa: PLC0415

    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
