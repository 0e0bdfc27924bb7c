"""Benchmarks: ours against a peer in the same call, alternating, since machines are shared and noisy."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path

from core.spec.bench import to_json, to_table
from core.spec.errors import UserError

BENCHES = ("train", "syncs", "gpu", "loader", "shards", "caption", "search", "classify", "digits", "deletion", "noise")
SIZES = ("small", "full")  # of those in SIZED
OF_A_MODEL = ("deletion",)
SIZED = ("gpu", "search", "classify")


def run(name: str, as_json: bool, peer: Path | None, size: str = SIZES[0], model: str = "", data: str = "") -> int:
    """Run benchmark ``name`` and print its rows; 0 when every figure holds, 1 otherwise.

    ``model`` and ``data`` are for those of a trained model (deletion).
    """
    if name not in BENCHES:
        close = difflib.get_close_matches(name, BENCHES, n=1, cutoff=0.3)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(BENCHES)}."
        raise UserError(f"there is no benchmark {name!r}; {hint}")
    module = importlib.import_module(f"core.bench.{name}")
    if name in OF_A_MODEL:
        results = module.run(model, data)
    else:
        results = module.run(peer, size) if name in SIZED else module.run(peer)
    print(to_json(results) if as_json else to_table(results), file=sys.stdout)
    return 0 if all(row.holds for row in results) else 1
