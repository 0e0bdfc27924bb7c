"""Run a benchmark by its name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from pathlib import Path

from core.bench.results import to_json, to_table
from core.spec.errors import UserError

BENCHMARKS = {"train": "core.bench.train", "gpu": "core.bench.gpu"}  # others are in tests/benchmarks
SIZES = ("small", "full")
BENCHMARKS_WITH_SIZES = ("gpu", "search", "search_peers", "classify")


def run(
    name: str, as_json: bool, peer: Path | None, size: str = SIZES[0], benchmarks: Mapping[str, str] = BENCHMARKS
) -> int:
    """Run the benchmark ``name`` and print its rows; returns 0 if all ratios hold, otherwise 1.

    ``benchmarks``: name -> module. Raises UserError for an unknown name.
    """
    if name not in benchmarks:
        close = difflib.get_close_matches(name, benchmarks, n=1, cutoff=0.3)
        hint = f"did you mean {close[0]}?" if close else f"available: {', '.join(benchmarks)}."
        raise UserError(f"there is no benchmark {name!r}; {hint}")
    module = importlib.import_module(benchmarks[name])
    results = module.run(peer, size) if name in BENCHMARKS_WITH_SIZES else module.run(peer)
    print(to_json(results) if as_json else to_table(results))
    return 0 if all(row.holds for row in results) else 1
