"""``start.py PROGRAM OPTIONS...``: runs a program in miniature that imports what lies beside it.

The window starts its programs with PYTHONSAFEPATH, which leaves a script's own folder out of the path.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

del sys.argv[0]
sys.path.insert(0, str(Path(__file__).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
