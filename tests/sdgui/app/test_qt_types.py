"""Threads that use classes of Qt for the first time at the same time."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest
import shiboken6

import sdgui
from sdgui.app import qt_types

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


def test_the_table_of_classes_has_room_for_those_of_every_panel() -> None:
    """Five of 279 processes crashed in which a thread defined the class for which the table had to grow."""
    for module in pkgutil.walk_packages(sdgui.__path__, "sdgui."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)
    pending, defined = [shiboken6.Shiboken.Object], set()
    while pending:
        subclasses = set(type.__subclasses__(pending.pop())) - defined
        defined |= subclasses
        pending += subclasses
    own = [each for each in defined if each.__module__.startswith("sdgui.")]
    assert 100 < len(own) < qt_types._ROOM
