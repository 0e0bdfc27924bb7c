"""The window's entry: ``sdgui [--demo] [--home DIR] [--rebuild]``. Builds the parts and connects them.

Flow: arguments -> home folder -> store, launcher, follower, worker pool -> main window. What keeps it from opening is
one sentence with the remedy, on stderr and in a message, and exit status 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.spec.installed import add_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window, or say in a sentence why Qt or another package of it cannot be loaded."""
    try:
        from sdgui.app.start import main as start  # noqa: PLC0415  (what it loads may be missing)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("core", "sdgui"):
            raise  # a bug of ours, no missing package
        print(f"sdgui: the window cannot be loaded ({error}); {_remedy(error)}", file=sys.stderr)
        return 1
    return start(arguments)


def _remedy(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"install it with: {add_command()}"
    return "sdgui-core doctor names the packages of your system to install."


if __name__ == "__main__":
    sys.exit(main())
