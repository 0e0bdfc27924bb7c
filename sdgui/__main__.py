"""The window's entry: ``sdgui [--demo] [--home DIR] [--rebuild]``. Builds the parts and connects them.

Flow: arguments -> home folder -> store, launcher, tailer, worker pool -> main window. What keeps it from opening is
one sentence with the remedy, on stderr and in a message, and exit status 1.
"""

from __future__ import annotations

import sys

from sdgui.app.start import main

if __name__ == "__main__":
    sys.exit(main())
