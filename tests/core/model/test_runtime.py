"""What a trainer asks of the C library: freed memory is kept, so that steps do not fault it in again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNTED = """
import resource, torch
from core.training.memory import keep_freed_memory
def faults():
    torch.ones(2**24)  # 64 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
assert keep_freed_memory()
print(faults(), given_back)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
@pytest.mark.ci
def test_freed_memory_is_reused_without_page_faults() -> None:
    """The system's pages are counted, not seconds: eight tensors of 64 MiB, with and without keeping what is freed."""
    done = subprocess.run([sys.executable, "-c", COUNTED], check=True, capture_output=True, text=True)
    kept, given_back = map(int, done.stdout.split())
    assert kept < given_back / 4
