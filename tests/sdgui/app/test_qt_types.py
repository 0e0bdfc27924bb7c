"""Threads that use classes of Qt for the first time at the same time."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Three threads use all classes in different orders. Without create_qt_types, two of three such programs crash or hang.
PROGRAM = """
import random, sys, threading
from PySide6 import QtCore, QtGui, QtSvg, QtWidgets
from sdgui.app.qt_types import create_qt_types
create_qt_types()
sys.setswitchinterval(1e-6)
names = [(module, name) for module in (QtCore, QtGui, QtSvg, QtWidgets) for name in dir(module)]
barrier = threading.Barrier(3)
def use(seed):
    own = random.Random(seed).sample(names, len(names))
    barrier.wait()
    for module, name in own:
        getattr(module, name)
threads = [threading.Thread(target=use, args=(3 * int(sys.argv[1]) + k,)) for k in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("seed", range(4))
def test_threads_that_use_qt_for_the_first_time_at_once_neither_crash_nor_hang(seed: int) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM, str(seed)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
