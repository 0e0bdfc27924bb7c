"""``python -m tests.benchmarks NAME [--json] [--size full]``: benchmarks that are not verbs of ``sdgui-core``.

``window`` has options of its own: ``python -m tests.benchmarks.window``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.bench.run import SIZES, run
from core.spec.errors import UserError

NAMES = ("syncs", "loader", "shards", "caption", "search", "search_peers", "classify")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Ours against a peer, in turn.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="folder with the packages of the other implementation")
    parser.add_argument(
        "--size", default=SIZES[0], choices=SIZES, help="size of search, search_peers and classify (default: small)"
    )
    arguments = parser.parse_args()
    try:
        modules = {name: f"tests.benchmarks.{name}" for name in NAMES}
        return run(arguments.name, arguments.json, arguments.peer, arguments.size, modules)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
