"""Results of benchmarks: this package's value, the peer's value, and the required ratio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class BenchResult:
    """One row. ``ratio``: how much better this package is; ``holds``: whether ``ratio`` reaches ``at_least``."""

    name: str
    ours: float
    peer: float
    unit: str
    ratio: float
    at_least: float | None
    holds: bool


def result(name: str, ours: float, peer: float, unit: str, ratio: float, at_least: float | None) -> BenchResult:
    """A row whose ``ratio`` must be ``at_least`` the given value."""
    return BenchResult(name, ours, peer, unit, ratio, at_least, at_least is None or ratio >= at_least)


def to_json(results: Sequence[BenchResult]) -> str:
    return json.dumps([asdict(row) for row in results], indent=2)


def to_table(results: Sequence[BenchResult]) -> str:
    """The rows as a text table."""
    lines = [f"{'':44} {'ours':>12} {'peer':>12} {'unit':10} {'ratio':>8} {'at least':>9}"]
    for row in results:
        bound = "" if row.at_least is None else f"{row.at_least:.3g}"
        mark = "" if row.at_least is None else ("  holds" if row.holds else "  FALLS SHORT")
        lines.append(f"{row.name:44} {row.ours:12.4g} {row.peer:12.4g} {row.unit:10} {row.ratio:8.3f} {bound:>9}{mark}")
    return "\n".join(lines)


def print_results(results: Sequence[BenchResult], as_json: bool) -> int:
    """Print the rows; returns the exit status: 0 if every required ratio holds, otherwise 1."""
    print(to_json(results) if as_json else to_table(results))
    return 0 if all(row.holds for row in results) else 1
