"""Memory during training: keeping freed memory in the process, and finding the largest batch that fits."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import torch

from core.spec.failures import is_out_of_memory


def keep_freed_memory() -> bool:
    """Make the C library keep large freed blocks for the next step; returns whether the library supports this.

    By default glibc returns each block to the system, which zeroes its pages again in every step: a quarter of the time
    of a captioning step on a CPU. In return, the memory use of the process stays at its peak, so this suits only
    programs that do nothing but train. See mallopt(3). Has no effect with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 2**26))


def largest_that_fits(attempt: Callable[[int], None], batch_size: int) -> int:
    """The largest of ``batch_size`` / 2, / 4, ... for which ``attempt`` does not run out of memory; 0 if none fits."""
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
