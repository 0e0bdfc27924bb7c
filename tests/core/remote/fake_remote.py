"""The remote program with a fake trainer in place of ``core train``; everything else is real.

``FAKE_TRAINER`` holds the trainer's options; ``FAKE_CLOCK`` seconds by which this machine's clock is ahead.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from core.__main__ import main
from core.remote import script, slurm

TRAINER = Path(__file__).parents[2] / "sdgui" / "fake_trainer.py"


AHEAD = """
import time, psutil
real, created = time.time, psutil.Process.create_time
time.time = lambda: real() + CLOCK
psutil.Process.create_time = lambda process: created(process) + CLOCK
"""


def ahead() -> str:
    """Python code that shifts the clock of a process; "" for no shift."""
    clock = float(os.environ.get("FAKE_CLOCK", "0"))
    return AHEAD.replace("CLOCK", repr(clock)) if clock else ""


def program() -> list[str]:
    run = f"import runpy; runpy.run_path({str(TRAINER)!r}, run_name='__main__')"
    options = shlex.split(os.environ.get("FAKE_TRAINER", ""))
    return [sys.executable, "-c", f"{ahead()}\n{run}", *options]


script.program = program
slurm.QUEUE_VALID_SECONDS = 0.5  # a test waits for a few jobs alone
if __name__ == "__main__":
    exec(ahead())
    sys.exit(main(sys.argv[1:]))
