"""What a trainer asks of the C library: freed memory is kept, so that steps do not fault it in again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNTED = """
import resource, sys, torch
from core.training.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.ones(2**24)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_freed_memory_is_used_again_without_a_fault() -> None:
    """The system's pages are counted, not seconds: eight tensors of 64 MiB, with and without keeping what is freed."""
    faults = {}
    for how in ("kept", "given back"):
        said = subprocess.run([sys.executable, "-c", COUNTED, how], check=True, capture_output=True, text=True)
        faults[how] = int(said.stdout)
    assert faults["kept"] < faults["given back"] / 4
