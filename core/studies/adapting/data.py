"""The subsets that a cell trains and evaluates on: drawn from a hand's pairs, with mismatched captions where asked.

Manifests are written beside those they are drawn from, since their images must lie below them.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from core.data.derived.manifest import manifest
from core.data.derived.noisy import shuffled
from core.spec.cells import unmarked
from core.spec.errors import UserError
from core.spec.files import write_whole

SPLIT_SEED = 33  # of what is held out, the same for all cells
COLUMNS = ("concept", "group")

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """The rows of a manifest."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: unmarked(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; render it with packaging/icon_sets.py.") from error


def held_out(data: Path, hand: str, count: int) -> Path:
    """A manifest of the ``count`` pairs of ``hand`` that are only evaluated; all of it where it has no more."""
    rows = read_rows(data / hand)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))[:count]
    return _write(data, f"test-{Path(hand).stem}.csv", [rows[i] for i in sorted(order.tolist())])


def training_pairs(
    data: Path, hand: str, held: int, pairs: int, mismatched: float, draw: int, replay: tuple[str, float] = ("", 0.0)
) -> Path:
    """A manifest of ``pairs`` of ``hand`` that are not held out, drawn by ``draw``; ``mismatched`` of the captions are
    another pair's. ``replay``: another manifest, of which a share of ``pairs`` is added.

    Raises UserError where the hand has not so many.
    """
    rows = read_rows(data / hand)
    pool = np.random.default_rng(SPLIT_SEED).permutation(len(rows))[held:]
    if len(pool) < pairs:
        raise UserError(f"{data / hand} leaves {len(pool)} pairs to train on, and {pairs} are asked for.")
    rng = np.random.default_rng([SPLIT_SEED, draw])
    drawn = [rows[i] for i in sorted(rng.permutation(pool)[:pairs].tolist())]
    if mismatched:
        givers = shuffled([(row["title"],) for row in drawn], mismatched, draw)
        drawn = [row | {"title": drawn[giver]["title"]} for row, giver in zip(drawn, givers, strict=True)]
    name = f"train-{Path(hand).stem}-{pairs}-{100 * mismatched:g}-{draw}"
    other, share = replay
    if share:
        old = read_rows(data / other)
        below = Path(other).parent
        chosen = rng.permutation(len(old))[: round(share * pairs)].tolist()
        drawn += [old[i] | {"filepath": (below / old[i]["filepath"]).as_posix()} for i in sorted(chosen)]
        name += "-replay"
    return _write(data, f"{name}.csv", drawn)


def _write(data: Path, name: str, rows: list[Row]) -> Path:
    path = data / name
    pairs = ((row["filepath"], row["title"], [row.get(column, "") for column in COLUMNS]) for row in rows)
    write_whole(path, manifest(pairs, COLUMNS))
    return path
