"""``python -m tests.benchmarks NAME [--json] [--size full]``: benchmarks that are not verbs of ``sdgui-core``.

``window`` has options of its own: ``python -m tests.benchmarks.window``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from core.bench.results import print_results
from core.spec.errors import UserError

NAMES = ("syncs", "loader", "shards", "caption", "search", "search_peers", "classify")
NAMES_WITH_SIZES = ("search", "search_peers", "classify")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Ours against a peer, in turn.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="folder with the packages of the other implementation")
    parser.add_argument(
        "--size",
        default="small",
        choices=("small", "full"),
        help="size of search, search_peers and classify (default: small)",
    )
    arguments = parser.parse_args()
    try:
        sizes = (arguments.size,) if arguments.name in NAMES_WITH_SIZES else ()
        results = importlib.import_module(f"tests.benchmarks.{arguments.name}").run(arguments.peer, *sizes)
        return print_results(results, arguments.json)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
