"""The program on a machine with a trainer in miniature in place of ``core train``: all else is the real one.

``FAKE_TRAINER`` holds the trainer's options; ``FAKE_CLOCK`` seconds by which this machine's clock is ahead.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from core.__main__ import main
from core.remote import script

TRAINER = Path(__file__).parents[2] / "sdgui" / "fake_trainer.py"


def program() -> list[str]:
    clock = os.environ.get("FAKE_CLOCK", "0")
    ahead = f"import time; real = time.time; time.time = lambda: real() + {clock}; "
    run = f"import runpy; runpy.run_path({str(TRAINER)!r}, run_name='__main__')"
    options = shlex.split(os.environ.get("FAKE_TRAINER", ""))
    return [sys.executable, "-c", ahead + run, *options]


script.program = program
if __name__ == "__main__":
    if clock := float(os.environ.get("FAKE_CLOCK", "0")):
        import time

        real = time.time
        time.time = lambda: real() + clock
    sys.exit(main(sys.argv[1:]))
