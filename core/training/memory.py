"""Memory while training: what the allocator keeps, and the largest batch that fits."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import torch

from core.model.runtime import is_out_of_memory


def keep_freed_memory() -> bool:
    """Have the C library keep large blocks that are freed, for the next step to use; whether it can.

    glibc hands each back to the system, which clears it again, page by page, in every step: a quarter of the
    time of a captioning step on a CPU. What the process holds stays at its peak in return. For programs that only
    train; see mallopt(3). Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    maps, trim, more = -4, -1, -2  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
    return bool(mallopt(maps, 0) and mallopt(trim, 2**31 - 1) and mallopt(more, 2**26))


def largest_fitting(attempt: Callable[[int], None], batch_size: int) -> int:
    """The largest half, quarter, ... of ``batch_size`` for which ``attempt`` does not run out of memory; 0 for none."""
    size = batch_size // 2
    while size >= 1:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
        size //= 2
    return 0
